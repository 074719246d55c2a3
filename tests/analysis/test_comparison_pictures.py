"""What a comparison's plots call the experts of an arm."""

from __future__ import annotations

import pandas as pd

from analysis.comparison_pictures import experts_of_arm
from camoe.config.experts import expert_labels


def test_experts_are_called_as_their_arm_was_composed() -> None:
    runs = pd.DataFrame(
        {
            "arm": ["pooled", "by_mixer", "silent"],
            "config.experts.policy": ["pooled", "by_mixer", None],
            "config.experts.rwkv_ffn": [1, 0, None],
            "config.experts.gelu_ffn": [1, 2, None],
            "config.experts.gated_channel_mix": [0, 2, None],
            "config.experts.transformer_prefix": [1, 1, None],
        }
    )
    labels = {arm: expert_labels(experts_of_arm(runs, arm, 3)) for arm in runs["arm"]}
    assert labels == {"pooled": ["R0", "F0", "T0"], "by_mixer": ["G0", "G1", "T0"], "silent": ["R0", "R1", "R2"]}
