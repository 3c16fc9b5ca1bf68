"""Benchmarks: they run, and the gate closes."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import energies, falls, foreign, gaits, integrators, learner, memory, physics, scales
from goalward import training
from goalward.losses import ENERGIES

BASELINE = {"4": {"of_peak": 0.5, "vs_textbook": 3.0}, "256": {"of_peak": 0.5, "vs_textbook": None}}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"4": {"of_peak": 0.5, "vs_textbook": 3.0}}, []),
        ({"4": {"of_peak": 0.45, "vs_textbook": 2.6}}, []),
        ({"4": {"of_peak": 0.9, "vs_textbook": 2.5}}, ["depth 4: vs_textbook is 2.50, the baseline 3.00"]),
        ({"4": {"of_peak": 0.4, "vs_textbook": 3.0}}, ["depth 4: of_peak is 0.40, the baseline 0.50"]),
        ({"256": {"of_peak": 0.5, "vs_textbook": None}, "8": {"of_peak": 0.0, "vs_textbook": 0.0}}, []),
    ],
)
def test_what_fell_behind_beyond_noise_is_told(found, told):
    assert learner.behind(found, BASELINE) == told


@pytest.mark.parametrize("epochs", [1, 200])
def test_the_run_whose_memory_is_measured_has_an_iteration_an_epoch(epochs):
    config = training.build(memory.settings("point_u_maze", epochs)).config
    assert config.iterations == config.epochs == epochs


def test_the_committed_baseline_is_of_the_depths_that_are_measured_by_default():
    baseline = json.loads(learner.BASELINE.read_text())
    assert set(baseline) == {str(depth) for depth in learner.Args().depths}
    assert all(set(row) == set(learner.RATIOS) for row in baseline.values())


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "rival"), [("crl", "vs_textbook"), ("chrono", "vs_crl")])
def test_the_learner_is_measured_in_a_process_of_its_own(agent, rival):
    words = ["--agent", agent, "--depths", "4", "--width", "16", "--batch-size", "8", "--json"]
    command = [sys.executable, "-m", "benchmarks.learner", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(result.stdout)
    assert found["matmul_gflops"] > 0
    row = found["depths"]["4"]
    other = ({"vs_textbook", "vs_crl"} - {rival}).pop()
    assert row.pop(other) is None
    assert set(row) == {"ms", "compile_s", "peak_mb", "gflops", "of_peak", "sampling", rival}
    assert min(row.values()) > 0
    assert row["sampling"] < 1
    assert row["of_peak"] == pytest.approx(row["gflops"] / found["matmul_gflops"])


def test_every_energy_is_measured_beside_l2():
    found = energies.measure(energies.Args(batch_size=8, repr_dim=16, turns=1))
    assert set(found) == set(ENERGIES)
    assert all(row["values_ms"] > 0 and row["update_ms"] > 0 for row in found.values())
    assert found["l2"]["values"] == found["l2"]["update"] == 1


def test_physics_is_measured_against_the_engine_alone():
    args = physics.Args(tasks=("reacher",), num_envs=8, width=16, steps=3, turns=2)
    row = physics.measure("reacher", args)
    assert set(row) == {"raw_sps", "collect_sps", "ratio", "physics_share", "policy_share"}
    assert min(row.values()) > 0
    assert row["physics_share"] < 1
    assert row["collect_sps"] < row["raw_sps"]


def test_physics_is_measured_on_every_kind_of_task_by_default():
    names = physics.chosen(physics.Args())
    assert {"ant", "ant_u4_maze", "humanoid", "humanoid_u_maze", "arm_push_easy", "pusher2"} <= set(names)
    assert not any(name.startswith("point") for name in names)


@pytest.mark.parametrize("settings", [{"gear": 30.0}, {"brax_inertia": True}], ids=str)
def test_a_weaker_or_heavier_ant_falls_later(settings):
    args = falls.Args(num_envs=8, steps=60)
    light, steady = (falls.measure(kind, args) for kind in ({}, settings))
    assert light["upright"] < steady["upright"]
    assert light["median_fall"] < steady["median_fall"] == 60
    assert 0 < steady["moved"] < 1.5


def test_integrators_are_compared_by_how_soon_robots_fall():
    args = integrators.Args(num_envs=16, steps=20)
    row = integrators.measure("humanoid", "IMPLICITFAST", 0.005, 6, args)
    assert 5 < row["steps_until_fall"] < 20
    assert min(row.values()) > 0


def test_gaits_are_sines_within_the_bounds_and_those_found_lead_away():
    random = np.random.default_rng(0)
    found = gaits.actions(random.standard_normal((4, 25)), 8, 50)
    assert found.shape == (50, 4, 8)
    assert np.abs(found).max() == 1
    still = gaits.actions(np.zeros((1, 25)), 8, 50)
    np.testing.assert_array_equal(still, 0)
    row = gaits.measure({"brax_inertia": True}, gaits.Args(gaits=24, generations=2, steps=20))
    assert 0.2 < row["fastest_tenth"] <= row["fastest"] < 5


def test_environments_of_others_are_measured_against_the_vector_environment_alone():
    args = foreign.Args(num_envs=2, width=16, steps=3, turns=2)
    row = foreign.measure("gym:MountainCarContinuous-v0", args, {"goal": [0], "processes": 1})
    assert row["ratio"] == pytest.approx(row["collect_sps"] / row["vector_sps"], rel=1)


def test_moves_are_observed_as_large_as_asked_for_beside_the_position():
    env = scales.beside(10.0, 5.0)("point_u_maze")
    state, _ = env.reset(jax.random.key(0))
    moved = state._replace(velocity=jnp.array([0.2, -0.1]))
    assert env.observe(moved)[:2].tolist() == env.observe(state)[:2].tolist()
    assert env.observe(moved)[2:].tolist() == pytest.approx([15.0, 0.0])
    assert training.build(scales.settings(True, 400_000)).config.epochs == 4
