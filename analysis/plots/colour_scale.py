"""What the colours of a map mean."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from analysis.plots.style import INK, SMALL

ASPECT = 12.0  # of the bar per inch of the figure: as slim beside a tall map as beside a low one


def colour_scale(figure: Figure, axis: Axes, image: ScalarMappable, label: str, mark: float | None = None) -> None:
    """A slim bar beside the map, in percent; `mark` draws a line at a value that matters."""
    bar = figure.colorbar(image, ax=axis, fraction=0.03, pad=0.02, aspect=ASPECT * figure.get_figheight())
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(5)
    signed = image.norm.vmin != 0
    bar.formatter = FuncFormatter(lambda value, _: f"{100 * value:{'+' if signed and value else ''}.3g}")
    bar.update_ticks()
    bar.ax.tick_params(labelsize=SMALL, colors=INK, length=0)
    bar.set_label(label, fontsize=SMALL, color=INK)
    if mark is not None:
        bar.ax.axhline(mark, color="#ffffff", linewidth=2)


def readable_on(image: ScalarMappable, value: float) -> str:
    """Black or white text for a cell of this value, by the cell's luminance (ITU-R BT.709)."""
    red, green, blue = to_rgb(image.to_rgba(value))  # type: ignore[arg-type]
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.45 else "#ffffff"
