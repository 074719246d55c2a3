"""Every plot of a comparison, in the order of its page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis.arm_histories import ArmHistories
from analysis.comparison import Comparison
from analysis.picture import Picture, picture
from analysis.plots import arm_curves, forest, frontier, layer_map, lorenz, share_map
from analysis.plots.arm_dots import arm_dots
from analysis.plots.smoothing import running_mean, window_for
from analysis.plots.style import COLOURS, INK
from analysis.primary_metric import LOWER
from analysis.run_history import NotRecorded
from camoe.config.experts import KINDS as EXPERT_KINDS
from camoe.config.experts import ExpertsConfig, expert_labels

BUDGETS = {
    "tokens": ("progress/tokens_seen", "tokens seen"),
    "FLOPs": ("progress/train_flops", "training FLOPs"),
    "time": ("time/training_s", "seconds of training, on the machine of each run"),
}
MOST_MAPS = 12
RANKS = (
    "A dot is a run: the rank correlation over a layer's experts of capital and measured worth, mean of layers; 1 is a "
    "market that is right, 0 one that knows nothing."
)
POPULARITY = "The same of capital and load: high here and low with measured worth means that money follows popularity."
GAINS_OVER_TIME = (
    "Nats per token that the market has saved so far, measured on sequences without it, mean of seeds (band: least to "
    "greatest): above 0 the market helps."
)
GAINS = "A dot is a run with its 95 % interval: nats per token that the market saves, measured on sequences without it."
USE = "Percent of assignments that go to Transformer experts, mean of the seeds, on the held-out text."


def arm_colours(found: Comparison) -> dict[str, str]:
    """One colour for an arm on the whole page; the reference has the ink's."""
    others = [arm for arm in found.arms.index if arm != found.reference]
    return {found.reference: INK} | {arm: COLOURS[number % len(COLOURS)] for number, arm in enumerate(others)}


def difference_pictures(found: Comparison) -> list[Picture]:
    """The forest plot."""
    return [picture(forest.TITLE, forest.HOW_TO_READ, lambda: forest_figure(found), wide=True)]


def frontier_pictures(found: Comparison) -> list[Picture]:
    """The loss-balance frontier."""
    return [picture(frontier.TITLE, frontier.HOW_TO_READ, lambda: frontier_figure(found), wide=True)]


def curve_pictures(found: Comparison, histories: ArmHistories) -> list[Picture]:
    """Loss over tokens, FLOPs and time; balance over tokens."""
    colours = arm_colours(found)
    losses = [
        picture(
            f"Loss over {title}",
            arm_curves.LOSS_BUDGETS,
            lambda name=name, x=x: arm_curves.arm_curves(  # type: ignore[misc]
                histories.losses_over(name), colours, x, "held-out loss, nats per token"
            ),
        )
        for title, (name, x) in BUDGETS.items()
    ]
    return [*losses, picture("Balance over time", arm_curves.BALANCE, lambda: _balance(found, histories, colours))]


def arm_pictures(found: Comparison, histories: ArmHistories) -> list[Picture]:
    """What each arm's router and market came to."""
    colours = arm_colours(found)
    return [
        picture("Inequality of load by arm", lorenz.OF_ARMS, lambda: _inequality(histories, colours)),
        picture("What the market is worth, by arm", GAINS, lambda: _gains(histories, colours)),
        picture("Its worth over time", GAINS_OVER_TIME, lambda: gain_figure(found, histories)),
        picture("Does capital follow merit?", RANKS, lambda: rank_figure(found, "credit")),
        picture("Or popularity?", POPULARITY, lambda: rank_figure(found, "load")),
        picture("Transformer share by arm and layer", USE, lambda: _transformer_use(histories)),
        *_load_maps(found, histories),
    ]


def forest_figure(found: Comparison) -> Figure:
    """Paired differences; NotRecorded without any."""
    arms = found.arms.drop(index=found.reference)
    if arms["difference"].isna().all():
        raise NotRecorded("no arm has a pair of runs with the reference yet")
    label = f"difference of {found.metric} from {found.reference}, {found.unit}"
    return forest.forest(arms, found.pairs, found.margin, label, lower_is_better=found.better == LOWER)


def frontier_figure(found: Comparison) -> Figure:
    """Loss against balance, a dot a run; NotRecorded where no run has both."""
    counted = found.runs[found.runs["counted"].astype(bool)]
    columns = {"arm": "arm", "final/maxvio_global": "maxvio", "final/loss": "loss"}
    runs = counted.reindex(columns=list(columns)).rename(columns=columns)
    runs[["maxvio", "loss"]] = runs[["maxvio", "loss"]].apply(pd.to_numeric, errors="coerce")
    if runs.dropna().empty:
        raise NotRecorded("no finished run has final/loss and final/maxvio_global")
    return frontier.frontier(runs, arm_colours(found), float(found.arms["maxvio_global_chance"].max()))


