"""Environments from a person's own file: found, trusted, checked, and told what is wrong with them."""

import json
import shutil
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import toy

from goalward import contract, envs, training
from goalward.cli import main
from goalward.envs import own, trust
from goalward.errors import MachineError, UserError
from goalward.foreign import making
from goalward.lab import study
from goalward.policy import load_policy

# A stick that is turned, in MuJoCo.
STICK = """
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np

import stick_parts
from goalward.envs.mujoco.task import Marker, Start, Task, reach_spec


def make(episode_length: int = 20, threshold: float = 0.05, colour: str = "red"):
    \"\"\"Turn a stick to a place. It has a motor.\"\"\"
    model = mujoco.MjModel.from_xml_path(str(Path(__file__).with_name("stick.xml")))

    def reset(key):
        start, goal = jax.random.split(key)
        angle = jax.random.uniform(goal, minval=-3.0, maxval=3.0)
        qpos = 0.1 * jax.random.normal(start, (1,))
        return Start(qpos, jnp.zeros(1)), stick_parts.LENGTH * jnp.stack([jnp.cos(angle), jnp.sin(angle)])

    def observe(physics):
        turned = jnp.concatenate([jnp.cos(physics.qpos), jnp.sin(physics.qpos)])
        return jnp.concatenate([stick_parts.LENGTH * turned, physics.qvel])

    def markers(goal):
        return [Marker(np.append(goal, 0.0), threshold)]

    spec = reach_spec(model, 3, slice(0, 2), episode_length, threshold)
    return Task("stick", model, 5, spec, reset, observe, markers)
"""
XML = """
<mujoco><worldbody><body><joint name="turn" axis="0 0 1" damping="0.01"/>
<geom type="capsule" fromto="0 0 0 .2 0 0" size=".02"/></body></worldbody>
<actuator><motor joint="turn" ctrlrange="-1 1" gear=".01"/></actuator></mujoco>
"""
# A dot that is moved, in pure JAX.
DOT = """
import jax
import jax.numpy as jnp
from typing import NamedTuple
from goalward.envs.core import Env
from goalward.types import EnvSpec


class Dot(NamedTuple):
    place: jax.Array


def make(episode_length: int = 20, size: int = 2):
    def reset(key):
        start, goal = jax.random.uniform(key, (2, size), minval=-1.0)
        return Dot(start), goal

    def step(state, action):
        return Dot(jnp.clip(state.place + 0.2 * action, -1.0, 1.0))

    spec = EnvSpec(
        obs_dim=size, action_dim=size, goal_dim=size, episode_length=episode_length,
        achieved=lambda obs: obs, distance=lambda a, b: jnp.linalg.norm(a - b, axis=-1), threshold=0.2,
    )
    return Env("dot", spec, reset, step, lambda state: state.place, lambda state: jnp.zeros((), bool))


def other(needed, episode_length: int = 20):
    return make()


def _helper():
    pass


def number():
    return 7
"""


@pytest.fixture
def file(tmp_path):
    """Write a file of code, and name it."""

    def file(code, name="mine.py"):
        path = tmp_path / name
        path.write_text(code)
        return envs.asked(str(path))

    return file


@pytest.fixture
def stick(tmp_path, file):
    (tmp_path / "stick.xml").write_text(XML)
    (tmp_path / "stick_parts.py").write_text("LENGTH = 0.2\n")
    return file(STICK, "stick.py")


def test_names_of_files_say_which_function():
    assert own.place("a/b.py") == own.Place(own.Path("a/b.py"), "make")
    assert own.place("b.py:two") == own.Place(own.Path("b.py"), "two")
    assert own.place("ant_u_maze") is None
    assert own.place("gym:ogbench:pointmaze-medium-v0") is None


def test_a_task_of_ones_own_keeps_the_contract(stick):
    env = envs.make(stick, {"episode_length": 12})
    assert (env.spec.obs_dim, env.spec.goal_dim, env.spec.episode_length) == (3, 2, 12)
    assert contract.check(env, worlds=8).problems == []
    assert envs.summary(stick) == "Turn a stick to a place"


