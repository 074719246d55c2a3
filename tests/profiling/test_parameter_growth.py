"""Growth of a run's own model against building it at another width."""

from __future__ import annotations

import pytest
import torch

from camoe.config import ConfigError
from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from camoe.profiling.parameter_growth import parameter_growth
from tests.small_run import small_run


@pytest.mark.parametrize("shared", [0, 1])
def test_growth_tells_the_parameters_of_any_width(shared: int) -> None:
    growth = parameter_growth(small_run(experts={"shared": shared}))
    for hidden in (32, 200):
        with torch.device("meta"):
            cost = model_cost(LanguageModel(small_run(experts={"shared": shared, "hidden": hidden})))
        assert growth["stored"].at(hidden) == cost.total_params
        assert growth["active"].at(hidden) == pytest.approx(cost.active_params, abs=1)


def test_without_a_width_to_choose_it_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^job\.nominal_params: no expert"):
        parameter_growth(small_run(experts={"rwkv_ffn": 0, "transformer_prefix": 3}))
