"""Rules about what winds up in an observation: angles that turn on and on, what grows without bound."""

import numpy as np

from goalward.diagnosis.elements import named
from goalward.diagnosis.recording import Rows, Seen, episodes
from goalward.findings import Finding, listed, note, warning

TURN = 2 * np.pi  # beyond which an angle has gone around, and what is large in any unit
COSINE = "observe its cosine and its sine in its place, or give the joint limits"
REMEDY = (
    f"if an angle, {COSINE}; if a place on open ground, list it in `shifts`; if a body falls, put ground "
    "beneath it; else bound it or leave it out"
)
# Squared displacement since the start, its mean over the last quarter of an episode to that over the second:
# 1 for what stays in bounds, 7/3 of a random walk (the mean times are 7/8 and 3/8), 5.3 at a constant speed.
GROWS = 1.6  # between 1 and 7/3, in ratios
LEAST_STEPS, LEAST_EPISODES = 64, 8  # of fewer, chance alone makes such ratios


def hinges(seen: Seen) -> list[Finding]:
    """Angles of hinges without limits, observed as they are: a warning where one was seen to turn around."""
    found = []
    for element, (joint, turn) in seen.wound_up.items():
        every = ((rows, episode) for rows in (seen.random, seen.held) for episode in episodes(rows))
        turns = np.array([np.ptp(episode.of(rows.obs)[:, element]) for rows, episode in every]) / turn
        most, share = float(turns.max()), float((turns > 1).mean())
        numbers = {"element": element, "joint": joint, "most_turns": most, "share_of_episodes": share}
        told = f"element {element} of the observation is the angle of the hinge {joint}, which has no limits"
        if most > 1:
            told += (
                f": in {share:.0%} of episodes it turned around, up to {most:.3g} times. Each turn gives the "
                "same posture another number, far from all that was learned"
            )
            found.append(warning("winds up", told, COSINE, **numbers))
        else:
            told += f"; it turned by up to {most:.2g} of a turn within an episode"
            found.append(note("winds up", told, f"should it ever go around: {COSINE}", **numbers))
    return found


def growth(seen: Seen) -> list[Finding]:
    """Elements that go ever farther from where an episode starts, but for places that goals are in."""
    known = {element for axis in seen.spec.shifts for element in axis} | set(seen.wound_up)
    known |= set(np.flatnonzero(seen.sources.any(axis=-1)).tolist())
    found: dict[int, tuple[float, float]] = {}
    for rows in (seen.random, seen.held):
        second, last = _displacements(rows)
        grown = np.flatnonzero((last > TURN**2) & (last > GROWS * second)).tolist()
        for element in set(grown) - known - set(found):
            found[element] = float(np.sqrt(second[element])), float(np.sqrt(last[element]))
    if not found:
        return []
    # The farthest first: what falls without end goes farther than its joints turn faster by it.
    elements = sorted(found, key=lambda element: -found[element][1])
    second, last = zip(*(found[element] for element in elements), strict=True)
    each = [f"{named(seen, e)} by {s:.3g} and {n:.3g}" for e, s, n in zip(elements, second, last, strict=True)]
    told = (
        "elements of the observation grow without bound under random actions; in the second and in the last "
        f"quarter of episodes they differ from their start: {listed(each)}"
    )
    numbers = {"elements": elements, "second_quarter": second, "last_quarter": last}
    return [warning("grows", told, REMEDY, **numbers)]


def _displacements(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Squared displacements in the second and in the last quarter of episodes, means over these, both (D,).

    Episodes that a termination ends do not count: what falls only moves until it lies. 0 where few are left.
    """
    long = [e for e in episodes(rows) if e.end - e.start >= LEAST_STEPS and not e.terminated]
    if len(long) < LEAST_EPISODES:
        return np.zeros(rows.obs.shape[-1]), np.zeros(rows.obs.shape[-1])
    second, last = np.mean([_quarters(episode.of(rows.obs).astype(np.float64)) for episode in long], axis=0)
    return second, last


def _quarters(obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    squares, quarter = (obs - obs[0]) ** 2, len(obs) // 4
    return squares[quarter : 2 * quarter].mean(axis=0), squares[-quarter:].mean(axis=0)


RULES = (hinges, growth)
