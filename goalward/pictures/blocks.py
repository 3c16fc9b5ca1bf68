"""What residual blocks do: how much each adds, to how much, and the gradient that it gets."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import ArrayLike

from goalward.pictures import style
from goalward.pictures.lines import Group, Panel, curves

# By what follows the network's name in a row of metrics.
SHOWN = {
    "branch_norm": "what a block adds",
    "stream_norm": "what it is added to",
    "block_grad_norm": "the gradient it gets",
}
WIDE_RANGE = 20  # from the least to the greatest norm; beyond it the axis is logarithmic


@style.large_text()
def block_norms(norms: Mapping[str, Mapping[str, ArrayLike]], network: str, heading: str = "depth") -> Figure:
    """Norms over the blocks of a network ("phi", "psi", "actor"), a line for each group.

    `norms` has for each label, such as a depth, lists by their names in metrics.jsonl; a network without
    blocks has empty ones, and makes no line.
    """
    panels = []
    for name, says in SHOWN.items():
        found = {label: np.asarray(of.get(f"{network}_{name}", []), float) for label, of in norms.items()}
        groups = [_group(label, values) for label, values in found.items() if len(values)]
        panels.append(Panel(says, "block", "norm", groups))
    figure = curves(panels, heading)
    for axes in figure.axes:
        if axes.get_lines():
            _scale(axes)
    return figure


def _group(label: str, values: np.ndarray) -> Group:
    nothing = np.full(len(values), np.nan)
    return Group(label, np.arange(1, len(values) + 1), values, nothing, nothing)


def _scale(axes: Axes) -> None:
    """Blocks along a logarithmic axis, named at powers of 2; norms too where they differ much."""
    last = max(float(np.max(line.get_xdata())) for line in axes.get_lines())
    axes.set_xscale("log", base=2)
    axes.set_xlim(0.9, 1.1 * last)
    axes.xaxis.set_major_formatter("{x:g}")
    norms = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.get_lines()])
    known = norms[np.isfinite(norms) & (norms > 0)]
    if len(known) and known.max() > WIDE_RANGE * known.min():
        axes.set_yscale("log")
        axes.autoscale(axis="y")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if known.max() < 500 * known.min() else (1,)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
