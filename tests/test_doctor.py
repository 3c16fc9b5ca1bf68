"""What `goalward doctor` says of an installation and a machine, good or not."""

import json
import re
from importlib import metadata
from pathlib import Path

import jax
import pytest

from goalward import doctor, machine
from goalward.cli import main, process
from goalward.envs import trust
from goalward.envs.mujoco import models, render
from goalward.errors import MachineError
from goalward.findings import PROBLEM, WARNING


def lines(start=process.start_jax):
    return {line.name: line for line in doctor.look(start)}


def test_here_all_that_is_needed_is_in_order(capsys):
    main(["doctor", "--json"])
    found = {line["name"]: line for line in json.loads(capsys.readouterr().out)}
    assert {name for name, line in found.items() if line["state"] == PROBLEM} == set()
    assert f"jax {jax.__version__}" in found["packages"]["told"]
    assert found["MuJoCo"]["told"] == f"all of version {metadata.version('mujoco')}"
    assert found["cores"]["told"].startswith(str(machine.cores()))
    main(["doctor"])
    assert re.search(r"good +packages +Python", capsys.readouterr().out)


def test_packages_that_are_missing_or_old_are_told_with_what_mends_them(monkeypatch, capsys):
    plain = metadata.version

    def version(name):
        if name == "optax":
            raise metadata.PackageNotFoundError(name)
        return "0.4.1" if name == "jax" else plain(name)

    monkeypatch.setattr(metadata, "version", version)
    found = lines()["packages"]
    assert found.state == PROBLEM
    assert "jax is 0.4.1, not <0.11,>=0.10.2" in found.told
    assert "optax is not installed" in found.told
    assert "'optax<0.3,>=0.2.8'" in found.remedy
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    assert end.value.code == 1
    assert "problem packages" in capsys.readouterr().out


def test_a_mujoco_of_two_versions_is_told(monkeypatch):
    monkeypatch.setattr(models, "library_version", lambda: "3.9.9")
    found = lines()["MuJoCo"]
    assert found.state == PROBLEM
    assert "then pip install mujoco" in found.remedy
    assert "library 3.9.9" in found.told


def test_a_jax_that_does_not_start_is_told():
    def start():
        raise MachineError("JAX does not start (no such device); unset JAX_PLATFORMS")

    found = lines(start)
    assert found["devices"][1:3] == (PROBLEM, "JAX does not start (no such device); unset JAX_PLATFORMS")
    assert "compiled programs" not in found


def broken_graphics():
    raise MachineError("no graphics to draw pictures with; install one")


@pytest.mark.parametrize(
    ("name", "state", "part", "attribute", "value"),
    [
        ("devices", WARNING, doctor, "NVIDIA", Path("/proc/version")),
        ("memory", WARNING, machine, "free_memory", lambda: 10**8),
        ("pictures", WARNING, render, "drawn_by", broken_graphics),
        ("state", WARNING, doctor, "LITTLE_DISK", 1e30),
        ("state", PROBLEM, trust, "folder", lambda: Path(__file__) / "state"),
    ],
)
def test_what_is_not_good_is_told(name, state, part, attribute, value, monkeypatch):
    monkeypatch.setattr(part, attribute, value)
    found = lines()[name]
    assert found.state == state
    assert found.remedy or "install" in found.told


def test_programs_that_are_not_kept_are_told():
    before = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        assert lines()["compiled programs"].state == WARNING
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
