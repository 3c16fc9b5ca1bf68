"""The user's shell, container, locale and program are not ours: nothing in them changes a run or breaks it."""

import ast
import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import jax
import jaxtyping
import matplotlib as mpl
import pytest
import toy

import goalward
from goalward import cli, envs, machine, plan, policy, progress, runs, training
from goalward.cli import dispatch, process
from goalward.config import AGENTS
from goalward.errors import MachineError, UserError
from goalward.lab import quickstart
from goalward.pictures import curves, figures

SOURCE = Path(goalward.__file__).parent


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return toy.trained(tmp_path_factory)


def words_of(line, monkeypatch):
    """What a command of goalward is told, without running it."""
    told = []
    for name, command in dispatch.COMMANDS.items():
        monkeypatch.setitem(dispatch.COMMANDS, name, command._replace(run=told.append))
    cli.main(line.split())
    return told[0]


# Flags ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    ["--seed 3 ant", "--resample_goals ant", "--no-remat --remat ant", "--depth=8 ant", "--num_envs 256 ant",
     "--prefill-rows 400 --buffer-rows 3000 ant", "--env-settings drag=1 -- ant",
     "--preset paper --preset laptop ant"],
)  # fmt: skip
def test_the_environment_decides_the_preset_however_flags_before_it_are_written(monkeypatch, flags):
    settings = words_of(f"train {flags}", monkeypatch).settings
    assert settings.env == "ant"
    assert settings.updates_per_iteration == 640, "of the preset for ants on open ground"
    assert words_of("plan --seed 3 point_u_maze", monkeypatch).settings.agent.discount == 0.95


# Variables --------------------------------------------------------------------------------------------------


def test_pictures_are_the_same_whatever_a_matplotlibrc_says(trained, tmp_path):
    loaded = curves.load([trained])
    rows = runs.read_metrics(trained)
    strange = {"text.usetex": True, "font.size": 30, "savefig.dpi": 20, "axes.facecolor": "red"}
    pictures = []
    for settings in ({}, strange):
        with mpl.rc_context(settings):
            curves.draw(loaded, tmp_path / "a.png", force=True)
            figures.learning_curve(rows, tmp_path / "b.png")
            assert mpl.rcParams["font.size"] == settings.get("font.size", mpl.rcParams["font.size"])
        pictures.append([(tmp_path / name).read_bytes() for name in ("a.png", "b.png")])
    assert pictures[0] == pictures[1]


def test_every_figure_has_matplotlibs_own_settings():
    for path in SOURCE.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = ast.unparse(function) if isinstance(function, ast.FunctionDef) else ""
            if isinstance(function, ast.FunctionDef) and re.search(r"Figure\(|style\.panels\(", text):
                decorators = " ".join(map(ast.unparse, function.decorator_list))
                assert re.search(r"own_settings\(\)|large_text\(\)", decorators), function.name


def test_keys_are_of_one_kind(trained):
    with jax.default_prng_impl("rbg"):
        assert len(policy.load_policy(trained).act([0, 0], [1, 1])) == 2
        keys = training.evaluation_keys(toy.config(), 3)
        assert keys.dtype == training.shapes(training.build(toy.config())).key.dtype
    for path in SOURCE.rglob("*.py"):
        if path.name != "prng.py":
            assert not re.search(r"random\.(key|PRNGKey|wrap_key_data)\(", path.read_text(encoding="utf-8")), (
                path
            )


def test_64_bits_are_refused_by_name():
    with jax.enable_x64(True), pytest.raises(UserError, match="unset JAX_ENABLE_X64"):
        training.build(toy.config())


@pytest.mark.parametrize("variable", ["JAX_ENABLE_X64=maybe", "JAX_PLATFORMS=abacus", "JAX_PLATFORMS=cuda"])
def test_a_variable_that_jax_does_not_start_with_is_named(monkeypatch, variable):
    name, value = variable.split("=")
    monkeypatch.setenv(name, value)

    def refuse():
        raise RuntimeError("no such thing")

    monkeypatch.setattr(jax, "devices", refuse)
    with pytest.raises(MachineError, match=variable):
        process.start_jax()


