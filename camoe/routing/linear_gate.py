"""The gate of published mixtures of experts: one matrix."""

from __future__ import annotations

from torch import Tensor, nn

from camoe.config.learned_router import GateConfig
from camoe.kernels.linear import Linear
from camoe.kernels.without_autocast import without_autocast
from camoe.routing.gate import Gate

INITIAL_DEVIATION = 0.02


class LinearGate(nn.Module):
    """Logits z_te = x_t . w_e, in fp32.

    Weights start normal with deviation 0.02, cut at three of them (OLMoE, Muennighoff et al. 2024).
    """

    def __init__(self, n_embd: int, n_expert: int) -> None:
        super().__init__()
        self.proj = Linear(n_embd, n_expert, bias=False)
        cut = 3 * INITIAL_DEVIATION
        nn.init.trunc_normal_(self.proj.weight, std=INITIAL_DEVIATION, a=-cut, b=cut)

    def forward(self, h: Tensor) -> Tensor:
        """Gate logits [B,T,E] in fp32 (or the weights' wider type) from hidden vectors [B,T,C]."""
        with without_autocast(h.device.type):
            logits: Tensor = self.proj(h.to(self.proj.weight.dtype))
        return logits


def build_gate(config: GateConfig, n_embd: int, n_expert: int) -> Gate | LinearGate:
    """The gate that `router.gate` names."""
    if config.gate == "linear":
        return LinearGate(n_embd, n_expert)
    return Gate(n_embd, n_expert, config.gate_hidden, config.gate_activation)
