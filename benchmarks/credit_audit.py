"""Whether measured credit ranks experts as removing them does, in small models trained on real text (minutes each).

Truth: nats per served token by which held-out loss rises when the expert is banned and the next bidder serves.
Estimates come from other held-out sequences. A rank correlation is over the 8 experts of one layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from benchmarks.gate import require
from benchmarks.result import Must, Result, at_least
from benchmarks.sample import Sample
from benchmarks.session import Session
from benchmarks.small_market import TINY, Size, Trained, measured, train, worth
from camoe.economy.calibrated import alpha, merit, price
from camoe.economy.calibrated.merit import Profit
from camoe.economy.calibrated.report import rank_correlation
from camoe.economy.calibrated.window import CalibratedWindow

ROW = "credit_audit"
SEEDS = range(5)
AUDIT = "replacement_audit"
CONFIDENCE = 2.0
"""Standard errors within which an estimate should lie of the truth, the truth's own error included."""


@dataclass(frozen=True)
class Findings:
    """One trained model, what its experts are worth, and what each signal says they are, [L,E]."""

    trained: Trained
    truth: Profit
    served: Tensor
    """[L], tokens served that the truth is about."""
    signals: Mapping[str, Tensor] = field(default_factory=dict)
    audits: Mapping[str, Profit] = field(default_factory=dict)

    def correlation(self, signal: Tensor) -> Tensor:
        """Spearman's correlation with the truth, [L]."""
        return rank_correlation(signal, self.truth.value)


def measure(session: Session) -> Iterator[Result]:
    """Signals against the truth, the audit's error, and how the market that trained with it stands."""
    size, seeds = session.pick((Size(), SEEDS), (TINY, range(2)))
    found = [_findings(size, seed, session) for seed in seeds]
    shuffled = [_live(size, seed, session) for seed in seeds]
    missed = max(served_tokens_missed(one) for one in (*found, *shuffled))
    gate = require(missed, 0, "served tokens missed by leave-one-out")
    about = f"Spearman with leave-one-out, mean of {len(found)} models x layers"
    for name in found[0].signals:
        must = at_least(0.8) if name == few_or_many(size.audits) and not session.quick else None
        yield _correlations(f"{name}, {about}", found, [one.signals[name] for one in found], must, gate)
    for name in found[0].audits:
        yield _calibration(name, found, gate)
    yield _spread(found, gate)
    for placebo, models in (("none", found), ("shuffled", shuffled)):
        capital = [one.trained.market.state.capital for one in models]
        what = f"capital at the end of training, placebo {placebo}, {about}"
        yield _correlations(what, models, capital, None, gate, _outcome(models))


def few_or_many(sequences: int) -> str:
    """Name of the audit of so many sequences per layer."""
    return f"{AUDIT}, {sequences} sequences a layer"


def _findings(size: Size, seed: int, session: Session) -> Findings:
    """A model trained with the market, and every signal's opinion of its experts."""
    live = _live(size, seed, session, "none")
    model, sequences = live.trained.model, live.trained.audits
    session.say(f"credit, seed {seed}: estimates")
    counts = {few_or_many(count): sequences[:count] for count in (size.few_audits, size.audits)}
    windows = {name: measured(model, part, AUDIT, seed) for name, part in counts.items()}
    by_token = measured(model, sequences, "token_loss", seed)
    assert by_token.totals is not None
    midpoint = measured(model, sequences[: size.few_audits], "midpoint", seed)
    signals = {name: worth(window).value for name, window in windows.items()}
    signals |= {
        f"merit of {few_or_many(size.audits)}": _merit(windows[few_or_many(size.audits)]),
        f"midpoint, {size.few_audits} sequences a layer": worth(midpoint).value,
        "token_loss (v21.1: mean loss - token loss)": worth(by_token).value,
        "load": by_token.totals.served,
        "credit at the end of training": _live_credit(live.trained),
    }
    return replace(live, signals=signals, audits={name: worth(window) for name, window in windows.items()})


