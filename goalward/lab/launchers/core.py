"""What a launcher is: something that starts a run as a process, and tells when it ended.

A launcher does not know what a run does. On each of them a run is the same process, so that its numbers are the
same: `python -m goalward` and the task's words, in this environment and a fixed number of XLA's threads.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple


class Task(NamedTuple):
    """A process to start."""

    name: str  # of the run
    words: tuple[str, ...]  # of `python -m goalward`
    log: Path  # standard output and error are appended to it
    cores: int  # processors, and XLA's threads
    memory: int  # bytes, at most
    gpus: float = 0  # share of one
    begun: Path | None = None  # a file; from when it is there, the words are those of `again`
    again: tuple[str, ...] = ()


class Job(NamedTuple):
    """A task that a launcher took."""

    poll: Callable[[], int | None]  # exit code, negative for a signal's number; None while it waits or runs
    stop: Callable[[], None]  # ask it to save and stop; comes back at once


class Launcher(NamedTuple):
    """Where tasks run."""

    start: Callable[[Sequence[Task]], list[Job]]  # raises `MachineError` for what this launcher cannot do
    slots: int | None  # tasks that it is to be given at a time; None: it has a queue of its own and takes all
    close: Callable[[], None]
    stays: str | None = None  # what to say of tasks that go on when the sweep ends; None: they are stopped


def command(task: Task, at_death: str = "SIGTERM") -> list[str]:
    """The words of a task's process; to be asked for where and when it starts, the first time or once more.

    Where `setpriv` exists, as on any Linux, the process gets a signal when the one that started it dies: a run
    then saves and stops.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    bound = [setpriv, "--pdeathsig", at_death, "--"] if setpriv else []
    is_begun = task.begun is not None and task.begun.exists()
    return [*bound, sys.executable, "-m", "goalward", *(task.again if is_begun else task.words)]


def variables(task: Task) -> dict[str, str]:
    """What a task's process finds in its environment, beside what is there.

    `PJRT_NPROC` fixes the number of XLA's threads: sums, and so bits, depend on it.
    """
    return {"PJRT_NPROC": str(task.cores)}
