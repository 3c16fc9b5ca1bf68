"""Runs as the jobs of one array of Slurm.

Before a job is preempted or its time is over its run saves and stops, and the job goes back into the queue. The
jobs do not need the sweep that made them: it may end, and a later one finds them again.
"""

import json
import math
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any

from goalward import files
from goalward.errors import MachineError, UserError
from goalward.lab.launchers.core import Job, Launcher, Task
from goalward.lab.launchers.remote import note, watch

TIME = 60  # minutes that a job has by default, until it goes back into the queue
MOST = 1_000  # jobs in an array: Slurm's default is one more
# Seconds: in which Slurm answers, between two looks into its queue, and until a job that is not in it and has
# no result is lost: what it wrote may take as long to be seen here.
ANSWER, LOOK, LOST = 60, 5, 30
_OFTEN = 10**6  # times that a job may go back into the queue
_JOBS = "jobs.json"  # numbers of jobs by the names of their runs


def launcher(folder: Path, name: str, options: Sequence[str] = (), jobs: int | None = None) -> Launcher:
    """Submit jobs of a name, with options of sbatch as NAME=VALUE or NAME, at most so many `jobs` at a time.

    What submitit needs of them is in `folder`, which all nodes share. Raises `UserError` for options that are
    none, or where submitit is not installed, and `MachineError` where there is no Slurm, or none that answers.
    """
    if find_spec("submitit") is None:
        raise UserError(
            "submitit is not installed; use `pip install 'goalward[slurm]'`, or in a clone "
            "`pip install -e '.[slurm]'`"
        )
    if shutil.which("sbatch") is None:
        raise MachineError("this machine has no sbatch; call the sweep where jobs of Slurm are submitted")
    given = _options(options)
    slurm = _Slurm(folder.absolute(), {"job_name": name, **given}, jobs)
    stays = f"jobs stay in the queue of Slurm (`scancel --me --name={shlex.quote(name)}` takes them out)"
    return Launcher(slurm.start, None, lambda: None, stays)


def _submitit() -> Any:
    import submitit  # pyright: ignore[reportMissingImports]

    return submitit


def _options(words: Sequence[str]) -> dict[str, Any]:
    """Options as submitit takes them. Only the time has to be known to it, in minutes."""
    options: dict[str, Any] = {"time": TIME, "additional_parameters": {"requeue": True}}
    for word in words:
        key, equals, value = word.removeprefix("--").partition("=")
        if key == "time":
            if not value.isdecimal() or int(value) < 1:
                raise UserError(f"--slurm is {word!r}; time is a number of minutes, at least 1")
            options["time"] = int(value)
        else:
            options["additional_parameters"][key] = value if equals else True
    return options