def _balance(found: Comparison, histories: ArmHistories, colours: dict[str, str]) -> Figure:
    curves = histories.windows("routing/maxvio_batch")
    smooth = {arm: [(x, running_mean(y, window_for(len(y)))) for x, y in own] for arm, own in curves.items()}
    floor = float(found.arms["maxvio_batch_chance"].max())
    return arm_curves.arm_curves(smooth, colours, "tokens seen", "MaxVio of a training window", log=True, floor=floor)


def _inequality(histories: ArmHistories, colours: dict[str, str]) -> Figure:
    load = histories.last("final/load/by_expert")
    if not load:
        raise NotRecorded("no finished run has final/load/by_expert")
    return lorenz.lorenz({arm: own.mean(axis=0) for arm, own in load.items()}, colours)


def _gains(histories: ArmHistories, colours: dict[str, str]) -> Figure:
    ends = {name: histories.last(f"market/holdout_{name}") for name in ("gain", "low", "high")}
    columns = {"value": "gain", "low": "low", "high": "high"}
    frames = [
        pd.DataFrame({"arm": arm, **{column: ends[name][arm] for column, name in columns.items()}})
        for arm in ends["gain"]
    ]
    if not frames:
        raise NotRecorded("no arm has a market that measures its own worth (economy=calibrated does)")
    return arm_dots(pd.concat(frames), colours, "nats per token saved")


def gain_figure(found: Comparison, histories: ArmHistories) -> Figure:
    """Hold-out gain over tokens; NotRecorded where no arm measures it."""
    curves = histories.windows("market/holdout_gain")
    return arm_curves.arm_curves(
        curves, arm_colours(found), "tokens seen", "nats per token saved", floor=0.0, falling=False
    )


def rank_figure(found: Comparison, other: str) -> Figure:
    """Rank correlation of capital with `other`, credit or load, a dot a run; NotRecorded where no arm measures it."""
    ranks = found.market.rename(columns={f"capital_{other}": "value"})[["arm", "value"]].dropna()
    if ranks.empty:
        raise NotRecorded(f"no arm has a market that measures {other} (economy=calibrated does)")
    figure = arm_dots(ranks.astype({"value": float}), arm_colours(found), f"rank correlation of capital and {other}")
    figure.axes[0].set_xlim(-1.05, 1.05)
    return figure


def _transformer_use(histories: ArmHistories) -> Figure:
    use = {arm: own.mean(axis=0) for arm, own in histories.last("final/trans_share/by_layer").items()}
    depth = max((len(own) for own in use.values()), default=0)
    same = {arm: own for arm, own in use.items() if len(own) == depth}
    if not same or not any(own.any() for own in same.values()):
        raise NotRecorded("no arm has Transformer experts")
    return layer_map.arms_by_layer(np.stack(list(same.values())), list(same), "percent of assignments")


def _load_maps(found: Comparison, histories: ArmHistories) -> list[Picture]:
    maps = histories.last("final/load/by_expert")
    limit = max((share_map.distance_from_even(own.mean(axis=0)) for own in maps.values()), default=None)
    return [
        picture(
            f"Load at the end: {arm}",
            f"{share_map.AT_THE_END} Mean of {len(own)} seeds.",
            lambda own=own, arm=arm: share_map.share_at_the_end(  # type: ignore[misc]
                own.mean(axis=0), expert_labels(experts_of_arm(found.runs, arm, own.shape[2])), limit
            ),
        )
        for arm, own in list(maps.items())[:MOST_MAPS]
    ]


def experts_of_arm(runs: pd.DataFrame, arm: str, n_expert: int) -> ExpertsConfig:
    """The mix of an arm's E experts; all RWKV where its configuration does not say, or where it has others (dense)."""
    own = runs[runs["arm"] == arm]
    columns = {name: f"config.experts.{name}" for name in ("policy", *EXPERT_KINDS)}
    known = {name: own[column].dropna() for name, column in columns.items() if column in own}
    first = {name: values.iloc[0] for name, values in known.items() if len(values)}
    settings: dict[str, Any] = {name: value if name == "policy" else int(value) for name, value in first.items()}
    mix = ExpertsConfig(**settings)
    return mix if mix.total == n_expert else ExpertsConfig(rwkv_ffn=n_expert, transformer_prefix=0)
