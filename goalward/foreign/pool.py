"""N worlds, in this process or spread over others, which share memory with it."""

import itertools
import json
import mmap
import os
import subprocess
import sys
import tempfile
import traceback
import weakref
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from goalward.errors import MachineError, UserError
from goalward.foreign.layout import Layout
from goalward.foreign.making import Recipe
from goalward.foreign.worlds import Block, World, block, nbytes

SHARED = Path("/dev/shm")  # memory, where there is such a folder; else a file like any other


class Kind(NamedTuple):
    """What all worlds of a pool are."""

    recipe: Recipe
    layout: Layout
    words: int  # of a snapshot; 0 where none can be taken


class Here:
    """Worlds in this process."""

    def __init__(self, kind: Kind, number: int):
        self.block = block(kind.layout, kind.words, number, bytearray(nbytes(kind.layout, kind.words, number)))
        self._worlds = _made(kind, number)
        self._name = kind.recipe.name

    def run(self) -> None:
        """Let each world take its turn."""
        fault = take_turns(self._worlds, self.block, 0)
        if fault:
            raise UserError(f"{self._name}: {fault}")

    def close(self) -> None:
        """Close the worlds."""
        for world in self._worlds:
            world.env.close()


class Apart:
    """Worlds in processes of their own."""

    def __init__(self, kind: Kind, number: int, processes: int):
        folder = SHARED if SHARED.is_dir() else None
        size = nbytes(kind.layout, kind.words, number)
        with tempfile.NamedTemporaryFile(prefix="goalward-", dir=folder) as file:
            file.truncate(size)
            self.block = block(kind.layout, kind.words, number, mmap.mmap(file.fileno(), size))
            bounds = np.linspace(0, number, processes + 1).astype(int).tolist()
            parts = itertools.pairwise(bounds)
            self._processes = [_start(kind, number, part, file.name) for part in parts]
            self._name = kind.recipe.name
            self._end = weakref.finalize(self, _stop, self._processes)
            for process in self._processes:  # they have opened the file once they answer
                self._hear(process)

    def run(self) -> None:
        """Let each world take its turn."""
        for process in self._processes:
            _tell(process)
        for process in self._processes:
            self._hear(process)

    def close(self) -> None:
        """End the processes."""
        self._end()

    def _hear(self, process: "subprocess.Popen[bytes]") -> None:
        answer = _out(process).readline()
        if answer == b"\n":
            return
        if not answer:
            code = process.wait()
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise MachineError(f"{self._name}: a process of its worlds ended by {how}; its messages are above")
        raise UserError(f"{self._name}: {json.loads(answer)}")


def _made(kind: Kind, number: int) -> list[World]:
    return [World(kind.recipe, kind.layout, kind.words > 0) for _ in range(number)]


def take_turns(worlds: list[World], all_worlds: Block, first: int) -> str | None:
    """Let some worlds take their turns, the first of them number `first`; what went wrong, if anything did."""
    for i, world in enumerate(worlds, first):
        try:
            world.turn(all_worlds, i)
        except Exception as error:  # whatever another's code raises
            return told(error)
    return None


def told(error: Exception) -> str:
    """One line of an exception, and where it was raised."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    message = " ".join(str(error).split())
    return f"{where.name} raised {type(error).__name__}: {message} ({where.filename}, line {where.lineno})"


def _start(kind: Kind, number: int, part: tuple[int, int], file: str) -> "subprocess.Popen[bytes]":
    """Start the process of some worlds. It ends when its input does, so with this one."""
    words = [sys.executable, "-m", "goalward.foreign"]
    folder = str(Path(__file__).parents[2])
    path = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    layout = kind.layout._asdict() | {"low": kind.layout.low.tolist(), "high": kind.layout.high.tolist()}
    order = {"recipe": kind.recipe._asdict(), "layout": layout, "words": kind.words}
    _in(process).write(json.dumps({**order, "number": number, "part": part, "file": file}).encode() + b"\n")
    _in(process).flush()
    return process


def _tell(process: "subprocess.Popen[bytes]") -> None:
    try:
        _in(process).write(b"\n")
        _in(process).flush()
    except BrokenPipeError:
        pass  # what it has to say, or its end, is heard next


def _in(process: "subprocess.Popen[bytes]") -> IO[Any]:
    assert process.stdin is not None  # noqa: S101
    return process.stdin


def _out(process: "subprocess.Popen[bytes]") -> IO[Any]:
    assert process.stdout is not None  # noqa: S101
    return process.stdout


def _stop(processes: list["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
        _in(process).close()
        _out(process).close()
