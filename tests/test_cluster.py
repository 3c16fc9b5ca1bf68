"""Runs elsewhere: on Ray, where a node dies, and on Slurm, which preempts; and what is refused before."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import toy

from goalward import files, runs
from goalward.cli import main
from goalward.errors import MachineError, UserError
from goalward.lab import folder as folders
from goalward.lab import study as studies
from goalward.lab.launchers import ray, remote, slurm
from goalward.lab.launchers.core import Task

STUDY = """
question = "Do these runs end alike, wherever they run?"
[base]
env = "point_u_maze"
env_settings = {{ episode_length = 20 }}
num_envs = 4
steps_per_goal = 7
steps_per_iteration = 10
updates_per_iteration = 2
batch_size = 8
buffer_rows = 60
prefill_rows = 20
eval_episodes = 4
depth = 2
block_size = 2
width = 8
epochs = {epochs}
total_env_steps = {total}
[axes]
seed = {seeds}
[scales.smoke]
"""
# A cluster of two nodes. It tells its address; at a line on its input the second node dies, at the end all.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
for _ in sys.stdin:
    cluster.remove_node(second, allow_graceful=False)
    print("removed", flush=True)
cluster.shutdown()
"""


def a_task(folder, **changes):
    return Task("a", ("train", "--help"), folder / "log", 1, 2**20)._replace(**changes)


