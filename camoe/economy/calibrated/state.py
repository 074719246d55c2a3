"""Everything the calibrated market remembers, stacked over layers, in float64 buffers that checkpoints carry.

"Running sums" forget with a half-life in tokens; their quotients are means over that horizon and need no first value.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from camoe.config.calibrated import CalibratedConfig
from camoe.economy.calibrated.rates import quotient

CREDIT_ROWS, CREDIT_SQUARES, VALUE_MOMENTS, ARM_SUMS = 2, 3, 10, 7


class CalibratedState(nn.Module):
    """Wealth, prices, statistics and purses of all layers; never a parameter. Money M = sum C + treasury + grants."""

    capital: Tensor
    """[L,E], money C."""
    treasury: Tensor
    """[L], money of taxes not yet granted."""
    grants: Tensor
    """[L,E], money of grants not yet vested: the venture book."""
    minted: Tensor
    """[L], money ever created."""
    burned: Tensor
    """[L], money ever destroyed."""
    alpha: Tensor
    """[L], standard deviations of the gate per e-fold of wealth."""
    congestion: Tensor
    """[L,E], lambda in units of the bid (`bid_unit`), mean 0."""
    congestion_integral: Tensor
    """[L,E], the integral part of a PID price."""
    congestion_error: Tensor
    """[L,E], relative excess load of the settlement before."""
    compute_price: Tensor
    """[], mu in units of the bid per kappa."""
    tokens_settled: Tensor
    """[], tokens since the start."""
    settlements: Tensor
    """[] int64, settlements since the start."""
    tokens: Tensor
    """[], running sum of tokens; of the statistics that follow."""
    loss: Tensor
    """[], running sum of l_t, nats."""
    loss_square: Tensor
    """[], running sum of l_t^2."""
    gate_std: Tensor
    """[L], running sum of each token's standard deviation over experts of what bids add to."""
    difficulty: Tensor
    """[L], running sum of d_t."""
    difficulty_square: Tensor
    """[L], running sum of d_t^2."""
    target: Tensor
    """[2], running sums of the difficulty's targets, z-scores of l_t, and of their squares."""
    residual: Tensor
    """[L], running sum of (z-score of l_t - d_t)^2."""
    load: Tensor
    """[L,E], running sum of assignments, over idle_tax.load_half_life."""
    credit: Tensor
    """[2,L,E], running sums of value, nats, and of tokens served (`CreditSums`)."""
    credit_squares: Tensor
    """[3,L,E], running sums of squares, forgotten twice as fast, as the weights of a variance are."""
    value_moments: Tensor
    """[10,L], running moments of value, bid and price (`camoe.economy.calibrated.price`)."""
    arms: Tensor
    """[2,7], running sums over sequences routed with and without the market (`ArmSums`)."""
    arms_total: Tensor
    """[2,7], the same, never forgotten."""
    purse: Tensor
    """[L], the critic's purse K in units of its first purse K0."""
    debt: Tensor
    """[L], bailouts not yet repaid, in units of K0."""
    bailout_count: Tensor
    """[L]."""
    expert_flops: Tensor
    """[E] or, where layers differ, [L,E], forward FLOPs of one expert for one token; not saved."""

    def __init__(
        self,
        config: CalibratedConfig,
        n_layer: int,
        n_expert: int,
        top_k: int,
        expert_flops: Sequence[float] | Sequence[Sequence[float]] | Tensor,
        fixed_flops: float,
    ) -> None:
        super().__init__()
        self.top_k, self.fixed_flops, self.space = top_k, float(fixed_flops), config.bid.space
        by_expert, by_layer = (n_layer, n_expert), (n_layer,)
        self._zeros("treasury", "minted", "burned", "debt", "bailout_count", shape=by_layer)
        self._zeros("gate_std", "difficulty", "difficulty_square", "residual", shape=by_layer)
        self._zeros("compute_price", "tokens_settled", "tokens", "loss", "loss_square", shape=())
        self._zeros("grants", "congestion", "congestion_integral", "congestion_error", "load", shape=by_expert)
        self._zeros("credit", shape=(CREDIT_ROWS, *by_expert))
        self._zeros("credit_squares", shape=(CREDIT_SQUARES, *by_expert))
        self._zeros("value_moments", shape=(VALUE_MOMENTS, n_layer))
        self._zeros("arms", "arms_total", shape=(2, ARM_SUMS))
        self._zeros("target", shape=(2,))
        self.register_buffer("settlements", torch.zeros((), dtype=torch.int64))
        self._full("capital", by_expert, config.capital.money_per_expert)
        self._full("alpha", by_layer, config.alpha.init)
        self._full("purse", by_layer, 1.0)
        flops = torch.as_tensor(expert_flops, dtype=torch.float64)
        self.register_buffer("expert_flops", flops.clone(), persistent=False)

    def _zeros(self, *names: str, shape: tuple[int, ...]) -> None:
        for name in names:
            self._full(name, shape, 0.0)

    def _full(self, name: str, shape: tuple[int, ...], value: float) -> None:
        self.register_buffer(name, torch.full(shape, value, dtype=torch.float64))

    @property
    def n_expert(self) -> int:
        """E."""
        return self.capital.shape[-1]

    @property
    def n_layer(self) -> int:
        """L."""
        return self.capital.shape[0]

    def money(self) -> Tensor:
        """[L], all money of a layer: capital, treasury and grants."""
        return self.capital.sum(-1) + self.treasury + self.grants.sum(-1)

    def capital_share(self) -> Tensor:
        """c_e, [L,E]."""
        return self.capital / self.capital.sum(-1, keepdim=True)

    def kappa(self) -> Tensor:
        """[E] or [L,E] as `expert_flops`, over the mean expert of all layers; 1 where nothing is known of any."""
        mean = self.expert_flops.mean()
        return torch.where(mean > 0, quotient(self.expert_flops, mean), 1)

    def gate_deviation(self) -> Tensor:
        """s_z, [L]: mean over the horizon of the standard deviation over experts of what bids add to; 0 before any."""
        return quotient(self.gate_std, self.tokens)

    def bid_unit(self) -> Tensor:
        """[L], the unit of tolls: s_z of gate logits; scores lie in 0..1 and have the unit 1."""
        return torch.ones_like(self.gate_std) if self.space == "score" else self.gate_deviation()

    def congestion_toll(self) -> Tensor:
        """lambda_e, [L,E], in what bids add to."""
        return self.bid_unit().unsqueeze(-1) * self.congestion

    def loss_mean(self) -> Tensor:
        """[], mean token loss over the horizon, nats."""
        return quotient(self.loss, self.tokens)

    def loss_deviation(self) -> Tensor:
        """[], its standard deviation over tokens, nats."""
        return _deviation(self.loss, self.loss_square, self.tokens)

    def difficulty_mean(self) -> Tensor:
        """[L], mean of the critic's expectation over the horizon."""
        return quotient(self.difficulty, self.tokens)

    def difficulty_deviation(self) -> Tensor:
        """[L], its standard deviation over tokens."""
        return _deviation(self.difficulty, self.difficulty_square, self.tokens)

    def difficulty_r2(self) -> Tensor:
        """[L], share of the z-scored loss's variance that the critic explains; negative when the mean does better."""
        total = self.target[1] - quotient(self.target[0] ** 2, self.tokens)
        return torch.where(total > 0, 1 - quotient(self.residual, total), 0)


def _deviation(total: Tensor, squares: Tensor, count: Tensor) -> Tensor:
    variance = quotient(squares, count) - quotient(total, count) ** 2
    return variance.clamp(min=0).sqrt()
