"""Where an iteration's time goes: one traced iteration and evaluation of a run, summed up by part."""

import re
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from goalward import machine

# A part, and what the name of an operation contains that belongs to it; the first that matches.
SCOPES = {
    "collect": "/collect/",
    "insert": "/insert/",
    "sample": "/sample/",
    "optimiser": "/optimiser/",
    "backward": "transpose(",
    "forward": "jvp(",
}
PARTS = ("collect", "insert", "sample", "forward", "backward", "optimiser", "other", "evaluate")
# Operations that only hold others.
CONTAINERS = ("while", "call", "conditional")


class Profile(NamedTuple):
    """Time by part, summed over threads, and on the clock by program, in seconds."""

    parts: dict[str, float]
    seconds: dict[str, float]


class Untraced:
    """What stands in for a profiler where nothing is traced."""

    def program(self, name: str, program: Any, traced_call: int) -> Callable[..., Any]:
        """The program itself."""
        del name, traced_call
        return program

    clock = program


class Profiler:
    """Wraps what a run calls, so that one call of each is traced (programs) or timed (loops on the host)."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._names: dict[str, dict[str, str]] = {}
        self._traces: dict[str, Path] = {}
        self._clocks: dict[str, float | None] = {}

    def clock(self, name: str, function: Callable[..., Any], timed_call: int) -> Callable[..., Any]:
        """The same function, of whose calls the one of that number (from 0) is timed, as the part `name`."""
        calls = 0
        self._clocks[name] = None

        def call(*args: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls - 1 != timed_call:
                return function(*args)
            begun = time.perf_counter()
            result = jax.block_until_ready(function(*args))
            self._clocks[name] = time.perf_counter() - begun
            return result

        return call

    def program(self, name: str, program: Any, traced_call: int) -> Callable[..., Any]:
        """The same jitted program, of whose calls the one of that number (from 0) is traced, into a folder."""
        calls, compiled = 0, None

        def call(*args: Any) -> Any:
            nonlocal calls, compiled
            if compiled is None:
                compiled = program.lower(*args).compile()
                self._names[name] = operation_names(compiled.as_text())
            calls += 1
            if calls - 1 != traced_call:
                return compiled(*args)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0
            with jax.profiler.trace(str(self.folder / name), profiler_options=options):
                result = jax.block_until_ready(compiled(*args))
            self._traces[name] = newest_trace(self.folder / name)
            return result

        return call

    def result(self) -> Profile | None:
        """The sum of what was traced and timed; None before all of it was."""
        clocks = {name: seconds for name, seconds in self._clocks.items() if seconds is not None}
        if not self._traces or len(self._traces) < len(self._names) or len(clocks) < len(self._clocks):
            return None
        parts: dict[str, float] = dict.fromkeys(PARTS, 0.0)
        seconds: dict[str, float] = {}
        for name, path in self._traces.items():
            times, seconds[name] = read_trace(path)
            for operation, spent in times.items():
                part = "evaluate" if name == "evaluate" else part_of(self._names[name].get(operation, ""))
                parts[part] += spent
        for name, spent in clocks.items():  # a loop on the host has all threads wait for it
            parts[name] += spent * machine.cores()
            program = "evaluate" if name == "evaluate" else "iteration"
            seconds[program] = seconds.get(program, 0.0) + spent
        return Profile(parts, seconds)


def newest_trace(folder: Path) -> Path:
    """The newest trace in a folder, for `jax.profiler.ProfileData`, TensorBoard or xprof."""
    return max(folder.rglob("*.xplane.pb"))


def operation_names(program: str) -> dict[str, str]:
    """By name of an operation in the text of a compiled program, where in our code it comes from."""
    pattern = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = .*metadata=\{[^}]*op_name="([^"]*)"', re.MULTILINE)
    return dict(pattern.findall(program))


def part_of(op_name: str) -> str:
    """The part of an iteration that an operation belongs to."""
    path = f"/{op_name}/"
    return next((part for part, mark in SCOPES.items() if mark in path), "other")


def read_trace(path: Path) -> tuple[dict[str, float], float]:
    """Seconds by operation, summed over threads; and from the first one's start to the last one's end."""
    times: dict[str, float] = defaultdict(float)
    start, end = float("inf"), 0.0
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for event in line.events:
                operation = dict(event.stats).get("hlo_op")
                if operation is None or event.name != operation:
                    continue
                start, end = min(start, event.start_ns), max(end, event.end_ns)
                if not operation.startswith(CONTAINERS):
                    times[operation] += event.duration_ns / 1e9
    return times, max(0.0, end - start) / 1e9
