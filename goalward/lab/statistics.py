"""Statistics of few runs: interquartile means, bootstrap intervals, who is better, time to a threshold.

Definitions are those of Agarwal et al., "Deep RL at the edge of the statistical precipice" (arXiv 2108.13264).
Scores are arrays (runs, tasks), a column a task; a vector (runs,) is one task. Percentile intervals of five
seeds are too narrow: show every seed beside them. A single run says nothing of the spread: its interval is
unbounded.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

DRAWS = 10_000  # of a bootstrap
CONFIDENCE = 0.95
_SEED = 0  # of the resampling: the same scores give the same interval

# (…, runs, tasks) -> (…): one number for each leading index.
Statistic = Callable[[np.ndarray], np.ndarray]


class Interval(NamedTuple):
    """A statistic and its percentile interval."""

    value: float
    low: float
    high: float


def mean(scores: ArrayLike) -> np.ndarray:
    """Mean over runs and tasks."""
    return np.asarray(_matrix(scores).mean(axis=(-2, -1)))


def iqm(scores: ArrayLike) -> np.ndarray:
    """Interquartile mean: of all runs of all tasks, the mean of the middle half, ⌊n/4⌋ left out at each end."""
    scores = _matrix(scores)
    scores = scores.reshape(*scores.shape[:-2], -1)
    left_out, number = scores.shape[-1] // 4, scores.shape[-1]
    middle = slice(left_out, number - left_out)
    return np.asarray(np.partition(scores, (middle.start, middle.stop - 1), axis=-1)[..., middle].mean(axis=-1))


def interval(scores: ArrayLike, statistic: Statistic = iqm, draws: int = DRAWS) -> Interval:
    """`statistic` with its stratified bootstrap interval: runs are drawn again within each task."""
    scores = _matrix(scores)
    (drawn,) = _resampled(draws, scores)
    return _interval(statistic(scores), statistic(drawn), len(scores))


def difference(a: ArrayLike, b: ArrayLike, statistic: Statistic = iqm, draws: int = DRAWS) -> Interval:
    """`statistic` of `a` less that of `b`, with its interval; both are drawn again."""
    a, b = _matrix(a), _matrix(b)
    drawn_a, drawn_b = _resampled(draws, a, b)
    value, drawn = np.asarray(statistic(a) - statistic(b)), statistic(drawn_a) - statistic(drawn_b)
    return _interval(value, drawn, min(len(a), len(b)))


def improvement(a: ArrayLike, b: ArrayLike, draws: int = DRAWS) -> Interval:
    """Probability that a run of `a` scores higher than one of `b`, averaged over tasks, with its interval.

    For a task it is the Mann–Whitney U over n·m, where equal scores count half.
    """
    a, b = _matrix(a), _matrix(b)
    if a.shape[-1] != b.shape[-1]:
        raise ValueError(f"a has {a.shape[-1]} tasks and b {b.shape[-1]}; compare the same ones")
    pairs = a[:, None] - b
    higher = (pairs > 0) + 0.5 * (pairs == 0)  # (n, m, tasks)
    # A pair counts as often as both of its runs were drawn, which is far fewer numbers than all drawn pairs.
    often_a, often_b = (_counts(drawn) for drawn in _draws(draws, a, b))
    drawn = sum(
        ((often_a[..., task] @ higher[..., task]) * often_b[..., task]).sum(axis=-1)
        for task in range(a.shape[-1])
    )
    return _interval(
        np.asarray(higher.mean()), np.asarray(drawn) / higher.size, min(len(a), len(b)), (0.0, 1.0)
    )


def profile(scores: ArrayLike, thresholds: ArrayLike, draws: int = DRAWS) -> tuple[np.ndarray, np.ndarray]:
    """Performance profile: share of runs above each threshold (K,), and its band (2, K).

    A task counts as much as any other.
    """
    scores, thresholds = _matrix(scores), np.asarray(thresholds, float)
    (drawn,) = _resampled(draws, scores)
    share = np.stack([(scores > t).mean() for t in thresholds])
    shares = np.stack([(drawn > t).mean(axis=(-2, -1)) for t in thresholds], axis=-1)
    return share, np.quantile(shares, _tails(), axis=0)


class Arrivals(NamedTuple):
    """When runs first got to a threshold."""

    times: np.ndarray  # (runs,) of those that never did: when they were last seen
    arrived: np.ndarray  # (runs,) bool

    def share_by(self, when: ArrayLike) -> np.ndarray:
        """Kaplan–Meier estimate of the share of runs that have arrived by each time (K,)."""
        moments = np.unique(self.times[self.arrived])
        at_risk = (self.times[None] >= moments[:, None]).sum(axis=1)
        events = (self.arrived & (self.times[None] == moments[:, None])).sum(axis=1)
        missing = np.concatenate([[1.0], np.cumprod(1 - events / np.maximum(at_risk, 1))])
        return 1 - missing[np.searchsorted(moments, np.asarray(when, float), side="right")]

    def median(self) -> float | None:
        """When half of the runs have arrived, by that estimate; None where fewer ever do."""
        moments = np.unique(self.times[self.arrived])
        reached = moments[self.share_by(moments) >= 0.5 - 1e-12]
        return float(reached[0]) if len(reached) else None


def verdict(of_difference: Interval) -> str:
    """What may be said of a and b: "better" or "worse" only where the interval of a − b excludes 0."""
    if of_difference.low > 0:
        return "better"
    return "worse" if of_difference.high < 0 else "no difference shown"


def _matrix(scores: ArrayLike) -> np.ndarray:
    """Scores (…, runs, tasks). Raises `ValueError` where there is none, or one is NaN."""
    scores = np.asarray(scores, float)
    scores = scores[:, None] if scores.ndim == 1 else scores
    if scores.size == 0 or np.isnan(scores).any():
        raise ValueError("scores must be numbers, at least one run of one task")
    return scores


def _draws(draws: int, *scores: np.ndarray) -> list[np.ndarray]:
    """Which runs are drawn of each of `scores` (runs, tasks), again within each task, (draws, runs, tasks)."""
    random = np.random.default_rng(_SEED)
    return [random.integers(len(one), size=(draws, *one.shape)) for one in scores]


def _resampled(draws: int, *scores: np.ndarray) -> list[np.ndarray]:
    """Each of `scores` (runs, tasks) as it is drawn again, (draws, runs, tasks)."""
    drawn = _draws(draws, *scores)
    return [np.take_along_axis(one[None], chosen, axis=1) for one, chosen in zip(scores, drawn, strict=True)]


def _counts(drawn: np.ndarray) -> np.ndarray:
    """How often each run is drawn, (draws, runs, tasks), of which are drawn, of that shape too."""
    draws, runs, tasks = drawn.shape
    cells = (np.arange(draws)[:, None, None] * runs + drawn) * tasks + np.arange(tasks)
    return np.bincount(cells.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(float)


def _interval(
    value: np.ndarray, drawn: np.ndarray, runs: int, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Interval:
    """The percentile interval; of a single run it is all that can be."""
    low, high = np.quantile(drawn, _tails()) if runs > 1 else bounds
    return Interval(float(value), float(low), float(high))


def _tails() -> list[float]:
    return [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
