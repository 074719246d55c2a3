"""Phases cover the steps without gap or overlap and freeze what they should."""

import torch
from torch import nn

from camoe.config.phase import PARAMETER_GROUPS, PhaseConfig, PhaseScheduleConfig
from camoe.training.phases import PhaseSchedule, let_learn


def test_edges_are_optimiser_steps_and_empty_phases_are_left_out() -> None:
    schedule = PhaseSchedule(
        PhaseScheduleConfig(
            schedule={"a": PhaseConfig(steps=3), "none": PhaseConfig(steps=0), "b": PhaseConfig(steps=2)}
        )
    )
    assert [schedule.at(step).name for step in range(7)] == ["a", "a", "a", "b", "b", "b", "b"]
    assert schedule.total_steps == 5
    assert [(phase.first, phase.end) for phase in schedule.phases] == [(0, 3), (3, 5)]


def test_a_multiplier_of_zero_freezes_its_group() -> None:
    groups = {group: {group: nn.Parameter(torch.ones(2))} for group in PARAMETER_GROUPS}
    groups["critic"]["critic"].grad = torch.ones(2)
    config = PhaseConfig(steps=1, critic=0.0, rwkv_backbone=0.0)
    let_learn(PhaseSchedule(PhaseScheduleConfig(schedule={"x": config})).at(0), groups)
    frozen = {group for group in groups if not groups[group][group].requires_grad}
    assert frozen == {"critic", "rwkv_backbone"}
    assert groups["critic"]["critic"].grad is None
