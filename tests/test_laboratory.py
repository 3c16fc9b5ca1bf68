"""From a study's name to its page, with real runs, as a user types it."""

import html
import subprocess
import sys
import tomllib

import pytest

from goalward.cli import main
from goalward.config import merge
from goalward.lab import study
from goalward.lab.report import OUTCOMES


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
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert found.question in text
    assert text.count("<figure") >= len(found.figures)
    assert all(trial.name in text for trial in found.trials)
    assert any(outcome in text for outcome in OUTCOMES.values()) == (found.prediction is not None)


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
    if name.startswith("offline"):  # which learns from what another one left in its own place
        assert goalward("sweep", "offline_data", "--scale", "smoke", cwd=folder).returncode == 0
    assert_a_page_comes_of(name, folder)


# What makes a run of any task one of seconds.
TOY = {
    "num_envs": 4, "steps_per_iteration": 25, "total_env_steps": 700, "epochs": 2, "eval_episodes": 4,
    "updates_per_iteration": 2, "buffer_rows": 100, "prefill_rows": 75, "batch_size": 16, "width": 8,
    "env_settings": {"episode_length": 40},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["boxes_depth", "arm_depth"])
def test_the_scale_of_a_gpu_gives_a_verdict_at_toy_size(name, tmp_path, monkeypatch):
    """All its depths, and the commands of the docs, but for the time that they take."""
    document = tomllib.loads((study.SHIPPED / f"{name}.toml").read_text())
    toy = study.from_document(merge(document, {"scales": {"gpu": {"base": TOY}}}), name, "gpu")
    assert [trial.labels for trial in toy.trials] == [trial.labels for trial in study.load(name, "gpu").trials]
    monkeypatch.setattr(study, "load", lambda *_: toy)
    monkeypatch.chdir(tmp_path)
    main(["sweep", name, "--scale", "gpu", "--jobs", "1"])
    main(["report", f"runs/{name}-gpu"])
    text = (tmp_path / "runs" / f"{name}-gpu" / "report.html").read_text(encoding="utf-8")
    assert "Not decided" not in text
