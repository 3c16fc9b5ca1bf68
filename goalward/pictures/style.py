"""How figures look: text that can be read on a phone, colours that colour-blind readers can tell apart."""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator

from goalward.pictures.figures import own_settings

TEXT: dict[Any, Any] = {
    "font.size": 12, "axes.titlesize": 12, "axes.labelsize": 12, "legend.fontsize": 11,
    "legend.title_fontsize": 11, "legend.frameon": False,
}  # fmt: skip
PANEL = (3.7, 3.5)  # inches, of one of several
WIDE = (5.6, 3.4)  # of one that is alone
LEGEND = 0.7  # inches below all panels
# Ordered groups go through part of viridis, from light to dark. Its lightness falls evenly, so that they can be
# told apart in grey too; what is lighter than its start is hard to see on white.
MAP, LIGHT, DARK = "viridis", 0.8, 0.0
# Okabe and Ito, "Color universal design" (2008), without yellow, which is too light for lines on white.
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000")
MARKERS = "osD^vPX*<>"
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (5, 1.5, 1.5, 1.5)))
GREY = "#5f6368"


class Look(NamedTuple):
    """What tells a group from others: its colour and, as a second cue, markers and dashes."""

    colour: str
    marker: str
    dashes: Any  # a line style of Matplotlib


@contextmanager
def large_text() -> Iterator[None]:
    """Draw with Matplotlib's defaults, whatever a user has set, but with larger text."""
    with own_settings(), mpl.rc_context(TEXT):
        yield


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """A look for each different label: light to dark, in their order, where all are numbers."""
    names = list(dict.fromkeys(labels))
    if len(names) > 1 and all(is_number(name) for name in names):
        names.sort(key=float)
        colours = ordered(len(names))
        dashes = ["-"] * len(names)
    else:
        colours = [CATEGORIES[i % len(CATEGORIES)] for i in range(len(names))]
        dashes = [DASHES[i % len(DASHES)] for i in range(len(names))]
    return {
        name: Look(colours[i], MARKERS[i % len(MARKERS)], dashes[i]) for i, name in enumerate(names)
    }  # fmt: skip


def ordered(number: int) -> list[str]:
    """So many colours from light to dark; a single one is dark enough to be read."""
    step = (DARK - LIGHT) / max(number - 1, 1)
    return [to_hex(mpl.colormaps[MAP](LIGHT + i * step if number > 1 else 0.4)) for i in range(number)]


def is_number(label: str) -> bool:
    """Whether a label stands for a number."""
    try:
        return float(label) == float(label)
    except ValueError:
        return False


@large_text()
def panels(number: int, columns: int = 2) -> tuple[Figure, list[Axes]]:
    """A figure of so many panels, row by row, and no empty ones."""
    columns = max(1, min(columns, number))
    rows = max(1, -(-number // columns))
    width, height = WIDE if columns == 1 else PANEL
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    figure = Figure(figsize=(columns * width, rows * height + LEGEND), layout=layout)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(number)]
    return figure, axes


def title(axes: Axes, text: str) -> None:
    """Write a title in as many lines as it takes to stay within its panel."""
    axes.set_title(fill(text, 1.4 * axes.bbox.width / axes.figure.dpi))


def fill(text: str, inches: float) -> str:
    """Break a text into lines of a width, each of its own lines for itself."""
    lines = text.split("\n")
    return "\n".join(textwrap.fill(line, max(12, int(inches * 9.5)), break_long_words=False) for line in lines)


def legend(figure: Figure, handles: Sequence[Line2D], heading: str = "") -> None:
    """Name what is drawn, once, below all panels, in as many columns as there is room for."""
    if not handles:
        return
    widths = [0.7 + 0.1 * len(str(handle.get_label())) for handle in handles]  # inches, about
    room = float(figure.get_size_inches()[0])
    columns = len(handles)
    while columns > 1 and sum(max(column) for column in np.array_split(widths, columns)) > room:
        columns -= 1
    columns = -(-len(handles) // -(-len(handles) // columns))  # rows of about equal length
    figure.legend(
        handles=handles, loc="outside lower center", title=heading or None, ncols=columns,
        columnspacing=1.4, handlelength=2.2,
    )  # fmt: skip


def thousands(axis: Axis) -> None:
    """Write numbers along an axis as 0.5, 20, 4k, 100M, and few of them."""
    engineering = EngFormatter(sep="")
    axis.set_major_locator(MaxNLocator(5))
    axis.set_major_formatter(lambda x, _: f"{x:g}" if abs(x) < 1000 else engineering(x))


def note(axes: Axes, text: str) -> None:
    """Say in an empty panel why it is empty."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)
