"""The scheduler of a sweep: which runs are missing, starts them, watches them, tries them again, stops them."""

import datetime
import platform
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from goalward import runs
from goalward.errors import MachineError
from goalward.lab import folder as folders
from goalward.lab.axes import Trial
from goalward.lab.folder import Attempt, Standing
from goalward.lab.launchers.core import Job, Launcher, Task

BAD_INPUT = 2  # the exit code of a run that cannot go well if it is tried again
STOPPED = (0, -signal.SIGTERM)  # exit codes of a run that was told to stop, the second while it still loaded
# Seconds between two looks: at processes; at the files of runs; at runs that other processes hold.
POLL, REFRESH, LOOK = 0.1, 1.0, 1.0
REFRESH_EACH = 0.01  # seconds more for each run, which a queue may hold a thousand of


class Resources(NamedTuple):
    """What a run is given."""

    memory: int  # bytes, as estimated
    cores: int = 1
    gpus: float = 0


class View(NamedTuple):
    """How a sweep is shown."""

    tell: Callable[[str], None]  # a line
    show: Callable[[Sequence[Standing], int, bool], None]  # all runs, how many side by side, whether it stops


class Ended(NamedTuple):
    """What became of the trials of a sweep."""

    done: list[str]
    failed: dict[str, int]  # exit codes of their last processes
    left: list[str]  # not begun or not finished, for the sweep was stopped

    @property
    def number(self) -> int:
        """All of them."""
        return len(self.done) + len(self.failed) + len(self.left)


class _Running(NamedTuple):
    trial: Trial
    job: Job
    started: str


def run(
    trials: Sequence[Trial], folder: Path, launcher: Launcher, needs: Mapping[str, Resources], view: View, *,
    room: int | None = None, retries: int = 2, metric: str = folders.SCORE,
    should_stop: Callable[[], bool] = lambda: False, sleep: Callable[[float], None] = time.sleep,
) -> Ended:  # fmt: skip
    """Run all trials that are not done, in their order, until they are done or failed, or a stop is asked for.

    `needs` are by a trial's name; `room` are the bytes that runs side by side may take, or None.
    Whatever ends it, all processes have ended when it returns, but for those of a launcher whose tasks stay.
    Raises `MachineError` where files cannot be written.
    """
    sweep = _Sweep(trials, folder, launcher, needs, view, room, retries, metric)
    try:
        while sweep.is_busy():
            if should_stop():
                sweep.stop()
            sweep.step()
            sleep(POLL)
        sweep.show(now=True)
    except OSError as error:
        raise MachineError(
            f"the sweep in {folder} cannot go on: {error}; its runs are as they were saved. "
            "Mend that, as by freeing some space, then call it again"
        ) from error
    finally:
        sweep.end(sleep)
        launcher.close()
    return sweep.ended()


