"""A graph as a model of ONNX."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from goalward import files
from goalward.errors import MachineError
from goalward.runtime.graph import REDUCTIONS, Graph, Node, used

OPSET = 18  # of 2022: any runtime that is still kept reads it
IR_VERSION = 9


def library() -> ModuleType:
    """The package onnx. Raises `MachineError` where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise MachineError(
            'the extra `export`, which writes ONNX, is not installed: pip install "goalward[export]"; or leave '
            "the model out with --no-onnx"
        ) from None
    return onnx


def write(
    path: Path, graph: Graph, constants: Mapping[str, np.ndarray], sizes: dict[str, int], output: str, told: str
) -> None:
    """Write a graph of inputs (N, size) by name, as a file that says of itself what `told` says."""
    onnx = library()
    helper, to_tensor, kind = onnx.helper, onnx.numpy_helper.from_array, onnx.TensorProto.FLOAT
    kept = {name: constants[name] for name in used(graph)}
    nodes, more = [], {}
    for node in graph.nodes:
        nodes += _nodes(onnx, node, more)
    last = helper.make_node("Identity", [graph.output], [output])
    model = helper.make_model(
        helper.make_graph(
            [*nodes, last],
            "goalward",
            [helper.make_tensor_value_info(name, kind, ["N", size]) for name, size in sizes.items()],
            [helper.make_empty_tensor_value_info(output)],
            [to_tensor(np.ascontiguousarray(array), name) for name, array in {**kept, **more}.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="goalward",
        doc_string=told,
    )
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    files.replace(path, model.SerializeToString())


def _nodes(onnx: ModuleType, node: Node, more: dict[str, np.ndarray]) -> list[Any]:
    """The nodes of one operation; what ONNX takes as arrays is put into `more`."""
    make, told = onnx.helper.make_node, node.attributes

    def array(name: str, value: Any) -> str:
        name = f"{node.output}.{name}"
        more[name] = np.asarray(value, np.int64)
        return name

    def plain(*inputs: str, **attributes: Any) -> list[Any]:
        return [make(node.op, [*node.inputs, *inputs], [node.output], **attributes)]

    if node.op in REDUCTIONS:
        return plain(array("axes", told["axes"]), keepdims=0)
    match node.op:
        case "Cast":
            return plain(to=onnx.helper.np_dtype_to_tensor_dtype(np.dtype(told["to"])))
        case "Reshape":
            return plain(array("shape", told["shape"]))
        case "Slice":
            return plain(*(array(name, told[name]) for name in ("starts", "ends", "axes", "steps")))
        case "Pad":
            pads = array("pads", np.transpose(told["pads"]).ravel())
            return [make("Pad", [node.inputs[0], pads, node.inputs[1]], [node.output])]
        case "ArgMax":
            return plain(axis=told["axis"], keepdims=0)
        case "Expand":
            return _expand(onnx, node, array)
    return plain(**told)


def _expand(onnx: ModuleType, node: Node, array: Any) -> list[Any]:
    """To a shape in which −1 is the number of rows of the second input."""
    make, (what, rows), shape = onnx.helper.make_node, node.inputs, node.attributes["shape"]
    parts, number = [], f"{node.output}.rows"
    for axis, size in enumerate(shape):
        parts.append(number if size < 0 else array(f"size{axis}", [size]))
    shaped = f"{node.output}.shape"
    return [
        make("Shape", [rows], [number], start=0, end=1),
        make("Concat", parts, [shaped], axis=0),
        make("Expand", [what, shaped], [node.output]),
    ]
