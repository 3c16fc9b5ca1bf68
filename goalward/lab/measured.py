"""Tables of what was measured, and which points of an axis are better than others."""

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from goalward.lab import claims, statistics
from goalward.lab.axes import Axis, conditions
from goalward.lab.blocks import Table
from goalward.lab.claims import NotMeasuredError, Sample
from goalward.lab.evidence import Evidence
from goalward.lab.results import Results, Time, arrivals
from goalward.lab.statistics import Interval
from goalward.lab.study import Part, Study
from goalward.pictures.curves import MEASURES

FEW = 5  # runs; intervals of fewer are rough
METRICS = {
    "success_rate": "success rate",
    "final_success": "share of episodes that end at the goal",
    "time_at_goal": "time at goal in steps",
    "time_at_goal_fraction": "time at goal as a share of the episode",
    "final_distance": "distance to the goal at the end",
}
UNITS = {
    "success_rate": "a share of episodes",
    "final_success": "a share of episodes",
    "time_at_goal": "steps at the goal",
    "time_at_goal_fraction": "a share of the episode",
    "final_distance": "a distance",
}
SHORT = MEASURES | {"final_success": "at goal at the end, share", "time_at_goal": "time at goal, steps"}
CLOCKS = {"updates": "updates", "env_steps": "environment steps"}
AGAINST = {"walking": "the walking distance", "straight": "the straight line"}


def described(part: Part) -> str:
    """What a measure is, in words."""
    options = part.options
    metric = METRICS.get(options.get("metric", ""), "")
    match part.kind:
        case "final":
            last = options["last"]
            of = "the last evaluation" if last == 1 else f"mean of the last {last} evaluations"
            return f"{metric}, {of} of training"
        case "area":
            return f"{metric}, mean over training"
        case "reached":
            bound = "at most" if options["metric"] == "final_distance" else "at least"
            clock, threshold = CLOCKS[options["clock"]], options["at_least"]
            return f"{clock} until the first evaluation with a {metric} of {bound} {threshold}"
        case "distance_rank":
            other = AGAINST[options["against"]]
            what = f"rank correlation with {other} of the learned distance to a goal, from all over the maze"
            return f"{what}; mean over all goals of evaluations"
        case "action_rank":
            return (
                "rank correlation of the learned distance of actions at one place with the walking distance "
                "from where they lead; mean over places of the maze and over goals of evaluations"
            )
        case "right_way":
            return (
                "share of a maze's places where, of 16 actions all around, the one that the critic likes best "
                "leads nearer to the goal; of places where one does, mean over goals of evaluations"
            )
        case "greedy_score":
            return (
                "time at goal as a share of the episode without the actor: of 16 actions all around, and to "
                "stay, the one is taken that the critic likes best; in the episodes of evaluations"
            )
        case "steps_rank":
            return (
                "rank correlation with the fewest steps that are left of the learned distance, "
                "over random states of a grid; mean over goals of evaluations"
            )
        case "effective_rank":
            return "effective rank (participation ratio) of the representations along a way to a goal"
        case _:
            raise AssertionError(part.kind)


def unit(part: Part) -> str:
    """What a score is in, in words."""
    of_checkpoints = {
        "distance_rank": "a rank correlation",
        "action_rank": "a rank correlation",
        "right_way": "a share of places",
        "greedy_score": "a share of the episode",
        "steps_rank": "a rank correlation",
        "effective_rank": "a number of dimensions",
    }
    return of_checkpoints[part.kind] if part.kind in of_checkpoints else UNITS[part.options["metric"]]


def varied(study: Study) -> list[Axis]:
    """Axes of more than one point, without seeds."""
    return [axis for axis in study.axes if axis.name != "seed" and len(axis.points) > 1]


def of_seeds(results: Results, measure: str, labels: Mapping[str, str]) -> list[Any]:
    """A measure of each run of these labels, None for one that is missing."""
    return [results.values[measure].get(trial.name) for trial in results.study.having(labels)]


def table(evidence: Evidence, results: Results, measure: str) -> Table:
    """A row for each combination of labels: how many runs, what is said of them together, and each of them."""
    axes, part, rows = varied(results.study), results.study.measures[measure], []
    metric = part.options.get("metric")
    recorded = not part.is_time and evidence.chance({}, metric) is not None
    for labels in conditions(axes):
        values = of_seeds(results, measure, labels)
        there = [value for value in values if value is not None]
        runs = str(len(there)) if len(there) == len(values) else f"{len(there)} of {len(values)}"
        together = _of_times(there) if part.is_time else [iqm(there)]
        chance = [_chance(evidence, labels, metric)] if recorded else []
        seeds = "; ".join("–" if value is None else _one(value) for value in values)
        rows.append((*labels.values(), runs, *together, *chance, seeds))
    heads = ["arrived", "median"] if part.is_time else ["IQM"]
    names = [axis.name for axis in axes]
    return Table((*names, "runs", *heads, *["random actions"] * recorded, "each seed"), tuple(rows))


