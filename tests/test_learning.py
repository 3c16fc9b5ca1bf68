"""What only minutes of training show."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def goalward(folder, *words):
    """What a command prints as JSON, run as people run it: without the tests' own settings of the compiler."""
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    line = [sys.executable, "-m", "goalward", *words, "--json"]
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def found(pattern, file):
    """The numbers of the one place in a file of the repository that has this form."""
    text = " ".join((Path(__file__).parents[1] / file).read_text(encoding="utf-8").split())
    (numbers,) = re.findall(pattern, text)
    return [float(number) for number in numbers]


def claims():
    """What the docs claim of the quickstart, on any processor: success rate, time at goal, seconds."""
    success, time_at_goal, minutes = found(
        r"a success rate of at least ([\d.]+), a time at goal of at least (\d+) of 200 steps, "
        r"in at most (\d+) minutes",
        "docs/results.md",
    )
    return success, time_at_goal, 60 * minutes


def test_what_is_claimed_of_the_quickstart_is_one_thing_and_holds_for_what_was_measured():
    success, time_at_goal, seconds = claims()
    short, longest = found(
        r"\| `point_u_maze` \| [^|]+ \| ≥ ([\d.]+), five seeds \|(?: [^|]+ \|){3} [\d.]+–(\d+) \|",
        "docs/results.md",
    )
    assert (short, 60 * longest) == (success, seconds)
    results = (Path(__file__).parents[1] / "docs/results.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| ([\d.]+) \| (\d+) \| [\d,]+ \| [\d,]+ \| (\d+) \|$", results, re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(5))
    for _, rate, steps, taken in rows:
        assert (float(rate) >= success, float(steps) >= time_at_goal, float(taken) <= seconds) == (True,) * 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_quickstart_does_what_the_docs_claim(tmp_path, seed):
    goalward(tmp_path, "quickstart", "--seed", str(seed), "--out", "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    success, time_at_goal, seconds = claims()
    assert summary["success_rate"] >= success > summary["random_success_rate"]
    assert summary["time_at_goal"] >= time_at_goal > summary["random_time_at_goal"]
    assert summary["seconds"] <= seconds


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["srl", "chrono"])
@pytest.mark.parametrize("seed", range(5))
def test_successors_learn_the_u_maze(tmp_path, agent, seed):
    """At best, as success comes and goes; the goals behind the wall are the last fifth or more of it."""
    goalward(tmp_path, "train", "point_u_maze", "--agent", agent, "--seed", str(seed), "--out", "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert max(row["success_rate"] for row in rows) >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["sac", "td3"])
@pytest.mark.parametrize("seed", range(3))
def test_temporal_differences_learn_the_u_maze(tmp_path, agent, seed):
    last = goalward(tmp_path, "train", "point_u_maze", "--agent", agent, "--seed", str(seed), "--out", "run")
    assert last["success_rate"] >= 0.95


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_two_boxes_are_brought_from_starts_that_training_has_not(tmp_path, seed):
    line = "train boxes_3x3_2 --eval-env boxes_3x3_2_test --width 64 --total-env-steps 128000 --epochs 4"
    last = goalward(tmp_path, *line.split(), "--seed", str(seed))
    assert last["success_rate"] >= 0.8
    assert last["random_success_rate"] <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize(("env", "steps", "epochs"), [("reacher", 1_152_000, 8), ("arm_reach", 768_000, 5)])
def test_arms_reach_their_goals_and_stay_there(tmp_path, env, steps, epochs):
    line = f"train {env} --total-env-steps {steps} --epochs {epochs} --eval-episodes 32"
    last = goalward(tmp_path, *line.split())
    assert last["success_rate"] >= 0.8
    assert last["time_at_goal_fraction"] >= 0.8


@pytest.mark.slow
def test_an_ant_walks_metres_towards_its_goal_within_a_million_steps(tmp_path):
    """Random actions end 10.0 m away, where they started, to a few centimetres."""
    line = "train ant --total-env-steps 844800 --epochs 3 --eval-episodes 64"
    assert goalward(tmp_path, *line.split())["final_distance"] < 8.5
