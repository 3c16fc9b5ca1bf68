"""From a study's name to its page, with real runs, as a user types it."""

import subprocess
import sys

import pytest

from goalward.lab import study


def goalward(*words, cwd):
    line = [sys.executable, "-m", "goalward", *map(str, words)]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True)


def assert_a_page_comes_of(name, folder):
    """Sweep a study at its smallest scale, and look at its report."""
    found = study.load(name, "smoke")
    out = folder / f"{found.of}-smoke"
    swept = goalward("sweep", name, "--scale", "smoke", "--out", out, cwd=folder)
    assert swept.returncode == 0, swept.stdout + swept.stderr
    page = folder / f"{name}.html"
    told = goalward("report", out, "--study", name, "--out", page, cwd=folder)
    assert told.returncode == 0, told.stdout + told.stderr
    text = page.read_text(encoding="utf-8")
    assert found.question in text
    assert text.count("<figure") >= len(found.figures)
    assert all(trial.name in text for trial in found.trials)
    verdicts = [word for word in ("success", "partly", "failure") if word in text]
    assert bool(verdicts) or found.prediction is None


@pytest.mark.system
def test_the_study_of_depth_gives_a_page(tmp_path):
    assert_a_page_comes_of("depth", tmp_path)
    again = goalward("sweep", "depth", "--scale", "smoke", "--out", "depth-smoke", cwd=tmp_path)
    assert "started" not in again.stdout
    assert again.returncode == 0
    status = goalward("status", "depth-smoke", cwd=tmp_path)
    assert "4 done" in status.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all studies' sweeps are: those that look at the same runs train them once."""
    return tmp_path_factory.mktemp("studies")


@pytest.mark.slow
@pytest.mark.parametrize("name", study.shipped())
def test_every_study_gives_a_page(name, folder):
    assert_a_page_comes_of(name, folder)