def test_a_strange_shell_gives_the_same_run(trained, tmp_path):
    """Variables of other programs, ASCII output, a user without a home or a name, a folder like markup."""
    out = tmp_path / "[lr=3e-4]a[bold]"
    strange = {
        "MPLBACKEND": "none_such", "JAX_DEFAULT_PRNG_IMPL": "rbg", "JAX_ENABLE_X64": "1",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_DEBUG_NANS": "maybe", "PYTHONIOENCODING": "ascii",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }  # fmt: skip
    env = {
        name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_CACHE_HOME")
    } | strange
    nobody = (
        "import pwd\ndef none(_): raise KeyError\npwd.getpwuid = none\nfrom goalward.cli import main\nmain()"
    )
    options = {"env": env, "cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    result = subprocess.run([sys.executable, "-c", nobody, "train", *toy.words(), "--out", out], **options)
    assert result.returncode == 0, result.stderr
    assert str(out) in result.stdout
    assert result.stdout.isascii()
    assert toy.rows(out) == toy.rows(trained)
    assert toy.digest(out) == toy.digest(trained)
    assert {path.name for path in tmp_path.iterdir()} == {out.name}, "no folder called ~"
    result = subprocess.run([sys.executable, "-m", "goalward", "train", "--help"], **options)
    assert result.returncode == 0, result.stderr


# Containers -------------------------------------------------------------------------------------------------

GB = 10**9


@pytest.mark.parametrize(
    ("membership", "files", "memory", "cores"),
    [
        ("0::/a/b", {}, 64 * GB, 8),
        ("0::/a/b", {"a/b/memory.max": "max", "a/b/cpu.max": "max 100000"}, 64 * GB, 8),
        (
            "0::/a/b",
            {"a/memory.max": 4 * GB, "a/memory.current": 3 * GB, "a/memory.stat": f"anon 5\ninactive_file {GB}",
             "a/b/cpu.max": "200000 100000"},
            2 * GB,
            2,
        ),
        ("0::/", {"memory.max": 2 * GB, "memory.current": 3 * GB, "cpu.max": "1000 100000"}, 0, 1),
        (
            "5:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/",
            {"memory/memory.limit_in_bytes": 3 * GB, "memory/memory.usage_in_bytes": GB,
             "memory/memory.stat": "total_inactive_file 0",
             "cpu/cpu.cfs_quota_us": 300000, "cpu/cpu.cfs_period_us": 100000},
            2 * GB,
            3,
        ),
    ],
    ids=["none", "unlimited", "v2", "v2 full", "v1"],
)  # fmt: skip
def test_limits_of_a_container_are_seen(monkeypatch, tmp_path, membership, files, memory, cores):
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    (tmp_path / "membership").write_text(membership + "\n")
    monkeypatch.setattr(machine, "CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 64 * GB}))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert (machine.free_memory(), machine.cores()) == (memory, cores)
    assert plan.free_memory() == memory
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5})
    assert machine.cores() == 1
    assert runs.meta("cpu")["cores"] == 1


# Text -------------------------------------------------------------------------------------------------------


def test_text_is_shown_as_it_is(trained, capsys):
    name = "runs/[lr=3e-4]a[/b]:smile:[red]"
    evaluation = policy.evaluate(trained)
    progress.print_evaluation(evaluation, name)
    names = ("success_rate", "time_at_goal", "random_success_rate", "random_time_at_goal")
    summary = dict.fromkeys((*names, "env_steps", "updates", "seconds"), 1)
    progress.print_summary(summary, [Path(name)], [f"goalward eval {name}"])
    assert capsys.readouterr().out.count(name) == 3


@pytest.mark.parametrize("name", ["a.toml", "A.TOML"])
def test_settings_files_are_utf8_with_or_without_a_mark(tmp_path, name):
    for mark in (b"", b"\xef\xbb\xbf"):
        (tmp_path / name).write_bytes(mark + 'env = "φ"'.encode())
        assert runs.read_settings(tmp_path / name) == {"env": "φ"}


# A library --------------------------------------------------------------------------------------------------


def test_runs_go_in_threads_and_beside_an_event_loop(trained, tmp_path):
    async def inside():
        toy.run(str(tmp_path / "loop"))
        return policy.evaluate(str(tmp_path / "loop"))

    assert asyncio.run(inside())["episodes"] == 4
    thread = threading.Thread(
        target=cli.main, args=(["train", *toy.words(), "--out", str(tmp_path / "t"), "--json"],)
    )
    thread.start()
    thread.join()
    assert toy.digest(tmp_path / "loop") == toy.digest(tmp_path / "t") == toy.digest(trained)


@pytest.mark.parametrize("config", ["point_u_maze", {"env": "point_u_maze"}, None])
def test_what_is_no_configuration_is_refused(tmp_path, monkeypatch, config):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    with pytest.raises(UserError, match="it must be a TrainConfig"):
        next(training.train(config, tmp_path / "run"))


# What people are told to type -------------------------------------------------------------------------------


def messages():
    """All texts of the program, with X for what is filled in."""
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "X" for p in node.values]
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
                yield node.value


