"""Sweeps: what is started when, what follows from its end, and what is refused before anything runs."""

import fcntl
import io
import json
import os
import signal
import sys
import threading
from dataclasses import replace
from functools import partial

import psutil
import pytest
import toy
from rich.console import Console

from goalward import files, metrics, plan, runs, training
from goalward.cli import main
from goalward.cli import sweep as command
from goalward.errors import MachineError, UserError
from goalward.lab import costs, display, sweep
from goalward.lab import folder as folders
from goalward.lab import study as studies
from goalward.lab.launchers import core, local
from goalward.lab.sweep import Resources

SETTINGS = {name: value for name, value in toy.SETTINGS.items() if name != "network"} | toy.SETTINGS["network"]


def make(axes=None, name="toy", **changes):
    """A study of two depths and two seeds."""
    document = {
        "question": "?",
        "base": SETTINGS,
        "axes": axes or {"depth": [2, 4], "seed": [0, 1]},
        "scales": {"smoke": {}, "laptop": {}},
    }
    return studies.from_document(document | changes, name, "smoke")


STUDY = make()
NAMES = [trial.name for trial in STUDY.trials]


def row(config, iteration, seconds=0.0):
    """A row of metrics.jsonl."""
    counts = {
        "epoch": config.epoch_at(iteration),
        "iteration": iteration,
        "env_steps": iteration,
        "updates": iteration,
    }
    figures = ("success_rate", "final_success", "time_at_goal", "time_at_goal_fraction", "final_distance")
    return counts | {"seconds": seconds} | dict.fromkeys(figures, 0.25)


def fill(directory, config, *iterations):
    """Write as much of a run's files as a sweep looks at, up to the last of these iterations, a second each."""
    directory.mkdir(parents=True, exist_ok=True)
    runs.save_config(directory, config)
    lines = [json.dumps(row(config, i, float(i))) + "\n" for i in iterations]
    (directory / "metrics.jsonl").write_text("".join(lines))


