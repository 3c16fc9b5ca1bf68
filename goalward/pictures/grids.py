"""A measure over two axes: a coloured cell for each pair, with its number."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, to_hex, to_rgb
from matplotlib.figure import Figure

from goalward.pictures import style


class Grid(NamedTuple):
    """Values of all pairs of settings; NaN where there is none."""

    title: str
    x: str
    y: str
    columns: Sequence[str]
    rows: Sequence[str]
    values: np.ndarray  # (rows, columns)


@style.large_text()
def heat_map(shown: Sequence[Grid]) -> Figure:
    """Grids side by side, each with colours of its own, from the least (light) to the greatest (dark)."""
    figure, axes = style.panels(len(shown))
    widest = max((len(grid.columns) for grid in shown), default=1)
    tallest = max((len(grid.rows) for grid in shown), default=1)
    columns = min(2, len(shown))
    figure.set_size_inches(
        columns * max(1.1 + 0.54 * widest, 3.2), -(-len(shown) // columns) * (1.5 + 0.5 * tallest)
    )
    for one, grid in zip(axes, shown, strict=True):
        _draw(one, grid)
    return figure


def _draw(axes: Axes, grid: Grid) -> None:
    values = np.asarray(grid.values, float)
    known = values[np.isfinite(values)]
    least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    # One value alone is in the middle of the scale; lighter and darker ends would be no good ground for text.
    scale = Normalize(least, most) if most > least else Normalize(least - 1, least + 1)
    colours = mpl.colormaps[style.MAP].reversed()
    axes.imshow(np.ma.masked_invalid(values), cmap=colours, norm=scale, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        text = _number(value, most) if np.isfinite(value) else "–"
        ground = to_hex(colours(scale(value))) if np.isfinite(value) else "white"
        axes.text(column, row, text, ha="center", va="center", color=_readable(ground), fontsize=11)
    axes.set_xticks(range(len(grid.columns)), grid.columns)
    axes.set_yticks(range(len(grid.rows)), grid.rows)
    axes.set(xlabel=grid.x, ylabel=grid.y)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    style.title(axes, grid.title)


def _number(value: float, most: float) -> str:
    """As many digits as the greatest value needs: three in all."""
    if abs(most) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(most) >= 10 else f"{value:.2f}"


def _readable(ground: str) -> str:
    """Black or white, whichever differs more from a colour (WCAG 2 contrast)."""
    light = luminance(ground)
    return "black" if (light + 0.05) ** 2 > 1.05 * 0.05 else "white"


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour, 0 to 1 (WCAG 2)."""
    rgb = to_rgb(colour)
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
