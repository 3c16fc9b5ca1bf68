"""Goalward from Python: train, resume, stop and open runs, by the same settings as the command."""

import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import toy

import goalward
from goalward import cli, library, recorded, runs, tracking
from goalward.config import agent_name, nested
from goalward.errors import MachineError, UserError

FLAT = {name: value for name, value in toy.SETTINGS.items() if name not in ("env", "network")}
FLAT |= toy.SETTINGS["network"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return toy.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The toy run, by its flat settings."""
    return goalward.train("point_u_maze", out=tmp_path_factory.mktemp("library") / "run", quiet=True, **FLAT)


# Training --------------------------------------------------------------------------------------------------


def test_a_run_is_bit_for_bit_that_of_the_command(run, trained):
    assert run.config == runs.load_config(trained)
    assert toy.digest(run.directory) == toy.digest(trained)
    assert toy.rows(run.directory) == toy.rows(trained)


def test_a_setting_has_three_names():
    wanted = {"network": {"depth": 3}, "agent": {"discount": 0.9}, "env_settings": {"inertia": True}}
    for network in ({"depth": 3}, {"network.depth": 3}, {"network": {"depth": 3}}):
        assert nested(network | {"discount": 0.9, "env_settings": {"inertia": True}}) == wanted
    assert nested({"agent": "srl", "unknown": 1}) == {"agent": {"name": "srl"}, "unknown": 1}


def test_presets_agents_and_configurations_are_started_from():
    srl = library._new("point_u_maze", "laptop", "srl", {"depth": 8})
    assert (agent_name(srl.agent), srl.network.depth) == ("srl", 8)
    words = ["point_u_maze", "--agent", "srl", "--depth", "8"]
    assert srl == cli.train.config(cli.dispatch.parse("train", words))
    assert library._new(srl, "laptop", "", {"seed": 4}) == replace(srl, seed=4)
    assert library._new("ant", "paper", "", {}).num_envs == 512


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dept": 3}, r"train: unknown setting 'dept'; did you mean 'network.depth'\?"),
        ({"depth": "deep"}, r"train: network.depth is 'deep'; it must be of type int"),
        ({"depth": 0}, r"depth is 0; it must lie in 1 …"),
        ({"env": "point_u_mazes"}, r"unknown environment .*; did you mean point_u_maze"),
        ({"env": None}, r"env is None; name an environment"),
        ({"agent": "bc"}, r"agent is 'bc'; it must be one of crl"),
        ({"preset": "phone"}, r"preset is 'phone'; it must be laptop or paper"),
        ({"bins": 9}, r"agent.bins is no setting of crl; srl and chrono have it"),
        ({"env": toy.config(), "agent": "srl"}, r"leave out agent and preset"),
        ({"resume": True}, r"out is missing"),
        ({"resume": True, "out": "nowhere"}, r"nowhere is not a run directory"),
        ({"env_file": "my.py"}, r"name the file as env"),
        ({"track": "paper"}, r"track is 'paper'; it must be wandb or mlflow"),
        ({"buffer_rows": 2_000_000_000}, r"this run needs .* of memory"),
        ({"dataset": "none.npz"}, r"dataset .*none.npz does not exist"),
    ],
)
def test_a_mistake_is_told_and_leaves_nothing(tmp_path, monkeypatch, options, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=told):
        goalward.train(**{"env": "point_u_maze", "quiet": True, **options})
    assert list(tmp_path.iterdir()) == []


def test_a_callback_sees_each_evaluation_and_stops_a_run_that_goes_on_later(trained, tmp_path, capsys):
    seen = []

    def enough(report):
        seen.append(report)
        return report.epoch == 1

    out = tmp_path / "run"
    stopped = goalward.train(toy.config(), out=out, callback=enough)
    assert [report.epoch for report in seen] == [0, 1]
    assert seen[1].evaluation.success_rate == stopped.metrics["success_rate"][1]
    assert "success" in capsys.readouterr().out
    goalward.train(out=str(out), resume=True, quiet=True, callback=lambda report: seen.append(report))
    assert [report.epoch for report in seen] == [0, 1, 2]
    assert capsys.readouterr().out == ""
    assert toy.digest(out) == toy.digest(trained)


def test_what_a_callback_raises_lets_go_of_the_run_in_a_folder_of_its_own(tmp_path, monkeypatch):
    def broken(_):
        raise ZeroDivisionError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError) as caught:
        goalward.train(toy.config(), quiet=True, callback=broken)
    [directory] = (tmp_path / "runs").iterdir()
    with runs.lock(directory):
        assert caught.tb is not None  # its frames are alive, as in a notebook


def test_a_resume_changes_the_end_alone(run, tmp_path):
    out = toy.copy(run.directory, tmp_path / "run")
    for change in ({"depth": 3}, {"env": "point_u4_maze"}, {"agent": "srl"}, {"preset": "paper"}, {"seed": 1}):
        with pytest.raises(UserError, match=r"goes on with the settings in .*; only --epochs"):
            goalward.train(out=out, resume=True, quiet=True, **change)
    longer = goalward.train("point_u_maze", out=out, resume=True, quiet=True, epochs=3)
    assert longer.metrics["epoch"].tolist() == [0, 1, 2, 3]
    again = goalward.train(toy.epochs(4), out=out, resume=True, quiet=True)
    assert again.config.epochs == len(again.metrics["epoch"]) - 1 == 4


def test_an_end_that_is_past_is_refused_where_epochs_are_of_unequal_length(tmp_path):
    out, more = tmp_path / "run", toy.STEPS * (toy.ITERATIONS - 1)  # epochs of three iterations, and of two
    goalward.train(toy.config(total_env_steps=toy.total(1) + more), out=out, quiet=True)
    with pytest.raises(UserError, match="epochs is 1, but 2 are done; give more to go on"):
        goalward.train(out=out, resume=True, quiet=True, epochs=1)
    longer = goalward.train(out=out, resume=True, quiet=True, epochs=3)
    assert longer.metrics["env_steps"].tolist() == [80, 200, 280, 360]


def test_an_end_in_the_epoch_before_the_one_that_has_begun_is_past(tmp_path):
    out = tmp_path / "run"
    stops = iter([False] * toy.ITERATIONS + [True])
    toy.run(out, toy.epochs(3), should_stop=lambda: next(stops))
    assert toy.latest(out).iteration == toy.ITERATIONS + 1
    with pytest.raises(UserError, match="epochs is 1, but 1 are done and the next has begun"):
        goalward.train(out=out, resume=True, quiet=True, epochs=1)
    assert goalward.train(out=out, resume=True, quiet=True).metrics["epoch"].tolist() == [0, 1, 2, 3]


@pytest.fixture
def heeding():
    """The handler of Ctrl-C, also where whoever started the tests has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_the_first_interrupt_stops_and_saves_and_the_handler_is_the_old_one(tmp_path, heeding):
    before = heeding

    def interrupt(report):
        if report.epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="is saved"):
        goalward.train(toy.config(), out=tmp_path / "run", quiet=True, callback=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert goalward.load_run(tmp_path / "run").metrics["epoch"].tolist() == [0, 1]
    assert toy.latest(tmp_path / "run").iteration == toy.ITERATIONS


def test_in_another_thread_signals_are_left_alone():
    found = []

    def look():
        with library._first_interrupt() as interrupted:
            found.append((interrupted(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [(False, signal.getsignal(signal.SIGINT))]


# Runs on disk ----------------------------------------------------------------------------------------------


def test_a_run_gives_its_metrics_and_rows(run):
    assert run.metrics["env_steps"].tolist() == [80, 200, 320]
    assert np.isnan(run.metrics["critic_loss"][0])  # before any update
    assert all(values.dtype.kind in "if" for values in run.metrics.values())
    np.testing.assert_array_equal(run.trajectories().obs, recorded.replay(run.directory).obs)
    assert run.world().env.spec.episode_length == 20
    assert "config" not in repr(run)


def test_what_is_no_run_is_told(tmp_path):
    with pytest.raises(UserError, match="is not a run directory"):
        goalward.load_run(tmp_path)


# Public names ----------------------------------------------------------------------------------------------


def test_public_names_are_no_modules_and_stay_what_they_are():
    """A module that was imported is an attribute of the package from then on."""
    code = (
        "import importlib, pkgutil, goalward\n"
        "names = [one.name for one in pkgutil.iter_modules(goalward.__path__) if one.name != '__main__']\n"
        "assert not set(names) & set(goalward.__all__), names\n"
        "for name in reversed(names): importlib.import_module(f'goalward.{name}')\n"
        "from goalward import *\n"
        "kinds = {name: type(getattr(goalward, name)).__name__ for name in goalward.__all__}\n"
        "assert set(kinds.values()) == {'function', 'type'}, kinds\n"
        "assert globals()['train'] is goalward.train and goalward.training.train is not goalward.train\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert sorted(goalward.__all__) == sorted(goalward._HOME)


def test_importing_goalward_loads_little():
    code = "import sys, goalward; assert not {'jax', 'numpy', 'gymnasium'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("folder", [False, True])
def test_a_missing_tracker_names_its_extra(tmp_path, monkeypatch, folder):
    monkeypatch.setitem(tracking.TRACKERS, "none_such", tracking.TRACKERS["wandb"])
    if folder:  # which Python takes for a package
        (tmp_path / "none_such").mkdir()
        monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MachineError, match=r"pip install 'goalward\[none_such\]'"):
        goalward.train(toy.config(), out=tmp_path / "run", track="none_such")
    assert not (tmp_path / "run").exists()


class ZMQInteractiveShell:
    """By its name a program knows that it is in a notebook."""


def test_the_page_about_the_library_runs_as_in_a_notebook(tmp_path, monkeypatch, capsys):
    """With toy sizes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("builtins.get_ipython", ZMQInteractiveShell, raising=False)
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")

    def train(env=None, **options):
        return library.train(env, **(options if "resume" in options else {**options, **FLAT}))

    page = (Path(__file__).parents[1] / "docs/library.md").read_text()
    code = "".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    names = {}
    monkeypatch.setattr(goalward, "train", train, raising=False)
    exec(code, names)
    assert names["world"].steps == 100
    assert "2/2" in capsys.readouterr().out
    assert names["figures"]["episodes"] == 64
    assert names["far"].episodes == 4
    assert names["far"].obs.shape == (4 * 21, 2)
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "success.png"}


def test_what_is_no_callback_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    with pytest.raises(UserError, match="callback is 3; it must be a function of a report"):
        goalward.train("point_u_maze", callback=3, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
