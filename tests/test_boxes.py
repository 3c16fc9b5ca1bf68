"""Boxes on a grid, against a plain simulation of the rules."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from PIL import Image

import goalward
from goalward import envs, training
from goalward.envs import boxes, core
from goalward.errors import UserError
from goalward.pictures import boards, render
from goalward.rollout import starter

EPISODE, WORLDS = 30, 128
NAMES = ["boxes_4x4_3", "boxes_3x5_2_test", "boxes_2x2_1"]
SETTINGS = {"boxes_2x2_1": {"on_target": 0}}
each = pytest.mark.parametrize("name", NAMES)


@functools.cache
def make(name, encoding="one_hot"):
    return envs.make(name, {"episode_length": EPISODE, "encoding": encoding} | SETTINGS.get(name, {}))


def sizes(name):
    return tuple(int(x) for x in boxes.NAME.fullmatch(name).groups()[:3])


@functools.cache
def walks(name):
    """States, observations, goals and choices of walks that often pick up and put down, leaves (T, N, …)."""
    env = make(name)
    choices = np.random.default_rng(0).choice(6, (2 * EPISODE, WORLDS), p=[0.15] * 4 + [0.2] * 2)

    def row(worlds, choice):
        order = core.order_next(env, worlds, jax.nn.one_hot(choice, 6), resample_goals=True)
        after = core.settle(env, worlds, order, core.simulate(env, worlds.state, order))
        return after, (worlds.state, core.observe(env, worlds), worlds.goal, worlds.steps == 0)

    def roll(keys, choices):
        return jax.lax.scan(row, starter(env)(keys), choices)[1]

    keys = jax.random.split(jax.random.key(0), WORLDS)
    return *jax.tree.map(np.asarray, jax.jit(roll)(keys, jnp.asarray(choices))), choices


def moved(grid, agent, carrying, choice):
    """The rules, one world, plainly: a grid of 0 and 1, (row, column), bool."""
    grid, (row, column) = grid.copy(), agent
    if choice < 4:
        step = [(-1, 0), (1, 0), (0, -1), (0, 1)][choice]
        to = row + step[0], column + step[1]
        if 0 <= to[0] < grid.shape[0] and 0 <= to[1] < grid.shape[1]:
            row, column = to
    elif choice == 4 and grid[row, column] and not carrying:
        grid[row, column], carrying = 0, True
    elif choice == 5 and not grid[row, column] and carrying:
        grid[row, column], carrying = 1, False
    return grid, (row, column), carrying


@each
def test_worlds_follow_the_rules(name):
    state, _, _, first, choices = walks(name)
    seen = set()
    for world in range(WORLDS):
        for t in range(1, len(choices)):
            if first[t, world]:
                continue
            before = jax.tree.map(lambda leaf, at=(t - 1, world): leaf[at], state)
            grid, agent, carrying = moved(
                before.boxes.astype(int), tuple(before.agent), bool(before.carrying), choices[t - 1, world]
            )
            seen |= {(int(choices[t - 1, world]), bool(before.carrying), carrying)}
            np.testing.assert_array_equal(state.boxes[t, world], grid)
            assert tuple(state.agent[t, world]) == agent
            assert state.carrying[t, world] == carrying
    assert {(4, False, True), (4, False, False), (5, True, False), (5, False, False)} <= seen


@each
def test_no_box_is_lost_and_cells_tell_the_state(name):
    state, obs, _, _, _ = walks(name)
    number = sizes(name)[2]
    np.testing.assert_array_equal(state.boxes.sum(axis=(2, 3)) + state.carrying, number)
    cells = np.asarray(make(name).cells(jnp.asarray(obs)))
    np.testing.assert_array_equal(cells % 2 == 1, state.boxes)
    agents = np.argwhere(cells >= boxes.AGENT)
    np.testing.assert_array_equal(agents[:, 2:], state.agent.reshape(-1, 2))
    np.testing.assert_array_equal(cells.max(axis=(2, 3)) >= boxes.CARRYING, state.carrying)


@each
def test_starts_and_goals_are_as_the_split_says(name):
    """So many boxes in place, no more; the goal has the agent where it starts, with empty hands."""
    state, obs, goal, first, _ = walks(name)
    env, settings = make(name), {"on_target": 1} | SETTINGS.get(name, {})
    expected = 0 if name.endswith("_test") else settings["on_target"]
    starts, goals = (np.asarray(env.cells(jnp.asarray(part[first]))) for part in (obs, goal))
    in_place = ((starts % 2 == 1) & (goals % 2 == 1)).sum(axis=(1, 2))
    np.testing.assert_array_equal(in_place, expected)
    np.testing.assert_array_equal((goals % 2 == 1).sum(axis=(1, 2)), sizes(name)[2])
    np.testing.assert_array_equal(goals // 2, starts // 2)
    assert not state.carrying[first].any()
    assert np.all(np.asarray(goal)[1:][~first[1:]] == np.asarray(goal)[:-1][~first[1:]])


@each
def test_starts_targets_and_agents_are_uniform_over_cells(name):
    env = make(name)
    state, goal = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(1), 4000))
    rows, columns, number = sizes(name)
    cells = np.asarray(env.cells(goal))
    for share, wanted in (
        (np.asarray(state.boxes).mean(axis=0), number), ((cells % 2 == 1).mean(axis=0), number),
        ((cells >= boxes.AGENT).mean(axis=0), 1),
    ):  # fmt: skip
        np.testing.assert_allclose(share, wanted / (rows * columns), atol=0.04)


@each
def test_distance_is_the_number_of_boxes_out_of_place(name):
    state, obs, goal, *_ = walks(name)
    spec, cells = make(name).spec, np.asarray(make(name).cells(jnp.asarray(goal))) % 2 == 1
    missing = (cells & ~state.boxes).sum(axis=(2, 3))
    extra = (state.boxes & ~cells).sum(axis=(2, 3))
    found = np.asarray(spec.distance(jnp.asarray(obs), jnp.asarray(goal)))
    np.testing.assert_array_equal(found, np.maximum(missing, extra))
    np.testing.assert_array_equal(
        np.asarray(spec.success(jnp.asarray(obs), jnp.asarray(goal))), np.all(cells == state.boxes, axis=(2, 3))
    )


@each
def test_networks_are_given_one_hot_codes_or_the_codes(name):
    _, obs, goal, *_ = walks(name)
    spec, codes = make(name).spec, obs.astype(int)
    assert make(name, "numbers").spec.sight is None
    for see, size, part in (
        (spec.sight.obs, spec.sight.obs_dim, obs),
        (spec.sight.goal, spec.sight.goal_dim, goal),
    ):
        seen = np.asarray(see(jnp.asarray(part)))
        assert seen.shape == (*part.shape[:2], size)
        np.testing.assert_array_equal(seen.reshape(*part.shape, 6), np.eye(6)[part.astype(int)])
    assert set(np.unique(codes)) <= set(range(6))


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("boxes_2x2_3", {}, ["needs 5 cells", "but has 4"]),
        ("boxes_4x4_1", {}, ["1 boxes", "on_target 1", "use --env-settings on_target=0"]),
        ("boxes_4x4_0", {}, ["unknown environment"]),
        ("boxes_04x4_1", {}, ["unknown environment"]),
        ("boxes_99x99_3", {}, ["9801 cells"]),
        ("boxes_4x4", {}, ["unknown environment", "boxes_4x4_3"]),
        ("boxes_4x4_3", {"encoding": "digits"}, ["'digits'", "one_hot, numbers"]),
        ("boxes_4x4_3", {"on_target": -1}, ["on_target"]),
    ],
)
def test_what_cannot_be_is_refused_by_name(name, settings, words):
    with pytest.raises(UserError) as told:
        envs.make(name, settings)
    assert all(word in str(told.value) for word in words), told.value


@pytest.fixture(scope="module")
def toy_run(tmp_path_factory):
    """Two epochs of a grid; with two samples an episode and two critics."""
    directory = tmp_path_factory.mktemp("boxes") / "run"
    toy.run(directory, toy_config())
    return directory


def toy_config(epochs=2):
    agent = {"name": "discrete_crl", "critics": 2, "samples_per_episode": 2}
    return toy.epochs(
        epochs, env="boxes_3x3_2", eval_env="boxes_3x3_2_test", steps_per_goal=None, agent=agent,
        env_settings={"episode_length": 12},
    )  # fmt: skip


def test_a_resume_is_no_stop(toy_run, tmp_path):
    toy.run(tmp_path / "run", toy_config(1))
    toy.run(tmp_path / "run", toy_config(2), resume=True)
    assert toy.digest(tmp_path / "run") == toy.digest(toy_run)
    assert toy.rows(tmp_path / "run") == toy.rows(toy_run)


def test_a_loaded_policy_chooses_and_a_run_is_animated(toy_run, tmp_path):
    policy = goalward.load_policy(toy_run)
    obs = jax.vmap(envs.make("boxes_3x3_2").reset)(jax.random.split(jax.random.key(0), 5))[1]
    drawn = np.stack([policy.act(obs, obs[::-1]) for _ in range(8)])
    np.testing.assert_array_equal(np.sort(drawn, axis=-1)[..., -1], 1.0)
    np.testing.assert_array_equal(drawn.sum(axis=-1), 1.0)
    assert np.any(drawn != drawn[:1])  # it is sampled, anew in each call
    again = goalward.load_policy(toy_run)
    np.testing.assert_array_equal(np.stack([again.act(obs, obs[::-1]) for _ in range(8)]), drawn)
    (film,) = render.render(toy.copy(toy_run, tmp_path / "run"), episodes=3)
    with Image.open(film) as image:
        assert image.n_frames > 1
    pictures = render.gallery(["boxes_4x4_3"], tmp_path)
    with Image.open(pictures[0]) as image:
        assert image.size == (480, 360)
        assert len(image.convert("RGB").getcolors(100_000)) > 4


def test_a_long_episode_is_thinned_and_not_cut(tmp_path):
    """The last frame is the end; of a short one every step is shown, and `every` is heeded."""
    cells = np.zeros((400, 1, 2, 2), int)
    cells[:, 0, 0, 0] = boxes.AGENT + np.arange(400) % 2
    goal = np.zeros((1, 2, 2), int)
    for steps, every, frames in ((400, None, 134), (100, None, 100), (100, 7, 15)):
        boards.animation(cells[:steps], goal, tmp_path / "a.gif", every)
        with Image.open(tmp_path / "a.gif") as image:
            assert image.n_frames == frames


def test_grids_of_other_shapes_are_not_alike():
    """They have as many cells, boxes and actions."""
    config = toy_config()
    for other, settings in (("boxes_4x9_3", {}), ("boxes_9x4_3", {})):
        with pytest.raises(UserError, match="another grid"):
            training.build(replace(config, env="boxes_6x6_3", eval_env=other, env_settings=settings))
    training.build(replace(config, env="boxes_6x6_3", eval_env="boxes_6x6_3_test"))
