"""Environments of Gymnasium, `gym:Reacher-v5` or `gym:ogbench:pointmaze-medium-v0`, as an `Engine`.

A row holds the observation and, where Gymnasium's `GoalEnv` gives it apart, what was achieved; networks see the
observation alone. Goals are those that the environment commands. Where it commands none, elements of the
observation are to be reached (`goal=[0,1]`), and goals are drawn from a box, or from what random play achieves.
"""

import dataclasses
import difflib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward import machine
from goalward.envs import core
from goalward.envs.settings import LARGEST, LONGEST, check
from goalward.errors import UserError
from goalward.foreign import film, probe
from goalward.foreign.layout import Layout
from goalward.foreign.making import Recipe
from goalward.foreign.pool import Apart, Here, Kind
from goalward.foreign.worlds import SEEDS, TAKE, Block
from goalward.types import EnvSpec, Sight

PREFIX = "gym:"
PRESET = "gym"
MOST_PROCESSES = 256
LEAST_THRESHOLD = 0.05  # suggested: of what random play covers


@dataclass(frozen=True)
class GymSettings:
    """Settings of environments of Gymnasium."""

    goal: list[Any] = field(default_factory=list)  # elements of the observation that are to be reached
    threshold: float = 0.0  # a goal is reached at a distance below; 0: the environment's own
    episode_length: int = 0  # steps; 0: the environment's own
    goal_low: list[Any] = field(default_factory=list)  # goals are drawn from this corner of a box …
    goal_high: list[Any] = field(default_factory=list)  # … to this one; none: what random play achieves
    processes: int = 0  # of worlds; 0: one for each processor, 1: this one
    kwargs: dict[str, Any] = field(default_factory=dict)  # what the environment is made with

    def __post_init__(self):
        check("gym", self, threshold=(0, LARGEST), episode_length=(0, LONGEST), processes=(0, MOST_PROCESSES))


# Those that a person's own file does not have as arguments of its function.
OF_FILES = tuple(one for one in dataclasses.fields(GymSettings) if one.name != "kwargs")


class Foreign(NamedTuple):
    """State of N worlds, leaves (N, …)."""

    token: Any  # (N, 2) uint32: what led here
    kept: Any  # (N,) bool: whether the snapshot is of this state
    snapshot: Any  # (N, 2 S) uint32: words of 64 bits
    row: Any  # (N, R) float32
    goal: Any  # (N, G) float32 that the environment commands; zeros where it does not
    terminated: Any  # (N,) bool
    truncated: Any  # (N,) bool
    broke: Any  # (N,) bool: the last step gave no numbers, or the state was not to be had any more
    faults: Any  # (N,) int32: how often that happened


def is_name(name: str) -> bool:
    """Whether a name is of Gymnasium's registry."""
    return name.startswith(PREFIX)


def entry(name: str) -> core.Entry:
    """What is known of an environment of the registry before it is built. Raises `UserError` if unknown."""
    identity = name.removeprefix(PREFIX)
    _check_registered(name, identity)

    def build(name: str, settings: GymSettings) -> core.Env:
        return make(Recipe(name, settings.kwargs, id=identity), settings)

    build.__doc__ = f"{identity}, of Gymnasium's registry."
    return core.Entry(build, GymSettings(), PRESET)


