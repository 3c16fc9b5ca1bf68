"""Rules about elements of the observation: how large they are, beside each other and as 32-bit floats."""

import jax.numpy as jnp
import numpy as np

from goalward.diagnosis.columns import follow
from goalward.diagnosis.recording import Rows, Seen, is_part
from goalward.findings import Finding, listed, note, warning
from goalward.promises import LEAST_DEVIATION

NORMALISE = "--normalise-inputs brings them all to one scale"
# An update moves a weight by up to its step size, 3e-4 by default: times an input of this size, a unit by 1,
# which is all that it spans at first.
HUGE = 1 / 3e-4
# First layers hear an element by its share in the length of the observation, which norms bring to 1. Beside
# what is 300 times as large as positions, the U-maze is still learned, late; beside what is 1,000 times as
# large it is not, be it a constant, unless inputs are normalised (`python -m benchmarks.scales`).
DROWNED = 1 / 500
MET = 0.95  # share of goals for which another one's element would do: beyond, the element is of no account
ROUNDED = 0.01  # deviations between neighbouring 32-bit floats: some hundred values are then all that there is
# An angle that is wrapped spans a turn, in radians or degrees, to a tenth. It jumps by three quarters of that
# or more, at times; most of its steps are less than a tenth.
TURNS = (2 * np.pi, 360.0)
JUMP, STEP, LEAST_JUMPS = 0.75, 0.1, 3


def named(seen: Seen, element: int) -> str:
    """An element of the observation, by number and name."""
    name = seen.names.get(element)
    return f"{element} ({name})" if name else str(element)


def huge(seen: Seen) -> list[Finding]:
    """Numbers so large that an update throws networks about."""
    largest = seen.ranges.largest
    found = np.flatnonzero(largest > HUGE).tolist()
    if len(found) == 0:
        return []
    told = (
        "numbers of the observation are so large that one update throws a network about: element "
        f"{listed([f'{named(seen, e)} reaches {largest[e]:.3g}' for e in found])}"
    )
    remedy = f"give them in a unit in which they are around 1; {NORMALISE}"
    return [warning("huge", told, remedy, elements=found, largest=largest[found], limit=HUGE)]


def rounded(seen: Seen) -> list[Finding]:
    """Elements that vary so little, for their size, that 32-bit floats hold few of their values."""
    mean, deviation = seen.ranges.mean, seen.ranges.deviation
    gap = np.spacing(seen.ranges.largest.astype(np.float32)).astype(np.float64)
    found = np.flatnonzero((deviation > LEAST_DEVIATION) & (gap > ROUNDED * deviation)).tolist()
    if len(found) == 0:
        return []
    each = [
        f"{named(seen, e)} by {deviation[e]:.2g} around {mean[e]:.6g}, in steps of {gap[e]:.2g}" for e in found
    ]
    told = f"32-bit floats hold few values of what varies by little: element {listed(each)}"
    remedy = "take off what is constant of it, before it becomes an observation"
    return [warning("rounded", told, remedy, elements=found, deviation=deviation[found], gap=gap[found])]


def scales(seen: Seen) -> list[Finding]:
    """Elements that are drowned by larger ones, at worst those that goals are about."""
    if seen.spec.sight is not None and not is_part(seen.spec):  # networks are given other numbers
        return []
    square = seen.ranges.square
    length, largest = float(np.sqrt(square.sum())), int(np.argmax(square))
    goal_deviation = _goal_deviation(seen)
    deviation = np.maximum(seen.ranges.deviation, _asked_for(seen, goal_deviation))
    drowned = (deviation > LEAST_DEVIATION) & (deviation < DROWNED * length)
    wanted = drowned & seen.sources[:, _matter(seen)].any(axis=-1)
    found = []
    for which, tell, about in ((wanted, warning, " that goals are about"), (drowned & ~wanted, note, "")):
        elements = np.flatnonzero(which).tolist()
        if len(elements) == 0:
            continue
        told = (
            f"elements{about} vary too little to be heard beside an observation of length {length:.3g}, most "
            f"of it element {named(seen, largest)}: "
            f"{listed([f'{named(seen, e)} by {deviation[e]:.2g}' for e in elements])}"
        )
        numbers = {"elements": elements, "deviation": deviation[elements], "length": length, "largest": largest}
        found.append(tell("scales", told, NORMALISE, **numbers))
    return found


