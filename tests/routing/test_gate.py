"""The gate's single product against one small net per expert."""

import pytest
import torch
from torch import nn

from camoe.routing.gate import Gate


@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
@pytest.mark.parametrize("n_expert", [1, 3, 8])
def test_one_product_equals_separate_nets(activation: str, n_expert: int) -> None:
    torch.manual_seed(0)
    gate = Gate(12, n_expert, 5, activation).double()
    h = torch.randn(2, 7, 12, dtype=torch.float64)
    columns = []
    for expert in range(n_expert):
        rows = slice(expert * 5, (expert + 1) * 5)
        net = nn.Sequential(nn.Linear(12, 5), nn.GELU(), nn.Linear(5, 1)).double()
        with torch.no_grad():
            net[0].weight.copy_(gate.weight_in[rows])
            net[0].bias.copy_(gate.bias_in[rows])
            net[2].weight.copy_(gate.weight_out[expert : expert + 1])
            net[2].bias.copy_(gate.bias_out[expert : expert + 1])
        columns.append(net(h))
    expected = torch.cat(columns, dim=-1)
    expected = torch.sigmoid(expected) if activation == "sigmoid" else expected
    torch.testing.assert_close(gate(h), expected, rtol=1e-12, atol=1e-12)
