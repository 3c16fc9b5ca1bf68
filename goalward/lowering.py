"""A function of JAX as a graph of operations of ONNX: traced, flattened, and what is constant computed.

What depends on no input is computed here, such as a block's part of stacked weights, so that the graph holds
what has to be computed for each input and nothing else. A scan over blocks is unrolled.
"""

import string
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.extend import core

from goalward.errors import UserError
from goalward.runtime.graph import Graph, Node

# Names of operations of JAX that work element by element, and theirs in ONNX.
ELEMENTWISE = {
    "abs": "Abs", "add": "Add", "add_any": "Add", "and": "And", "ceil": "Ceil", "cos": "Cos", "div": "Div",
    "eq": "Equal", "exp": "Exp", "floor": "Floor", "ge": "GreaterOrEqual", "gt": "Greater", "le": "LessOrEqual",
    "log": "Log", "logistic": "Sigmoid", "lt": "Less", "max": "Max", "min": "Min", "mul": "Mul", "neg": "Neg",
    "not": "Not", "or": "Or", "pow": "Pow", "round": "Round", "sign": "Sign", "sin": "Sin", "sqrt": "Sqrt",
    "sub": "Sub", "tanh": "Tanh",
}  # fmt: skip
REDUCTIONS = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin"}
AS_THEY_ARE = {"name", "stop_gradient", "copy", "optimization_barrier"}
CALLS = {"jit": "jaxpr", "remat2": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}


class Made(NamedTuple):
    """What an operation of the graph gives. Where a dimension is 1 it stands for any, as NumPy broadcasts."""

    name: str
    shape: tuple[int, ...]  # −1 for the number of rows


class Constants:
    """Arrays that graphs share, by name; equal ones are one."""

    def __init__(self):
        self.arrays: dict[str, np.ndarray] = {}
        self._names: dict[tuple[Any, ...], str] = {}

    def name(self, value: Any) -> str:
        """The name of an array, a new one where it is new."""
        array = np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        name = self._names.setdefault(key, f"c{len(self._names)}")
        self.arrays[name] = array
        return name


def lower(function: Callable[..., Any], sizes: dict[str, int], constants: Constants) -> Graph:
    """The graph of a function of arrays (N, size), by name, that gives one; its constants are added to others.

    Raises `UserError` for an operation that has no counterpart here.
    """
    (rows,) = export.symbolic_shape("n")
    inputs = [jax.ShapeDtypeStruct((rows, size), jnp.float32) for size in sizes.values()]
    closed = jax.jit(function).trace(*inputs).jaxpr
    lowering = _Lowering(next(iter(sizes)), constants)
    given = [Made(name, (-1, size)) for name, size in sizes.items()]
    (last,) = lowering.run(closed.jaxpr, closed.consts, given)
    full = lowering.full(last, closed.jaxpr.outvars[0].aval.shape)
    return Graph(tuple(sizes), full.name, _needed(lowering.nodes, full.name))


def _needed(nodes: list[Node], last: str) -> tuple[Node, ...]:
    """The nodes on which an output depends."""
    needed, kept = {last}, []
    for node in reversed(nodes):
        if node.output in needed:
            needed |= set(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))


def _plain(shape: Any) -> tuple[int, ...]:
    """A shape with −1 for the number of rows."""
    return tuple(int(size) if isinstance(size, int | np.integer) else -1 for size in shape)


