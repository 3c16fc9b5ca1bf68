"""Rules about goals: whether they can be told apart, reached, and missed."""

import jax.numpy as jnp
import numpy as np

from goalward.diagnosis.recording import Rows, Seen, episodes
from goalward.findings import Finding, listed, note, warning
from goalward.promises import LEAST_DEVIATION

# Share of episodes that start at their goal, which an agent that stands still has for its success.
SPOILT, TOLD = 0.2, 0.02
# Of the way to its goal, what the farthest episode goes. Of ours a humanoid in its widest maze goes least, 1/15
# before it falls; a metre is 1,000 mm.
OUT_OF_UNIT = 1 / 100
PAIRS = 2_000  # of goals, or of rows, that are compared
# Share of pairs of goals that are a success for each other: from a half on one in two is had for nothing, and
# beyond all but some they are one goal.
MOST, ALL = 0.5, 0.95
# Moves of a step in a threshold. Who aims by actions that are off by a hundredth ends up so far away.
FINE = 0.01


def at_start(seen: Seen) -> list[Finding]:
    """Episodes that start at their goal."""
    reached = np.concatenate([rows.at_goal[rows.first] for rows in (seen.random, seen.held)])
    share = float(reached.mean())
    if share < TOLD:
        return []
    told = f"{share:.0%} of {len(reached)} episodes start at their goal"
    remedy = "draw goals farther from starts than the threshold, or make it smaller"
    numbers = {"share": share, "episodes": len(reached)}
    if share < SPOILT:
        return [note("at the start", told, remedy, **numbers)]
    return [warning("at the start", f"{told}: an agent that stands still succeeds there", remedy, **numbers)]


def unread(seen: Seen) -> list[Finding]:
    """Elements of what is achieved that no element of the observation changes."""
    found = np.flatnonzero(~seen.reads.any(axis=0))
    if len(found) == 0:
        return []
    told = (
        f"elements {listed([str(g) for g in found])} of what is achieved are no function of the observation: "
        "no element of it changes them"
    )
    return [warning("unread", told, "put what goals are about into the observation", elements=found)]


def unmoved(seen: Seen) -> list[Finding]:
    """Elements of what is achieved that no random action changes, where the environment does not say so."""
    varying = np.setdiff1d(np.arange(len(seen.reads)), seen.constant)
    still = ~moves(seen.random) & ~moves(seen.held) & seen.reads[varying].any(axis=0)
    found = []
    for g in np.flatnonzero(still):
        values, wanted = (part[..., g].astype(np.float64) for part in (seen.random.achieved, seen.random.goal))
        numbers = {
            "element": g,
            "achieved": [values.min(), values.max()],
            "wanted": [wanted.min(), wanted.max()],
        }
        if np.ptp([*numbers["achieved"], *numbers["wanted"]]) < LEAST_DEVIATION:
            told = f"element {g} of what is achieved is always {values.mean():.4g}, and so are goals"
            found.append(note("unmoved", told, "leave it out of goals", **numbers))
            continue
        told = (
            f"element {g} of what is achieved never changes within an episode of random actions "
            f"({values.min():.4g} … {values.max():.4g}); goals ask for {wanted.min():.4g} … {wanted.max():.4g}"
        )
        remedy = (
            "look at `achieved` and at the actions; where only a good policy moves it, let it start in many "
            "places and near the agent, else goals of hindsight are all where episodes start"
        )
        found.append(warning("unmoved", told, remedy, **numbers))
    return found


def moves(rows: Rows) -> np.ndarray:
    """Elements of what is achieved that change within any episode, (G,) bool."""
    return np.any([np.ptp(e.of(rows.achieved), axis=0) > LEAST_DEVIATION for e in episodes(rows)], axis=0)


