"""How a run's model grows with the width of its experts, found without allocating it."""

from __future__ import annotations

from dataclasses import replace

import torch

from camoe.config import ConfigError, RunConfig
from camoe.config.experts import WITH_HIDDEN
from camoe.model.cost import room_costs
from camoe.model.language_model import LanguageModel
from camoe.profiling.sizing import MULTIPLE, Growth

WIDTHS = (MULTIPLE, 2 * MULTIPLE)


def parameter_growth(config: RunConfig) -> dict[str, Growth]:
    """Growth of `stored` parameters and of those `active` for one token under an even load.

    ConfigError when no expert has a hidden width.
    """
    if not any(config.experts.has(kind) for kind in WITH_HIDDEN):
        raise ConfigError(
            "job.nominal_params: no expert of this run has a hidden width to choose (group experts); "
            "leave it out, or give experts such as experts=4r0t"
        )
    counts = [_parameters(config, hidden) for hidden in WIDTHS]
    return {name: Growth.between(WIDTHS[0], counts[0][name], WIDTHS[1], counts[1][name]) for name in counts[0]}


def _parameters(config: RunConfig, hidden: int) -> dict[str, float]:
    with torch.device("meta"):
        model = LanguageModel(replace(config, experts=replace(config.experts, hidden=hidden)))
    costs = room_costs(model).values()
    return {"stored": sum(cost.params for cost in costs), "active": sum(cost.active_params for cost in costs)}