def made_commands():
    """Words given to `machine.command` one by one, with X for what is filled in."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "machine.command":
                single = [word for word in node.args if not isinstance(word, ast.Starred)]
                words = [word.value if isinstance(word, ast.Constant) else "X" for word in single]
                if words and words[0] in dispatch.COMMANDS:
                    yield " ".join(map(str, words))


def test_what_people_are_told_to_type_works(monkeypatch, capsys, trained):
    texts = list(messages())
    commands = {found for text in texts for found in re.findall(r"`goalward ([^`…]+)`", text)}
    commands |= {*made_commands(), *map(" ".join, quickstart.NEXT)} - {"X"}
    assert {"envs", "train --resume X"} <= commands
    # A command alone may be its name, such as in "a folder that `goalward sweep` made".
    for command in commands - {"COMMAND --help", "--version", "train", "sweep", "dataset", "export"}:
        line = (
            command.replace("X ENV", "train point_u_maze")
            .replace("train X", "train point_u_maze")
            .replace("ENV", "point_u_maze")
            .replace("X", str(trained))
        )
        words_of(line, monkeypatch)
    for name in dispatch.COMMANDS:
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
    for agent in AGENTS:
        with pytest.raises(SystemExit):
            cli.main(["train", "point_u_maze", "--agent", agent, "--help"])
    helps = capsys.readouterr().out
    flags = {flag for text in texts for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]+[a-z]", text)}
    # Of other programs, and of no command.
    foreign = {
        "--array", "--cpus-per-task", "--error-unmatch", "--format", "--me", "--name", "--noheader",
        "--pdeathsig", "--porcelain", "--query-gpu", "--show-toplevel", "--version",
    }  # fmt: skip
    assert sorted(flag for flag in flags - foreign if flag not in helps) == []
    functions = {found for text in texts for found in re.findall(r"`(goalward\.[a-z_.]+)\(", text)}
    assert "goalward.training.reproduce" in functions
    for function in functions:
        assert callable(eval(function, {"goalward": goalward}))
    installs = {found for text in texts for found in re.findall(r"pip install (\w[\w-]*)", text)}
    assert installs == {"imageio-ffmpeg", "mujoco"}, "packages of these names are in the registry"


def test_settings_are_taken_as_they_are_printed(monkeypatch, capsys):
    progress.print_envs([row for row in envs.describe() if row["name"] in ("point_u_maze", "ant", "reacher")])
    for line in " ".join(capsys.readouterr().out.split()).split(" point_u_maze: ")[1:]:
        settings = re.match(r"((?:\w+=\S+ ?)+)", line)[1]
        read = words_of(f"train point_u_maze --env-settings {settings}", monkeypatch).settings.env_settings
        assert read["inertia"] is False
        envs.make("point_u_maze", read)
    read = words_of("train point_u_maze --env-settings inertia=False", monkeypatch).settings.env_settings
    assert read == {"inertia": False}, "as an error message prints it"
    assert json.loads(json.dumps(read)) == read
