"""Fewest steps on a grid with boxes, against a plain search, and critics ranked by them."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from goalward import training
from goalward.envs.boxes import AGENT, CARRYING
from goalward.errors import UserError
from goalward.pictures import carrying


def plain_search(rows, columns, target):
    """Steps from every state until boxes lie as in `target`, by a search from there, one state at a time."""
    ways = deque((target, cell, False) for cell in range(rows * columns))
    steps = dict.fromkeys(ways, 0)
    while ways:
        state = ways.popleft()
        boxes, cell, carries = state
        row, column = divmod(cell, columns)
        near = [(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)]
        after = [(boxes, r * columns + c, carries) for r, c in near if 0 <= r < rows and 0 <= c < columns]
        if cell in boxes and not carries:
            after.append((boxes - {cell}, cell, True))
        if cell not in boxes and carries:
            after.append((boxes | {cell}, cell, False))
        for other in after:
            if other not in steps:
                steps[other] = steps[state] + 1
                ways.append(other)
    return steps


@pytest.mark.parametrize(("rows", "columns", "boxes"), [(2, 3, 2), (3, 3, 3), (1, 4, 1), (3, 2, 4)])
def test_fewest_steps_are_those_of_a_plain_search(rows, columns, boxes):
    cells, random = rows * columns, np.random.default_rng(0)
    grid = carrying.Grid(rows, columns, boxes)
    for _ in range(3):
        target = frozenset(random.choice(cells, boxes, replace=False).tolist())
        found = grid.steps(np.isin(np.arange(cells), list(target)))
        expected = plain_search(rows, columns, target)
        assert len(expected) == len(found)
        lying, cell, carries = zip(*expected, strict=True)
        has_box = np.array([[i in some for i in range(cells)] for some in lying])
        index = grid.index(has_box, np.array(cell), np.array(carries))
        assert sorted(index) == list(range(len(found)))
        np.testing.assert_array_equal(found[index], list(expected.values()))


def test_a_grid_that_is_too_large_is_refused():
    with pytest.raises(UserError, match=r"4 boxes on 6 x 6 cells have 2,377,620 states; .* up to 500,000"):
        carrying.Grid(6, 6, 4)
    with pytest.raises(UserError, match="on up to 62 cells"):
        carrying.Grid(8, 8, 1)


@pytest.fixture(scope="module")
def experiment():
    return training.build(
        toy.config(
            env="boxes_3x3_2", eval_env="boxes_3x3_2_test", steps_per_goal=None, agent={"name": "discrete_crl"},
            env_settings={"episode_length": 12},
        )
    )  # fmt: skip


def test_a_critic_that_knows_the_steps_has_rank_one_and_one_that_knows_nothing_none(experiment):
    grid = carrying.Grid(3, 3, 2)

    def steps_of(obs, goal):
        codes, target = np.asarray(obs).astype(int), np.asarray(goal)[0].astype(int) % 2 == 1
        agents, carries = codes >= AGENT, (codes >= CARRYING).any(axis=1)
        steps = grid.steps(target)[grid.index(codes % 2 == 1, agents.argmax(axis=1), carries)]
        return -np.float32(steps**2)

    def knowing(agent, obs, goal):
        return jax.pure_callback(steps_of, jax.ShapeDtypeStruct(obs.shape[:1], jnp.float32), obs, goal)

    told = experiment._replace(agent=Told(knowing))
    assert carrying.steps_rank(told, 0.0) == pytest.approx(1)
    blind = experiment._replace(agent=Told(lambda agent, obs, goal: jnp.arange(len(obs))))
    assert abs(carrying.steps_rank(blind, 0.0)) < 0.05


class Told:
    def __init__(self, value):
        self.value = value


def test_the_rank_is_of_the_critics_own_value(experiment):
    """Against one goal after another, by the functions that it is made of."""
    run = training.init(experiment)
    found, ranks = carrying.steps_rank(experiment, run.agent), []

    def value(agent, obs, goal):
        learned = experiment.agent.value(agent, obs, goal)
        ranks.append(learned.shape)
        return learned

    assert np.isfinite(found)
    assert carrying.steps_rank(experiment._replace(agent=Told(value)), run.agent) == pytest.approx(found)
    assert len(ranks) == 1  # compiled once
