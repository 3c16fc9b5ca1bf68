"""Rules about actions, how long episodes are, physics, and time."""

import numpy as np

from goalward.contract import HELD
from goalward.diagnosis.recording import FELT, PLACES, TRIED, Seen, episodes
from goalward.findings import Finding, listed, note, warning

# Steps: an episode that is over by then was so before a second random action was drawn.
AT_ONCE = HELD
SHORT = 0.05  # of the time limit
SLOW = 300.0  # steps a second: a million of them take an hour
RUN = 1_000_000  # steps


def idle_actions(seen: Seen) -> list[Finding]:
    """Elements of an action that change nothing."""
    if seen.spec.discrete or seen.effects is None:
        return []
    idle = np.flatnonzero(seen.effects < FELT)
    if len(idle) == 0:
        return []
    told = (
        f"elements {listed([str(a) for a in idle])} of an action change nothing: −1, 0 and 1 lead to the same "
        f"observations for {TRIED} steps, from {PLACES} states of {seen.random.first.shape[1]} worlds"
    )
    remedy = "look at what they are scaled by and wired to; leave them out if they have no use"
    return [warning("idle action", told, remedy, elements=idle, effects=seen.effects[idle])]


def idle_choices(seen: Seen) -> list[Finding]:
    """Choices that lead to the same as others, and one that does nothing, as many environments have."""
    if not seen.spec.discrete or seen.effects is None:
        return []
    equal, still = seen.effects[:, :-1] < FELT, seen.effects[:, -1] < FELT
    rare = still & _changing_choices(seen)  # they have a use elsewhere than where they were tried
    groups = _groups(equal, rare)
    found, same = [], [group for group in groups if len(group) > 1]
    if same:
        told = (
            f"choices lead to the same observations for {TRIED} steps, from {PLACES} states of "
            f"{seen.random.first.shape[1]} worlds: {listed([' and '.join(map(str, group)) for group in same])}"
        )
        tell = warning if 2 * (len(groups) + rare.sum()) <= len(still) else note
        found.append(tell("idle action", told, "leave out all but one, or look at what they do", groups=same))
    idle = [group[0] for group in groups if len(group) == 1 and still[group[0]]]
    if idle:
        told = f"choice {idle[0]} never changes the observation"
        found.append(note("idle action", told, "leave it out, unless to stand still is of use", elements=idle))
    return found


def _groups(equal: np.ndarray, but: np.ndarray) -> list[tuple[int, ...]]:
    """Choices that are equal, in groups, without some of them."""
    alike = (equal | np.eye(len(equal), dtype=bool)) & ~but
    return sorted({tuple(np.flatnonzero(row).tolist()) for row, out in zip(alike, but, strict=True) if not out})


def _changing_choices(seen: Seen) -> np.ndarray:
    """Choices behind which a row of an episode differed from the one before, (A,) bool."""
    rows = seen.random
    changed = np.any(rows.obs[1:] != rows.obs[:-1], axis=-1) & ~rows.first[1:]
    return np.isin(np.arange(seen.spec.action_dim), np.argmax(rows.action[:-1], axis=-1)[changed])


def short_episodes(seen: Seen) -> list[Finding]:
    """Episodes that random actions end early, most of them."""
    whole = [e for e in episodes(seen.random) if e.is_whole]
    ended = [e.end - e.start - 1 for e in whole if e.terminated]
    limit = seen.spec.episode_length
    if 2 * len(ended) <= len(whole) or np.median(ended) > max(SHORT * limit, AT_ONCE):
        return []
    median, shortest = float(np.median(ended)), min(ended)
    told = (
        f"random actions end {len(ended)} of {len(whole)} episodes early, after {median:.0f} steps (median; "
        f"the shortest after {shortest}) of {limit:,}: goals of hindsight lie no farther ahead"
    )
    numbers = {"median": median, "shortest": shortest, "limit": limit, "share": len(ended) / len(whole)}
    if median <= AT_ONCE:
        remedy = "look at the start and at `terminated`: there is no time to act"
        return [warning("short episodes", told, remedy, **numbers)]
    remedy = "weaker actions, a looser `terminated`; --survival-weight counts the chance to go on"
    return [note("short episodes", told, remedy, **numbers)]


def faults(seen: Seen) -> list[Finding]:
    """Worlds whose physics broke down, or that gave numbers that are not finite."""
    if seen.faults == 0:
        return []
    steps = seen.random.first.size
    told = (
        f"{seen.faults:,} of {steps:,} random steps gave what is no finite number, or physics that broke down"
    )
    remedy = (
        "in a simulation a shorter time step, weaker motors, more damping or armature; in code of your own, "
        "look for what it divides by, and takes roots and logarithms of"
    )
    return [warning("faults", told, remedy, faults=seen.faults, steps=steps)]


def time_limit(seen: Seen) -> list[Finding]:
    """Time limits that were not looked at, as no episode came to its end."""
    limit, steps = seen.spec.episode_length, len(seen.random.first)
    if any(e.is_whole for e in episodes(seen.random)):
        return []
    told = (
        f"no episode came to its end in {steps:,} steps, of {limit:,}: time limit and chance were not looked at"
    )
    return [note("time limit", told, f"--steps {limit + 3}", steps=steps, limit=limit)]


def slow(seen: Seen) -> list[Finding]:
    """Environments whose steps alone make a run long."""
    speed = seen.steps_per_second
    if speed >= SLOW:
        return []
    told = f"{speed:.3g} steps a second: the steps of a run of {RUN:,} take {RUN / speed / 3600:.1f} hours"
    return [
        note("slow", told, "fewer physics steps in a step, simpler shapes of contact", steps_per_second=speed)
    ]


RULES = (idle_actions, idle_choices, short_episodes, faults, time_limit, slow)
