"""Learning from a dataset: the ring holds what the file says, and a run is one of updates alone."""

import dataclasses
import functools
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from test_data import trajectories

from goalward import checkpoint, data, envs, offline, plan, policy, recorded, replay, returns, runs, training
from goalward.config import TrainConfig, check_together, from_dict, preset_for
from goalward.config.dataset import COLLECTION
from goalward.errors import DivergedError, UserError
from goalward.types import EnvSpec

# An observation of `trajectories` is (trajectory, row of it, noise); a goal is the noise of a row.
SPEC = EnvSpec(
    3, 2, 1, 100, lambda obs: obs[..., 2:], lambda a, g: jnp.linalg.norm(a - g, axis=-1), threshold=0.3
)
WINDOW, CHUNK = 9, 3
LENGTHS = [2, 14, 3, 40, 2, 2, 7, 25, 5]
EDGES = (1, 2, 5, 9)


@functools.cache
def sampler(censoring):
    relabel = replay.Relabel(
        replay.truncated_geometric(0.8), current=0.1, random=0.2, commanded=0.1, chunk=CHUNK, outcomes=True,
        window=WINDOW, censoring=censoring, occupancy=EDGES,
        returns=returns.Returns(2, 0.9, "minus_one_zero", False),
    )  # fmt: skip
    return jax.jit(lambda ring, key: replay.sample(ring, SPEC, relabel, 512, key))


@pytest.mark.parametrize("censoring", ["observed", "window"])
@pytest.mark.parametrize("seed", [0, 1])
def test_samples_of_a_file_are_those_of_a_loop_over_it(censoring, seed):
    rows = trajectories(list(np.random.default_rng(seed).permutation(LENGTHS)), seed)
    batch = jax.tree.map(np.asarray, sampler(censoring)(offline.ring(rows, SPEC), jax.random.key(seed)))
    starts = np.flatnonzero(rows.first)
    later, drawn = 0, set()
    for i in range(512):
        at = starts[int(batch.obs[i, 0])] + int(batch.obs[i, 1])
        np.testing.assert_array_equal(batch.obs[i], rows.obs[at])
        drawn.add(int(at))
        end = at
        while not rows.last[end]:
            end += 1
        left, failed = end - at, bool(rows.failed[end])
        assert left > 0
        assert (batch.left[i], batch.failed[i]) == (left, failed)
        np.testing.assert_array_equal(batch.commanded[i], rows.goal[at])
        chunk = [rows.action[at + j] if j < left else np.zeros(2) for j in range(CHUNK)]
        np.testing.assert_array_equal(batch.action[i], np.concatenate(chunk))
        assert batch.valid[i] == (left >= CHUNK)
        apart = [abs(float(rows.obs[at + j, 2] - batch.goal[i, 0])) for j in range(left + 1)]
        later += min(apart[1:]) == 0
        hits = [j for j in range(min(left, WINDOW) + 1) if apart[j] < 0.3]
        never = WINDOW if failed or censoring == "window" else min(left, WINDOW)
        assert batch.reach.reached[i] == bool(hits)
        assert batch.reach.steps[i] == (hits[0] if hits else never)
        seen = WINDOW if failed else min(left, WINDOW)
        np.testing.assert_array_equal(batch.reach.observed[i], [low <= seen for low in EDGES[:-1]])
        after = min(left, 2)
        np.testing.assert_array_equal(batch.next.obs[i], rows.obs[at + after])
    assert later > 0.5 * 512  # the others' goals are the row's own, random or commanded
    assert len(drawn) > 0.9 * (len(rows.last) - rows.episodes)


def test_the_ring_is_what_inserting_the_rows_of_one_world_makes():
    rows = trajectories(LENGTHS)
    ring = offline.ring(rows, SPEC)
    empty = replay.init(jax.tree.map(lambda leaf: jnp.zeros_like(leaf[0]), ring.rows), len(rows.last))
    inserted = replay.insert(empty, ring.rows)
    jax.tree.map(np.testing.assert_array_equal, ring, inserted)


def test_goals_that_are_not_known_are_drawn_by_nobody():
    rows = trajectories(LENGTHS, goal=None)
    relabel = replay.Relabel(replay.truncated_geometric(0.8), current=0.1, random=0.4)
    batch = replay.sample(offline.ring(rows, SPEC), SPEC, relabel, 64, jax.random.key(0))
    assert np.all(np.isfinite(batch.goal))
    assert np.all(np.isnan(batch.commanded))