def study(folder, runs, epochs):
    """A file of a study of so many tiny runs."""
    path = folder / "toy.toml"
    path.write_text(STUDY.format(epochs=epochs, total=toy.total(epochs), seeds=list(range(runs))))
    return path


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """For processes that compile as quickly as this one, each program once."""
    return {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@pytest.fixture
def start(variables):
    """Start `goalward sweep` with some words; what still runs at the end of the test is killed."""
    started = []

    def start(*words):
        line = [sys.executable, "-m", "goalward", "sweep", *map(str, words), "--scale", "smoke"]
        process = subprocess.Popen(
            line, env=os.environ | variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def finish(process):
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def digests(folder):
    return {path.name: toy.digest(path) for path in (folder / "runs").iterdir()}


def wait_until(what, seconds=120.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


# A process that counts signals, and ends a while after the first one.
COUNTING = """
import pathlib, signal, time
count = []
signal.signal(signal.SIGHUP, lambda number, _: count.append(number))
pathlib.Path("ready").touch()
while not count:
    time.sleep(0.01)
time.sleep(0.5)
raise SystemExit(len(count))
"""


def test_a_process_elsewhere_hears_one_signal_however_many_are_sent(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "command", lambda task, at_death: [sys.executable, "-c", COUNTING])

    def is_told():
        if not Path("ready").exists():
            return False
        for process in psutil.Process().children():
            for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, signal.SIGTERM):
                process.send_signal(number)
        return True

    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert remote.watch(a_task(tmp_path), is_told) == 1
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


@pytest.mark.parametrize("inherited", [signal.SIG_DFL, signal.SIG_IGN], ids=["default", "nohup"])
def test_a_process_elsewhere_that_is_told_while_it_loads_has_not_failed(monkeypatch, tmp_path, inherited):
    loading = "import pathlib, time; pathlib.Path('ready').touch(); time.sleep(60)"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(remote, "command", lambda task, at_death: [sys.executable, "-c", loading])
    before = signal.signal(signal.SIGHUP, inherited)
    try:
        assert remote.watch(a_task(tmp_path), Path("ready").exists) == 0
        assert signal.getsignal(signal.SIGHUP) == inherited
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_run_that_another_process_holds_is_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "LOOK", 0.01)
    monkeypatch.setattr(remote, "command", lambda task, at_death: ["sh", "-c", "exit 7"])
    directory = tmp_path / "run"
    directory.mkdir()
    task = a_task(tmp_path, begun=directory / "config.json")
    looks = []

    def is_told(at=3):
        looks.append(task.log.exists())
        return len(looks) == at

    with runs.lock(directory):
        assert remote.watch(task, is_told) == 0  # told before it started
        assert looks == [False] * 3
        looks.clear()
        holding = files.hold(tmp_path / "other")  # a descriptor to close in the middle
        monkeypatch.setattr(runs, "is_held", lambda _: files.is_held(tmp_path / "other"))

        def lets_go():
            if is_told(at=2):
                os.close(holding)
            return False

        assert remote.watch(task, lets_go) == 7
        assert looks[:2] == [False] * 2


@pytest.mark.parametrize(("gpus", "given"), [(0, "cpu "), (0.5, " 0.450"), (1, " ")])
def test_a_process_elsewhere_has_its_share_of_a_gpu_or_none(monkeypatch, tmp_path, gpus, given):
    for name in ("JAX_PLATFORMS", "XLA_PYTHON_CLIENT_MEM_FRACTION"):
        monkeypatch.delenv(name, raising=False)
    echo = "echo $JAX_PLATFORMS $XLA_PYTHON_CLIENT_MEM_FRACTION; echo $PJRT_NPROC $EXTRA"
    monkeypatch.setattr(remote, "command", lambda task, at_death: ["sh", "-c", echo])
    remote.watch(a_task(tmp_path, gpus=gpus, cores=3), lambda: False, {"EXTRA": "x"})
    assert (tmp_path / "log").read_text().splitlines() == [given.strip(), "3 x"]


@pytest.mark.parametrize(("module", "extra"), [(ray, "ray"), (slurm, "slurm")])
def test_what_is_not_installed_is_named(monkeypatch, tmp_path, module, extra):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    launch = partial(slurm.launcher, tmp_path, "a") if module is slurm else ray.launcher
    with pytest.raises(UserError, match=rf"pip install 'goalward\[{extra}\]'"):
        launch()


def test_a_machine_without_slurm_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(slurm, "find_spec", lambda _: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="no sbatch"):
        slurm.launcher(tmp_path, "a")


class Submitted(NamedTuple):
    job_id: str


def test_jobs_are_known_from_when_their_array_is_submitted(monkeypatch, tmp_path):
    monkeypatch.setattr(slurm, "_queue", set)
    monkeypatch.setattr(slurm, "MOST", 1)
    queue = slurm._Slurm(tmp_path, {}, None)

    def submit(tasks):
        if tasks[0].name == "b":
            raise UserError("sbatch takes no such jobs")
        return [Submitted("7_0")]

    monkeypatch.setattr(queue, "_submit", submit)
    with pytest.raises(UserError, match="no such jobs"):
        queue.start([a_task(tmp_path), a_task(tmp_path, name="b")])
    assert queue._known() == {"a": "7_0"}
    for damaged in ("[1]", '{"a": 7}', "{"):
        (tmp_path / "jobs.json").write_text(damaged)
        with pytest.raises(UserError, match=r"jobs\.json is damaged: .*; remove it"):
            queue.start([a_task(tmp_path)])


def test_options_of_sbatch_are_handed_on():
    options = slurm._options(["partition=gpu", "--exclusive", "time=30", "constraint=a=b"])
    assert options["time"] == 30
    given = options["additional_parameters"]
    assert given == {"requeue": True, "partition": "gpu", "exclusive": True, "constraint": "a=b"}
    for time_ in ("time=4:00", "time=0", "time"):
        with pytest.raises(UserError, match="time is a number of minutes"):
            slurm._options([time_])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--cores", "2"], "--cores is for --on ray or slurm"),
        (["--address", "a:1"], "--address is for --on ray"),
        (["--on", "slurm", "--address", "a:1"], "--address is for --on ray, and runs run on slurm"),
        (["--on", "ray", "--slurm", "time=9"], "--slurm is for --on slurm"),
        (["--on", "ray", "--cores", "0"], "cores is 0"),
        (["--on", "ray", "--jobs", "-1"], "jobs is -1"),
        (["--on", "ray", "--gpus", "-1"], "gpus is -1"),
        (["--on", "slurm", "--gpus", "0.5"], "has whole ones"),
        (["--on", "slurm", "--dry-run"], "leave out --on slurm"),
    ],
)
def test_what_no_place_takes_is_refused(capsys, monkeypatch, tmp_path, words, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["sweep", "depth_point_u4", *words])
    assert exit_.value.code == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_keeps_the_cores_of_its_runs(capsys, tmp_path):
    path, folder = study(tmp_path, 1, 2), tmp_path / "sweep"
    folder.mkdir()
    folders.save(folder, studies.load(str(path), "smoke"), {}, 1)
    words = ["sweep", str(path), "--scale", "smoke", "--out", str(folder)]
    with pytest.raises(SystemExit) as exit_:
        main([*words, "--on", "ray", "--cores", "2"])
    assert exit_.value.code == 2
    assert "--cores is 2, but runs in" in capsys.readouterr().err


