"""What only minutes of training show."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_the_quickstart_solves_the_u_maze_within_three_minutes(tmp_path, seed):
    # Without the tests' own settings of the compiler, as people run it.
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    line = [sys.executable, "-m", "goalward", "quickstart", "--seed", str(seed), "--json", "--out", "run"]
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout)
    assert summary["success_rate"] >= 0.95
    assert summary["seconds"] <= 180