class _Lowering:
    """Operations so far."""

    def __init__(self, rows: str, constants: Constants):
        self.rows, self.constants = rows, constants  # an input that has N rows; what others share
        self.nodes: list[Node] = []

    def run(self, jaxpr: Any, constants: Any, given: Any) -> list[Any]:
        """What a jaxpr gives for arrays that are known, or made by the graph."""
        values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *given], strict=True))

        def value(atom: Any) -> Any:
            return (
                np.asarray(atom.val, getattr(atom.aval, "dtype", None))
                if isinstance(atom, core.Literal)
                else values[atom]
            )

        for equation in jaxpr.eqns:
            given = [value(atom) for atom in equation.invars]
            values |= zip(equation.outvars, self._results(equation, given), strict=True)
        return [value(atom) for atom in jaxpr.outvars]

    def _results(self, equation: Any, given: list[Any]) -> list[Any]:
        name, told = equation.primitive.name, equation.params
        if name in CALLS:
            inner = told[CALLS[name]]
            return self.run(getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), given)
        if name in AS_THEY_ARE:
            return given
        if name == "scan" and any(isinstance(one, Made) for one in given):
            return self._scan(told, given)
        if not any(isinstance(one, Made) for one in given):
            return self._known(equation, given)
        if name == "split":
            return self._split(equation, given[0])
        return [self._one(equation, given)]

    def _known(self, equation: Any, given: list[Any]) -> list[Any]:
        """Of known arrays; where a size is the number of rows it is 1, as each row is alike."""
        told = dict(equation.params)
        if "shape" in told:
            told["shape"] = tuple(abs(size) for size in _plain(told["shape"]))
        found = equation.primitive.bind(*map(jnp.asarray, given), **told)
        return list(found) if equation.primitive.multiple_results else [found]

    def _scan(self, told: Any, given: list[Any]) -> list[Any]:
        fixed, carried = told["num_consts"], told["num_consts"] + told["num_carry"]
        constants, carry, over = given[:fixed], given[fixed:carried], given[carried:]
        order = range(told["length"])
        body = told["jaxpr"]
        if len(body.out_avals) > len(carry) or any(isinstance(one, Made) for one in over):
            raise UserError("a loop that collects what its steps give cannot be exported")
        for i in reversed(order) if told["reverse"] else order:
            carry = self.run(body.jaxpr, body.consts, [*constants, *carry, *(each[i] for each in over)])
        return carry

    # Operations --------------------------------------------------------------------------------------------

    def _one(self, equation: Any, given: list[Any]) -> Made:
        name, told = equation.primitive.name, equation.params
        if name in ELEMENTWISE:
            return self.add(ELEMENTWISE[name], given)
        if name in REDUCTIONS:
            axes = [int(axis) for axis in told["axes"]]
            whole = self.full(given[0], equation.invars[0].aval.shape)
            return self.add(REDUCTIONS[name], [whole], _without(whole.shape, axes), axes=axes)
        translate = _OTHERS.get(name)
        if translate is None:
            raise UserError(f"{name}, an operation of JAX, cannot be exported to ONNX")
        return translate(self, equation, given)

    def add(self, op: str, given: list[Any], shape: tuple[int, ...] | None = None, /, **told: Any) -> Made:
        """One more operation; without a shape its output is as its inputs are broadcast."""
        names = tuple(one.name if isinstance(one, Made) else self.constants.name(one) for one in given)
        if shape is None:
            shape = _broadcast([one.shape for one in given])
        made = Made(f"t{len(self.nodes)}", shape)
        self.nodes.append(Node(op, names, made.name, told))
        return made

    def full(self, one: Any, shape: Any) -> Made:
        """An array that is as large as its shape says, of one that may be broadcast to it."""
        shape = _plain(shape)
        if isinstance(one, Made) and one.shape == shape:
            return one
        return self.add("Expand", [one, Made(self.rows, ())], shape, shape=list(shape))

    def reshaped(self, one: Made, shape: tuple[int, ...]) -> Made:
        """The same elements in another shape."""
        return one if one.shape == shape else self.add("Reshape", [one], shape, shape=list(shape))

    def _split(self, equation: Any, one: Made) -> list[Made]:
        axis, end, found = int(equation.params["axis"]), 0, []
        one = self.full(one, equation.invars[0].aval.shape)
        for size in map(int, equation.params["sizes"]):
            found.append(_sliced(self, one, [axis], [end], [end + size], [1]))
            end += size
        return found


def _without(shape: tuple[int, ...], axes: list[int]) -> tuple[int, ...]:
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def _broadcast(shapes: list[tuple[int, ...]]) -> tuple[int, ...]:
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in shapes]
    return tuple(next((size for size in sizes if size != 1), 1) for sizes in zip(*padded, strict=True))


