"""Top-k router: the k largest logits win (Switch, GShard, OLMoE, CDRmix)."""

from __future__ import annotations

from camoe.routing.learned_router import ScoredRouter


class TopK(ScoredRouter):
    """Winners = top-k of z; weights = softmax or sigmoid of z, over the winners or as they are.

    Switch Transformers (Fedus et al. 2021, eq. 1-2): top_k=1. GShard (Lepikhin et al. 2020): top_k=2, renormalized.
    OLMoE (Muennighoff et al. 2024): weights=raw. DeepSeek-V3's gate: score=sigmoid. CDRmix: renormalized, with
    noise=dropout. Scores rise with their logits, so that either elects the same.
    """
