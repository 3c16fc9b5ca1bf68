"""A task's process on the machine where Ray or Slurm put it.

Both start a task once more without asking the sweep: its words are chosen where it starts, and a run that its
last process still holds, on a machine that is being lost perhaps, is waited for.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from goalward import runs
from goalward.lab.launchers.core import Task, command, variables
from goalward.lab.launchers.local import GPU_SHARE

POLL, LOOK = 0.2, 1.0  # seconds between two looks: at the process, at a run that another one holds
# A run saves at the first signal, and ends at once at a second. Ray and Slurm send what they like to all
# processes that they can find, so the one signal that a run hears is ours. While it loads, this one ends it; a
# SIGINT would become an exception, which can get lost in a library's callback.
STOP = signal.SIGHUP
DEAF = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}


def watch(task: Task, is_told: Callable[[], bool], extra: Mapping[str, str] | None = None) -> int:
    """Run a task's process to its end, with some `extra` variables; once `is_told`, it saves and stops.

    Returns its exit code, which is 0 too where it was told before it had started or while it loaded.
    """
    while task.begun is not None and runs.is_held(task.begun.parent):
        if is_told():
            return 0
        time.sleep(LOOK)
    process = _start(task, extra or {})
    is_stopping = False
    while (code := process.poll()) is None:
        if is_told() and not is_stopping:
            is_stopping = True
            process.send_signal(STOP)
        time.sleep(POLL)
    return 0 if is_stopping and code in (-STOP, 128 + STOP) else code


def _start(task: Task, extra: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # A process inherits which signals are blocked, and which are ignored, as this one is under nohup.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handler = signal.signal(STOP, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, (before | DEAF) - {STOP})
    try:
        with task.log.open("ab") as log:
            return subprocess.Popen(
                command(task, at_death=STOP.name), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | dict(extra) | variables(task) | _device(task), process_group=0,
            )  # fmt: skip
    finally:
        signal.signal(STOP, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _device(task: Task) -> dict[str, str]:
    """What holds a run to its share of a GPU's memory, or to none. Ray and Slurm say which GPU it is."""
    if task.gpus == 0:
        return {"JAX_PLATFORMS": "cpu"}
    return {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{GPU_SHARE * task.gpus:.3f}"} if task.gpus < 1 else {}


def note(task: Task, text: str) -> None:
    """Write what its process cannot tell into the log of a task."""
    with suppress(OSError), task.log.open("a", encoding="utf-8") as log:
        log.write(f"{text}\n")