def _sliced(
    low: _Lowering, one: Made, axes: list[int], starts: list[int], ends: list[int], steps: list[int]
) -> Made:
    """Part of an array along some axes."""
    shape = list(one.shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        shape[axis] = len(range(start, end, step))
    return low.add("Slice", [one], tuple(shape), axes=axes, starts=starts, ends=ends, steps=steps)


def _slice(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    told, whole = equation.params, low.full(given[0], equation.invars[0].aval.shape)
    starts, ends = _plain(told["start_indices"]), _plain(told["limit_indices"])
    steps = told["strides"] or (1,) * len(starts)
    parts = [
        (axis, int(start), int(end), int(step))
        for axis, (start, end, step, size) in enumerate(zip(starts, ends, steps, whole.shape, strict=True))
        if (start, end, step) != (0, size, 1)
    ]
    return _sliced(low, whole, *map(list, zip(*parts, strict=True))) if parts else whole


def _broadcast_in_dim(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    shape = [1] * len(equation.outvars[0].aval.shape)
    for axis, size in zip(equation.params["broadcast_dimensions"], given[0].shape, strict=True):
        shape[int(axis)] = size
    return low.reshaped(given[0], tuple(shape))


def _reshape(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    whole = low.full(given[0], equation.invars[0].aval.shape)
    return low.reshaped(whole, _plain(equation.outvars[0].aval.shape))


def _squeeze(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    dimensions = [int(axis) for axis in equation.params["dimensions"]]
    return low.reshaped(given[0], _without(given[0].shape, dimensions))


def _transpose(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    order = [int(axis) for axis in equation.params["permutation"]]
    return low.add("Transpose", given, tuple(given[0].shape[axis] for axis in order), perm=order)


def _concatenate(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    parts = [low.full(one, atom.aval.shape) for one, atom in zip(given, equation.invars, strict=True)]
    shape = _plain(equation.outvars[0].aval.shape)
    return low.add("Concat", parts, shape, axis=int(equation.params["dimension"]))


def _dot_general(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    (contract, contract_right), (batch, batch_right) = equation.params["dimension_numbers"]
    shape = _plain(equation.outvars[0].aval.shape)
    left, right = (
        one
        if not isinstance(one, Made) and -1 not in _plain(atom.aval.shape)
        else low.full(one, atom.aval.shape)
        for one, atom in zip(given, equation.invars, strict=True)
    )
    ranks = [len(atom.aval.shape) for atom in equation.invars]
    if ranks == [2, 2] and (tuple(contract), tuple(contract_right)) == ((1,), (0,)) and not batch:
        return low.add("MatMul", [left, right], shape)
    letters = iter(string.ascii_lowercase)
    of_left, of_right = ([next(letters) for _ in range(rank)] for rank in ranks)
    for i, j in zip([*batch, *contract], [*batch_right, *contract_right], strict=True):
        of_right[j] = of_left[i]
    free = [letter for axis, letter in enumerate(of_left) if axis not in {*batch, *contract}]
    free += [letter for axis, letter in enumerate(of_right) if axis not in {*batch_right, *contract_right}]
    out = [of_left[i] for i in batch] + free
    equation_text = f"{''.join(of_left)},{''.join(of_right)}->{''.join(out)}"
    return low.add("Einsum", [left, right], shape, equation=equation_text)


def _gather(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    """One place on one axis, which is known."""
    (one, index), told = given, equation.params["dimension_numbers"]
    axes = tuple(map(int, told.start_index_map))
    if isinstance(index, Made) or np.shape(index) != (1,) or tuple(map(int, told.collapsed_slice_dims)) != axes:
        raise UserError("gather, an operation of JAX, cannot be exported to ONNX but for one known place")
    (axis,), at = axes, int(index[0])
    whole = low.full(one, equation.invars[0].aval.shape)
    part = _sliced(low, whole, [axis], [at], [at + 1], [1])
    return low.reshaped(part, _without(part.shape, [axis]))


def _integer_pow(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    power, (one,) = int(equation.params["y"]), given
    if power in (2, 3):
        square = low.add("Mul", [one, one])
        return square if power == 2 else low.add("Mul", [square, one])
    return low.add("Pow", [one, np.float32(power)])


def _square(low: _Lowering, _: Any, given: list[Any]) -> Made:
    return low.add("Mul", [given[0], given[0]])


def _rsqrt(low: _Lowering, _: Any, given: list[Any]) -> Made:
    return low.add("Reciprocal", [low.add("Sqrt", given)])


def _log1p(low: _Lowering, _: Any, given: list[Any]) -> Made:
    return low.add("Log", [low.add("Add", [given[0], np.float32(1)])])


def _expm1(low: _Lowering, _: Any, given: list[Any]) -> Made:
    return low.add("Sub", [low.add("Exp", given), np.float32(1)])


def _unequal(low: _Lowering, _: Any, given: list[Any]) -> Made:
    return low.add("Not", [low.add("Equal", given)])


def _select(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    if equation.invars[0].aval.dtype != bool:
        raise UserError("a choice between more than two arrays cannot be exported to ONNX")
    return low.add("Where", [given[0], given[2], given[1]])


def _convert(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    dtype = np.dtype(equation.params["new_dtype"])
    if dtype == equation.invars[0].aval.dtype:
        return given[0]
    return low.add("Cast", given, to=dtype.name)


def _argmax(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    (axis,) = equation.params["axes"]
    found = low.add("ArgMax", given, _without(given[0].shape, [int(axis)]), axis=int(axis))
    return low.add("Cast", [found], to=np.dtype(equation.params["index_dtype"]).name)


def _pad(low: _Lowering, equation: Any, given: list[Any]) -> Made:
    config = [tuple(map(int, each)) for each in equation.params["padding_config"]]
    if any(low_ < 0 or high < 0 or inner for low_, high, inner in config):
        raise UserError("padding that cuts, or is within, cannot be exported to ONNX")
    whole = low.full(given[0], equation.invars[0].aval.shape)
    pads = [[before, after] for before, after, _ in config]
    return low.add("Pad", [whole, given[1]], _plain(equation.outvars[0].aval.shape), pads=pads)


_OTHERS: dict[str, Callable[[_Lowering, Any, list[Any]], Made]] = {
    "argmax": _argmax, "broadcast_in_dim": _broadcast_in_dim, "concatenate": _concatenate,
    "convert_element_type": _convert, "dot_general": _dot_general,
    "expm1": _expm1, "gather": _gather, "integer_pow": _integer_pow, "log1p": _log1p, "ne": _unequal,
    "pad": _pad, "reshape": _reshape, "rsqrt": _rsqrt, "select_n": _select, "slice": _slice, "square": _square,
    "squeeze": _squeeze, "transpose": _transpose,
}  # fmt: skip
