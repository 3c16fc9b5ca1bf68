"""Runs that are killed or stopped at any moment end as if they had not been."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
import toy

from goalward import checkpoint, runs

EPOCHS = 3
# `goalward`, but the call number COUNT of MODULE.NAME touches MARK and then waits to be killed.
BLOCKED = """
import pathlib, sys, time
module, name, count, mark, *words = sys.argv[1:]
import pkgutil
home, calls = pkgutil.resolve_name(module), []
real = getattr(home, name)
def blocked(*args, **kwargs):
    calls.append(name)
    if len(calls) == int(count):
        pathlib.Path(mark).touch()
        time.sleep(600)
    return real(*args, **kwargs)
setattr(home, name, blocked)
from goalward.cli import main
main(words)
"""

# What a process that a shell starts in the background inherits.
IGNORING = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The same run without a break."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    toy.run(directory, toy.epochs(EPOCHS))
    return directory


@pytest.fixture
def start(tmp_path_factory):
    """Start Python with some words; what still runs at the end of the test is killed."""
    started = []
    # As in this process; and what one process has compiled, the others need not.
    cache = tmp_path_factory.getbasetemp() / "compiled"
    env = os.environ | {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }

    def start(*words):
        line = [sys.executable, *map(str, words)]
        process = subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def training(directory):
    """Words of `goalward` for the whole run."""
    end = ["--epochs", EPOCHS, "--total-env-steps", toy.total(EPOCHS)]
    return ["train", *toy.words(), *end, "--out", directory]


def wait_for(path, process):
    """Poll until a file is there, while the process runs."""
    end = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.002)


def kill(process):
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def assert_logs_agree(directory):
    scalars = [
        {name: value for name, value in row.items() if isinstance(value, int | float)}
        for row in runs.read_metrics(directory)
    ]
    with (directory / "metrics.csv").open(newline="") as file:
        table = [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    assert table == [{name: str(value) for name, value in row.items()} for row in scalars]
    events = toy.events(directory)
    expected = {(row["env_steps"], name): value for row in scalars for name, value in row.items()}
    assert events.keys() == expected.keys()
    assert events == pytest.approx(expected, rel=1e-5)


def assert_same_end(directory, whole):
    assert toy.latest(directory).iteration == EPOCHS * toy.ITERATIONS
    assert toy.digest(directory) == toy.digest(whole)
    assert toy.rows(directory) == toy.rows(whole)
    assert_logs_agree(directory)
    assert not list(runs.checkpoints(directory).glob(".partial-*"))
    assert not list(directory.glob("*.tmp"))


@pytest.mark.parametrize(
    ("module", "name", "count", "half_written", "iterations"),
    [
        ("goalward.checkpoint", "_write_arrays", 1, True, []),
        ("goalward.checkpoint", "_sync", 2, True, [0]),
        ("goalward.checkpoint", "_sync_folder", 2, False, [0, 3]),
        ("goalward.metrics", "_append", 2, False, [0, 3]),  # the table of rows
        ("goalward.metrics.Recorder", "_add_events", 2, False, [0, 3]),
    ],
    ids=["no array yet", "no name yet", "not yet pruned", "no row yet", "no event yet"],
)
def test_a_run_killed_at_a_bad_moment_ends_as_if_it_had_not_been(
    whole, start, tmp_path, module, name, count, half_written, iterations
):
    directory, mark = tmp_path / "run", tmp_path / "mark"
    process = start("-c", BLOCKED, module, name, count, mark, *training(directory))
    wait_for(mark, process)
    kill(process)
    folder = runs.checkpoints(directory)
    assert bool(list(folder.glob(".partial-*"))) is half_written
    assert [saved.iteration for saved in checkpoint.list_saved(folder)] == iterations
    for saved in checkpoint.list_saved(folder):
        checkpoint.verify(saved.path)
    toy.run(directory, toy.epochs(EPOCHS), resume=True)
    assert_same_end(directory, whole)


def test_a_run_killed_and_resumed_by_the_command_ends_as_if_it_had_not_been(whole, start, tmp_path):
    directory = tmp_path / "run"
    process = start("-m", "goalward", *training(directory))
    wait_for(directory / "checkpoints" / "00000000", process)
    kill(process)
    process = start("-m", "goalward", "train", "--resume", directory)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert_same_end(directory, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_tells_how_to_go_on(whole, start, tmp_path, number):
    directory = tmp_path / "run"
    # So many epochs that it cannot end by itself before the signal comes.
    more = ["--epochs", 1000, "--total-env-steps", toy.total(1000)]
    process = start("-m", "goalward", "train", *toy.words(), *more, "--out", directory)
    wait_for(directory / "checkpoints" / "00000000", process)
    process.send_signal(number)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert error.rstrip().endswith(f"stopped and saved; go on with: goalward train --resume {directory}")
    assert "Traceback" not in out + error
    stopped = toy.latest(directory)
    assert 0 < stopped.iteration < 1000 * toy.ITERATIONS
    checkpoint.verify(stopped.path)
    epochs = stopped.iteration // toy.ITERATIONS + 1
    toy.run(directory, toy.epochs(epochs), resume=True)
    assert toy.latest(directory).iteration == epochs * toy.ITERATIONS
    toy.run(tmp_path / "whole", toy.epochs(epochs))
    assert toy.digest(directory) == toy.digest(tmp_path / "whole")
    assert toy.rows(directory) == toy.rows(tmp_path / "whole")


@pytest.mark.parametrize("inherited", ["", IGNORING], ids=["default", "ignored"])
def test_a_second_signal_ends_the_process_at_once(start, tmp_path, inherited):
    """Also in the middle of what is not Python, where handlers of Python are not called."""
    directory, mark = tmp_path / "run", tmp_path / "mark"
    deaf = inherited + BLOCKED.replace(
        "time.sleep(600)", "import hashlib; hashlib.pbkdf2_hmac('md5', b'', b'', 10**9)"
    )
    process = start("-c", deaf, "goalward.checkpoint", "_hashes", 1, mark, *training(directory))
    wait_for(mark, process)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "once more to stop at once" in error
    assert error.rstrip().endswith("interrupted")
    assert checkpoint.list_saved(runs.checkpoints(directory)) == []


COLLECTED = """
import atexit, gc, os, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background may have it ignored
atexit.register(print, "what it started is ended")
class Late:
    def __del__(self):
        print("at the end of Python")
