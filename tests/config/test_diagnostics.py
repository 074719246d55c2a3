"""What each value of `diagnostics` fixes, and that the others leave a run alone."""

from __future__ import annotations

import pytest
from compositions import run_config

from camoe.config.diagnosed import diagnosed
from camoe.config.diagnostics import SETS, in_words

pytestmark = pytest.mark.usefixtures("hydra")


@pytest.mark.parametrize("mode", list(SETS))
def test_what_it_fixes_wins_over_what_was_asked(mode: str) -> None:
    asked = ["train.precision=bf16", "kernel=chunked", "kernel.matmul_precision=medium"]
    config = run_config(*asked, f"diagnostics={mode}")
    assert config.diagnostics == mode
    for group, fixed in SETS[mode].items():
        for name, value in fixed.items():
            assert getattr(getattr(config, group), name) == value
            assert f"{group}.{name}={value}".lower() in in_words(mode)
    assert diagnosed(config) == config
    if not SETS[mode]:
        plain = run_config(*asked)
        assert (config.train, config.kernel) == (plain.train, plain.kernel)
