"""A computation as a list of operations of ONNX, and NumPy to run it.

Arrays have the shapes that they have in ONNX. The first dimension of what is given may be any number of rows,
N; where a node says a shape, −1 is that number.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from goalward.errors import UserError

Array = np.ndarray
Attributes = Mapping[str, Any]


class Node(NamedTuple):
    """One operation."""

    op: str  # its name in ONNX
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any] = {}  # noqa: RUF012  # of JSON; never changed


class Graph(NamedTuple):
    """A function of arrays; constants are kept apart, by name."""

    inputs: tuple[str, ...]
    output: str
    nodes: tuple[Node, ...]


def _sigmoid(x: Array) -> Array:
    return np.float32(0.5) * np.tanh(np.float32(0.5) * x) + np.float32(0.5)


PLAIN: dict[str, Callable[..., Array]] = {
    "Abs": np.abs, "Add": np.add, "And": np.logical_and, "Ceil": np.ceil, "Cos": np.cos, "Div": np.divide,
    "Equal": np.equal, "Exp": np.exp, "Floor": np.floor, "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal, "Less": np.less, "LessOrEqual": np.less_equal, "Log": np.log,
    "MatMul": np.matmul, "Max": np.maximum, "Min": np.minimum, "Mul": np.multiply, "Neg": np.negative,
    "Not": np.logical_not, "Or": np.logical_or, "Pow": np.power, "Reciprocal": np.reciprocal, "Round": np.rint,
    "Sigmoid": _sigmoid, "Sign": np.sign, "Sin": np.sin, "Sqrt": np.sqrt, "Sub": np.subtract, "Tanh": np.tanh,
    "Where": np.where,
}  # fmt: skip
REDUCTIONS: dict[str, Callable[..., Array]] = {"ReduceSum": np.sum, "ReduceMax": np.max, "ReduceMin": np.min}


def _slicer(attributes: Attributes) -> Callable[..., Array]:
    parts = zip(attributes["axes"], attributes["starts"], attributes["ends"], attributes["steps"], strict=True)
    by_axis = {axis: slice(start, end, step) for axis, start, end, step in parts}
    index = tuple(by_axis.get(axis, slice(None)) for axis in range(max(by_axis) + 1))
    return lambda x: x[index]


def _expander(attributes: Attributes) -> Callable[..., Array]:
    shape = attributes["shape"]
    return lambda x, rows: np.broadcast_to(x, [len(rows) if size < 0 else size for size in shape])


def _argmax(attributes: Attributes) -> Callable[..., Array]:
    axis = attributes["axis"]
    return lambda x: np.asarray(np.argmax(x, axis=axis), np.int64)


def _reducer(reduce: Callable[..., Array]) -> Callable[[Attributes], Callable[..., Array]]:
    def with_axes(attributes: Attributes) -> Callable[..., Array]:
        axes = tuple(attributes["axes"])
        return lambda x: reduce(x, axis=axes)

    return with_axes


# Operations that are told more than arrays, each as a function of that.
TOLD: dict[str, Callable[[Attributes], Callable[..., Array]]] = {
    "ArgMax": _argmax,
    "Cast": lambda a: lambda x: x.astype(a["to"]),
    "Concat": lambda a: lambda *parts: np.concatenate(parts, axis=a["axis"]),
    "Einsum": lambda a: lambda x, y: np.einsum(a["equation"], x, y),
    "Expand": _expander,
    "Pad": lambda a: lambda x, value: np.pad(x, a["pads"], constant_values=value),
    "Reshape": lambda a: lambda x: x.reshape(a["shape"]),
    "Slice": _slicer,
    "Transpose": lambda a: lambda x: x.transpose(a["perm"]),
    **{name: _reducer(reduce) for name, reduce in REDUCTIONS.items()},
}


def compiled(graph: Graph, constants: Mapping[str, Array]) -> Callable[..., Array]:
    """Make the function of arrays that a graph is. Raises `UserError` for an operation that is not known."""
    names = [*graph.inputs, *constants, *(node.output for node in graph.nodes)]
    at = {name: i for i, name in enumerate(names)}
    fixed = [None] * len(graph.inputs) + list(constants.values()) + [None] * len(graph.nodes)
    steps = [(_function(node), [at[name] for name in node.inputs], at[node.output]) for node in graph.nodes]
    last = at[graph.output]

    def run(*given: Array) -> Array:
        values: list[Any] = fixed.copy()
        values[: len(given)] = given
        for function, sources, target in steps:
            values[target] = function(*[values[source] for source in sources])
        return values[last]

    return run


def _function(node: Node) -> Callable[..., Array]:
    if node.op in PLAIN:
        return PLAIN[node.op]
    if node.op in TOLD:
        return TOLD[node.op](node.attributes)
    raise UserError(f"the operation {node.op!r} is not known; it must be one of {', '.join([*PLAIN, *TOLD])}")


def from_json(words: Any) -> Graph:
    """Read a graph as `to_json` gives it."""
    nodes = tuple(Node(op, tuple(inputs), output, told) for op, inputs, output, told in words["nodes"])
    return Graph(tuple(words["inputs"]), words["output"], nodes)


def to_json(graph: Graph) -> dict[str, Any]:
    """Give a graph as plain values."""
    return {"inputs": list(graph.inputs), "output": graph.output, "nodes": [list(node) for node in graph.nodes]}


def used(graph: Graph) -> Sequence[str]:
    """Names of the constants that a graph reads."""
    made = {*graph.inputs, *(node.output for node in graph.nodes)}
    return list(dict.fromkeys(name for node in graph.nodes for name in node.inputs if name not in made))
