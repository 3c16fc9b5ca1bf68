"""Boxes on a grid, carried one at a time to an arrangement that is commanded, in pure JAX.

The rules are those of arXiv 2510.21995. In training some boxes start on their targets: to carry all of them,
which the split `…_test` commands, is then not what any episode starts with.
"""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from goalward.envs.core import Entry, Env
from goalward.envs.settings import LONGEST, check
from goalward.errors import UserError
from goalward.types import EnvSpec, Sight

# What a cell holds. A carried box is not on the grid: an agent that carries may stand on another one.
EMPTY, BOX, AGENT, AGENT_ON_BOX, CARRYING, CARRYING_ON_BOX = range(6)
CODES = 6
ACTIONS = ("up", "down", "left", "right", "pick up", "put down")
PICK, PUT = 4, 5
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0), (0, 0))
NAME = re.compile(r"boxes_([1-9]\d?)x([1-9]\d?)_([1-9]\d{0,2})(_test)?")
# Those that are listed; any other of the kind is known too.
NAMES = [f"boxes_{sizes}{split}" for sizes in ("4x4_3", "5x5_3", "6x6_4") for split in ("", "_test")]
ALL_SEEN = 36  # cells, all of which random actions change within some episodes
ENCODINGS = ("one_hot", "numbers")
MOST_CELLS = 400


@dataclass(frozen=True)
class BoxesSettings:
    """Settings of a grid with boxes."""

    episode_length: int = 100
    on_target: int = 1  # boxes that are in place when an episode starts; none in the split `…_test`
    encoding: str = "one_hot"  # of what a cell holds, for the networks: six numbers, or one, its code 0 … 5

    def __post_init__(self):
        check("boxes", self, episode_length=(1, LONGEST), on_target=(0, MOST_CELLS))
        if self.encoding not in ENCODINGS:
            raise UserError(
                f"boxes setting encoding is {self.encoding!r}; it must be one of {', '.join(ENCODINGS)}"
            )


class BoxesState(NamedTuple):
    """Where boxes lie, where the agent stands, and whether it carries one."""

    boxes: Bool[Array, "rows columns"]
    agent: Int[Array, " 2"]  # row and column
    carrying: Bool[Array, ""]


def is_name(name: str) -> bool:
    """Whether a name is of this kind, such as boxes_5x5_3: rows, columns, boxes."""
    return NAME.fullmatch(name) is not None


def make(name: str, settings: BoxesSettings) -> Env:
    """Carry boxes on a grid to where they are commanded. Rows, columns and boxes are in the name.

    Observation: what each cell holds, a code, row by row. Goal: the same, with all boxes on their targets and
    the agent, empty-handed, where the episode starts; only its boxes count. Action: one of `ACTIONS`, one-hot.
    Distance: boxes out of place. Networks are given codes as `encoding` says.
    """
    rows, columns, boxes, on_target = _sizes(name, settings)
    moves = jnp.asarray(MOVES, jnp.int32)

    def reset(key: PRNGKeyArray) -> tuple[BoxesState, Array]:
        cells_key, agent_key = jax.random.split(key)
        cells = jax.random.permutation(cells_key, rows * columns)
        start, target = (
            jnp.zeros(rows * columns, bool).at[some].set(True).reshape(rows, columns)
            for some in (cells[:boxes], cells[boxes - on_target : 2 * boxes - on_target])
        )
        place = jax.random.randint(agent_key, (), 0, rows * columns)
        agent = jnp.stack([place // columns, place % columns])
        state = BoxesState(start, agent, jnp.zeros((), bool))
        return state, observe(state._replace(boxes=target))

    def step(state: BoxesState, action: Array) -> BoxesState:
        choice = jnp.argmax(action)
        agent = jnp.clip(state.agent + moves[choice], 0, jnp.asarray([rows - 1, columns - 1]))
        here = state.boxes[agent[0], agent[1]]
        picks, puts = (choice == PICK) & here & ~state.carrying, (choice == PUT) & ~here & state.carrying
        boxes = state.boxes.at[agent[0], agent[1]].set((here & ~picks) | puts)
        return BoxesState(boxes, agent, (state.carrying & ~puts) | picks)

    def distance(achieved: Array, goal: Array) -> Array:
        here, wanted = has_box(codes(achieved)), has_box(codes(goal))
        missing, extra = (
            jnp.sum(cells, axis=-1, dtype=jnp.int32) for cells in (wanted & ~here, here & ~wanted)
        )
        return jnp.maximum(missing, extra).astype(jnp.float32)

    numbers = rows * columns
    spec = EnvSpec(
        obs_dim=numbers,
        action_dim=len(ACTIONS),
        goal_dim=numbers,
        episode_length=settings.episode_length,
        achieved=lambda obs: obs,
        distance=distance,
        threshold=0.5,
        discrete=True,
    )
    if settings.encoding == "one_hot":
        spec = spec._replace(sight=Sight(one_hot, one_hot, CODES * numbers, CODES * numbers))

    def cells(obs: Array) -> Array:
        return codes(obs).reshape(*obs.shape[:-1], rows, columns)

    constant = tuple(range(numbers)) if numbers > ALL_SEEN else ()
    return Env(name, spec, reset, step, observe, _never, cells=cells, constant=constant)


def _sizes(name: str, settings: BoxesSettings) -> tuple[int, int, int, int]:
    """Rows, columns, boxes, and boxes in place at the start. Raises `UserError` for what does not fit."""
    found = NAME.fullmatch(name)
    if found is None:
        raise UserError(f"{name} is no grid with boxes; they are named as boxes_5x5_3: rows, columns, boxes")
    rows, columns, boxes = (int(found[i]) for i in (1, 2, 3))
    on_target = 0 if found[4] else settings.on_target
    if rows * columns > MOST_CELLS:
        raise UserError(f"{name} has {rows * columns} cells; it must have at most {MOST_CELLS}")
    if on_target >= boxes:
        raise UserError(
            f"{name} has {boxes} boxes, of which on_target {on_target} start in place; at least one must not: "
            f"use --env-settings on_target={boxes - 1}, or less"
        )
    if 2 * boxes - on_target > rows * columns:
        raise UserError(
            f"{name} needs {2 * boxes - on_target} cells for starts and targets of its boxes, "
            f"but has {rows * columns}; name a larger grid, or fewer boxes"
        )
    return rows, columns, boxes, on_target


def observe(state: BoxesState) -> Float[Array, " cells"]:
    """What each cell holds, `EMPTY` … `CARRYING_ON_BOX`, row by row."""
    agent = jnp.where(state.carrying, CARRYING, AGENT)
    return (
        state.boxes.astype(jnp.float32)
        .at[state.agent[0], state.agent[1]]
        .add(agent.astype(jnp.float32))
        .reshape(-1)
    )


def codes(obs: Float[Array, "*n cells"]) -> Int[Array, "*n cells"]:
    """Codes of cells, of observations or goals."""
    return jnp.round(obs).astype(jnp.int32)


def has_box(cells: Any) -> Any:
    """Which cells, given their codes, have a box on them: those with an odd one."""
    return cells % 2 == 1


def one_hot(obs: Float[Array, "*n cells"]) -> Float[Array, "*n numbers"]:
    """Codes of cells, each as `CODES` numbers of which one is 1."""
    return jax.nn.one_hot(codes(obs), CODES).reshape(*obs.shape[:-1], -1)


def _never(state: BoxesState) -> Array:
    del state
    return jnp.zeros((), bool)


ENTRY = Entry(make, BoxesSettings(), "boxes")  # of every size