class _Slurm:
    """Slurm's queue, and the jobs of one sweep in it."""

    def __init__(self, folder: Path, options: dict[str, Any], most: int | None):
        self._folder, self._options, self._most = folder, options, most
        self._queue = _queue()
        self._looked = time.monotonic()

    def start(self, tasks: Sequence[Task]) -> list[Job]:
        """Submit tasks as arrays, but for those that an earlier sweep has left in the queue."""
        self._queue = _queue()
        known = self._known()
        found = [self._found(task, known[task.name]) for task in tasks if task.name in known]
        jobs = {name: job for name, job in found if job is not None}
        missing = [task for task in tasks if task.name not in jobs]
        for first in range(0, len(missing), MOST):
            part = missing[first : first + MOST]
            jobs |= zip((task.name for task in part), self._submit(part), strict=True)
            # At once: of jobs that are not known there would be others, if the next array is refused.
            known |= {name: job.job_id for name, job in jobs.items()}
            files.replace(self._folder / _JOBS, json.dumps(known, indent=1) + "\n")
        self._looked = -math.inf
        return [self._job(task, jobs[task.name]) for task in tasks]

    def _found(self, task: Task, job_id: str) -> tuple[str, Any]:
        """A task's name, and its job of this number, or None where that has ended."""
        job = _submitit().SlurmJob(self._folder, job_id)
        return task.name, job if job_id in self._queue and not job.paths.result_pickle.exists() else None

    def _submit(self, tasks: Sequence[Task]) -> list[Any]:
        submitit = _submitit()
        executor = submitit.SlurmExecutor(self._folder, max_num_timeout=_OFTEN)
        cores, gpus = max(task.cores for task in tasks), round(max(task.gpus for task in tasks))
        options = {
            "cpus_per_task": cores,
            "mem": f"{math.ceil(max(task.memory for task in tasks) / 2**20)}M",
            "array_parallelism": self._most or len(tasks),
            "stderr_to_stdout": True,
            "srun_args": [f"--cpus-per-task={cores}"],  # newer versions do not take it from the job
            **({"gpus_per_node": gpus} if gpus else {}),
            **self._options,
        }
        try:
            executor.update_parameters(**options)
            with redirect_stderr(StringIO()):  # submitit prints what it raises too
                return executor.map_array(_Attempt(), tasks)
        except submitit.core.utils.FailedJobError as error:
            told = " ".join(str(error).split())
            raise UserError(f"sbatch takes no such jobs: {told}; its options are those of --slurm") from error

    def _known(self) -> dict[str, str]:
        try:
            known = files.read_json(self._folder / _JOBS)
            if not isinstance(known, dict) or not all(isinstance(job_id, str) for job_id in known.values()):
                raise ValueError("it holds no numbers of jobs by names of runs")
            return known
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise UserError(f"{self._folder / _JOBS} is damaged: {error}; remove it") from error

    def _job(self, task: Task, job: Any) -> Job:
        codes: list[int] = []
        missed: list[float] = []
        looked = [-math.inf]

        def poll() -> int | None:
            now = time.monotonic()
            if codes or now - looked[0] < LOOK:
                return codes[0] if codes else None
            looked[0] = now
            if job.paths.result_pickle.exists():
                codes.append(_code(job, task))
            elif self._has(job.job_id):
                missed.clear()
            elif not missed or now - missed[0] < LOST:
                missed.append(now)
                with suppress(OSError):
                    self._folder.chmod(self._folder.stat().st_mode)  # makes a network's file system look again
            else:
                told = f"job {job.job_id} has left Slurm's queue without a result"
                note(task, f"{told}; see {job.paths.stdout}")
                codes.append(-signal.SIGTERM)
            return codes[0] if codes else None

        return Job(poll, lambda: None)  # it stays

    def _has(self, job_id: str) -> bool:
        """Whether a job was in the queue a moment ago, or Slurm does not say."""
        if time.monotonic() - self._looked > LOOK:
            self._looked = time.monotonic()
            try:
                self._queue = _queue()
            except MachineError:
                return True
        return job_id in self._queue


def _queue() -> set[str]:
    """Numbers of all jobs of this user that Slurm has not finished with. Raises `MachineError`."""
    line = ["squeue", "--me", "--array", "--noheader", "--format=%i"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=ANSWER, check=True)
    except subprocess.TimeoutExpired as error:
        raise MachineError(f"Slurm does not answer within {ANSWER} s; try `squeue`") from error
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", "") or str(error)
        raise MachineError(f"Slurm does not answer ({' '.join(told.split())}); try `squeue`") from error
    return set(done.stdout.split())


def _code(job: Any, task: Task) -> int:
    """Exit code of a job that has left its result; a trouble of submitit's own goes to the log of the run."""
    try:
        return job.result()
    except Exception as error:  # whatever was raised on the node
        note(task, str(error))
        return 1


class _Attempt:
    """What a job does. submitit calls `checkpoint` when it puts the job back into the queue."""

    def __call__(self, task: Task) -> int:
        """Run the task's process; its exit code. Where Slurm ends the job first, there is no result."""
        told: list[int] = []
        time_is_over = signal.Signals[f"SIG{_submitit().JobEnvironment.USR_SIG}"]
        requeue: Any = signal.getsignal(time_is_over)  # submitit's; to be called once the run has saved
        for number in (time_is_over, signal.SIGTERM):
            signal.signal(number, lambda number, _: told.append(number))
        code = watch(task, lambda: bool(told))
        if time_is_over in told:
            with suppress(subprocess.SubprocessError):  # Slurm has put it back itself
                requeue(time_is_over, None)
        if told:  # preempted, and Slurm itself puts the job back, or canceled
            raise SystemExit(128 + told[0])
        return code

    def checkpoint(self, task: Task) -> Any:
        """What the job does next time: the same."""
        return _submitit().helpers.DelayedSubmission(self, task)
