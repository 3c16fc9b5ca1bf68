"""Runs as tasks of Ray, on a cluster that exists or on one of this machine alone.

A task whose node dies is started again on another one, and goes on from its run directory, which all share.

Ray is spoken to by a process of its own, the driver. What Ray prints stays out of a terminal, what it does with
signals out of a sweep, and a cluster that is lost, which ends a driver in the middle of Ray's C++, is an error
like any other. The driver outlives a sweep that is killed until all runs have saved.
"""

import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.connection import Connection, Pipe
from typing import IO, Any

from goalward import machine
from goalward.errors import MachineError, UserError
from goalward.lab.launchers.core import Job, Launcher, Task
from goalward.lab.launchers.remote import POLL, note, watch

NEW = "local"  # Ray's name for a new cluster of this machine
# Seconds: in which an existing cluster answers, a new one starts, and runs save when all ends.
ANSWER, START, SAVE = 30.0, 120.0, 120.0
USABLE = 0.9  # of the free memory, what runs may take
_OBJECT_STORE = 2**27  # bytes; runs pass nothing through it
_CARRIED = ("JAX_", "XLA_")  # variables of this process that a run's process finds on any node
_DRIVER = "import sys; from goalward.lab.launchers import ray; ray.drive(int(sys.argv[1]), sys.argv[2])"


def launcher(address: str | None = None, jobs: int | None = None) -> Launcher:
    """Connect to the cluster at an address, HOST:PORT or auto for that of this machine, for `jobs` at a time.

    By default it is the one of RAY_ADDRESS, or else a new one of this machine's free cores and memory, which
    ends with the launcher. Raises `UserError` where Ray is not installed, and `MachineError` where no cluster
    answers.
    """
    if find_spec("ray") is None:
        raise UserError(
            "Ray is not installed; use `pip install 'goalward[ray]'`, or in a clone `pip install -e '.[ray]'`"
        )
    driver = _Driver(address or os.environ.get("RAY_ADDRESS") or NEW)
    return Launcher(driver.start, jobs, driver.close)


class _Driver:
    """The process that speaks to Ray, as seen from the sweep."""

    def __init__(self, address: str):
        self._codes: dict[int, int] = {}
        self._tasks: list[Task] = []
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._connection, theirs = Pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _DRIVER, str(theirs.fileno()), address],
            stdin=subprocess.DEVNULL, stdout=self._said, stderr=self._said, pass_fds=[theirs.fileno()],
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}, process_group=0,
        )  # fmt: skip
        theirs.close()
        try:
            self._hear_out(START if address == NEW else ANSWER, f"no Ray cluster answers at {address}")
        except BaseException:
            self._process.kill()
            self.close()
            raise

    def start(self, tasks: Sequence[Task]) -> list[Job]:
        """Hand tasks to the cluster."""
        with suppress(OSError):  # the driver has ended, and says no more
            self._connection.send(tasks)
        self._hear_out(None, "the Ray cluster is lost")
        first = len(self._tasks)
        self._tasks += tasks
        return [self._job(number) for number in range(first, len(self._tasks))]

    def close(self) -> None:
        """End what still runs, and the driver with it."""
        self._connection.close()
        try:
            self._process.wait(SAVE + START)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _job(self, number: int) -> Job:
        def poll() -> int | None:
            try:
                while self._connection.poll():
                    self._hear()
            except (EOFError, OSError):
                if number not in self._codes:
                    self._codes[number] = 1
                    note(self._tasks[number], f"the Ray cluster is lost ({self._last_words()})")
            return self._codes.get(number)

        def stop() -> None:
            with suppress(OSError):
                self._connection.send(number)

        return Job(poll, stop)

    def _hear(self) -> str | None:
        """Take in what the driver says: that a task has ended; or an answer, which is what is wrong, or ""."""
        told = self._connection.recv()
        if isinstance(told, str):
            return told
        self._codes.update([told])
        return None

    def _hear_out(self, seconds: float | None, trouble: str) -> None:
        """Wait for the driver's answer. Raises `MachineError` where something is wrong."""
        remedy = (
            "start Ray on this machine with `ray start`, name another --address, or where the cluster wants "
            "a token, set RAY_AUTH_MODE=token"
        )
        try:
            while self._connection.poll(seconds):
                wrong = self._hear()
                if wrong is not None:
                    break
            else:
                raise MachineError(f"{trouble} within {seconds:g} s; {remedy}")
        except (EOFError, OSError) as error:
            raise MachineError(f"{trouble} ({self._last_words()}); {remedy}") from error
        if wrong:
            raise MachineError(wrong)

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "its driver has ended"


