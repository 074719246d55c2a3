"""What the picture shows: bars from balance to balance."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.patches import Rectangle

from analysis.ledger_statement import statement_of
from analysis.plots.waterfall import save_waterfall, waterfall
from analysis.run_files import read_ledger
from tests.analysis.ledger_folder import records, run_folder


def bars(tmp_path: Path, panel: int) -> list[Rectangle]:
    axes = waterfall(statement_of(read_ledger(run_folder(tmp_path, records())), every=1000)).axes
    return [patch for patch in axes[panel].patches if isinstance(patch, Rectangle)]


def test_bars_lead_from_opening_to_closing(tmp_path: Path) -> None:
    steps = [(bar.get_y(), bar.get_height()) for bar in bars(tmp_path, 0)]
    level = 8.0
    for bottom, height in steps:
        assert bottom == pytest.approx(level)
        level += height
    assert level == pytest.approx(4.75)
    assert [height for _, height in steps if height] == pytest.approx([0.5, -3.0, -0.75])
    places = [bar.get_x() for bar in bars(tmp_path / "again", 0)]
    assert places == sorted(places)


def test_what_stays_among_experts_has_its_own_panel(tmp_path: Path) -> None:
    assert [bar.get_height() for bar in bars(tmp_path, 3)] == [8.0, 1.0, 0.0]


def test_files_are_pictures_and_the_same_each_time(tmp_path: Path) -> None:
    ledger = read_ledger(run_folder(tmp_path, records()))
    svg, png = save_waterfall(statement_of(ledger), tmp_path / "a")
    assert (svg.name, png.name) == ("waterfall.svg", "waterfall.png")
    assert ElementTree.parse(svg).getroot().tag.endswith("svg")
    assert png.read_bytes().startswith(b"\x89PNG")
    again, _ = save_waterfall(statement_of(ledger), tmp_path / "b")
    assert again.read_bytes() == svg.read_bytes()
    one_layer, _ = save_waterfall(statement_of(ledger, layer=1), tmp_path / "a")
    assert one_layer.name == "waterfall_layer_01.svg"
