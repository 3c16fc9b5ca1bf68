"""Boxes on a grid, carried one at a time to an arrangement that is commanded, in pure JAX.

The rules are those of arXiv 2510.21995. In training some boxes start on their targets: to carry all of them,
which the split `…_test` commands, is then never asked for in training.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from goalward.envs.core import Entry, Env
from goalward.envs.settings import LONGEST, check
from goalward.errors import UserError
from goalward.types import EnvSpec

# What a cell holds. A carried box is not on the grid: an agent that carries may stand on another one.
EMPTY, BOX, AGENT, AGENT_ON_BOX, CARRYING, CARRYING_ON_BOX = range(6)
CODES = 6
ACTIONS = ("up", "down", "left", "right", "pick up", "put down")
PICK, PUT = 4, 5
MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0), (0, 0))
NAME = re.compile(r"boxes_(\d{1,2})x(\d{1,2})_(\d{1,3})(_test)?")
# Those that are listed; any other of the kind is known too.
NAMES = [f"boxes_{sizes}{split}" for sizes in ("4x4_3", "5x5_3", "6x6_4") for split in ("", "_test")]
ENCODINGS = ("one_hot", "numbers")
MOST_CELLS = 400


@dataclass(frozen=True)
class BoxesSettings:
    """Settings of a grid with boxes."""

    episode_length: int = 100
    on_target: int = 1  # boxes that are in place when an episode starts; none in the split `…_test`
    encoding: str = "one_hot"  # of what a cell holds: six numbers, or one, its code 0 … 5

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

    Observation: what each cell holds, row by row, as `encoding` writes it. Goal: the same, with all boxes on
    their targets and the agent, empty-handed, where the episode starts; only its boxes count. Action: one of
    `ACTIONS`, one-hot. Distance: boxes out of place.
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
        return state, encode(codes(state._replace(boxes=target)), settings.encoding)

    def step(state: BoxesState, action: Array) -> BoxesState:
        choice = jnp.argmax(action)
        agent = jnp.clip(state.agent + moves[choice], 0, jnp.asarray([rows - 1, columns - 1]))
        here = state.boxes[agent[0], agent[1]]
        picks, puts = (choice == PICK) & here & ~state.carrying, (choice == PUT) & ~here & state.carrying
        boxes = state.boxes.at[agent[0], agent[1]].set((here & ~picks) | puts)
        return BoxesState(boxes, agent, (state.carrying & ~puts) | picks)

    def distance(achieved: Array, goal: Array) -> Array:
        here, wanted = has_box(achieved, settings.encoding), has_box(goal, settings.encoding)
        missing, extra = (
            jnp.sum(cells, axis=-1, dtype=jnp.int32) for cells in (wanted & ~here, here & ~wanted)
        )
        return jnp.maximum(missing, extra).astype(jnp.float32)

    one_hot = settings.encoding == "one_hot"
    numbers = rows * columns * (CODES if one_hot else 1)
    seldom = [i for i in range(numbers) if one_hot and i % CODES >= AGENT_ON_BOX]
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

    def cells(obs: Array) -> Array:
        return decode(obs, settings.encoding).reshape(*obs.shape[:-1], rows, columns)

    def observe(state: BoxesState) -> Array:
        return encode(codes(state), settings.encoding)

    return Env(name, spec, reset, step, observe, _never, cells=cells, constant=tuple(seldom))


def _sizes(name: str, settings: BoxesSettings) -> tuple[int, int, int, int]:
    """Rows, columns, boxes, and boxes in place at the start. Raises `UserError` for what does not fit."""
    found = NAME.fullmatch(name)
    if found is None:
        raise UserError(f"{name} is no grid with boxes; they are named as boxes_5x5_3: rows, columns, boxes")
    rows, columns, boxes = (int(found[i]) for i in (1, 2, 3))
    on_target = 0 if found[4] else settings.on_target
    if not 1 <= rows * columns <= MOST_CELLS:
        raise UserError(f"{name} has {rows * columns} cells; it must have 1 … {MOST_CELLS}")
    if boxes < 1 or on_target >= boxes:
        raise UserError(
            f"{name} has boxes {boxes}, of which on_target {on_target} start in place; at least one must not"
        )
    if 2 * boxes - on_target > rows * columns:
        raise UserError(
            f"{name} needs {2 * boxes - on_target} cells for starts and targets of its boxes, "
            f"but has {rows * columns}; name a larger grid, or fewer boxes"
        )
    return rows, columns, boxes, on_target


def codes(state: BoxesState) -> Int[Array, "rows columns"]:
    """What each cell holds, `EMPTY` … `CARRYING_ON_BOX`."""
    agent = jnp.where(state.carrying, CARRYING, AGENT)
    return state.boxes.astype(jnp.int32).at[state.agent[0], state.agent[1]].add(agent)


def encode(cells: Int[Array, "rows columns"], encoding: str) -> Float[Array, " D"]:
    """Codes of cells as the observation has them."""
    flat = cells.reshape(-1)
    return jax.nn.one_hot(flat, CODES).reshape(-1) if encoding == "one_hot" else flat.astype(jnp.float32)


def decode(obs: Float[Array, "*n D"], encoding: str) -> Int[Array, "*n cells"]:
    """Codes of cells, row by row, of observations or goals."""
    if encoding == "one_hot":
        return jnp.argmax(obs.reshape(*obs.shape[:-1], -1, CODES), axis=-1)
    return jnp.round(obs).astype(jnp.int32)


def has_box(obs: Float[Array, "*n D"], encoding: str) -> Bool[Array, "*n cells"]:
    """Which cells have a box on them: those with an odd code."""
    return decode(obs, encoding) % 2 == 1


def _never(state: BoxesState) -> Array:
    del state
    return jnp.zeros((), bool)


ENTRY = Entry(make, BoxesSettings(), "boxes")  # of every size