def drive(descriptor: int, address: str) -> None:
    """Be the driver: connect to a cluster, run the tasks that come, tell how they end, until nobody listens."""
    connection = Connection(descriptor)
    ray = _connect(address)
    connection.send("")
    results: dict[Any, tuple[int, Task]] = {}
    count = 0
    with suppress(EOFError, OSError):
        while True:
            if connection.poll(POLL):
                told = connection.recv()
                if isinstance(told, int):
                    _cancel(ray, [result for result, (number, _) in results.items() if number == told])
                else:
                    wrong = _lacking(ray, told)
                    for task in () if wrong else told:
                        results[_submit(ray, task)] = count, task
                        count += 1
                    connection.send(wrong)
            for result in _ended(ray, results, 0.0):
                number, task = results.pop(result)
                connection.send((number, _code(ray, result, task)))
    _cancel(ray, list(results))
    _ended(ray, results, SAVE)
    ray.shutdown()


def _connect(address: str) -> Any:
    ray: Any = import_module("ray")
    logging.getLogger("ray").setLevel(logging.ERROR)  # its last words are to be an error
    options = {}
    if address == NEW:
        options = {
            "num_cpus": machine.cores(),
            "_memory": round(USABLE * machine.free_memory()),
            "object_store_memory": _OBJECT_STORE,
            "include_dashboard": False,
        }
    ray.init(address=address, configure_logging=False, log_to_driver=False, **options)
    return ray


def _lacking(ray: Any, tasks: Sequence[Task]) -> str:
    """What to say of a task that no node can take, which Ray would keep waiting in silence; "" for none."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for task in tasks:
        asked = {"CPU": task.cores, "memory": task.memory, "GPU": task.gpus}
        if not any(all(node.get(name, 0) >= amount for name, amount in asked.items()) for node in nodes):
            told = "; ".join(map(_told, nodes))
            return (
                f"{task.name} needs {_told(asked)}, and no node of the Ray cluster has that: they have {told}"
            )
    return ""


def _told(amounts: Mapping[str, float]) -> str:
    gpus = f", {amounts['GPU']:g} GPUs" if amounts.get("GPU") else ""
    return f"{amounts.get('CPU', 0):g} cores, {amounts.get('memory', 0) / 2**30:.2g} GiB{gpus}"


def _submit(ray: Any, task: Task) -> Any:
    """Hand a task to the cluster, for as many attempts as nodes die under it."""
    remote = ray.remote(_attempt).options(
        name=task.name, num_cpus=task.cores, num_gpus=task.gpus, memory=task.memory, max_retries=-1
    )
    carried = {name: value for name, value in os.environ.items() if name.startswith(_CARRIED)}
    return remote.remote(task, carried)


def _ended(ray: Any, results: Mapping[Any, Any], seconds: float) -> list[Any]:
    return ray.wait(list(results), num_returns=len(results), timeout=seconds)[0] if results else []


def _cancel(ray: Any, results: Sequence[Any]) -> None:
    for result in results:
        ray.cancel(result)


def _code(ray: Any, result: Any, task: Task) -> int:
    """Exit code of a task that has ended; a trouble of Ray's own goes to the log of the run."""
    try:
        return ray.get(result)
    except ray.exceptions.TaskCancelledError:
        return 0
    except ray.exceptions.RayError as error:
        note(task, str(error))
        return 1


def _attempt(task: Task, extra: Mapping[str, str]) -> int:
    """Run a task's process, in a worker of Ray, which is told to cancel it as by a Ctrl-C."""
    told = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: told.set())
    try:
        return watch(task, told.is_set, extra=extra)
    finally:
        signal.signal(signal.SIGINT, before)
