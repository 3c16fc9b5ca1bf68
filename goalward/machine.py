"""What a process may use of its machine: processors and memory, within the limits of a container."""

import os
import shlex
import shutil
import sys
from pathlib import Path

import psutil

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def command(*words: object) -> str:
    """A command of goalward as it can be typed here, such as `.venv/bin/goalward train --resume runs/a`."""
    program = Path(sys.argv[0])
    name = str(program) if program.name == "goalward" and not shutil.which("goalward") else "goalward"
    return shlex.join([name, *map(str, words)])


def affinity() -> int:
    """Processors that the system lets this process run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def cores() -> int:
    """Processors that this process may run on, at least 1: of its affinity and of its container's quota."""
    quotas = [_quota(folder) for folder in [*_folders(""), *_folders("cpu")]]
    return max(1, min([affinity(), *(round(quota) for quota in quotas if quota is not None)]))


def free_memory() -> int:
    """Bytes that are free: of the machine, and of every control group that this process is in."""
    left = [psutil.virtual_memory().available]
    for version2 in _folders(""):
        left.append(_left(version2, "memory.max", "memory.current", "inactive_file"))
    for version1 in _folders("memory"):
        left.append(_left(version1, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"))
    return max(0, min(amount for amount in left if amount is not None))


def _folders(controller: str) -> list[Path]:
    """Folders of the control groups that limit this process, from its own up to the outermost.

    A controller names a hierarchy of version 1, "" the one of version 2. In a container the path that the
    process is told may be the host's, and its own group lies at the top.
    """
    for line in _read(MEMBERSHIP).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            top = CGROUPS / controller
            inner = top / path.lstrip("/")
            return [inner, *(folder for folder in inner.parents if folder == top or top in folder.parents)]
    return []


def _left(folder: Path, limit: str, usage: str, cache: str) -> int | None:
    """Bytes below a group's limit; None without one. Files that were read may be dropped, and do not count."""
    most, used = _number(folder / limit), _number(folder / usage)
    if most is None or used is None:
        return None
    lines = (line.split() for line in _read(folder / "memory.stat").splitlines())
    droppable = next((int(number) for name, number in lines if name == cache), 0)
    return most - max(0, used - droppable)


def _quota(folder: Path) -> float | None:
    """Processors that a group may use at a time; None without a limit."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:  # version 1
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text.isdigit() else None


def _read(path: Path) -> str:
    """A small file of the system; "" where there is none."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