def _live(size: Size, seed: int, session: Session, placebo: str = "shuffled") -> Findings:
    """A model trained with the market or its placebo, and the truth of its experts."""
    session.say(f"credit, seed {seed}, placebo {placebo}: training")
    trained = train(size, seed, placebo)
    session.say(f"credit, seed {seed}, placebo {placebo}: truth")
    window = measured(trained.model, trained.truth, "leave_one_out", seed)
    assert window.credit is not None
    return Findings(trained, worth(window), window.credit.credit[1].sum(-1))


def served_tokens_missed(found: Findings) -> float:
    """Tokens that leave-one-out failed to account for in its worst layer; every token has k winners."""
    model = found.trained.model
    expected = found.trained.truth[:, 1:].numel() * model.config.router.top_k
    return float((found.served - expected).abs().max())


def _merit(window: CalibratedWindow) -> Tensor:
    """pi_e of these sums alone, with the economy's own prior."""
    assert window.credit is not None
    return merit.merit(merit.profit(*window.credit[:2], window.config.credit.prior_tokens))


def _live_credit(trained: Trained) -> Tensor:
    """V_e as the market has it after its last settlement."""
    return merit.profit(trained.market.state.credit, trained.market.state.credit_squares, 0.0).value


def _correlations(
    what: str,
    found: Sequence[Findings],
    signals: Sequence[Tensor],
    must: Must | None,
    gate: str,
    figures: Mapping[str, Sample] | None = None,
) -> Result:
    """The mean over models and layers, each layer's mean, and the extremes."""
    by_model = torch.stack([one.correlation(signal) for one, signal in zip(found, signals, strict=True)])
    layers = {f"layer {layer}": _one(value) for layer, value in enumerate(by_model.mean(0).tolist())}
    extremes = {"least": _one(float(by_model.min())), "most": _one(float(by_model.max()))}
    return Result(
        row=ROW,
        what=what,
        value=_one(float(by_model.mean())),
        must=must,
        figures={**layers, **extremes, **(figures or {})},
        gate=gate,
    )


def _calibration(name: str, found: Sequence[Findings], gate: str) -> Result:
    """How often the truth lies within two standard errors."""
    inside = []
    for one in found:
        audit, truth = one.audits[name], one.truth
        error = (audit.value_error.square() + truth.value_error.square()).sqrt()
        inside.append(float(((audit.value - truth.value).abs() <= CONFIDENCE * error).double().mean()))
    return Result(
        row=ROW,
        what=f"{name}: share of experts within {CONFIDENCE:g} standard errors of the truth (95 % expected)",
        value=Sample((sum(inside) / len(inside),), "share"),
        figures={"least of a model": Sample((min(inside),), "share")},
        gate=gate,
    )


def _spread(found: Sequence[Findings], gate: str) -> Result:
    """How much there is to rank: where experts are worth the same, a rank correlation is noise."""
    deviation = torch.stack([one.truth.value.std(-1) for one in found])
    error = torch.stack([one.truth.value_error.square().mean(-1).sqrt() for one in found])
    layers = range(deviation.shape[1])
    return Result(
        row=ROW,
        what="truth: standard deviation between experts over its standard error",
        value=_one(float((deviation / error).mean())),
        figures={
            **{f"layer {layer}, nats between experts": _one(float(deviation[:, layer].mean())) for layer in layers},
            **{f"layer {layer}, its standard error": _one(float(error[:, layer].mean())) for layer in layers},
        },
        gate=gate,
    )


def _outcome(found: Sequence[Findings]) -> dict[str, Sample]:
    """How training under the market ended, means over models and layers."""
    states = [one.trained.market.state for one in found]
    effects = [alpha.holdout_effect(state.arms_total) for state in states]
    values = {
        "held-out loss": [one.trained.loss for one in found],
        "market efficiency": [float(price.efficiency(state.value_moments)[0].mean()) for state in states],
        "alpha": [float(state.alpha.mean()) for state in states],
        "holdout gain, nats": [float(effect.gain) for effect in effects],
        "its standard error": [float(effect.error) for effect in effects],
        "dead experts of a layer": [one.trained.dead_experts for one in found],
    }
    return {name: _one(sum(each) / len(each)) for name, each in values.items()}


def _one(value: float) -> Sample:
    return Sample((value,), "")
