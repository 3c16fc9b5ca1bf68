"""What only minutes of training show."""

import json
import os
import subprocess
import sys

import pytest


def goalward(folder, *words):
    """What a command prints as JSON, run as people run it: without the tests' own settings of the compiler."""
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    line = [sys.executable, "-m", "goalward", *words, "--json"]
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_quickstart_solves_the_u_maze_within_three_minutes(tmp_path, seed):
    summary = goalward(tmp_path, "quickstart", "--seed", str(seed), "--out", "run")
    assert summary["success_rate"] >= 0.95
    assert summary["seconds"] <= 180


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