late = Late()
from goalward.cli import dispatch, main
def interrupted_in_the_collector(_):
    def callback(*_):
        gc.callbacks.remove(callback)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    gc.callbacks.append(callback)
    gc.collect()
    time.sleep(600)
dispatch.run = interrupted_in_the_collector
main()
"""


def test_an_interrupt_in_a_callback_of_the_garbage_collector_is_heard_and_ends_the_process_at_once(start):
    """XLA has one, which may be running when Ctrl-C comes; Python loses what is raised there.

    Threads of XLA may be at work, so that what comes after the exit hooks is left out.
    """
    process = start("-c", COLLECTED)
    assert process.communicate(timeout=60) == ("what it started is ended\n", "interrupted\n")
    assert process.returncode == 130


def test_output_that_nobody_reads_costs_no_checkpoint(whole, start, tmp_path):
    """As with `2>&1 | tee log` at a Ctrl-C: tee ends first."""
    directory, mark = tmp_path / "run", tmp_path / "mark"
    waiting = BLOCKED.replace("time.sleep(600)", "time.sleep(1)")
    process = start("-c", waiting, "goalward.checkpoint", "_hashes", 1, mark, *training(directory))
    wait_for(mark, process)
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 0
    assert toy.latest(directory).iteration in (0, 1)
    process = start("-m", "goalward", "train", "--resume", directory)
    process.stdout.close()
    assert process.wait(timeout=120) == 0
    assert_same_end(directory, whole)
