"""Runs as processes of this machine, each on cores, and perhaps on a GPU, of its own."""

import importlib.util
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from goalward import machine
from goalward.errors import UserError
from goalward.lab.launchers.core import Job, Launcher, Task, command, variables

# Of a GPU's memory, what the runs on it take at their start; the rest is for its driver and their programs.
GPU_SHARE = 0.9
POLL = 0.1  # seconds between two looks at processes that were told to stop
_CUDA = ("jax_cuda12_plugin", "jax_cuda13_plugin")


class Gpu(NamedTuple):
    """A GPU that runs may use."""

    name: str  # as in CUDA_VISIBLE_DEVICES
    memory: int  # bytes


class Slot(NamedTuple):
    """A place for one run at a time."""

    cores: tuple[int, ...]  # numbers of processors
    gpu: Gpu | None = None
    share: float = 0.0  # of that GPU

    def free(self) -> int:
        """Bytes that are free for one run here, if it is alone: of the GPU's share or the machine."""
        return machine.free_memory() if self.gpu is None else int(self.gpu.memory * GPU_SHARE * self.share)


def slots(jobs: int | None, cores: Sequence[int], gpus: Sequence[Gpu] = ()) -> list[Slot]:
    """Places for so many runs, by default one a GPU or else one a core, each with as many cores of its own.

    Raises `UserError` for more runs than cores.
    """
    jobs = jobs if jobs is not None else min(len(gpus), len(cores)) or len(cores)
    if not 1 <= jobs <= len(cores):
        raise UserError(f"jobs is {jobs}; it must lie in 1 … {len(cores)}, for each run has a core of its own")
    each = len(cores) // jobs
    own = [tuple(cores[each * i : each * (i + 1)]) for i in range(jobs)]
    if not gpus:
        return [Slot(numbers) for numbers in own]
    chosen = [gpus[i % len(gpus)] for i in range(jobs)]
    sharing = Counter(chosen)
    return [Slot(numbers, gpu, 1 / sharing[gpu]) for numbers, gpu in zip(own, chosen, strict=True)]


def cores() -> list[int]:
    """Numbers of the processors that this process may use: of its affinity, up to its container's quota."""
    numbers = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else range(os.cpu_count() or 1)
    return list(numbers)[: machine.cores()]


def gpus() -> list[Gpu]:
    """GPUs that JAX would use here: those of CUDA_VISIBLE_DEVICES where that is set, or all."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if (platforms and "cuda" not in platforms and "gpu" not in platforms) or not any(
        map(importlib.util.find_spec, _CUDA)
    ):
        return []
    query = ["nvidia-smi", "--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return visible(told, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(told: str, chosen: str | None) -> list[Gpu]:
    """Of the GPUs that `nvidia-smi` told, with index, UUID and MiB, those that CUDA_VISIBLE_DEVICES chooses.

    As CUDA does, it stops at the first one that there is not.
    """
    found: dict[str, Gpu] = {}
    for line in told.splitlines():
        index, uuid, mebibytes = (cell.strip() for cell in line.split(","))
        found[index] = found[uuid] = Gpu(index, int(mebibytes) * 2**20)
    if chosen is None:
        return list(dict.fromkeys(found.values()))
    names = []
    for name in chosen.split(","):
        match = [gpu for key, gpu in found.items() if name.strip() and key.startswith(name.strip())]
        if not match:
            break
        names.append(found.get(name.strip(), match[0]))
    return names


def launcher(places: Sequence[Slot]) -> Launcher:
    """Start each task as a process in the first free place."""
    free = list(places)

    def start(tasks: Sequence[Task]) -> list[Job]:
        jobs: list[Job] = []
        try:
            for task in tasks:
                jobs.append(_start(task, free))
        except BaseException:
            for job in jobs:
                job.stop()
            while any(job.poll() is None for job in jobs):
                time.sleep(POLL)
            raise
        return jobs

    return Launcher(start, len(places), lambda: None)


def _start(task: Task, free: list[Slot]) -> Job:
    slot = free.pop(0)
    try:
        with task.log.open("ab") as log:
            process = subprocess.Popen(
                command(task), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=os.environ | variables(task) | _gpu_variables(slot),
                process_group=0,  # a Ctrl-C at the terminal is for the sweep, which tells its runs once
            )  # fmt: skip
    except BaseException:
        free.insert(0, slot)
        raise
    if sys.platform == "linux":
        with suppress(OSError):  # it has ended already, or the cores were taken from this process
            os.sched_setaffinity(process.pid, slot.cores)
    held = [slot]

    def poll() -> int | None:
        if process.poll() is not None and held:
            free.append(held.pop())
        return process.returncode

    return Job(poll, process.terminate)


def _gpu_variables(slot: Slot) -> dict[str, str]:
    """What makes JAX use a place's share of its GPU, and no other."""
    if slot.gpu is None:
        return {}
    return {
        "CUDA_VISIBLE_DEVICES": slot.gpu.name,
        "XLA_PYTHON_CLIENT_MEM_FRACTION": f"{GPU_SHARE * slot.share:.3f}",
    }
