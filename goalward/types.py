"""The few types every other module shares.

Axis letters: N worlds, T time, B batch, D observation, A action, G goal,
R representation, W width, L blocks, C capacity of the replay in rows, H actions of a chunk, K bins of
future steps.
"""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int

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


class Reach(NamedTuple):
    """When a goal was first reached after its row, as far as is known, leaves (B, …)."""

    reached: Bool[Array, " B"]  # within the window that was searched, and within the episode
    # Until then, 0 where the row itself is there. Not reached: in so many steps it is known not to be.
    steps: Int[Array, " B"]
    # Mean closeness to the goal, 0 … 1, in each bin of future steps, over those of them that are known of.
    near: Float[Array, "B K"] | None = None
    observed: Bool[Array, "B K"] | None = None  # whether any step of the bin is known of


class Next(NamedTuple):
    """What the actions of a sample led to, leaves (B, …)."""

    obs: Float[Array, "B D"]
    reward: Float[Array, " B"]  # discounted sum of the rewards on the way
    discount: Float[Array, " B"]  # what the value of `obs` counts; 0 where nothing comes after it


class Batch(NamedTuple):
    """What an agent learns from, leaves (B, …). What its `Relabel` does not ask for is None.

    The action is a chunk of H, one after the other; those after the end of the episode, or of what the ring
    knows of it, are zeros.
    """

    obs: Float[Array, "B D"]
    action: Float[Array, "B HA"]
    goal: Float[Array, "B G"]  # relabelled: mostly, reached later in the same episode
    commanded: Float[Array, "B G"]  # what the agent was after then
    valid: Bool[Array, " B"] | None = (
        None  # all H actions were taken in this episode, and what follows is known
    )
    left: Int[Array, " B"] | None = None  # rows of this episode after this one, so far
    failed: Bool[Array, " B"] | None = None  # the episode ended so many rows later by a termination
    reach: Reach | None = None
    next: Next | None = None


class Sight(NamedTuple):
    """What networks are given in place of observations and goals, and how many numbers that is."""

    obs: Callable[[Float[Array, "*n D"]], Float[Array, "*n D_seen"]]
    goal: Callable[[Float[Array, "*n G"]], Float[Array, "*n G_seen"]] | None  # None: goals as they are
    obs_dim: int
    goal_dim: int

    def see_goal(self, goal: Float[Array, "*n G"]) -> Float[Array, "*n G_seen"]:
        """What networks are given for goals."""
        return goal if self.goal is None else self.goal(goal)


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
    threshold: float  # a goal is reached at a distance below
    # Axes along which `random_shift` moves a batch: for each, the elements of the observation that hold a
    # position on it. `achieved` is linear in them. On open ground the world looks the same from everywhere on
    # them; in a maze it does but for its walls.
    shifts: tuple[tuple[int, ...], ...] = ()
    # Whether an action is one of `action_dim` choices, written one-hot; else it is numbers in [−1, 1].
    discrete: bool = False
    sight: Sight | None = None  # by default networks are given observations and goals as they are
    # What else, of achieved and commanded goals, has to hold where a goal is reached.
    alike: Callable[[Float[Array, "*n G"], Float[Array, "*n G"]], Bool[Array, "*n"]] | None = None

    def success(self, achieved: Float[Array, "*n G"], goal: Float[Array, "*n G"]) -> Bool[Array, "*n"]:
        """Whether a goal is reached."""
        near = self.distance(achieved, goal) < self.threshold
        return near if self.alike is None else near & self.alike(achieved, goal)