def far(seen: Seen) -> list[Finding]:
    """Goals that random actions never come near, and those that seem to be of another unit."""
    rows, threshold = seen.random, seen.spec.threshold
    nearest = float(rows.distance.min())
    if nearest < threshold or not moves(rows).any():
        return []
    begin, farthest = float(np.median(rows.distance[rows.first])), _farthest(seen)
    told = (
        f"in {rows.first.size:,} random steps no goal was reached: the nearest was {nearest:.3g} away, the "
        f"threshold is {threshold:.3g}; episodes start {begin:.3g} from their goal, and get no farther than "
        f"{farthest:.3g} from where they start"
    )
    numbers = {"nearest": nearest, "threshold": threshold, "start": begin, "farthest": farthest}
    if farthest < OUT_OF_UNIT * begin:
        remedy = "look whether goals and what is achieved are in the same unit and frame"
        return [warning("far goals", told, remedy, **numbers)]
    remedy = "success stays 0 for long; --practised-goals, and nearer goals at first, make ways shorter"
    return [note("far goals", told, remedy, **numbers)]


def _farthest(seen: Seen) -> float:
    """The greatest distance of what is achieved from where an episode starts."""
    rows = seen.random
    starts = np.maximum.accumulate(np.where(rows.first, np.arange(len(rows.first))[:, None], 0))
    at_start = np.take_along_axis(rows.achieved, starts[..., None], axis=0)
    return float(jnp.max(seen.spec.distance(jnp.asarray(rows.achieved), jnp.asarray(at_start))))


def coarse(seen: Seen) -> list[Finding]:
    """Thresholds within which one goal is as good as another."""
    goals, random = seen.random.goal[seen.random.first], np.random.default_rng(0)
    one, other = (goals[random.integers(0, len(goals), PAIRS)] for _ in range(2))
    differ = np.any(one != other, axis=-1)
    if not differ.any():  # there is one goal
        return []
    pair, threshold = (jnp.asarray(one), jnp.asarray(other)), seen.spec.threshold
    median = float(np.median(np.asarray(seen.spec.distance(*pair))[differ]))
    share = float(np.asarray(seen.spec.success(*pair))[differ].mean())
    if share < MOST:
        return []
    told = (
        f"the threshold is {threshold:.3g}, and goals are {median:.3g} from each other (median): who reaches "
        f"one has reached {share:.0%} of the others too"
    )
    tell = warning if share > ALL else note
    numbers = {"threshold": threshold, "median": median, "share": share}
    return [tell("coarse threshold", told, "a smaller threshold, or goals farther apart", **numbers)]


def fine(seen: Seen) -> list[Finding]:
    """Thresholds that a step leaps over, where nothing is ever met twice."""
    rows, spec = seen.random, seen.spec
    moves = np.asarray(spec.distance(jnp.asarray(rows.achieved[1:]), jnp.asarray(rows.achieved[:-1])))
    moves = moves[~rows.first[1:] & (moves > 0)]
    if len(moves) == 0 or spec.threshold >= FINE * np.median(moves) or _meets_again(seen):
        return []
    move = float(np.median(moves))
    told = (
        f"the threshold is {spec.threshold:.3g}, and one step moves what is achieved by {move:.3g} (median), "
        f"{move / spec.threshold:,.0f} times as far"
    )
    remedy = "a larger threshold; or look whether it is in the unit of `distance`"
    return [warning("fine threshold", told, remedy, threshold=spec.threshold, move=move)]


def _meets_again(seen: Seen) -> bool:
    """Whether what one row achieved is met by rows of other worlds, as on a grid."""
    rows, random = seen.random, np.random.default_rng(0)
    times = random.integers(0, len(rows.first), (2, PAIRS))
    worlds = random.integers(0, rows.first.shape[1], (2, PAIRS))
    one, other = (jnp.asarray(rows.achieved[t, n]) for t, n in zip(times, worlds, strict=True))
    return bool(np.any(np.asarray(seen.spec.success(one, other)) & (worlds[0] != worlds[1])))


RULES = (at_start, unread, unmoved, far, coarse, fine)
