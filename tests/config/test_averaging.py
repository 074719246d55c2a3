"""Which steps' weights an average counts, how much, and which averages are refused."""

from __future__ import annotations

import pytest
from compositions import run_config

from camoe.config import ConfigError
from camoe.config.averaging import AveragingConfig


@pytest.mark.parametrize(
    ("start", "every", "total", "counted"),
    [
        (0.75, 1, 8, [6, 7, 8]),
        (0.7, 1, 10, [7, 8, 9, 10]),
        (0.75, 10, 300, [230, 240, 250, 260, 270, 280, 290, 300]),
        (0.5, 3, 11, [8, 11]),
        (0.9, 100, 50, [50]),
        (1.0, 1, 7, [7]),
        (0.0, 2, 5, [1, 3, 5]),
    ],
)
def test_from_the_declared_start_to_the_last_step(start: float, every: int, total: int, counted: list[int]) -> None:
    averaging = AveragingConfig(kind="swa", start=start, every=every)
    assert list(averaging.counted_steps(total)) == counted
    assert list(AveragingConfig(kind="none", start=start, every=every).counted_steps(total)) == []


def shares(averaging: AveragingConfig, count: int) -> list[float]:
    """What each of `count` weights counts for, by adding one after the other."""
    found: list[float] = []
    for n in range(1, count + 1):
        newest = averaging.newest_share(n)
        found = [share * (1 - newest) for share in found] + [newest]
    return found


def test_swa_counts_all_alike_and_ema_by_age() -> None:
    assert shares(AveragingConfig(kind="swa"), 5) == pytest.approx([0.2] * 5)
    unnormalised = [0.5**age for age in (3, 2, 1, 0)]
    expected = [share / sum(unnormalised) for share in unnormalised]
    assert shares(AveragingConfig(kind="ema", decay=0.5), 4) == pytest.approx(expected)


@pytest.mark.parametrize(
    "averaging",
    [
        AveragingConfig(kind="swa", start=0.2, every=3),
        AveragingConfig(kind="ema", start=0.1, decay=0.97),
        AveragingConfig(kind="ema", start=0.5, decay=0.999),
    ],
    ids=str,
)
@pytest.mark.parametrize("total", [20, 101])
def test_early_share_is_what_the_first_half_counts_for(averaging: AveragingConfig, total: int) -> None:
    counted = averaging.counted_steps(total)
    of_first_half = [s for step, s in zip(counted, shares(averaging, len(counted)), strict=True) if step < total / 2]
    assert averaging.early_share(total) == pytest.approx(sum(of_first_half))


def test_an_average_begun_at_step_50_is_refused() -> None:
    """As in the published code, which lost 0.08 bits per byte by it."""
    with pytest.raises(ConfigError, match=r"averaging\.start: 0\.0025 gives .* 50% of the average"):
        AveragingConfig(kind="swa", start=50 / 20_000).check(20_000)
    with pytest.raises(ConfigError, match=r"or lower averaging\.decay"):
        AveragingConfig(kind="ema", start=50 / 20_000, decay=0.9999).check(20_000)
    AveragingConfig(kind="ema", start=50 / 20_000, decay=0.999).check(20_000)  # has forgotten them at the end


@pytest.mark.parametrize("kind", ["none", "swa", "ema"])
@pytest.mark.parametrize("total", [1, 2, 5, 3000])
def test_half_of_the_run_is_never_too_early(kind: str, total: int) -> None:
    AveragingConfig(kind=kind, start=0.5, decay=0.9999).check(total)


@pytest.mark.usefixtures("hydra")
def test_the_refusal_comes_with_the_composition() -> None:
    with pytest.raises(ConfigError, match=r"averaging\.start"):
        run_config("averaging=swa", "averaging.start=0.1")
    with pytest.raises(ConfigError, match=r"averaging\.decay: 1\.0; must be below 1"):
        run_config("averaging=ema", "averaging.decay=1")
    assert run_config("averaging=swa").averaging == AveragingConfig(kind="swa")
