"""One optimiser step: accumulation, settlement, phases, and steps that must change nothing."""

import pytest
import torch

from camoe.config.phase import PARAMETER_GROUPS
from camoe.config.run import RunConfig
from camoe.kernels.wkv7 import CPU_BACKENDS
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from camoe.routing.election_terms import ElectionTerms
from camoe.tracking.routing_statistics import routing_statistics_of
from camoe.training.batch_share import BatchShare
from camoe.training.experiments import Experiments, StepExperiments
from camoe.training.micro_batch import MicroBatch, micro_batches
from camoe.training.objectives import IGNORED, Batch, compute_losses
from camoe.training.optimizers import build_optimizer, set_rates
from camoe.training.phases import Phase, PhaseSchedule, let_learn
from camoe.training.train_step import StepResult, train_step
from tests.config.compositions import hydra_ready, run_config
from tests.kernels.wkv7_cases import needs_native
from tests.small_run import small_run

SEQUENCES, T = 8, 12


def _window() -> torch.Tensor:
    return torch.randint(1, 256, (SEQUENCES, T + 1), generator=torch.Generator().manual_seed(0))


def _noise(config: RunConfig) -> torch.Tensor:
    shape = (SEQUENCES, config.model.n_layer, T, config.experts.total)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def _experiments(model: LanguageModel, step: int = 0) -> StepExperiments:
    return Experiments(0, model.market, model.config.experts.total).of_step(step, SEQUENCES)