class _Sweep:
    """Trials on their way: each is waiting, held by another process, running, done or failed."""

    def __init__(
        self, trials: Sequence[Trial], folder: Path, launcher: Launcher, needs: Mapping[str, Resources],
        view: View, room: int | None, retries: int, metric: str,
    ):  # fmt: skip
        self._trials, self._folder, self._launcher, self._needs = trials, folder, launcher, needs
        self._view, self._room, self._retries, self._metric = view, room, retries, metric
        self._standings = {trial.name: folders.standing(folder, trial, metric) for trial in trials}
        self._waiting = deque(trial for trial in trials if self._standings[trial.name].state != "done")
        self._held: list[Trial] = []
        self._running: dict[str, _Running] = {}
        self._failed: dict[str, int] = {}
        self._tries: Counter[str] = Counter()
        self._stopping = False
        self._looked = self._shown = -float("inf")

    def is_busy(self) -> bool:
        """Whether anything is still to come."""
        return bool(self._running) or (not self._stopping and bool(self._waiting or self._held))

    def step(self) -> None:
        """See which processes have ended, start what there is room for, and show all."""
        for running in [one for one in self._running.values() if one.job.poll() is not None]:
            del self._running[running.trial.name]
            self._settle(running)
        if not self._stopping:
            self._look_at_held()
            self._start()
        self.show()

    def stop(self) -> None:
        """Tell all runs to save and stop, once, or leave those that need no sweep; nothing is started then."""
        if not self._stopping:
            self._stopping = True
            if self._launcher.stays is not None:
                self._running.clear()
            for running in self._running.values():
                running.job.stop()

    def end(self, sleep: Callable[[float], None]) -> None:
        """Stop what still runs, as after an error, and wait for it."""
        self.stop()
        while any(running.job.poll() is None for running in self._running.values()):
            sleep(POLL)

    def ended(self) -> Ended:
        """What became of the trials."""
        done = [name for name, standing in self._standings.items() if standing.state == "done"]
        left = [trial.name for trial in self._trials if trial.name not in {*done, *self._failed}]
        return Ended(done, self._failed, left)

    def show(self, *, now: bool = False) -> None:
        """Show where all runs stand. Files are read of those alone that may have changed, and not too often."""
        pause = REFRESH + REFRESH_EACH * len(self._running)
        if not now and time.monotonic() - self._shown < pause:
            return
        self._shown = time.monotonic()
        for trial in [*(one.trial for one in self._running.values()), *self._held]:
            self._look_at(trial)
        side_by_side = self._launcher.slots or max(1, len(self._running))
        self._view.show(list(self._standings.values()), side_by_side, self._stopping)

    def _look_at(self, trial: Trial) -> Standing:
        standing = folders.standing(self._folder, trial, self._metric)
        # A process that was started takes a while until it holds its directory.
        if trial.name in self._running and self._launcher.slots is not None and standing.state != "done":
            standing = standing._replace(state="running")
        self._standings[trial.name] = standing
        return standing

    def _settle(self, ended: _Running) -> None:
        """Decide what follows from the end of a process."""
        trial, code = ended.trial, ended.job.poll() or 0
        standing = self._look_at(trial)
        if standing.state == "running":  # by another process, which was quicker
            self._hold(trial)
            return
        self._tries[trial.name] += 1
        is_done = standing.state == "done"
        if self._stopping:
            given_up = not is_done and code not in STOPPED
        else:
            given_up = not is_done and (self._tries[trial.name] > self._retries or code == BAD_INPUT)
        attempt = Attempt(ended.started, _now(), code, platform.node(), given_up)
        folders.add_attempt(self._folder, trial.name, attempt)
        standing = self._look_at(trial)
        if is_done:
            score = "" if standing.score is None else f", {self._metric} {standing.score:.3f}"
            self._view.tell(f"{trial.name}: done{score}, {standing.seconds:.0f} s of training")
        elif given_up:
            self._failed[trial.name] = code
            self._view.tell(f"{trial.name}: failed ({_told(code)})")
        elif self._stopping:
            self._view.tell(f"{trial.name}: stopped at epoch {standing.epoch} of {standing.epochs}")
        else:
            self._waiting.append(trial)
            self._view.tell(f"{trial.name}: {_told(code)}; it is tried again")

    def _hold(self, trial: Trial) -> None:
        self._held.append(trial)
        directory = folders.run_directory(self._folder, trial.name)
        self._view.tell(f"{trial.name}: another process holds {directory}; waiting for it")

    def _look_at_held(self) -> None:
        """See which runs have been left by the processes that held them."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        for trial in list(self._held):
            state = self._look_at(trial).state
            if state != "running":
                self._held.remove(trial)
                self._view.tell(f"{trial.name}: the process that held it has ended")
            if state not in ("running", "done"):
                self._waiting.appendleft(trial)

    def _start(self) -> None:
        """Start the first waiting trials that there is room for, in one call: for a queue they are one job."""
        chosen: list[Trial] = []
        for trial in list(self._waiting):
            if self._launcher.slots is not None and len(self._running) + len(chosen) >= self._launcher.slots:
                break
            if not self._has_room_for([*chosen, trial]):
                continue
            self._waiting.remove(trial)
            if runs.is_held(folders.run_directory(self._folder, trial.name)):
                self._hold(trial)
            else:
                chosen.append(trial)
        if not chosen:
            return
        started = _now()
        jobs = self._launcher.start([task(trial, self._folder, self._needs[trial.name]) for trial in chosen])
        for trial, job in zip(chosen, jobs, strict=True):
            self._running[trial.name] = _Running(trial, job, started)
            self._view.tell(f"{trial.name}: started")

    def _has_room_for(self, chosen: Sequence[Trial]) -> bool:
        """Whether some trials fit beside those that run. One alone may try: estimates are upper ones."""
        names = [*self._running, *(trial.name for trial in chosen)]
        taken = sum(self._needs[name].memory for name in names)
        return self._room is None or taken <= self._room or len(names) == 1


def task(trial: Trial, folder: Path, needs: Resources) -> Task:
    """The process of a run: its start, and from when it has been begun, its resume."""
    directory = folders.run_directory(folder, trial.name).absolute()
    return Task(
        trial.name, (*trial.words, "--out", str(directory)), folders.log(folder, trial.name).absolute(),
        needs.cores, needs.memory, needs.gpus, runs.settings(directory), ("train", "--resume", str(directory)),
    )  # fmt: skip


def _told(code: int) -> str:
    """How a process ended that did not finish its run."""
    if code == 0:
        return "it stopped before its end, as if told to"
    return f"ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
