"""What is installed from a distribution, into an empty environment and used from another folder, is whole."""

import os
import re
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path
from urllib.error import HTTPError

import pytest

pytestmark = pytest.mark.system
ROOT = Path(__file__).parents[1]
OURS = ("PYTHONPATH", "XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")  # of the tests, not of a user


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The archive of the source, and the wheel that is made from it."""
    folder = tmp_path_factory.mktemp("built")
    line = [sys.executable, "-m", "build", "--outdir", folder, ROOT]
    subprocess.run(line, check=True, capture_output=True)
    [source], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Run a program of an environment with the wheel alone; what it said, on both streams."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    programs, elsewhere = folder / "venv" / "bin", folder / "elsewhere"
    elsewhere.mkdir()
    words = ["install", "--quiet", "--constraint", ROOT / "requirements.lock", f"{built[1]}[export,view]"]
    subprocess.run([programs / "pip", *words], check=True)
    env = {name: value for name, value in os.environ.items() if name not in OURS}
    env |= {"XDG_CACHE_HOME": str(folder / "cache"), "XDG_STATE_HOME": str(folder / "state")}

    def start(program, *words):
        return subprocess.Popen(
            [programs / program, *map(str, words)], cwd=elsewhere, env=env, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    return start


def said(process):
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


def test_archives_hold_policies_presets_and_no_runs(built):
    source, wheel = built
    with tarfile.open(source) as archive, zipfile.ZipFile(wheel) as files:
        inside = {name.split("/", 1)[-1] for name in archive.getnames()}
        packed = {one.filename: one.file_size for one in files.infolist()}
    ours = subprocess.run(["git", "ls-files", "goalward"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(ours.stdout.split()) <= packed.keys() & inside
    assert {"README.md", "mkdocs.yml", "tests/test_wheel.py", "website/__main__.py"} <= inside
    assert [name for name in packed.keys() | inside if name.startswith(("runs/", "site/"))] == []
    assert sum(size for name, size in packed.items() if "/shipped/" in name) < 4e6


def test_a_policy_acts_is_shown_and_leaves_without_jax(installed):
    acts = "import goalward; print(goalward.load_policy('reacher').act([0.0] * 10, [0.1, 0.0, 0.01]).shape)"
    assert said(installed("python", "-W", "error", "-c", acts)).strip() == "(2,)"
    light = (
        "import sys, goalward.runtime, goalward.shipped as shipped; "
        "policy = goalward.runtime.load(shipped.folder('point_u_maze')); seen = [0.0] * 2, [1.0] * 2; "
        "print(policy.act(*seen).shape, policy.value(*seen).shape, 'jax' in sys.modules)"
    )
    assert said(installed("python", "-W", "error", "-c", light)).strip() == "(2,) () False"
    page, lines = installed("goalward", "view", "reacher", "--no-browser"), []
    while not lines or "token=" not in lines[-1]:
        lines.append(page.stdout.readline())
        assert lines[-1], lines
    address = re.search(r"open (\S+)/\?token", lines[-1])[1]
    with pytest.raises(HTTPError, match="403"):
        urllib.request.urlopen(address)
    page.terminate()
    assert "Traceback" not in said(page)


def test_a_run_is_trained_and_exported(installed):
    sizes = ["--total-env-steps", "8000", "--epochs", "1", "--num-envs", "16", "--buffer-rows", "200"]
    sizes += ["--prefill-rows", "50", "--eval-episodes", "4", "--depth", "4", "--width", "8"]
    said(installed("goalward", "train", "point_u_maze", *sizes, "--out", "run"))
    told = said(installed("goalward", "export", "run", "--out", "out"))
    assert "policy.onnx" in told
    assert "good" in said(installed("goalward", "doctor"))