def _alive(config: RunConfig) -> LanguageModel:
    model = LanguageModel(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


def _steps(config: RunConfig, model: LanguageModel, size: int, count: int = 3) -> list[StepResult]:
    groups = parameter_groups(model)
    optimizer = build_optimizer(config.optimizer, groups, "cpu")
    phase = PhaseSchedule(config.phase).at(0)
    results = []
    for _ in range(count):
        set_rates(optimizer, 1e-3, phase)
        batches = list(
            micro_batches(_window(), _noise(config), _experiments(model), BatchShare(size, SEQUENCES // size).parts)
        )
        results.append(train_step(model, optimizer, batches, phase, routing_statistics_of(model), grad_clip=1.0))
    return results


GLOBAL = {"weight": 0.5, "scope": "global_batch"}
BY_SEQUENCE = {"weight": 0.5, "scope": "sequence"}


@pytest.mark.parametrize(
    ("economy", "losses"),
    [
        ("v21", {"switch": GLOBAL, "z": {"weight": 0.1}, "cost": GLOBAL}),
        ("v18", {"switch": BY_SEQUENCE}),
        ("off", {"switch": GLOBAL, "cost": BY_SEQUENCE}),
    ],
    ids=["v21", "v18", "off"],
)
def test_one_times_eight_equals_eight_times_one(economy: str, losses: dict) -> None:
    """With load counted over sequences or the whole step; per micro-batch, the cut is part of the loss."""
    config = small_run(economy, router={"losses": losses})
    whole, cut = _alive(config), _alive(config)
    first, second = _steps(config, whole, 8), _steps(config, cut, 1)
    for one, eight in zip(first, second, strict=True):
        torch.testing.assert_close(one.losses, eight.losses, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(one.grad_norm, eight.grad_norm, rtol=1e-4, atol=1e-6)
    for name, value in whole.market.state_dict().items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, cut.market.state_dict()[name], rtol=1e-4, atol=1e-4)
    for name, value in whole.state_dict().items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, cut.state_dict()[name], rtol=1e-3, atol=2e-4)


@needs_native
def test_the_backend_of_the_recurrence_changes_no_loss() -> None:
    runs = {}
    for backend in CPU_BACKENDS:
        config = small_run()
        model = _alive(config)
        model.use_wkv_backend(backend, 16)
        runs[backend] = [step.losses for step in _steps(config, model, 4)]
    for losses in runs.values():
        torch.testing.assert_close(losses, runs["reference"], rtol=1e-5, atol=1e-6)


def _phases() -> list[Phase]:
    with hydra_ready():
        return PhaseSchedule(run_config().phase).phases


@pytest.mark.parametrize("phase", _phases(), ids=lambda phase: phase.name)
def test_in_every_phase_the_gate_can_learn_and_capital_cannot(phase: Phase) -> None:
    config = small_run()
    model = _alive(config)
    model.market.bidding = phase.config.market_bids
    batch = Batch(_window()[:, :-1], _window()[:, 1:])
    language_model = compute_losses(model, batch, ElectionTerms(_noise(config))).terms[0].value
    gate = list(parameter_groups(model)["router_gate"].values())
    gradients = torch.autograd.grad(language_model, gate)
    assert all(float(gradient.norm()) > 0 for gradient in gradients)
    assert not model.market.state.capital.requires_grad
    assert not any(name.startswith("market.") for name, _ in model.named_parameters())


@pytest.mark.parametrize("phase", _phases(), ids=lambda phase: phase.name)
def test_a_phase_trains_its_groups_and_settles_when_it_says_so(phase: Phase) -> None:
    config = small_run()
    model = _alive(config)
    groups = parameter_groups(model)
    before = {name: p.clone() for name, p in model.named_parameters()}
    capital = model.market.state.capital.clone()
    optimizer = build_optimizer(config.optimizer, groups, "cpu")
    let_learn(phase, groups)
    model.market.bidding = phase.config.market_bids
    set_rates(optimizer, 1e-3, phase)
    batches = list(micro_batches(_window(), _noise(config), _experiments(model), BatchShare(4, 2).parts))
    result = train_step(model, optimizer, batches, phase, routing_statistics_of(model), grad_clip=1.0)
    assert result.applied
    moved = {g: any(not torch.equal(p, before[n]) for n, p in members.items()) for g, members in groups.items()}
    assert moved == {group: phase.config.multipliers()[group] > 0 for group in PARAMETER_GROUPS}
    assert torch.equal(capital, model.market.state.capital) == (not phase.config.market_settles)
    assert (result.market is not None) == phase.config.market_settles


def test_padding_changes_no_gradient_and_no_capital() -> None:
    config = small_run(router={"losses": {"switch": {"weight": 0.0}}})
    window, results = _window(), []
    for content in (window[:, 9:], torch.zeros_like(window[:, 9:])):
        model = _alive(config)
        tokens = torch.cat((window[:, :9], content), dim=1)
        targets = tokens[:, 1:].clone()
        targets[:, 8:] = IGNORED
        optimizer = build_optimizer(config.optimizer, parameter_groups(model), "cpu")
        phase = PhaseSchedule(config.phase).at(0)
        set_rates(optimizer, 1e-3, phase)
        batch = [MicroBatch(Batch(tokens[:, :-1], targets), ElectionTerms(_noise(config)))]
        results.append(train_step(model, optimizer, batch, phase, routing_statistics_of(model), grad_clip=0.0))
        results[-1] = (results[-1].grad_norm, model.market.state.capital.clone())
    torch.testing.assert_close(results[0], results[1], rtol=1e-6, atol=1e-6)


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    config = small_run()
    model = _alive(config)
    with torch.no_grad():
        model.emb.weight[7] = float("nan")
    before = {name: v.clone() for name, v in model.state_dict().items() if isinstance(v, torch.Tensor)}
    window = _window()
    window[0, 0] = 7
    optimizer = build_optimizer(config.optimizer, parameter_groups(model), "cpu")
    phase = PhaseSchedule(config.phase).at(0)
    set_rates(optimizer, 1e-3, phase)
    batches = list(micro_batches(window, _noise(config), _experiments(model), BatchShare(4, 2).parts))
    result = train_step(model, optimizer, batches, phase, routing_statistics_of(model), grad_clip=1.0)
    assert not result.applied
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) or value.isnan().any() for name, value in before.items())
    assert not optimizer.state


