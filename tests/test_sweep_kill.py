"""A sweep whose processes are killed at random moments, and called again, ends as if it had not been."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
import toy

from goalward.lab import folder as folders

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere runs outlive the sweep that is killed"),
]

KILLS = 10
EPOCHS = 30
SETTINGS = {name: value for name, value in toy.SETTINGS.items() if name != "network"} | toy.SETTINGS["network"]
STUDY = """
question = "Does a sweep survive whatever kills it?"
axes = { depth = [1, 2], seed = "0..5" }
scales = { smoke = {} }
"""


@pytest.fixture
def call(tmp_path):
    """Call the sweep of twelve runs in a folder; what still runs at the end of the test is killed."""
    settings = SETTINGS | {"epochs": EPOCHS, "total_env_steps": toy.total(EPOCHS)}
    base = "\n".join(
        f"{name} = {json.dumps(value)}" for name, value in settings.items() if name != "env_settings"
    )
    (tmp_path / "study.toml").write_text(f"{STUDY}\n[base]\n{base}\nenv_settings = {{ episode_length = 20 }}\n")
    env = os.environ | {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    called = []

    def call(folder):
        words = [
            "sweep",
            str(tmp_path / "study.toml"),
            "--scale",
            "smoke",
            "--out",
            str(folder),
            "--retries",
            "9",
        ]
        with (tmp_path / f"{folder.name}.log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "goalward", *words], env=env, stdout=log, stderr=log, process_group=0
            )
        called.append(process)
        return process

    yield call
    for process in called:
        for one in family(process):
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()


def family(process):
    """A process and all that it has started."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    return []


def learned(directory):
    """Rows of a run, without what random actions achieve: `toy` shares programs, and those of one seed's."""
    return [{key: row[key] for key in row if not key.startswith("random_")} for row in toy.rows(directory)]


def test_a_sweep_killed_at_ten_moments_ends_as_if_it_had_not_been(call, tmp_path):
    """Undisturbed are the same runs one after the other in this process."""
    folder, log = tmp_path / "sweep", tmp_path / "sweep.log"
    draw = random.Random(0)
    process, kills = call(folder), []
    while len(kills) < KILLS and process.poll() is None:
        time.sleep(draw.uniform(0.5, 4.0))
        members, how = family(process), draw.choice(["all", "sweep", "run"])
        victims = {"all": members, "sweep": members[:1], "run": members[1:2]}[how]
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
        kills += [how] * bool(victims)
        if victims and how != "run":
            process.wait()
            process = call(folder)
    assert process.wait(timeout=300) == 0, log.read_text()
    assert len(kills) == KILLS, "it was done before; give it longer runs"
    trials = folders.load(folder).study.trials
    assert len(trials) == 12
    for trial in trials:
        undisturbed, killed = tmp_path / trial.name, folders.run_directory(folder, trial.name)
        toy.run(undisturbed, trial.config)
        assert toy.digest(killed) == toy.digest(undisturbed)
        assert learned(killed) == learned(undisturbed)
    assert len(list((folder / "runs").iterdir())) == 12
