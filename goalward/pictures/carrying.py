"""How many steps it takes to bring boxes to where they are commanded: exactly, over all states of a grid."""

from itertools import combinations
from math import comb
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from goalward.envs.boxes import BoxesState, has_box, observe
from goalward.errors import UserError
from goalward.evaluation import MOST_GOALS
from goalward.pictures.maps import rank_correlation
from goalward.rollout import starter
from goalward.training import Experiment, evaluation_keys

MOST_STATES = 500_000
MOST_CELLS = 62  # whose boxes are bits of one number
PLACES = 1_000  # states that a goal is looked at from


class Grid:
    """All states of so many boxes on a grid, and which of them are a step apart.

    A state is which cells have boxes, where the agent is, and whether it carries one, which is on no cell then.
    Each step can be taken back, so a way there is as long as the way back.
    """

    def __init__(self, rows: int, columns: int, boxes: int):
        """Raises `UserError` for a grid that is too large."""
        self.cells = rows * columns
        states = self.cells * (comb(self.cells, boxes) + comb(self.cells, boxes - 1))
        if states > MOST_STATES or self.cells > MOST_CELLS:
            raise UserError(
                f"{boxes} boxes on {rows} x {columns} cells have {states:,} states; fewest steps are found of "
                f"up to {MOST_STATES:,}, on up to {MOST_CELLS} cells"
            )
        self._lying = _subsets(self.cells, boxes)
        self._carried = _subsets(self.cells, boxes - 1)
        moves, changes = self._moves(rows, columns), self._changes()
        ends = np.concatenate([moves, changes])
        shape = (states, states)
        self._graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape).tocsr()

    def index(self, has_box: np.ndarray, agent: np.ndarray, carrying: np.ndarray) -> np.ndarray:
        """The number of states (N,), of cells with boxes (N, cells), the agent's cell, and bool (N,)."""
        mask = _mask(has_box)
        lying = np.searchsorted(self._lying, mask)
        carried = len(self._lying) + np.searchsorted(self._carried, mask)
        return np.where(carrying, carried, lying) * self.cells + agent

    def steps(self, target: np.ndarray) -> np.ndarray:
        """Fewest steps from each state until boxes lie on the cells of `target` (cells,) bool."""
        here = np.arange(self.cells)
        goals = self.index(np.tile(target, (self.cells, 1)), here, np.zeros(self.cells, bool))
        return dijkstra(self._graph, directed=False, indices=goals, unweighted=True, min_only=True)

    def _moves(self, rows: int, columns: int) -> np.ndarray:
        """Pairs of states that a move parts, (number, 2)."""
        cell = np.arange(self.cells).reshape(rows, columns)
        beside = np.stack([cell[:, :-1].ravel(), cell[:, 1:].ravel()], axis=1)
        below = np.stack([cell[:-1].ravel(), cell[1:].ravel()], axis=1)
        pairs = np.concatenate([beside, below])
        boxes = np.arange(len(self._lying) + len(self._carried)) * self.cells
        return (boxes[:, None, None] + pairs[None]).reshape(-1, 2)

    def _changes(self) -> np.ndarray:
        """Pairs of states that picking up parts, (number, 2)."""
        bit = 1 << np.arange(self.cells, dtype=np.int64)
        index, cell = np.nonzero(self._lying[:, None] & bit[None])
        left = len(self._lying) + np.searchsorted(self._carried, self._lying[index] - bit[cell])
        return np.stack([index, left], axis=1) * self.cells + cell[:, None]


def _subsets(cells: int, number: int) -> np.ndarray:
    """So many of the cells, in every way, as sorted bit masks."""
    return np.sort([sum(1 << cell for cell in chosen) for chosen in combinations(range(cells), number)])


def _mask(has_box: np.ndarray) -> np.ndarray:
    return (has_box.astype(np.int64) << np.arange(has_box.shape[-1])).sum(axis=-1)


def steps_rank(experiment: Experiment, agent: Any) -> float:
    """Spearman's rank correlation of the learned distance with the fewest steps, a mean over goals.

    Goals are those of evaluations. For each, `PLACES` states are drawn, in half of which a box is carried.
    Raises `UserError` for a grid with too many states.
    """
    env, random = experiment.eval_env, np.random.default_rng(0)
    assert env.cells is not None  # noqa: S101  # the caller has a grid
    goals = np.asarray(starter(env)(evaluation_keys(experiment.config, MOST_GOALS)).goal)
    boards = np.asarray(env.cells(jnp.asarray(goals)))
    rows, columns = boards.shape[1:]
    boxes = int(has_box(boards[0]).sum())
    grid, value = Grid(rows, columns, boxes), jax.jit(experiment.agent.value)
    found = []
    for goal, board in zip(goals, boards, strict=True):
        lying, agents, carries = _random_states(random, grid.cells, boxes)
        left = grid.steps(has_box(board.reshape(-1)))[grid.index(lying, agents, carries)]
        places = np.stack(np.divmod(agents, columns), axis=1)
        states = BoxesState(*map(jnp.asarray, (lying.reshape(-1, rows, columns), places, carries)))
        learned = value(agent, jax.vmap(observe)(states), jnp.asarray(np.tile(goal, (PLACES, 1))))
        found.append(rank_correlation(-np.asarray(learned), left))
    return float(np.mean(found))


def _random_states(
    random: np.random.Generator, cells: int, boxes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells with boxes (PLACES, cells), the agent's cell and whether it carries (PLACES,); half of them do."""
    carries = random.random(PLACES) < 0.5
    rank = np.argsort(random.random((PLACES, cells)), axis=1).argsort(axis=1)
    return rank < (boxes - carries)[:, None], random.integers(0, cells, PLACES), carries
