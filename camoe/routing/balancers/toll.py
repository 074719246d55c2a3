"""The balancing rule of routers that have none but a price of compute."""

from __future__ import annotations

from torch import Tensor

from camoe.routing.balance_terms import layer_assignments
from camoe.routing.balancer import Balancer
from camoe.routing.balancers.compute_price import ComputePrice
from camoe.routing.decision import RoutingDecision


class Toll(Balancer):
    """What is added to bids is -mu kappa_e."""

    def __init__(self, compute: ComputePrice) -> None:
        super().__init__()
        self.compute = compute

    def of_layer(self, layer: int) -> Tensor:
        """-mu kappa_e, [E]."""
        return -self.compute.toll()[layer]

    def measure(self, routing: RoutingDecision, mask: Tensor) -> dict[str, Tensor]:
        """See Balancer."""
        return {"served": layer_assignments(routing, mask).double(), "tokens": mask.sum().double()}

    def end_step(self, sums: dict[str, Tensor]) -> None:
        """See Balancer."""
        self.compute.end_step(sums["served"], sums["tokens"])