def test_a_world_of_ones_own_in_jax_keeps_the_contract(file):
    env = envs.make(file(DOT), {"size": 3, "episode_length": 12})
    assert env.spec.goal_dim == 3
    assert contract.check(env, worlds=8).problems == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"episodes": 3}, "no setting 'episodes'; its settings are episode_length, size"),
        ({"size": 2.5}, "must be a int"),
        ({"size": 0}, "obs_dim is 0"),
    ],
)
def test_arguments_are_settings(file, settings, told):
    with pytest.raises(UserError, match=told):
        envs.make(file(DOT), settings)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("import jax\n", "import jaxx\n", r"mine.py, line 2: it raised ModuleNotFoundError"),
        ("def make(", "def make((", r"mine.py, line \d+: it raised SyntaxError"),
        ("def make(", "def build(", "no function 'make'; its functions are build, other, number"),
        ("    return Env(", "    return (", r"gives a tuple; it must give a Task, an Env or a gymnasium.Env"),
        ("import jax\n", "raise SystemExit(3)\n", r"mine.py, line 2: it raised SystemExit: 3"),
        ("    spec =", "    1 / 0\n    spec =", r"mine.py, line \d+: make raised ZeroDivisionError"),
        ("state.place + 0.2", "state.speed + 0.2", r"step raises AttributeError at mine.py:\d+.*speed"),
        (
            "Dot(jnp.clip(state.place",
            "(jnp.clip(state.place",
            "step gives a state that is built otherwise",
        ),
        (
            "jnp.zeros((), bool)",
            "jnp.zeros(())",
            r"terminated gives float32 .*one truth value",
        ),
        (
            "lambda state: state.place,",
            "lambda state: state.place[:1],",
            "obs_dim is 2, but there are 1",
        ),
        ("Dot(start), goal", "Dot(start), goal[:1]", "goal_dim is 2, but there are 1"),
        ("threshold=0.2", "threshold=-0.2", "threshold is -0.2; .* must be above 0"),
        (
            "lambda obs: obs,",
            "lambda obs: obs[..., :1],",
            "goal_dim, of what is achieved, is 2, but there are 1",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_told(file, old, new, told):
    assert old in DOT
    name = file(DOT.replace(old, new, 1))
    with pytest.raises(UserError, match=told):
        envs.make(name)


def test_an_argument_without_default_is_told(file):
    with pytest.raises(UserError, match="needs a value for 'needed'"):
        envs.make(file(DOT).replace(":make", ":other"))
    with pytest.raises(UserError, match="gives a int"):
        envs.make(file(DOT).replace(":make", ":number"))


def test_a_field_of_physics_that_was_not_asked_for_is_told_with_its_line(stick, file):
    name = file(STICK.replace("physics.qvel])", "physics.sensordata])"), "stick.py")
    with pytest.raises(UserError, match=r"observe raises .* at stick.py:\d+"):
        envs.make(name)


# Trust -----------------------------------------------------------------------------------------------------


def test_code_that_nobody_named_is_not_run(tmp_path):
    path, trace = tmp_path / "strange.py", tmp_path / "trace"
    path.write_text(f"import pathlib; pathlib.Path({str(trace)!r}).touch()\n{DOT}")
    with pytest.raises(UserError, match=f"--env-file {path}"):
        envs.make(f"{path}:make")
    assert not trace.exists()
    envs.make(envs.asked(str(path)))
    assert trace.exists()
    envs.make(f"{path}:make")  # from then on, by whatever names it
    path.write_text(path.read_text() + "# changed\n")
    with pytest.raises(UserError, match="not as it is now"):
        envs.make(f"{path}:make")


def test_where_trust_cannot_be_kept_that_is_told(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(DOT + "# new\n")
    (tmp_path / "file").touch()
    monkeypatch.setattr(trust, "_store", lambda: tmp_path / "file" / "store")
    with pytest.raises(MachineError, match="XDG_STATE_HOME"):
        envs.asked(str(path))


def test_entry_points_of_packages_are_environments(file, monkeypatch):
    name = file(DOT)
    path = own.place(name).path
    module = making.load(path, path.read_bytes())
    point = EntryPoint("my_dot", f"{module.__name__}:make", own.GROUP)
    monkeypatch.setattr(own, "entry_points", lambda group: [point] if group == own.GROUP else [])
    env = envs.make("my_dot", {"size": 4})
    assert (env.name, env.spec.obs_dim) == ("my_dot", 4)
    assert "my_dot" in envs.names()
    broken = EntryPoint("my_dot", "nowhere:make", own.GROUP)
    monkeypatch.setattr(own, "entry_points", lambda group: [broken])
    with pytest.raises(UserError, match=r"my_dot \(nowhere:make\).*ModuleNotFoundError"):
        envs.make("my_dot")


# Runs ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder with a file and a run that was trained by its relative name, for one epoch of two."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "mine.py").write_text(DOT)
    settings = toy.SETTINGS | {"env": "mine.py", "epochs": 1, "total_env_steps": toy.total(1)}
    settings.pop("steps_per_goal")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(["train", *toy.words(settings), "--out", "run", "--json"])
    return folder


@pytest.fixture
def command(project, tmp_path, monkeypatch, capsys):
    """Run a command in another folder, beside a copy of the project; its exit code and what it said."""
    shutil.copytree(project, tmp_path / "project")
    monkeypatch.chdir(tmp_path)

    def command(*words):
        capsys.readouterr()
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            return end.code, "".join(capsys.readouterr())
        return 0, "".join(capsys.readouterr())

    return command


def test_a_run_finds_its_file_from_anywhere(command, project):
    code, told = command("eval", "project/run", "--json")
    assert code == 0
    assert json.loads(told)["episodes"] == 4
    config = json.loads((project / "run" / "config.json").read_text())
    assert config["env"] == f"{project / 'mine.py'}:make"


def test_what_a_world_in_jax_has_not_is_told(command):
    code, told = command("render", "project/run")
    assert (code, "has no picture" in told) == (2, True)
    code, told = command("plan", "project/mine.py", "--env-file", "project/mine.py")
    assert (code, "name project/mine.py as the environment" in told) == (2, True)
    code, told = command("check-env", "project/run")
    assert (code, "is a run directory" in told) == (2, True)


def test_a_file_that_is_elsewhere_is_named_with_or_without_its_function(command):
    for name in ("project/mine.py", "project/mine.py:make"):
        words = ("dataset", "project/run", "--episodes", 1, "--out", "x.npz", "--force", "--env-file", name)
        assert command(*words)[0] == 0
    code, told = command("eval", "project/run", "--env-file", "project/mine.py:other")
    assert (code, "project/mine.py:other" in told) == (2, True)


def test_a_run_goes_on_with_the_file_that_it_had_and_no_other(command, project, tmp_path):
    on = ("train", "--resume", "project/run", "--epochs", 2, "--json")
    changed = tmp_path / "mine.py"
    changed.write_text(DOT.replace("0.2 * action", "0.1 * action"))
    code, told = command(*on[:-1], "--env-file", "nowhere.py")
    assert (code, "no file nowhere.py" in told) == (2, True)
    whole = command(*on)
    assert whole[0] == 0
    shutil.rmtree("project/run")
    shutil.copytree(project / "run", "project/run")
    assert command(*on, "--env-file", "project/mine.py")[0] == 0  # the same bytes elsewhere
    shutil.rmtree("project/run")
    shutil.copytree(project / "run", "project/run")
    code, told = command("eval", "project/run", "--env-file", changed)
    assert code == 0
    assert "another than it is now" in told


def test_a_file_that_is_gone_or_changed_is_told_by_its_name(command, project, monkeypatch):
    monkeypatch.setattr(training, "compile_programs", toy._compile)  # of the file as it is, not as it was
    own_file = project / "mine.py"
    before = own_file.read_text()
    try:
        own_file.write_text(before.replace("0.2 * action", "0.3 * action"))
        code, told = command("train", "--resume", "project/run", "--epochs", 2)
        assert (code, str(own_file) in told, "--env-file" in told) == (2, True, True)
        envs.asked(str(own_file))  # named elsewhere meanwhile
        code, told = command("train", "--resume", "project/run", "--epochs", 2)
        assert (code, "was another than it is now" in told) == (2, True)
        assert (
            command("train", "--resume", "project/run", "--epochs", 2, "--json", "--env-file", own_file)[0] == 0
        )
        own_file.unlink()
        code, told = command("eval", "project/run")
        assert (code, f"{own_file} is gone" in told) == (2, True)
    finally:
        own_file.write_text(before)


def test_a_policy_of_a_run_acts_with_the_file_that_is_named(project, tmp_path):
    elsewhere = shutil.copy(project / "mine.py", tmp_path / "moved.py")
    policy = load_policy(project / "run", env_file=elsewhere)
    assert policy.act(np.zeros(2), np.ones(2)).shape == (2,)


def test_a_study_names_files_so_that_its_runs_find_them_from_anywhere(project, monkeypatch):
    monkeypatch.chdir(project)
    found = study.plain("mine.py", ["env_settings.size=2,3"])
    assert found.name == "mine"
    assert {trial.config.env for trial in found.trials} == {f"{project / 'mine.py'}:make"}
    assert [trial.config.env_settings for trial in found.trials] == [{"size": 2}, {"size": 3}]
    assert found.trials[0].words[:2] == ("train", f"{project / 'mine.py'}:make")