def goal_scales(seen: Seen) -> list[Finding]:
    """Elements of commanded goals that larger ones drown."""
    if seen.spec.sight is not None and seen.spec.sight.goal is not None:
        return []
    deviation = _goal_deviation(seen)
    length = float(np.sqrt((seen.random.goal.astype(np.float64) ** 2).sum(axis=-1).mean()))
    found = np.flatnonzero(_matter(seen) & (deviation < DROWNED * length))
    if len(found) == 0:
        return []
    told = (
        f"elements of goals vary too little to be heard beside a goal of length {length:.3g}: "
        f"{listed([f'{e} by {deviation[e]:.2g}' for e in found])}"
    )
    numbers = {"elements": found, "deviation": deviation[found], "length": length}
    return [warning("goal scales", told, NORMALISE, **numbers)]


def _goal_deviation(seen: Seen) -> np.ndarray:
    """Of commanded goals, (G,)."""
    return seen.random.goal.reshape(-1, seen.random.goal.shape[-1]).std(axis=0, dtype=np.float64)


def _matter(seen: Seen) -> np.ndarray:
    """Elements of goals by which alone some goals would miss each other, (G,) bool."""
    goals = seen.random.goal[seen.random.first]
    matter = []
    for element in range(goals.shape[-1]):
        other = goals.copy()
        other[:, element] = np.roll(goals[:, element], 1)
        met = np.asarray(seen.spec.success(jnp.asarray(goals), jnp.asarray(other)))
        matter.append(met.mean() < MET)
    return np.array(matter)


def _asked_for(seen: Seen, goal_deviation: np.ndarray) -> np.ndarray:
    """By how much goals ask elements to vary, each of which alone makes an element of the goal, (D,)."""
    sources = seen.sources
    alone = sources & (sources.sum(axis=0) == 1) & (sources.sum(axis=1) == 1)[:, None]
    return (alone * goal_deviation).max(axis=-1)


def copies(seen: Seen) -> list[Finding]:
    """Elements that follow from another one by a factor and an offset."""
    same = np.triu(follow(seen.random.obs, seen.random.obs), 1)
    of = {j: int(np.argmax(same[:, j])) for j in np.flatnonzero(same.any(axis=0)).tolist()}
    if not of:
        return []
    told = f"elements follow from another one: {listed([f'{named(seen, j)} from {i}' for j, i in of.items()])}"
    remedy = "leave them out: they only make the observation longer"
    return [note("copies", told, remedy, elements=list(of), originals=list(of.values()))]


def jumps(seen: Seen) -> list[Finding]:
    """Angles that are wrapped: from one end of their range to the other in a step."""
    found = []
    for element, (low, high) in enumerate(zip(seen.ranges.low, seen.ranges.high, strict=True)):
        turn = min(TURNS, key=lambda turn: abs(high - low - turn))
        if abs((high - low) / turn - 1) > STEP:
            continue
        steps = np.concatenate([_steps(rows, element) for rows in (seen.random, seen.held)])
        times = int((steps > JUMP * turn).sum())
        if times < LEAST_JUMPS or np.median(steps[steps > 0]) > STEP * turn:
            continue
        told = (
            f"element {named(seen, element)} of the observation jumps between {low:.3g} and {high:.3g}, "
            f"{times} times: an angle, where a turn ends"
        )
        remedy = "observe its cosine and its sine in its place: what is near in the world is then near there"
        found.append(warning("jumps", told, remedy, element=element, low=low, high=high, times=times))
    return found


def _steps(rows: Rows, element: int) -> np.ndarray:
    """By how much an element changes from a row to the next one of its episode."""
    return np.abs(np.diff(rows.obs[..., element].astype(np.float64), axis=0))[~rows.first[1:]]


RULES = (huge, rounded, scales, goal_scales, copies, jumps)