def _check_registered(name: str, identity: str) -> None:
    module, _, bare = identity.rpartition(":")
    if module:
        _load(name, module)
    if bare in gymnasium.registry:
        return
    near = difflib.get_close_matches(bare, list(gymnasium.registry), n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UserError(
        f"{name}: Gymnasium knows no environment {bare!r}; {hint}the module that registers it is named "
        "before it, as in gym:ogbench:pointmaze-medium-v0"
    )


def _load(name: str, module: str) -> None:
    """Load the module that registers an environment; only one that is installed, since a run may name any."""
    import importlib
    from importlib.metadata import packages_distributions

    if module.partition(".")[0] not in packages_distributions():
        raise UserError(
            f"{name}: {module} is no installed package; install it, or write a file of your own that "
            "imports it, with a function that makes the environment"
        )
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever another's code raises
        raise UserError(f"{name}: {module} cannot be imported: {type(error).__name__}: {error}") from error


def make(recipe: Recipe, settings: GymSettings) -> core.Env:
    """Build the environment of a recipe. Raises `UserError`, naming the setting, for what cannot be."""
    found = _looked(json.dumps(recipe), tuple(settings.goal))
    layout, name = found.layout, recipe.name
    length = settings.episode_length or found.episode_length
    if not length or not 1 <= length <= LONGEST:
        raise UserError(f"{name} has no time limit of its own; say --env-settings episode_length=300 or so")
    draw = _goals(recipe, layout, settings)
    threshold = settings.threshold or found.threshold or _ask_threshold(recipe, layout)
    spec = _spec(layout, length, threshold)
    host = Host(Kind(recipe, layout, found.words), settings.processes or machine.cores())

    def reset(key: PRNGKeyArray) -> tuple[Any, Array]:
        seed_key, goal_key = jax.random.split(key)
        return jax.random.randint(seed_key, (), 0, SEEDS - 1, jnp.int32), draw(goal_key)

    engine = core.Engine(
        control=lambda _, action: _control(layout, action),
        advance=host.advance,
        blank=host.blank,
        faults=lambda state: state.faults,
        complete=host.complete,
        keeps=found.words > 0,
        close=host.close,
    )
    return core.Env(
        name=name,
        spec=spec,
        reset=reset,
        step=None,
        observe=lambda state: state.row,
        terminated=lambda state: state.terminated | state.broke,
        truncated=lambda state: state.truncated,
        engine=engine,
        film=core.Film(found.rate, _frames(recipe, found.words)),
        commanded=(lambda state: state.goal) if layout.commands else None,
    )


@lru_cache
def _looked(recipe: str, goal: tuple[int, ...]) -> probe.Probe:
    name, *rest = json.loads(recipe)
    return probe.look(Recipe(name, *rest), goal)


def _spec(layout: Layout, length: int, threshold: float) -> EnvSpec:
    chosen, size = jnp.asarray(layout.goal, jnp.int32), layout.obs_dim

    def achieved(row: Array) -> Array:
        return row[..., chosen] if layout.goal else row[..., size:]

    return EnvSpec(
        obs_dim=layout.row_dim,
        action_dim=layout.action_dim,
        goal_dim=layout.goal_dim,
        episode_length=length,
        achieved=achieved,
        distance=core.euclidean,
        threshold=threshold,
        discrete=layout.discrete,
        sight=None if layout.goal else Sight(lambda row: row[..., :size], None, size, layout.goal_dim),
    )


def _frames(recipe: Recipe, words: int) -> Callable[[Iterable[Foreign]], Iterator[np.ndarray]]:
    def frames(states: Iterable[Foreign]) -> Iterator[np.ndarray]:
        if not words:
            raise UserError(f"{recipe.name} cannot be drawn: its state cannot be taken out and put back")
        return film.frames(recipe, (np.ascontiguousarray(one.snapshot).view(np.uint64) for one in states))

    return frames


def _control(layout: Layout, action: Array) -> Array:
    """What a world is told for an action: numbers in its range, or the number of a choice."""
    if layout.discrete:
        return jnp.argmax(action, axis=-1)[None].astype(jnp.float32)
    return core.spanned(jnp.asarray(layout.low), jnp.asarray(layout.high), action)


def _goals(recipe: Recipe, layout: Layout, settings: GymSettings) -> Any:
    """Make the function of a key that draws the goal (G,) of an episode; zeros where it is commanded."""
    size, corners = layout.goal_dim, (settings.goal_low, settings.goal_high)
    if layout.commands:
        if any(corners):
            raise UserError(f"{recipe.name} commands goals by itself; leave out goal_low and goal_high")
        return lambda _: jnp.zeros(size)
    if not any(corners):
        bank = jnp.asarray(_achieved(json.dumps(recipe), tuple(layout.goal)))
        return lambda key: bank[jax.random.randint(key, (), 0, len(bank))]
    for name, corner in zip(("goal_low", "goal_high"), corners, strict=True):
        if len(corner) != size or not all(type(x) in (int, float) and abs(x) <= LARGEST for x in corner):
            raise UserError(
                f"gym setting {name} is {corner}; it must be {size} numbers, one for each element of goal"
            )
    low, high = (jnp.asarray(corner, jnp.float32) for corner in corners)
    if bool(jnp.any(low > high)):
        raise UserError(f"gym setting goal_low is {corners[0]}, above goal_high {corners[1]}")
    return lambda key: jax.random.uniform(key, (size,), minval=low, maxval=high)


@lru_cache
def _achieved(recipe: str, goal: tuple[int, ...]) -> np.ndarray:
    name, *rest = json.loads(recipe)
    layout = _looked(recipe, goal).layout
    return probe.achieved_by_chance(Recipe(name, *rest), layout)


def _ask_threshold(recipe: Recipe, layout: Layout) -> float:
    hint = "0.1 or so, in the unit of its goals"
    if layout.goal:
        spread = float(np.linalg.norm(_achieved(json.dumps(recipe), layout.goal).std(axis=0)))
        hint = f"{LEAST_THRESHOLD * spread:.2g} or so, a twentieth of what random play covers"
    raise UserError(
        f"{recipe.name} does not say how near a goal has to be; say --env-settings threshold=…, such as {hint}"
    )


class Host:
    """All worlds of an environment. Results depend on what `advance` is given alone, not on calls before."""

    def __init__(self, kind: Kind, processes: int):
        self._kind, self._processes = kind, processes
        self._pools: dict[int, tuple[Here | Apart, np.ndarray]] = {}  # by number of worlds, with their tokens

    def blank(self, worlds: int) -> Foreign:
        """A state of the right shapes, before any start."""
        layout = self._kind.layout
        no, numbers = jnp.zeros(worlds, bool), jnp.zeros(worlds, jnp.int32)
        return Foreign(
            token=jnp.zeros((worlds, 2), jnp.uint32), kept=no,
            snapshot=jnp.zeros((worlds, 2 * self._kind.words), jnp.uint32),
            row=jnp.zeros((worlds, layout.row_dim)), goal=jnp.zeros((worlds, layout.goal_dim)),
            terminated=no, truncated=no, broke=no, faults=numbers,
        )  # fmt: skip

    def advance(self, state: Foreign, control: np.ndarray, turn: np.ndarray, start: np.ndarray) -> Foreign:
        """The state of all worlds after their turn.

        A world that gives no numbers stays where it was. So does one whose state is neither at hand nor kept.
        """
        pool, live = self._pool(len(turn))
        block, before = pool.block, state.token.view(np.uint64)[:, 0]
        moved = (turn == core.GO) & (before != live)
        lost = moved & ~state.kept
        block.turn[:] = np.where(lost, core.STAY, turn)
        block.control[:], block.seed[:] = control, start
        block.restore[:], block.token[:] = moved & ~lost, before
        if block.restore.any():
            block.snapshot[:] = state.snapshot.view(np.uint64)
            block.goal[:] = state.goal
        pool.run()
        acted = block.turn != core.STAY
        live[acted] = block.token[acted]
        broke = lost | (acted & ~(np.isfinite(block.row).all(axis=1) & np.isfinite(block.goal).all(axis=1)))
        return self._after(state, block, acted & ~broke, broke)

    def _after(self, state: Foreign, block: Block, new: np.ndarray, broke: np.ndarray) -> Foreign:
        def pick(now: np.ndarray, old: np.ndarray) -> np.ndarray:
            return np.where(new.reshape(-1, *[1] * (now.ndim - 1)), now, old)

        return Foreign(
            token=pick(block.token[:, None].view(np.uint32), state.token),
            kept=state.kept & ~new,
            snapshot=state.snapshot,
            row=pick(block.row, state.row),
            goal=pick(block.goal, state.goal),
            terminated=pick(block.terminated, state.terminated),
            truncated=pick(block.truncated, state.truncated),
            broke=broke,
            faults=state.faults + broke.astype(np.int32),
        )

    def complete(self, state: Foreign) -> Foreign:
        """The same state, with snapshots of the worlds that are at hand."""
        if not self._kind.words:
            return state
        pool, live = self._pool(len(state.token))
        block = pool.block
        due = ~np.asarray(state.kept) & (state.token.view(np.uint64)[:, 0] == live)
        block.turn[:] = np.where(due, TAKE, core.STAY)
        pool.run()
        snapshot = np.where(due[:, None], block.snapshot.view(np.uint32), state.snapshot)
        return state._replace(kept=state.kept | due, snapshot=snapshot)

    def close(self) -> None:
        """End the processes of all worlds, and close those of this one."""
        for pool, _ in self._pools.values():
            pool.close()
        self._pools.clear()

    def _pool(self, worlds: int) -> tuple[Here | Apart, np.ndarray]:
        if worlds not in self._pools:
            processes = min(self._processes, worlds)
            pool = Here(self._kind, worlds) if processes == 1 else Apart(self._kind, worlds, processes)
            self._pools[worlds] = pool, np.zeros(worlds, np.uint64)
        return self._pools[worlds]


def of_file(recipe: Recipe, given: Any) -> core.Env:
    """Build the environment of a person's own file, from settings of both kinds."""
    return make(recipe, GymSettings(**{one.name: getattr(given, one.name) for one in OF_FILES}))
