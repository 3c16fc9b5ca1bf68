"""What the runs of a sweep will cost: memory from their shapes, time from short measurements."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from goalward import plan, training
from goalward.errors import MachineError, UserError
from goalward.lab.axes import Trial
from goalward.lab.launchers.core import Launcher, Task
from goalward.lab.launchers.local import Slot
from goalward.lab.sweep import BAD_INPUT, POLL, Resources

# An estimate of activations is at most about twice what XLA reports: what does not fit with half of it, cannot.
SURELY = 2


class Cost(NamedTuple):
    """What a run will cost."""

    name: str
    settings: str  # equal for runs that differ in their seed alone
    memory: int  # bytes, at most
    seconds: float  # as measured


def _settings(trial: Trial) -> str:
    """Equal for runs that differ in their seed alone: these cost the same."""
    return repr(replace(trial.config, seed=0))


def memory(trials: Sequence[Trial]) -> dict[str, plan.Memory]:
    """The memory of each run by its name, from shapes alone: an upper estimate."""
    known: dict[str, plan.Memory] = {}
    for trial in trials:
        if _settings(trial) not in known:
            try:
                known[_settings(trial)] = plan.most_memory(training.build(trial.config))
            except UserError as error:
                raise UserError(f"the run {trial.name} cannot be: {error}") from error
    return {trial.name: known[_settings(trial)] for trial in trials}


def check_fit(trials: Sequence[Trial], memories: Mapping[str, plan.Memory], free: int) -> None:
    """Raise `UserError`, naming the run, for one that cannot fit into so many free bytes, not even alone."""
    for trial in trials:
        most = memories[trial.name]
        try:
            plan.check_fits(most._replace(activations=most.activations // SURELY, free=free), trial.config)
        except UserError as error:
            raise UserError(f"the run {trial.name} does not fit, not even alone: {error}") from error


def needs(trials: Sequence[Trial], slots: Sequence[Slot]) -> tuple[dict[str, Resources], int | None]:
    """What each run is given in places of this machine, and the bytes for all that run side by side.

    These are None on GPUs, where each place has memory of its own. Raises `UserError`, naming the run, for one
    that cannot fit.
    """
    memories, on_gpu = memory(trials), slots[0].gpu is not None
    process, free = 0 if on_gpu else plan.PROCESS, min(slot.free() for slot in slots)
    check_fit(trials, memories, max(0, free - process))
    share, cores = min(slot.share for slot in slots), len(slots[0].cores)
    given = {name: Resources(most.needed() + process, cores, share) for name, most in memories.items()}
    return given, None if on_gpu else round(plan.USABLE * free)


def asked(trials: Sequence[Trial], cores: int, gpus: float) -> dict[str, Resources]:
    """What each run asks a cluster for. With GPUs it is much memory, but checkpoints pass through it."""
    return {name: Resources(most.needed() + plan.PROCESS, cores, gpus) for name, most in memory(trials).items()}


def measure(
    trials: Sequence[Trial], launcher: Launcher, needs: Mapping[str, Resources],
    tell: Callable[[str], None], should_stop: Callable[[], bool],
) -> list[Cost]:  # fmt: skip
    """Measure one run of each settings with `goalward plan`, one after the other, as `launcher` runs them.

    `tell` is called with what is measured next. Those left when a stop is asked for are missing. Raises
    `UserError` for a run that cannot be, `MachineError` for a fault of the machine.
    """
    known: dict[str, float] = {}
    with TemporaryDirectory(prefix="goalward-") as folder:
        for trial in trials:
            if _settings(trial) not in known and not should_stop():
                tell(trial.name)
                seconds = _seconds(trial, launcher, needs[trial.name], Path(folder), should_stop)
                if seconds is not None:
                    known[_settings(trial)] = seconds
    return [
        Cost(trial.name, _settings(trial), needs[trial.name].memory, known[_settings(trial)])
        for trial in trials
        if _settings(trial) in known
    ]


def _seconds(
    trial: Trial, launcher: Launcher, needs: Resources, folder: Path, should_stop: Callable[[], bool]
) -> float | None:
    log = folder / "plan.log"
    log.unlink(missing_ok=True)
    words = ("plan", *trial.words[1:], "--json")
    (job,) = launcher.start([Task(trial.name, words, log, needs.cores, needs.memory, needs.gpus)])
    while (code := job.poll()) is None:
        if should_stop():
            job.stop()
        time.sleep(POLL)
    said = log.read_text(encoding="utf-8", errors="replace").strip()
    if code == 0:
        return float(json.loads(said.splitlines()[-1])["seconds"])
    if should_stop():
        return None
    told = f"the run {trial.name} could not be measured: {said.removeprefix('error: ')[-2_000:]}"
    raise UserError(told) if code == BAD_INPUT else MachineError(f"{told} (exit code {code})")


def length(costs: Sequence[Cost], side_by_side: int, room: int | None) -> float:
    """Seconds that runs take side by side, started as a sweep does: the first ones that there is room for."""
    waiting, now = list(costs), 0.0
    running: list[tuple[float, int]] = []  # end, memory
    while waiting or running:
        for cost in list(waiting):
            fits = room is None or sum(taken for _, taken in running) + cost.memory <= room
            if len(running) < side_by_side and (fits or not running):
                waiting.remove(cost)
                running.append((now + cost.seconds, cost.memory))
        running.sort()
        now, _ = running.pop(0)
    return now
