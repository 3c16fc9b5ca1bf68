"""CRL does to the last bit what it did: digests of small runs, recorded when it was the only agent.

How products and sums are rounded depends on the processor and on the compiler: they hold on one kind of each.
"""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

RECORDED_ON = ("0.10.2", "AMD EPYC", "25", "17")
SIZES = """--total-env-steps 12800 --epochs 2 --num-envs 16 --prefill-rows 100 --buffer-rows 300
--updates-per-iteration 10 --eval-episodes 4 --batch-size 32 --width 16"""
OTHERS = "--normalise-inputs --actor-commanded-goals 0.25 --horizon uniform --energy dot --log-prob bounded"


def machine():
    """Version of JAX; name, family and model of the processor."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = (re.search(rf"^{name}\s*: (.*)$", told, re.M) for name in ("model name", "cpu family", "model"))
    return (version("jax"), *(match[1] if match else "" for match in found))


@pytest.mark.skipif(machine() != RECORDED_ON, reason=f"recorded on {RECORDED_ON}, this is {machine()}")
@pytest.mark.parametrize(
    ("words", "digest"),
    [
        ("", "079efd0f70e486ac14ee83960038dbf189b8b0f81a911e90d278252e7ea75594"),
        pytest.param(
            OTHERS,
            "4f9e6aeeb73ea6223ee5d8350c331645718d07ead2fe34c8437c0cb6505e31a5",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            "--collector-depth 8",
            "138590f9b195261d32dfbbe8e10f53a2caf055d92b1021a6c27213d8b15eb07b",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["plain", "others", "pair"],
)
def test_crl_ends_in_the_bits_of_before_there_were_other_agents(tmp_path, words, digest):
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"PJRT_NPROC": "1"}

    def goalward(*line):
        command = [sys.executable, "-m", "goalward", *line]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout

    goalward("train", "point_u_maze", *SIZES.split(), *words.split(), "--out", "run")
    assert goalward("digest", "run").strip() == digest
