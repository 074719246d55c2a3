"""Every allowed pair of options, over all groups, builds a model without allocating it."""

import pytest
import torch

from camoe.model.cost import model_cost
from camoe.model.language_model import LanguageModel
from camoe.model.parameter_groups import parameter_groups
from tests.config.compositions import covering_rows, hydra_ready, needed_by, run_config


@pytest.mark.parametrize("every", [10, pytest.param(1, marks=pytest.mark.slow)])
def test_every_pair_of_options_builds_on_the_meta_device(every: int) -> None:
    """All rows that hold every pair; the quick suite takes each tenth."""
    with hydra_ready():
        configs = [run_config(*row, *needed_by(row)) for row in covering_rows()[::every]]
    assert len(configs) > 20
    for config in configs:
        with torch.device("meta"):
            model = LanguageModel(config)
        assert all(parameter.is_meta for parameter in model.parameters())
        cost = model_cost(model)
        assert 0 < cost.active_params <= cost.total_params
        assert sum(len(members) for members in parameter_groups(model).values()) == len(list(model.named_parameters()))