# Runs --------------------------------------------------------------------------------------------------------

OFFLINE = {name: value for name, value in toy.SETTINGS.items() if name not in COLLECTION}
ALONE = OFFLINE | {"total_updates": 2 * toy.ITERATIONS * toy.UPDATES}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A toy run that collected, and what its replay holds as a file."""
    return toy.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def file(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    data.write(path, recorded.replay(source), recorded.about(source))
    return path


def config(dataset, **changes):
    base = preset_for({"network": {"stem_bias": True}, "agent": {"name": "crl", "discount": 0.95}}, dataset)
    return from_dict(base | ALONE | {"dataset": str(dataset)} | changes, "toy")


@pytest.fixture(scope="module")
def whole(file, tmp_path_factory):
    """A run of two epochs from the file."""
    directory = tmp_path_factory.mktemp("offline") / "run"
    return directory, toy.run(directory, config(file))


def test_a_run_from_a_dataset_takes_no_step_and_as_many_updates_as_told(whole):
    directory, reports = whole
    assert {report.env_steps for report in reports} == {0}
    assert [report.updates for report in reports] == [2 * i for i in range(7)]
    assert [report.epoch for report in reports if report.evaluation] == [0, 1, 2]
    rows = runs.read_metrics(directory)
    assert [(row["env_steps"], row["updates"]) for row in rows] == [(0, 0), (0, 6), (0, 12)]
    steps = sorted({step for step, name in toy.events(directory) if name == "success_rate"})
    assert steps == [0, 6, 12]
    first, last = (
        checkpoint.arrays_under(saved, "")[0] for saved in checkpoint.list_saved(runs.checkpoints(directory))
    )
    assert not any(name.startswith(("replay", "worlds")) for name in last)
    assert any(np.any(first[name] != last[name]) for name in last if name.startswith("agent.params"))


@pytest.mark.parametrize("stop", [0, 2, 3])
def test_a_stop_and_a_resume_are_no_stop(whole, file, tmp_path, stop):
    seen = []
    toy.run(tmp_path / "run", config(file), should_stop=lambda: seen.append(0) or len(seen) > stop)
    toy.run(tmp_path / "run", config(file), resume=True)
    assert toy.digest(tmp_path / "run") == toy.digest(whole[0])
    assert toy.rows(tmp_path / "run") == toy.rows(whole[0])


def test_a_run_directory_is_the_file_of_its_replay(whole, source, tmp_path):
    toy.run(tmp_path / "run", config(source))
    assert toy.digest(tmp_path / "run") == toy.digest(whole[0])


def test_what_was_learned_needs_no_dataset_any_more(whole, tmp_path, file):
    copy = shutil.copy(file, tmp_path / "x.npz")
    toy.run(tmp_path / "run", config(copy, total_updates=2, epochs=1))
    (tmp_path / "x.npz").unlink()
    acts = policy.load_policy(tmp_path / "run").act([0.0, 0.0], [1.0, 1.0])
    assert acts.shape == (2,)
    with pytest.raises(UserError, match=r"x\.npz does not exist"):
        toy.run(tmp_path / "run", config(copy, total_updates=4, epochs=2), resume=True)
    rows = data.read(file)
    data.write(tmp_path / "x.npz", rows._replace(goal=rows.goal + 1), {})
    with pytest.raises(UserError, match=r"x\.npz has changed since the run began"):
        toy.run(tmp_path / "run", config(copy, total_updates=4, epochs=2), resume=True)


def test_mistakes_leave_no_directory(file, tmp_path):
    rows = data.read(file)
    data.write(tmp_path / "bad.npz", rows._replace(obs=rows.obs[:, :1]), {})
    with pytest.raises(UserError, match=r"observations have 1 numbers.*point_u_maze's have 2"):
        toy.run(tmp_path / "run", config(tmp_path / "bad.npz"))
    assert not (tmp_path / "run").exists()


def test_commanded_goals_are_asked_of_who_has_them(file, tmp_path):
    data.write(tmp_path / "x.npz", data.read(file)._replace(goal=None), {})
    for agent, told in (
        ({"name": "crl", "actor_commanded_goals": 0.5}, "--actor-commanded-goals 0"),
        ({"name": "sac"}, "a share 0.2 of the goals .* --her-share 1"),
    ):
        with pytest.raises(UserError, match=told):
            toy.run(tmp_path / "run", config(tmp_path / "x.npz", agent=agent))


@pytest.mark.slow
def test_an_update_that_is_not_finite_is_reproduced_from_the_file(file, tmp_path, monkeypatch):
    whole = offline.ring

    def poisoned(rows, spec):
        ring = whole(rows, spec)
        return ring._replace(rows=ring.rows._replace(obs=ring.rows.obs.at[::3].set(jnp.nan)))

    monkeypatch.setattr(offline, "ring", poisoned)
    with pytest.raises(DivergedError, match="critic_loss = nan"):
        toy.run(tmp_path / "run", config(file))
    saved = checkpoint.latest(runs.failure(tmp_path / "run"))
    assert not any(name.startswith("replay") for name in checkpoint.arrays_under(saved, "")[0])
    assert np.isnan(float(training.reproduce(tmp_path / "run")["critic_loss"]))


@pytest.mark.parametrize("agent", ["srl", "chrono", "sac", "td3", "gcbc", "gcsl"])
@pytest.mark.slow
def test_every_agent_that_gives_numbers_learns_from_a_dataset(agent, file, tmp_path):
    reports = toy.run(tmp_path / agent, config(file, agent={"name": agent}, total_updates=4, epochs=1))
    assert all(np.isfinite(value) for value in reports[-1].metrics.values())


@pytest.mark.slow
def test_an_agent_of_choices_learns_from_a_dataset(tmp_path):
    env = envs.make("boxes_3x3_2")
    rows = recorded.recorder(env, lambda *_: jnp.tile(jnp.eye(env.spec.action_dim)[:1], (3, 1)))(
        None, jax.random.split(jax.random.key(0), 3), jax.random.split(jax.random.key(1), 6)
    )
    data.write(tmp_path / "x.npz", rows, {})
    settings = ALONE | {
        "env": "boxes_3x3_2", "env_settings": {"episode_length": 5}, "dataset": str(tmp_path / "x.npz"),
        "agent": {"name": "discrete_crl", "repr_dim": 8}, "total_updates": 4, "epochs": 1,
    }  # fmt: skip
    reports = toy.run(tmp_path / "run", from_dict(settings, "boxes"))
    assert np.isfinite(reports[-1].metrics["critic_loss"])


# Settings, plans ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COLLECTION)
def test_settings_of_collection_are_refused_by_name(name):
    value = {"resample_goals": False, "practised_goals": 0.5, "buffer_gb": 1.0}.get(name, 7)
    with pytest.raises(
        UserError, match=f"{name} is {value}, but a run that learns from a dataset collects nothing"
    ):
        check_together(config("x.npz", **{name: value}))


def test_settings_of_datasets_need_one():
    for name in ("total_updates", "dataset_rows"):
        with pytest.raises(UserError, match=f"{name} is 9, but there is no dataset"):
            check_together(toy.config(**{name: 9}))


def test_a_preset_keeps_what_means_something():
    values = {"num_envs": 5, "prefill_rows": 9, "batch_size": 8, "agent": {"name": "crl"}}
    assert preset_for(values, None) == values
    assert preset_for(values, "x.npz") == {"batch_size": 8, "agent": {"name": "crl"}}
    assert {field.name for field in dataclasses.fields(TrainConfig)} > set(COLLECTION)


def test_a_run_has_whole_rounds_of_updates():
    check_together(config("x.npz", total_updates=7, epochs=3))
    assert config("x.npz", total_updates=7).iterations == 3
    with pytest.raises(
        UserError, match=r"total_updates 7 are 3 iterations of 2.*--epochs 3 or --total-updates 8"
    ):
        check_together(config("x.npz", total_updates=7, epochs=4))


def test_a_dataset_that_does_not_fit_is_told_how_much_would(file):
    settings = config(file)
    memory = plan.state_memory(training.build(settings))
    rows = data.count(file)
    assert memory.replay == rows * training.row_bytes(envs.make(settings.env).spec) + 4
    needed = memory.needed() - memory.replay // 2
    with pytest.raises(UserError, match=rf"1 world × {rows} rows.*--dataset-rows \d+$") as told:
        plan.check_fits(memory._replace(free=int(needed / plan.USABLE)), settings)
    fits = int(str(told.value).rpartition(" ")[2])
    assert rows / 3 < fits < rows
    smaller = plan.state_memory(training.build(config(file, dataset_rows=fits)))
    plan.check_fits(smaller._replace(free=int(needed / plan.USABLE) + 1), settings)


@pytest.mark.slow
def test_a_plan_knows_that_nothing_is_collected(file):
    planned = plan.plan(config(file))
    assert (planned.env_steps, planned.env_steps_per_second, planned.updates) == (0, 0.0, 12)
    assert planned.buffer_rows == data.count(file)
    assert planned.seconds > 12 * planned.speed.update


# Fresh episodes ----------------------------------------------------------------------------------------------


def test_fresh_episodes_are_whole_and_depend_on_the_seed_alone(source):
    length = toy.SETTINGS["env_settings"]["episode_length"]
    rows = recorded.episodes(source, 3)
    assert np.diff(np.flatnonzero(rows.last), prepend=-1).tolist() == [length + 1] * 3
    for name, one, other in zip(data.Rows._fields, rows, recorded.episodes(source, 3), strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
    assert np.any(recorded.episodes(source, 3, seed=1).obs != rows.obs)
    env, (experiment, run) = (
        envs.make("point_u_maze", toy.SETTINGS["env_settings"]),
        policy.load_experiment(source),
    )
    moves = np.flatnonzero(~rows.last)
    acts = experiment.agent.exploit(run.agent, *map(jnp.asarray, (rows.obs, rows.goal)), jax.random.key(0))
    np.testing.assert_allclose(rows.action, acts, atol=1e-5)
    goals = rows.goal.reshape(3, length + 1, 2)
    np.testing.assert_array_equal(goals, np.repeat(goals[:, :1], length + 1, axis=1))
    assert env.spec.obs_dim == rows.obs.shape[1]
    assert np.all(np.linalg.norm(rows.obs[moves + 1] - rows.obs[moves], axis=1) < 1)


def test_exploring_episodes_have_noise_and_the_goals_of_training(source):
    rows, plain = (recorded.episodes(source, 3, explore=explore) for explore in (True, False))
    np.testing.assert_array_equal(rows.obs[0], plain.obs[0])
    assert np.any(rows.action[0] != plain.action[0])
    goals = rows.goal.reshape(3, 21, 2)
    changes = {int(t) + 1 for t in np.nonzero(np.any(goals[:, 1:] != goals[:, :-1], axis=2))[1]}
    assert changes == {7, 14}, "steps_per_goal of the toy"


def test_recorded_positions_and_velocities_are_the_engines():
    env = envs.make("reacher", {"episode_length": 4})
    rows = recorded.recorder(env, lambda agent, obs, goal, one: jnp.full((2, env.spec.action_dim), 0.5))(
        None, jax.random.split(jax.random.key(0), 2), jax.random.split(jax.random.key(1), 5)
    )
    model = env.task.model
    assert rows.qpos.shape == (10, model.nq)
    assert rows.qvel.shape == (10, model.nv)
    assert np.any(rows.qvel[1] != rows.qvel[0])
    seen = jax.vmap(env.task.observe)(env.engine.blank(10).physics._replace(qpos=rows.qpos, qvel=rows.qvel))
    angles = slice(0, 2)
    np.testing.assert_allclose(seen[:, angles], rows.obs[:, angles], atol=1e-5)


def test_an_episode_that_ends_early_ends_as_a_failure():
    env = envs.make("point_u_maze", {"episode_length": 6})
    falls = env._replace(terminated=lambda state: jnp.ones((), bool))
    rows = recorded.recorder(falls, lambda agent, obs, goal, one: jnp.zeros((3, 2)))(
        None, jax.random.split(jax.random.key(0), 3), jax.random.split(jax.random.key(1), 7)
    )
    assert rows.last.tolist() == rows.failed.tolist() == [False, True] * 3


def test_about_says_where_rows_are_from(source):
    told = recorded.about(source, **{"from": "replay"})
    assert json.loads(json.dumps(told)) == told
    assert (told["env"], told["agent"], told["from"]) == ("point_u_maze", "crl", "replay")


def test_a_dataset_of_another_environment_is_told(source, file, tmp_path):
    for dataset in (source, file):
        told = list(offline.notes(config(dataset, env="point_u4_maze")))
        assert told[0] == f"note: {dataset} was recorded in point_u_maze; this run learns point_u4_maze from it"
        assert "bc_weight" in told[1]
        assert len(list(offline.notes(config(dataset)))) == 1
    for about in (None, "3", '{"env": 3}', "no JSON"):
        extra = {} if about is None else {data.ABOUT: np.asarray(about)}
        np.savez(tmp_path / "x.npz", **data.named(data.read(file)), **extra)
        assert len(list(offline.notes(config(tmp_path / "x.npz")))) == 1