class World:
    """A launcher whose jobs each take two rounds, and end with the codes of `ends`, or else done.

    A round passes whenever the scheduler sleeps. Nothing is waited for.
    """

    def __init__(self, folder, study=STUDY, slots=2, ends=None):
        self.folder, self.trials = folder, {trial.name: trial for trial in study.trials}
        self.ends = {name: list(codes) for name, codes in (ends or {}).items()}
        self.log, self.lines, self.running, self.most, self.calls = [], [], {}, 0, 0
        self.launcher = core.Launcher(self.start, slots, lambda: self.log.append("closed"))
        self.on_round = lambda _: None
        self.rounds = 0

    def start(self, tasks):
        self.calls += 1
        return [self._start(task) for task in tasks]

    def _start(self, task):
        state = {"left": 2, "code": None}
        self.running[task.name] = state
        self.log.append(f"start {task.name}")
        self.most = max(self.most, sum(one["code"] is None for one in self.running.values()))

        def stop():
            self.log.append(f"stop {task.name}")
            state["left"], self.ends[task.name] = 1, [0]

        return core.Job(lambda: state["code"], stop)

    def sleep(self, _):
        self.rounds += 1
        assert self.rounds < 1_000, self.log
        for name, state in self.running.items():
            state["left"] -= 1
            if state["left"] == 0:
                self._end(name, state)
        self.on_round(self.rounds)

    def _end(self, name, state):
        codes = self.ends.get(name, [])
        state["code"] = codes.pop(0) if codes else "done"
        config, directory = self.trials[name].config, folders.run_directory(self.folder, name)
        if state["code"] == "done":
            fill(directory, config, 0, config.iterations)
            state["code"] = 0

    def run(self, trials=None, **options):
        needs = {name: Resources(memory=10) for name in self.trials}
        view = sweep.View(self.lines.append, lambda *_: None)
        options = {"sleep": self.sleep} | options
        return sweep.run(
            trials or tuple(self.trials.values()), self.folder, self.launcher, needs, view, **options
        )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of a sweep, in which nothing is waited for by the clock."""
    monkeypatch.setattr(sweep, "LOOK", 0)
    monkeypatch.setattr(sweep, "REFRESH", 0)
    (tmp_path / "sweep" / "runs").mkdir(parents=True)
    (tmp_path / "sweep" / "logs").mkdir()
    return tmp_path / "sweep"


def starts(world):
    return [line.removeprefix("start ") for line in world.log if line.startswith("start")]


def states(folder, study=STUDY):
    return {trial.name: folders.standing(folder, trial).state for trial in study.trials}


def test_runs_start_in_their_order_as_places_get_free(folder):
    world = World(folder)
    ended = world.run()
    assert starts(world) == NAMES == ["depth=2,seed=0", "depth=4,seed=0", "depth=2,seed=1", "depth=4,seed=1"]
    assert (sorted(ended.done), ended.failed, ended.left) == (sorted(NAMES), {}, [])
    assert world.most == 2
    assert world.log[-1] == "closed"
    again = World(folder)
    assert again.run() == ended
    assert starts(again) == []


def test_a_launcher_with_a_queue_is_given_all_in_one_call(folder):
    world = World(folder, slots=None)
    world.run()
    assert (starts(world), world.calls) == (NAMES, 1)


@pytest.mark.parametrize(
    ("codes", "tries", "failed"),
    [
        ([1], 2, None),
        ([-9, 1], 3, None),
        ([1, -9, 1], 3, 1),
        ([0, 0, 0], 3, 0),
        ([2], 1, 2),
    ],
    ids=["once", "twice", "too often", "stops by itself", "bad input"],
)
def test_a_run_that_fails_is_tried_again_so_many_times(folder, codes, tries, failed):
    name = NAMES[1]
    ended = World(folder, ends={name: codes}).run(retries=2)
    recorded = folders.attempts(folder, name)
    assert [attempt.exit for attempt in recorded] == [*codes, 0][:tries]
    assert ended.failed == ({} if failed is None else {name: failed})
    assert states(folder)[name] == ("done" if failed is None else "failed")
    assert [attempt.given_up for attempt in recorded] == [False] * (tries - 1) + [failed is not None]
    # A new call tries it again.
    assert World(folder).run().failed == {}
    assert set(states(folder).values()) == {"done"}


def test_a_stop_tells_each_run_once_and_waits_for_all(folder):
    world = World(folder)
    ended = world.run(should_stop=lambda: world.rounds >= 1)
    assert world.log == [
        f"start {NAMES[0]}",
        f"start {NAMES[1]}",
        f"stop {NAMES[0]}",
        f"stop {NAMES[1]}",
        "closed",
    ]
    assert (ended.done, ended.failed, ended.left) == ([], {}, NAMES)
    assert [attempt.given_up for name in NAMES[:2] for attempt in folders.attempts(folder, name)] == [
        False,
        False,
    ]
    assert set(states(folder).values()) == {"waiting"}


def test_tasks_that_stay_are_left_when_the_sweep_stops(folder):
    world = World(folder, slots=None)
    world.launcher = world.launcher._replace(stays="they stay")
    ended = world.run(should_stop=lambda: world.rounds >= 1)
    assert world.log == [*(f"start {name}" for name in NAMES), "closed"]
    assert (ended.done, ended.failed, ended.left) == ([], {}, NAMES)
    assert not any(folders.attempts(folder, name) for name in NAMES)


def test_a_run_that_another_process_holds_is_waited_for(folder):
    directory = folders.run_directory(folder, NAMES[0])
    fill(directory, STUDY.trials[0].config, 0)
    held = [files.hold(directory / ".lock")]
    assert states(folder)[NAMES[0]] == "running"
    world = World(folder)
    world.on_round = lambda number: os.close(held.pop()) if number == 20 else None
    assert world.run().done == NAMES
    assert starts(world) == [*NAMES[1:], NAMES[0]]
    told = [line for line in world.lines if line.startswith(NAMES[0])]
    assert told[0] == f"{NAMES[0]}: another process holds {directory}; waiting for it"


def test_a_sweep_that_only_waits_can_be_stopped(folder):
    directory = folders.run_directory(folder, NAMES[0])
    fill(directory, STUDY.trials[0].config, 0)
    descriptor = files.hold(directory / ".lock")
    world = World(folder)
    ended = world.run(STUDY.trials[:1], should_stop=lambda: world.rounds > 3)
    os.close(descriptor)
    assert ended.left == NAMES[:1]


@pytest.mark.parametrize(
    ("room", "most"), [(None, 3), (25, 2), (9, 1)], ids=["no limit", "two", "less than one"]
)
def test_no_more_run_side_by_side_than_fit_into_memory(folder, room, most):
    world = World(folder, slots=3)
    assert world.run(room=room).left == []
    assert world.most == most


def test_a_full_disk_stops_all_runs_and_is_told(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    world = World(folder, ends={NAMES[0]: [1]})
    monkeypatch.setattr(folders, "add_attempt", full)
    with pytest.raises(MachineError, match=r"cannot go on: .*No space left on device"):
        world.run()
    assert f"stop {NAMES[1]}" in world.log
    assert world.log[-1] == "closed"


@pytest.mark.parametrize(
    "left", [[], [".lock"], [".lock", "meta.json.0a1b.tmp"], [".lock", "meta.json", "config.json.0a.tmp"]]
)
def test_a_run_killed_before_it_had_settings_starts_again(tmp_path, left):
    directory, config = tmp_path / "run", toy.config()
    directory.mkdir()
    for name in left:
        (directory / name).write_text("{")
    with runs.new(directory, config, "cpu", {"env_version": 1, "eval_env_version": 1}):
        pass
    assert runs.load_config(directory) == config
    assert runs.load_meta(directory).env_version == 1
    assert sorted(path.name for path in directory.iterdir()) == [".lock", "config.json", "meta.json"]


def test_a_directory_with_anything_else_is_not_taken_for_a_beginning(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(UserError, match="it is not empty"), runs.new(tmp_path, toy.config(), "cpu", {}):
        pass


def test_a_look_at_a_lock_disturbs_nobody_who_takes_it(tmp_path):
    """A reader holds it for a moment; whoever takes it tries for longer."""
    path = tmp_path / ".lock"
    assert not files.is_held(path)
    descriptor = files.hold(path)
    assert files.is_held(path)
    with pytest.raises(BlockingIOError):
        files.hold(path)
    os.close(descriptor)
    assert not files.is_held(path)
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.05, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        os.close(files.hold(path))


def test_where_a_run_stands_is_told_by_its_files(folder):
    trial = STUDY.trials[0]
    directory, config = folders.run_directory(folder, trial.name), trial.config
    assert folders.standing(folder, trial).state == "waiting"
    fill(directory, config, 0)
    begun = folders.standing(folder, trial)
    assert (begun.state, begun.epoch, begun.epochs, begun.left) == ("stopped", 0, 2, None)
    fill(directory, config, 0, 3)
    half = folders.standing(folder, trial, "success_rate")
    assert (half.epoch, half.score, half.seconds, half.left) == (1, 0.25, 3.0, 3.0)
    with (directory / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 6')  # still being written
    assert folders.standing(folder, trial) == folders.standing(folder, trial)._replace(state="stopped", epoch=1)
    fill(directory, config, 0, 3, 6)
    assert folders.standing(folder, trial)[:4] == (trial.name, "done", 2, 2)


def test_a_run_with_a_row_twice_stands_somewhere(folder):
    config = STUDY.trials[0].config
    fill(folders.run_directory(folder, NAMES[0]), config, 2, 2)
    assert folders.standing(folder, STUDY.trials[0]).left is None


@pytest.mark.parametrize("length", [10, 5_000, 60_000])
def test_the_end_of_rows_is_the_end_of_all_rows(tmp_path, length):
    path, config = tmp_path / "metrics.jsonl", STUDY.trials[0].config
    rows = [row(config, i) | {"norms": [0.5] * (length // 5)} for i in range(7)]
    path.write_text("".join(json.dumps(one) + "\n" for one in rows) + '{"half')
    assert metrics.read_end(path) == rows[-2:] == metrics.read(path)[-2:]
    assert metrics.read_end(tmp_path / "none") == []


def test_many_runs_are_looked_at_by_few_bytes_of_each(folder, monkeypatch):
    """Of each run its attempts and the end of its rows; of those that are not done, whether it is held."""
    study = make({"depth": [2, 4, 6, 8], "seed": "0..49"})
    assert len(study.trials) == 200
    for number, trial in enumerate(study.trials):
        if number % 4:
            directory = folders.run_directory(folder, trial.name)
            directory.mkdir()
            lines = [json.dumps(row(trial.config, i)) + "\n" for i in range(0, 7 if number % 2 else 4, 3)]
            (directory / "metrics.jsonl").write_text("".join(lines))
    folders.save(folder, study, {}, 1)
    opened, real = [], files.open_to_read

    def counted(path):
        opened.append(path)
        return real(path)

    monkeypatch.setattr(files, "open_to_read", counted)
    standings = [folders.standing(folder, trial) for trial in folders.load(folder).trials(folder)]
    assert len(opened) <= 3 * len(standings) + 1
    counts = {state: sum(one.state == state for one in standings) for state in ("done", "stopped", "waiting")}
    assert counts == {"done": 100, "stopped": 50, "waiting": 50}


def saved(folder, study=STUDY, only=None):
    with folders.hold(folder):
        folders.save(folder, study, only or {}, 1)


@pytest.mark.parametrize(
    "study",
    [
        make({"depth": [4, 2, 6], "seed": "0..4"}),
        make(question="What?"),
        make(measures={"area": {"kind": "area", "metric": "success_rate"}}),
    ],
    ids=["more points", "another question", "other measures"],
)
def test_a_sweep_goes_on_with_more_points_and_other_words(folder, study):
    saved(folder)
    folders.check(folder, study, study.trials)


@pytest.mark.parametrize(
    ("study", "told"),
    [
        (make(name="other"), "is a sweep of study 'toy', not 'other'"),
        (STUDY._replace(scale="laptop"), "is a sweep of scale 'smoke', not 'laptop'"),
        (
            make({"depth": [2, 4], "width": [8], "seed": [0, 1]}),
            "over the axes depth, seed, not depth, width, seed",
        ),
        (make({"depth": [2], "seed": [0, 1]}), "with depth 2, 4, and the study no longer has 4"),
        (make(base=SETTINGS | {"num_envs": 8}), "num_envs 4, and the study now has 8"),
        (make(base=SETTINGS | {"width": 16}), "network.width 8, and the study now has 16"),
    ],
    ids=["study", "scale", "axes", "points", "setting", "setting of a part"],
)
def test_another_sweep_is_refused_by_what_differs(folder, study, told):
    saved(folder)
    before = toy.contents(folder)
    with pytest.raises(UserError) as caught:
        folders.check(folder, study, study.trials)
    assert told in str(caught.value)
    assert "another --out" in str(caught.value)
    assert toy.contents(folder) == before


def test_a_prediction_is_not_changed_once_runs_are_begun(folder):
    claim = {"text": "It learns.", "success": "mean(score(depth=4)) > 0"}
    first, second = (make(prediction=claim | {"text": text}) for text in ("It learns.", "It does not."))
    saved(folder, first)
    folders.check(folder, second, ())
    fill(folders.run_directory(folder, NAMES[0]), STUDY.trials[0].config, 0)
    with pytest.raises(UserError, match="begun with another prediction"):
        folders.check(folder, second, ())


def test_measures_of_a_prediction_are_not_changed_once_runs_are_begun(folder):
    claim = {"text": "It learns.", "success": "mean(score(depth=4)) > 0"}
    score, other = {"kind": "final", "metric": "success_rate"}, {"kind": "area", "metric": "success_rate"}
    first, second, third = (
        make(prediction=claim, measures=measures)
        for measures in ({"score": score}, {"score": score, "other": other}, {"score": other})
    )
    saved(folder, first)
    fill(folders.run_directory(folder, NAMES[0]), STUDY.trials[0].config, 0)
    folders.check(folder, second, ())
    with pytest.raises(UserError, match="begun with another prediction"):
        folders.check(folder, third, ())


def test_a_sweep_goes_on_for_any_study_that_looks_at_its_runs(folder):
    asked = studies.load("q_map", "laptop")
    saved(folder, asked)
    fill(folders.run_directory(folder, asked.trials[0].name), asked.trials[0].config, 0)
    for name in ("q_map", "depth_point_u4", "embedding"):
        found = studies.load(name, "laptop")
        folders.check(folder, found, found.trials)


def test_a_run_with_other_settings_is_refused_by_name(folder):
    directory = folders.run_directory(folder, NAMES[0])
    fill(directory, replace(STUDY.trials[0].config, batch_size=16), 0)
    with pytest.raises(UserError, match="depth=2,seed=0 has batch_size 16, and its trial in the study 8"):
        folders.check(folder, STUDY, STUDY.trials)


def test_a_folder_is_held_by_one_sweep_and_taken_by_none_that_is_not_its_own(folder, tmp_path):
    with (
        folders.hold(folder),
        pytest.raises(UserError, match=f"another sweep is running in {folder}"),
        folders.hold(folder),
    ):
        pass
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").touch()
    with (
        pytest.raises(UserError, match="is not a sweep; choose another --out"),
        folders.hold(tmp_path / "mine"),
    ):
        pass
    (folder / "sweep.json.0a1b.tmp").touch()
    with folders.hold(folder):
        assert not list(folder.glob("*.tmp"))


def test_what_a_sweep_is_comes_back_from_its_file(folder):
    saved(folder, only={"depth": ["4"]})
    assert folders.load(folder) == folders.Sweep(STUDY, {"depth": ["4"]}, 1)
    fill(folders.run_directory(folder, NAMES[0]), STUDY.trials[0].config, 0)
    names = [trial.name for trial in folders.load(folder).trials(folder)]
    assert names == [NAMES[0], NAMES[1], NAMES[3]]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1, "study": 3}', '{"format": 7}'])
def test_a_damaged_or_newer_sweep_is_told(folder, text):
    (folder / "sweep.json").write_text(text)
    with pytest.raises(UserError, match=r"sweep\.json"):
        folders.load(folder)


@pytest.mark.parametrize(
    ("words", "expected"),
    [([], NAMES), (["depth=4"], NAMES[1::2]), (["depth=4,2", "seed=1"], NAMES[2:])],
)
def test_only_restricts_axes(words, expected):
    assert [trial.name for trial in folders.chosen(STUDY, folders.restriction(STUDY, words))] == expected


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("depth", "the axes are depth, seed"),
        ("width=8", "the axes are depth, seed"),
        ("depth=2,3", "--only names depth=3; the labels of depth are 2, 4"),
        ("seed=", "the labels of seed are 0, 1"),
    ],
)
def test_only_names_what_there_is(word, told):
    with pytest.raises(UserError) as caught:
        folders.restriction(STUDY, [word])
    assert told in str(caught.value)


GPUS = "0, GPU-aa11, 81920\n1, GPU-bb22, 40960\n"


@pytest.mark.parametrize(
    ("jobs", "cores", "expected"),
    [
        (None, 4, [(0,), (1,), (2,), (3,)]),
        (2, 5, [(0, 1), (2, 3)]),
        (1, 3, [(0, 1, 2)]),
    ],
)
def test_places_share_the_cores(jobs, cores, expected):
    assert [slot.cores for slot in local.slots(jobs, range(cores))] == expected


@pytest.mark.parametrize("jobs", [0, -1, 3])
def test_more_runs_than_cores_are_refused(jobs):
    with pytest.raises(UserError, match=f"jobs is {jobs}; it must lie in 1 … 2"):
        local.slots(jobs, [0, 1])


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [(None, [("0", 1.0), ("1", 1.0)]), (1, [("0", 1.0)]), (3, [("0", 0.5), ("1", 1.0), ("0", 0.5)])],
)
def test_places_are_gpus_where_there_are_any(jobs, expected):
    slots = local.slots(jobs, range(8), local.visible(GPUS, None))
    assert [(slot.gpu.name, slot.share) for slot in slots] == expected
    variables = local._gpu_variables(slots[0])
    assert variables["CUDA_VISIBLE_DEVICES"] == "0"
    assert variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] == f"{0.9 * slots[0].share:.3f}"
    assert slots[0].free() == int(0.9 * slots[0].share * 81920 * 2**20)


@pytest.mark.parametrize(
    ("chosen", "names"),
    [(None, ["0", "1"]), ("1,0", ["1", "0"]), ("GPU-bb", ["1"]), ("", []), ("-1", []), ("1,7,0", ["1"])],
)
def test_gpus_are_those_that_cuda_would_show(chosen, names):
    assert [gpu.name for gpu in local.visible(GPUS, chosen)] == names


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds processes to cores")
def test_a_process_is_held_to_its_cores_and_threads_and_stops_when_told(tmp_path, monkeypatch):
    """`python -m goalward` is another module here, which tells what it was given."""
    monkeypatch.chdir(tmp_path)  # which is where Python looks first
    (tmp_path / "goalward").mkdir()
    (tmp_path / "goalward" / "__init__.py").touch()
    (tmp_path / "goalward" / "__main__.py").write_text(
        "import os, sys, time\n"
        "time.sleep(0.3)\n"
        "print(sys.argv[1:], os.environ['PJRT_NPROC'], os.sched_getaffinity(0), os.getpgid(0) == os.getpid())\n"
        "sys.stdout.flush()\n"
        "time.sleep(60)\n"
    )
    last = sorted(os.sched_getaffinity(0))[-1]
    launcher = local.launcher([local.Slot((last,))])
    log, begun = tmp_path / "log", tmp_path / "begun"
    for lines in (1, 2):  # "first", then "again"
        task = core.Task("a", ("first",), log, 3, 0, begun=begun, again=("again",))
        (job,) = launcher.start([task])
        while (log.read_text() if log.exists() else "").count("\n") < lines:  # print may write a line in pieces
            assert job.poll() is None
        job.stop()
        while job.poll() is None:
            pass
        assert job.poll() == -signal.SIGTERM
        begun.touch()
    assert log.read_text() == f"['first'] 3 {{{last}}} True\n['again'] 3 {{{last}}} True\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds processes to cores")
def test_where_one_of_several_cannot_start_none_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "goalward").mkdir()
    (tmp_path / "goalward" / "__init__.py").touch()
    (tmp_path / "goalward" / "__main__.py").write_text("import time\ntime.sleep(60)\n")
    core_number = sorted(os.sched_getaffinity(0))[-1]
    launcher = local.launcher([local.Slot((core_number,))] * 2)
    first, second = (core.Task(name, (), tmp_path / name, 1, 0) for name in ("log", "goalward"))
    with pytest.raises(IsADirectoryError):
        launcher.start([first, second])
    assert not psutil.Process().children()


def test_a_sweep_of_commands_that_fail_says_so_and_how_to_go_on(tmp_path, monkeypatch, capsys):
    """The whole way from the command line to processes, with a launcher of fake jobs."""
    monkeypatch.chdir(tmp_path)
    world = World(tmp_path / "runs" / "toy-smoke", ends={NAMES[3]: [1, 1]})
    monkeypatch.setattr(studies, "load", lambda name, scale: STUDY)
    monkeypatch.setattr(local, "launcher", lambda _: world.launcher)
    monkeypatch.setattr(local, "cores", lambda: [0, 1])
    monkeypatch.setattr(sweep, "run", partial(sweep.run, sleep=world.sleep))
    started, start = [], world.launcher.start

    def spoken(tasks):
        for task in tasks:
            task.log.write_text("one\ntwo\nerror: no luck\n")
        started.extend(tasks)
        return start(tasks)

    world.launcher = world.launcher._replace(start=spoken)
    with pytest.raises(SystemExit) as caught:
        main(["sweep", "toy", "--retries", "1", "--scale", "smoke"])
    told = capsys.readouterr()
    assert caught.value.code == 1
    assert "depth=4,seed=1: ended with exit code 1; it is tried again" in told.out
    assert "  error: no luck" in told.err
    assert "error: 1 of 4 runs failed: depth=4,seed=1; mend what their logs say, then go on with: " in told.err
    assert told.err.rstrip().endswith("goalward sweep toy --scale smoke --retries 1")
    assert started[0].words[:2] == ("train", "point_u_maze")
    assert started[0].words[-1] == str(tmp_path / "runs" / "toy-smoke" / "runs" / NAMES[0])
    assert {(task.cores, task.gpus) for task in started} == {(1, 0)}
    main(["status", "runs/toy-smoke", "--json"])
    status = json.loads(capsys.readouterr().out)
    assert status["states"] == {"done": 3, "running": 0, "failed": 1, "stopped": 0, "waiting": 0}
    main(["sweep", "toy", "--scale", "smoke", "--jobs", "1"])
    told = capsys.readouterr()
    assert "4 runs done" in told.out
    assert ("keep the number of threads that the first ones had, 1" in told.err) == (len(local.cores()) > 1)
    assert started[-1].cores == 1, "bits depend on the number of threads, which is that of the first call"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sweep", "nothing_like_it"], "unknown study 'nothing_like_it'"),
        (["sweep", "point_u_maze"], "point_u_maze is an environment; name what to vary too"),
        (["sweep", "depth", "--axis", "depth=4,8"], "depth is a study, whose axes are its own"),
        (["sweep", "point_u_maze", "--axis", "seed=0..99999999"], "100,000,000 points; an axis has 10,000"),
        (["sweep", "depth_point_u4", "--scale", "giant"], "there is no scale 'giant'; its scales are"),
        (["sweep", "point_u_maze", "--axis", "depth=4,8", "--scale", "smoke"], "--axis makes a study that has"),
        (["sweep", "point_u_maze", "--axis", "depth"], "write a setting and its values"),
        (["sweep", "depth_point_u4", "--only", "depth=3"], "the labels of depth are"),
        (["sweep", "depth_point_u4", "--retries", "-1"], "retries is -1"),
        (["sweep", "depth_point_u4", "--jobs", "0"], "jobs is 0"),
        (["status", "no_such_folder"], "no_such_folder is not a sweep: it does not exist"),
        (["status", "."], "is not a sweep: it has no sweep.json"),
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_message_and_nothing_is_written(tmp_path, monkeypatch, capsys, words, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(words)
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert told in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_goes_on_is_the_command_that_was_typed():
    args = command.Args("toy", only=("depth=4",), jobs=2, axis=("seed=0..4", "depth=4"))
    words = ["toy", "--axis", "seed=0..4", "--axis", "depth=4", "--only", "depth=4", "--jobs", "2"]
    assert command._words(args) == words


def standing(number, state="running", left=10.0, seconds=10.0, depth=4, score=0.5):
    name = f"depth={depth},seed={number}"
    return folders.Standing(name, state, 1, 2, score, seconds, left, 0)


EIGHT = standing(0, "waiting", None, 0.0, depth=8)


@pytest.mark.parametrize(
    ("standings", "side_by_side", "expected"),
    [
        ([standing(0, left=None)], 2, None),
        ([standing(0, left=10.0), standing(1, "waiting", None, 0.0)], 1, 30.0),
        ([standing(0, left=10.0), standing(1, "waiting", None, 0.0)], 2, 20.0),
        ([standing(0, "done", 0.0, 50.0), standing(1, "waiting", None, 0.0), EIGHT], 1, 100.0),
        ([standing(0, "done", 0.0), standing(1, "failed", None)], 1, 0.0),
    ],
    ids=["not known", "as its own settings", "the longest", "as others", "none"],
)  # fmt: skip
def test_time_left_goes_by_runs_of_the_same_settings(standings, side_by_side, expected):
    assert display.time_left(standings, side_by_side) == expected


def drawn(table, width=100):
    console = Console(width=width, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


def test_few_runs_have_a_row_each_and_many_a_row_for_their_seeds():
    few = drawn(display.table([standing(0), standing(1, "waiting", None, 0.0, score=None)], "time_at_goal", 1))
    assert "depth=4,seed=0  running" in few
    assert "2 runs: 1 running, 1 waiting, about 0:00:30 left" in few
    many = [standing(i, "done" if i else "running", 0.0, depth=depth) for depth in (4, 8) for i in range(20)]
    text = drawn(display.table(many, "time_at_goal", 2))
    assert text.index("depth=4,seed=0") < text.index("depth=4,seed=… × 20  19 done, 1 running")
    assert "40 runs: 38 done, 2 running" in text


def test_a_low_screen_shows_first_what_runs_and_what_failed():
    all_done = [standing(i, "done", 0.0) for i in range(10)]
    text = drawn(display.table([*all_done, standing(10), standing(11, "failed", None)], "score", 1, height=3))
    assert "seed=10" in text
    assert "seed=11" in text
    assert "…" in text


def test_a_run_that_cannot_fit_is_refused_before_anything_starts(monkeypatch):
    huge = make(base=SETTINGS | {"buffer_rows": 10**9})
    with pytest.raises(
        UserError, match="the run depth=2,seed=0 does not fit, not even alone: this run needs"
    ) as caught:
        costs.needs(huge.trials, [local.Slot((0,))])
    assert "--buffer-rows" in str(caught.value)


def test_memory_is_estimated_once_for_each_settings(monkeypatch):
    built, real = [], training.build
    monkeypatch.setattr(training, "build", lambda config: built.append(config) or real(config))
    needs, room = costs.needs(make({"depth": [2, 4], "seed": "0..9"}).trials, [local.Slot((0, 1))] * 2)
    assert (len(built), len(needs)) == (2, 20)
    assert all(plan.PROCESS < need.memory < plan.PROCESS + 10**6 for need in needs.values())
    assert {need.cores for need in needs.values()} == {2}
    assert 0 < room <= 0.9 * plan.machine.free_memory() * 1.1


@pytest.mark.parametrize(
    ("slots", "room", "expected"),
    [(1, None, 60.0), (2, None, 40.0), (3, None, 30.0), (2, 15, 60.0), (3, 20, 40.0)],
)
def test_length_of_a_sweep_is_that_of_its_schedule(slots, room, expected):
    found = [costs.Cost(str(number), "", 10, seconds) for number, seconds in enumerate((10.0, 20.0, 30.0))]
    assert costs.length(found, slots, room) == expected


def test_a_dry_run_measures_each_settings_once(tmp_path, monkeypatch):
    tasks = []

    def start(given):
        tasks.extend(given)
        given[0].log.write_text('a note\n{"seconds": 90.0}\n')
        return [core.Job(lambda: 0, lambda: None)]

    needs = {name: Resources(10) for name in NAMES}
    launcher, told = core.Launcher(start, 1, lambda: None), []
    found = costs.measure(STUDY.trials, launcher, needs, told.append, lambda: False)
    assert [cost.seconds for cost in found] == [90.0] * 4
    assert told == NAMES[:2]
    assert [task.words[:2] for task in tasks] == [("plan", "point_u_maze")] * 2
    assert costs.measure(STUDY.trials, launcher, needs, told.append, lambda: True) == []