def test_switches_of_the_critic_reach_the_loss() -> None:
    batch = Batch(_window()[:, :-1], _window()[:, 1:])

    def gradients(**critic: object) -> tuple[bool, bool]:
        model = _alive(small_run(economy={"critic": critic}))
        terms = {term.name: term.value for term in compute_losses(model, batch).terms}
        critic_loss = terms["critic_difficulty"] + terms.get("critic_affinity", 0.0)
        head = model.blocks[0].mixture.critic.affinity_head[0].weight
        backbone = model.blocks[0].att.receptance.weight
        found = torch.autograd.grad(critic_loss, [head, backbone], allow_unused=True)
        return tuple(gradient is not None and float(gradient.norm()) > 0 for gradient in found)  # type: ignore[return-value]

    assert gradients() == (True, False)
    assert gradients(affinity_trained=False) == (False, False)
    assert gradients(detach_input=False) == (True, True)


SILENT = {
    "alpha": {"kind": "fixed", "init": 0.0},
    "congestion": {"kind": "none"},
    "ventures": {"kind": "none"},
}


def _trained(config: RunConfig, bids: bool) -> dict[str, torch.Tensor]:
    model = LanguageModel(config)
    if model.market.has_capital:
        model.market.state.capital.mul_(torch.tensor([0.5, 2.0, 1.2, 0.3], dtype=torch.float64))
    model.market.bidding = bids
    optimizer = build_optimizer(config.optimizer, parameter_groups(model), "cpu")
    phase = PhaseSchedule(config.phase).at(0)
    for step in range(4):
        set_rates(optimizer, 1e-2, phase)
        batches = list(micro_batches(_window(), _noise(config), _experiments(model, step), BatchShare(4, 2).parts))
        assert train_step(model, optimizer, batches, phase, routing_statistics_of(model), grad_clip=0.1).applied
    return {name: p.detach() for name, p in model.named_parameters() if ".critic." not in name}


def _equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    assert one.keys() == other.keys()
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_alpha_zero_trains_bit_for_bit_like_a_market_that_does_not_bid() -> None:
    silent = small_run("calibrated", economy=SILENT)
    assert _equal(_trained(silent, bids=True), _trained(silent, bids=False))
    heard = small_run("calibrated", economy={**SILENT, "alpha": {"kind": "fixed", "init": 2.0}})
    assert not _equal(_trained(heard, bids=True), _trained(heard, bids=False))


def test_alpha_zero_trains_bit_for_bit_like_no_economy_at_all() -> None:
    """Without noise, whose unit is the market's; critics, audits and held-out sequences change nothing."""
    quiet = {"noise_std": 0.0}
    silent, off = small_run("calibrated", economy=SILENT, router=quiet), small_run("off", router=quiet)
    assert _equal(_trained(silent, bids=True), _trained(off, bids=False))


@pytest.mark.parametrize("credit", ["replacement_audit", "leave_one_out", "midpoint", "gradient", "token_loss"])
def test_calibrated_settlements_are_the_same_however_the_step_is_cut(credit: str) -> None:
    audits = {"credit": {"kind": credit, "share": 0.5}, "alpha": {"holdout_share": 0.25}}
    config = small_run("calibrated", router={"losses": {"switch": {"weight": 0.0}}}, economy=audits)
    markets = []
    for size in (8, 1):
        model = _alive(config)
        optimizer = build_optimizer(config.optimizer, parameter_groups(model), "cpu")
        phase = PhaseSchedule(config.phase).at(0)
        for step in range(3):
            set_rates(optimizer, 0.0, phase)  # Adam would make a whole step of a critic's rounding
            batches = list(
                micro_batches(
                    _window(), _noise(config), _experiments(model, step), BatchShare(size, SEQUENCES // size).parts
                )
            )
            train_step(model, optimizer, batches, phase, routing_statistics_of(model), grad_clip=1.0)
        markets.append({n: v for n, v in model.market.state_dict().items() if isinstance(v, torch.Tensor)})
    assert float(markets[0]["state.credit"].abs().max()) > 1e-3
    for name, value in markets[0].items():
        torch.testing.assert_close(value, markets[1][name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
