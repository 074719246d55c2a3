"""What a block hands on."""

import torch

from camoe.model.language_model import LanguageModel
from tests.small_run import small_run


def test_a_kept_state_holds_no_more_memory_than_its_numbers() -> None:
    _, state = LanguageModel(small_run())(torch.zeros(2, 64, dtype=torch.int64))
    for layer in state.layers:
        for carried in (layer.time_shift, layer.channel_shift):
            assert carried.untyped_storage().nbytes() == carried.numel() * carried.element_size()