def iqm(scores: Sequence[Any]) -> str:
    """The interquartile mean with its interval; – of no run."""
    return interval_text(interval(tuple(scores))) if scores else "–"


def middle(scores: Sequence[Any]) -> str:
    """The interquartile mean alone; – of no run."""
    return number(interval(tuple(scores)).value) if scores else "–"


@functools.cache
def interval(scores: tuple[float, ...]) -> Interval:
    """`statistics.interval`, for tables and figures that tell of the same runs."""
    return statistics.interval(np.array(scores))


def _of_times(times: Sequence[Time]) -> list[str]:
    median = arrivals(times).median() if times else None
    arrived = f"{sum(time.arrived for time in times)} of {len(times)}"
    return [arrived, "–" if median is None else number(median)]


def _one(value: float | Time) -> str:
    if isinstance(value, Time):
        return number(value.when) if value.arrived else f"> {number(value.when)}"
    return number(value)


def _chance(evidence: Evidence, labels: Mapping[str, str], metric: str | None) -> str:
    found = evidence.chance(labels, metric)
    return "–" if found is None else number(found)


def compared(study: Study) -> list[Axis]:
    """Axes whose points are compared: those that figures lay beside each other. All others are tasks."""
    named = {part.options.get(option) for part in study.figures for option in ("by", "x", "y")}
    axes = varied(study)
    return [axis for axis in axes if axis.name in named] or axes[:1]


def comparisons(results: Results, measure: str) -> tuple[Table, int]:
    """Each point of the compared axes against another, all else equal; and how many wait for missing runs."""
    rows, waiting = [], 0
    for told, ours, theirs in _pairs(results.study):
        try:
            rows.append((told, *_compare(results.sample(measure, ours), results.sample(measure, theirs))))
        except NotMeasuredError:
            waiting += 1
    head = ("compared", "verdict", "difference of IQM", "probability of improvement")
    return Table(head, tuple(rows)), waiting


def _compare(a: Sample, b: Sample) -> tuple[str, str, str]:
    """What may be said of a against b, the difference, and the probability that a run of a is better."""
    gain = claims.gain(a, b)
    difference = gain if a.higher_is_better else Interval(-gain.value, -gain.high, -gain.low)
    better, worse = (a, b) if a.higher_is_better else (b, a)
    share = statistics.improvement(better.scores, worse.scores)
    verdict, fewest = statistics.verdict(gain), min(len(a.scores), len(b.scores))
    if gain.low * gain.high > 0 and fewest < FEW:
        verdict = f"{verdict}, of {fewest} runs only"
    return verdict, interval_text(difference), interval_text(share)


def _pairs(study: Study) -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
    """What to compare: numbers with their neighbours, and the last with the first; else each with the first."""
    axes = compared(study)
    methods = [axis for axis in axes if not any("env" in point.settings for point in axis.points)]
    for axis in methods or axes:  # that one task scores higher than another says nothing
        labels = axis.labels
        if all(map(_is_number, labels)):
            pairs = [(b, a) for a, b in itertools.pairwise(labels)]
            pairs += [(labels[-1], labels[0])] if len(labels) > 2 else []
        else:
            pairs = [(label, labels[0]) for label in labels[1:]]
        others = conditions([other for other in axes if other != axis])
        for other, (ours, theirs) in itertools.product(others, pairs):
            told = ", ".join(f"{name} {label}" for name, label in other.items())
            against = f"{axis.name} {ours} against {theirs}"
            yield (
                f"{against}, {told}" if told else against,
                {**other, axis.name: ours},
                {**other, axis.name: theirs},
            )


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def interval_text(found: Interval) -> str:
    """A statistic and, in brackets, its interval, where runs are enough for one."""
    if not np.isfinite([found.low, found.high]).all():
        return number(found.value)
    return f"{number(found.value)} [{number(found.low)}, {number(found.high)}]"


def number(value: float) -> str:
    """A number with three digits behind the point, fewer where it is large, none where it is a count."""
    if not np.isfinite(value):
        return "never" if value > 0 else "–"
    if value.is_integer() and abs(value) >= 10:
        return f"{value:,.0f}".replace("-", "−")
    digits = next(digits for digits, least in enumerate((1000, 100, 10, 0)) if abs(value) >= least)
    text = f"{value:,.{digits}f}"
    return "0" if float(text.replace(",", "")) == 0 == value else text.replace("-", "−")
