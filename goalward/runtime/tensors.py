"""Arrays in a file of the format safetensors: the length of a header, the header in JSON, and the bytes."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from goalward import files
from goalward.errors import UserError

TYPES = {
    "F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U32": "<u4", "U8": "|u1", "I8": "|i1",
    "BOOL": "|b1",
}  # fmt: skip
NAMES = {code: name for name, code in TYPES.items()}
MOST_HEADER = 100_000_000  # bytes; the format allows no more


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, each where it is aligned, the largest numbers first."""
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header, end = {}, 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        kind = NAMES[array.dtype.newbyteorder("<").str]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    body = b"".join(np.asarray(array, TYPES[header[name]["dtype"]]).tobytes() for name, array in ordered)
    files.replace(path, len(text).to_bytes(8, "little") + text + body)


def read(content: bytes, path: Path) -> dict[str, np.ndarray]:
    """The arrays in a file's bytes. Raises `UserError`, naming the file, where they are no such file's."""
    try:
        size = int.from_bytes(content[:8], "little")
        if size > MOST_HEADER:
            raise ValueError("a header as long as that")
        header, body = json.loads(content[8 : 8 + size]), memoryview(content)[8 + size :]
        header.pop("__metadata__", None)
        return {name: _array(told, body) for name, told in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no file of safetensors: {error}") from error


def _array(told: Mapping, body: memoryview) -> np.ndarray:
    (start, end), shape = told["data_offsets"], tuple(told["shape"])
    dtype = np.dtype(TYPES[told["dtype"]])
    if not 0 <= start <= end <= len(body) or end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError("its sizes do not agree")
    return np.frombuffer(body[start:end], dtype).reshape(shape) if end > start else np.zeros(shape, dtype)