@pytest.fixture(scope="module")
def undisturbed(variables, tmp_path_factory):
    """Digests of a sweep of this machine, by the number of its runs and epochs."""
    known = {}

    def undisturbed(number, epochs):
        if (number, epochs) not in known:
            folder = tmp_path_factory.mktemp("undisturbed")
            words = ["sweep", study(folder, number, epochs), "--scale", "smoke", "--out", folder / "sweep"]
            line = [sys.executable, "-m", "goalward", *map(str, words)]
            subprocess.run(line, env=os.environ | variables, check=True, capture_output=True)
            known[number, epochs] = digests(folder / "sweep")
        return known[number, epochs]

    return undisturbed


@pytest.fixture
def cluster(variables, tmp_path):
    """A Ray cluster of two nodes with a core each: its address, and what kills the second."""
    pytest.importorskip("ray", reason="Ray is not installed")
    with (tmp_path / "cluster.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER], env=os.environ | variables, stderr=log,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def remove():
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "removed\n"

    with process:
        yield process.stdout.readline().strip(), remove
        process.stdin.close()
        process.wait(60)


def kill_runs(folder):
    """kill -9 for all processes that train in a folder."""
    for process in psutil.process_iter():
        try:
            if str(folder) in " ".join(process.cmdline()) and "train" in process.cmdline():
                process.kill()
        except psutil.Error:
            pass


@pytest.mark.system
def test_on_ray_runs_end_alike_though_all_that_can_be_killed_is_killed(cluster, undisturbed, start, tmp_path):
    """All runs or the sweep, at ten random moments while runs go on, and once a node."""
    address, remove = cluster
    number, epochs, moments = 12, 40, random.Random(0)
    folder = tmp_path / "sweep"
    words = [study(tmp_path, number, epochs), "--on", "ray", "--address", address, "--out", folder]
    words += ["--retries", 20]

    def rows():
        return sum(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/metrics.jsonl"))

    process = start(*words)
    for moment in range(10):
        enough = rows() + moments.randint(1, 10)
        wait_until(lambda enough=enough: rows() >= enough)
        time.sleep(moments.uniform(0, 0.2))
        if moment == 5:
            remove()
        elif moment in (2, 8):
            process.kill()
            said, _ = process.communicate()
            assert "raylet" not in said  # Ray keeps to itself what it has to say
            process = start(*words)
        else:
            kill_runs(folder)
    assert rows() < number * epochs
    assert "raylet" not in finish(process)
    assert digests(folder) == undisturbed(number, epochs)
    starts = sum(path.read_text().count(f"→ {folder}") for path in (folder / "logs").glob("*.log"))
    assert starts > number + 5


@pytest.mark.system
def test_a_cluster_of_its_own_runs_a_sweep_and_ends_with_it(undisturbed, start, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    folder = tmp_path / "sweep"
    process = start(study(tmp_path, 2, 500), "--on", "ray", "--out", folder)
    wait_until(lambda: len(list(folder.glob("runs/*/metrics.jsonl"))) == 2)
    family = psutil.Process(process.pid).children(recursive=True)
    assert {"gcs_server", "raylet"} <= {one.name() for one in family}
    process.send_signal(signal.SIGINT)
    said = finish(process)
    assert "stopped and saved, 2 of 2 runs left" in said
    assert all(0 < toy.latest(path).iteration < 500 * toy.ITERATIONS for path in (folder / "runs").iterdir())
    wait_until(lambda: not any(one.is_running() for one in family), 10)


@pytest.mark.system
def test_an_address_that_nobody_answers_is_an_error_in_time(monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setattr(ray, "ANSWER", 3.0)
    with pytest.raises(MachineError, match=r"answers at 127\.0\.0\.1:9 within 3 s"):
        ray.launcher("127.0.0.1:9")


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    """A Slurm of this machine alone."""
    pytest.importorskip("submitit", reason="submitit is not installed")
    if shutil.which("slurmctld") is None:
        line = "apt-get update && apt-get install --yes --no-install-recommends slurm-wlm"
        installed = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
        if installed.returncode:
            pytest.skip(f"Slurm cannot be installed: {installed.stderr.strip()[-200:]}")
    folder = tmp_path_factory.mktemp("slurm")
    script = Path(__file__).with_name("slurm.sh")
    with subprocess.Popen(
        [script, folder], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n", "".join(
            path.read_text() for path in folder.glob("*.log")
        )
        yield folder / "slurm.conf"
        process.terminate()


def ask(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.mark.system
def test_on_slurm_runs_that_are_preempted_come_back_and_end_alike(
    queue, undisturbed, start, monkeypatch, tmp_path
):
    """By a job that goes first, by an order, by the signal before the time is over; and the sweep is left."""
    monkeypatch.setenv("SLURM_CONF", str(queue))
    number, epochs = 2, 400
    folder = tmp_path / "a"
    words = [study(tmp_path, number, epochs), "--on", "slurm", "--out", folder, "--slurm", "partition=low"]

    def progress():
        return [len(runs.read_metrics(folder / "runs" / f"seed={seed}")) for seed in range(number)]

    def are_saved(times):
        logs = [folder / "logs" / f"seed={seed}.log" for seed in range(number)]
        return all(log.read_text().count("stopped and saved") >= times for log in logs)

    process = start(*words)
    wait_until(lambda: min(progress()) > 3)
    process.send_signal(signal.SIGINT)
    assert "jobs stay in the queue of Slurm" in finish(process)
    array = ask("squeue", "--me", "--noheader", "--format=%F").split()[0]
    ask("scontrol", "requeue", f"{array}_0")
    ask("scancel", "--signal=USR2", f"{array}_1")
    process = start(*words)
    wait_until(lambda: are_saved(1))
    before = progress()
    wait_until(lambda: all(now > then for now, then in zip(progress(), before, strict=True)))
    ask("sbatch", "--partition=high", "--exclusive", "--output=/dev/null", "--wrap=true")
    wait_until(lambda: are_saved(2))
    finish(process)
    assert digests(folder) == undisturbed(number, epochs)
    assert len(list((folder / "slurm").glob("*_submission.sh"))) == 1  # the second sweep made no jobs
    assert ask("squeue", "--noheader") == ""


@pytest.mark.system
def test_what_slurm_refuses_is_told_and_a_job_that_it_cancels_saves_and_is_told(
    queue, start, variables, monkeypatch, tmp_path
):
    for name, value in (variables | {"SLURM_CONF": str(queue)}).items():
        monkeypatch.setenv(name, value)
    refused = start(
        study(tmp_path, 1, 2), "--on", "slurm", "--out", tmp_path / "b", "--slurm", "partition=none"
    )
    said, _ = refused.communicate(timeout=60)
    assert (refused.returncode, said.count("invalid partition specified: none")) == (2, 1)
    for name in ("LOST", "LOOK"):
        monkeypatch.setattr(slurm, name, 1.0)
    end = ["--epochs", "9000", "--total-env-steps", str(toy.total(9000))]
    words = ("train", *toy.words(), *end, "--out", str(tmp_path / "run"))
    task = a_task(tmp_path, words=words, memory=2**30)
    launcher = slurm.launcher(tmp_path / "slurm", "canceled")
    [job] = launcher.start([task])
    wait_until(lambda: len(runs.read_metrics(tmp_path / "run")) > 3)
    assert job.poll() is None
    ask("scancel", "--me", "--name=canceled")
    wait_until(lambda: job.poll() is not None)
    assert job.poll() == -signal.SIGTERM
    said = task.log.read_text()
    assert "stopped and saved" in said
    assert "has left Slurm's queue without a result" in said.splitlines()[-1]
