"""The contract: kept by every environment, and broken ones are told what they break."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goalward import contract, envs, promises
from goalward.envs import core, maze, shapes
from goalward.envs.mujoco import TASKS, engine
from goalward.envs.settings import parse

SHORT = {"episode_length": 12}
# All tasks, and of the mazes one of each kind; the others differ in their walls, which are looked at below.
OF_EACH_KIND = [name for name in TASKS if "maze" not in name] + [
    "ant_u4_maze", "ant_u5_maze_gen_1f2f", "ant_ball_maze", "ant_ball_big_maze", "humanoid_big_maze_eval",
    "point_u_maze", "point_big_maze_eval", "boxes_4x4_3", "boxes_5x5_3_test", "boxes_9x9_3",
]  # fmt: skip


@pytest.mark.parametrize("name", OF_EACH_KIND)
def test_the_contract_is_kept(name):
    findings = contract.check(envs.make(name, SHORT), worlds=16)
    assert findings.problems == []
    assert findings.episodes >= 16
    assert findings.faults == 0
    assert 0 <= findings.random_time_at_goal <= findings.random_success <= 1


@pytest.mark.parametrize(
    ("name", "setting"), [("point_u_maze", {"lens_layers": 2}), ("boxes_4x4_3", {"encoding": "numbers"})]
)
def test_the_contract_is_kept_whatever_networks_are_given(name, setting):
    assert contract.check(envs.make(name, SHORT | setting), worlds=16).problems == []


def test_wrong_sizes_of_what_is_seen_are_told():
    env = envs.make("boxes_4x4_3", SHORT)
    env = env._replace(spec=env.spec._replace(sight=env.spec.sight._replace(obs_dim=7)))
    assert [f.what for f in shapes.broken(env)] == ["obs_dim of what is seen is 7, but there are 96"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in envs.names() if name not in OF_EACH_KIND])
def test_the_contract_is_kept_in_every_maze(name):
    assert contract.check(envs.make(name, SHORT), worlds=24).problems == []


@pytest.mark.parametrize("name", [name for name in TASKS if "maze" in name])
def test_starts_and_goals_of_a_maze_lie_on_free_cells(name):
    env = envs.make(name)
    starts, goals = jax.jit(jax.vmap(env.reset))(jax.random.split(jax.random.key(0), 800))
    for positions, marks in ((starts.qpos[:, :2], "R"), (goals, "G")):
        cells = np.round(env.to_cells(np.asarray(positions)))
        drawn = {tuple(cell) for cell in cells.astype(int).tolist()}
        assert drawn <= {tuple(cell) for cell in np.argwhere(~env.maze.walls)}
        index = 0 if marks == "R" else 1
        assert drawn == {tuple(pair[index]) for pair in env.maze.pairs.tolist()}


def test_results_do_not_depend_on_the_number_of_threads():
    entry = TASKS["ant_u_maze"]
    task = entry.build("ant_u_maze", parse(entry.settings, "ant_u_maze", SHORT))
    looks = []
    for threads in (1, 2, 5):
        env = engine.make(task, threads)
        looker = contract.Looker(contract.starter(env), contract.collector(env, contract.random_act(env), True))
        looks.append(contract._look(looker, worlds=7, half=20, seed=3))
    assert contract._equal(looks[0], looks[1])
    assert contract._equal(looks[0], looks[2])


# --- environments that break it ---


def point(**changes):
    env = envs.make("point_u_maze", SHORT)
    spec = {name: changes.pop(name) for name in list(changes) if name in env.spec._fields}
    return env._replace(spec=env.spec._replace(**spec), **changes)


def test_wrong_sizes_are_told():
    assert "goal_dim is 3, but there are 2" in contract.check(point(goal_dim=3)).problems


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"observe": lambda state: jnp.stack([state.position[0], jnp.float32(3)])}, "elements [1] of the obs"),
        ({"observe": lambda state: state.position * jnp.inf}, "observations are not all finite"),
        ({"distance": lambda a, b: 9.0 + jnp.linalg.norm(a - b, axis=-1)}, "not a success for itself"),
        ({"distance": lambda a, g: 1 + jnp.linalg.norm(a - g, axis=-1)}, "not at distance 0"),
        ({"to_cells": lambda positions: positions * 0}, "in a wall"),
        ({"shifts": ((0,),), "achieved": lambda obs: obs[..., :2] * obs[..., :1]}, "not shift along"),
    ],
)
def test_a_broken_promise_is_told(changes, told):
    problems = contract.check(point(**changes), worlds=8).problems
    assert any(told in problem for problem in problems), problems


def test_equal_starts_and_goals_are_told():
    env = point(reset=lambda key: envs.make("point_u_maze").reset(jax.random.key(0)))
    assert [p for p in contract.check(env, worlds=8).problems if p.startswith("all ")] == [
        "all starts of 24 episodes are equal",
        "all goals of 24 episodes are equal",
    ]


def rows_with(first, terminated):
    first, terminated = (np.array(leaf, bool)[:, None] for leaf in (first, terminated))
    blank = np.zeros((*first.shape, 2), np.float32)
    return contract.Trajectory(blank, blank, blank, first, terminated)


@pytest.mark.parametrize(
    ("first", "terminated", "told"),
    [
        ([1, 0, 0, 0, 1], [0, 0, 0, 0, 0], None),  # the limit of three steps
        ([1, 0, 1, 0, 0], [0, 1, 0, 0, 0], None),  # a termination
        ([1, 0, 1, 0, 0], [0, 0, 0, 0, 0], "neither terminated nor at its time limit"),
        ([1, 0, 0, 0, 0], [0, 0, 0, 0, 0], "goes on after its end"),
        ([1, 0, 0, 0, 1], [0, 0, 1, 0, 0], "goes on after its end"),
        ([0, 0, 0, 0, 1], [0, 0, 0, 0, 0], "do not start an episode"),
        ([1, 0, 0, 0, 1], [0, 0, 0, 1, 0], "every time limit is called a termination"),
        ([1, 0, 0, 0, 1], [1, 0, 0, 0, 1], "terminated where it starts"),
    ],
)
def test_ends_of_episodes_by_hand(first, terminated, told):
    env = point(episode_length=3)
    problems = [f.what for f in promises.ends(env, rows_with(first, terminated))]
    assert problems == [] if told is None else any(told in problem for problem in problems), problems


def test_an_engine_that_remembers_is_told():
    """Its worlds go on from where they were last, whatever state they are given."""
    env = envs.make("ant", SHORT)
    advance, kept = env.engine.advance, []

    def forgetful(state, *order):
        state = advance(kept[-1] if kept else state, *order)
        kept.append(state)
        return state

    problems = contract.check(env._replace(engine=env.engine._replace(advance=forgetful)), worlds=4).problems
    assert "a state that is taken out and put back does not go on in the same way" in problems


def test_shares_of_finished_episodes_by_hand():
    first = np.array([[1, 0, 0, 1, 0, 1, 0]], bool).T
    at_goal = np.array([[1, 0, 1, 1, 0, 0, 1]], bool).T  # being there at the start does not count
    rows = rows_with(first[:, 0], first[:, 0] * 0)
    assert contract._shares_at_goal(rows, at_goal).tolist() == [0.5, 0.0]


def test_every_layout_of_the_paper_is_there():
    """Numbers of goals as the layouts' source has them."""
    goals = {name: len(maze.parse(name).pairs) for name in maze.GRIDS}
    assert (goals["u_maze"], goals["u5_maze"], goals["big_maze_eval"], goals["hardest_maze"]) == (6, 16, 9, 45)
    assert len(envs.make("humanoid_big_maze_eval").maze.pairs) == 10
    assert len(envs.make("ant_ball_maze").maze.pairs) == 5
    assert len(envs.make("ant_ball_big_maze").maze.pairs) == 20


def test_core_needs_a_step_or_an_engine():
    env = point()._replace(step=None)
    worlds = core.blank(env, jax.random.split(jax.random.key(0), 2))
    with pytest.raises(TypeError, match="neither a step nor an engine"):
        core.simulate(env, worlds.state, core.order_start(env, worlds))
