"""The few types every other module shares.

Axis letters: N worlds, T time, B batch, D observation, A action, G goal,
R representation, W width, L blocks, C capacity of the replay in rows.
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Bool, Float

Metrics = dict[str, Array]


class Trajectory(NamedTuple):
    """Consecutive rows of N worlds, leaves (T, N, …). A row is an observation.

    An episode of K steps has K + 1 rows: the last one is the state it ended in, and its action
    is without effect. The row after it is the `first` of a new episode.
    """

    obs: Array  # (T, N, D)
    action: Array  # (T, N, A) taken at obs
    goal: Array  # (T, N, G) commanded
    first: Array  # (T, N) bool: a new episode starts here
    terminated: Array  # (T, N) bool: this state ended its episode, the time limit did not


class Batch(NamedTuple):
    """What an agent learns from, leaves (B, …)."""

    obs: Float[Array, "B D"]
    action: Float[Array, "B A"]
    goal: Float[Array, "B G"]  # relabelled: reached later in the same episode
    commanded: Float[Array, "B G"]  # what the agent was after then


class EnvSpec(NamedTuple):
    """All that an agent may know of an environment.

    `achieved` maps an observation (…, D) to the goal space (…, G); `distance` and `success` compare
    achieved and commanded goals (…, G) and give (…,). Distances are in the environment's own unit.
    """

    obs_dim: int
    action_dim: int
    goal_dim: int
    episode_length: int
    achieved: Callable[[Float[Array, "*n D"]], Float[Array, "*n G"]]
    distance: Callable[[Float[Array, "*n G"], Float[Array, "*n G"]], Float[Array, "*n"]]
    success: Callable[[Float[Array, "*n G"], Float[Array, "*n G"]], Bool[Array, "*n"]]
    # Axes along which the world looks the same from everywhere: for each, the elements of the observation that
    # hold a position on it. `achieved` is linear in them.
    shifts: tuple[tuple[int, ...], ...] = ()
