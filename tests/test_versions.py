"""The lowest versions of libraries that pyproject.toml allows work together."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import toy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements-lowest.lock"


def bounds():
    """Lower bound of each library that pyproject.toml names, that for videos included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = map(Requirement, project["dependencies"] + project["optional-dependencies"]["video"])
    return {
        canonicalize_name(one.name): Version(bound.version)
        for one in wanted
        for bound in one.specifier
        if bound.operator == ">="
    }


def test_the_lowest_lock_holds_the_lower_bounds():
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    pairs = (re.fullmatch(r"([\w.\-]+)==(\S+)", line) for line in lines if not line.startswith("#"))
    locked = {canonicalize_name(pair[1]): Version(pair[2]) for pair in pairs}
    for name, bound in bounds().items():
        assert locked[name].release[: len(bound.release)] == bound.release, name


@pytest.fixture(scope="module")
def lowest(tmp_path_factory):
    """Run a command of goalward, installed with the lowest versions; its standard output."""
    folder = tmp_path_factory.mktemp("lowest")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--constraint", LOCK, f"{ROOT}[video]"]
    subprocess.run(install, check=True)
    ours = ("PYTHONPATH", "XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")  # of the tests, not of a user
    env = {name: value for name, value in os.environ.items() if name not in ours}
    env["XDG_CACHE_HOME"] = str(folder / "cache")

    def run(*words):
        line = [python, "-m", "goalward", *map(str, words)]
        result = subprocess.run(line, env=env, cwd=folder, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        assert [
            line for line in result.stderr.splitlines() if not line.startswith(("drawn", "iteration"))
        ] == []
        return result.stdout

    return run


@pytest.mark.system
@pytest.mark.parametrize(("env", "video"), [("point_u_maze", "a.gif"), ("reacher", "a.mp4")])
def test_the_lowest_versions_train_resume_evaluate_and_draw(lowest, tmp_path, env, video):
    words = toy.words({**toy.SETTINGS, "env": env})
    longer = ["--epochs", 3, "--total-env-steps", toy.total(3)]
    lowest("plan", *words)
    lowest("train", *words, "--out", tmp_path / "whole", *longer)
    lowest("train", *words, "--out", tmp_path / "broken")
    lowest("train", "--resume", tmp_path / "broken", "--epochs", 3)
    assert lowest("digest", tmp_path / "broken") == lowest("digest", tmp_path / "whole")
    assert env in lowest("eval", tmp_path / "whole") + lowest("envs")
    lowest("curves", tmp_path / "whole", "--out", tmp_path / "curves.png")
    lowest("render", tmp_path / "whole", "--out", tmp_path / video, "--width", 64, "--height", 64)
    assert (tmp_path / "curves.png").stat().st_size > 1000
    assert (tmp_path / video).stat().st_size > 1000
