"""What a study measured of its finished runs, and what that says of its prediction."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from goalward.lab import claims, statistics
from goalward.lab.axes import conditions
from goalward.lab.study import Part, Study

Row = Mapping[str, Any]  # an evaluation, as in metrics.jsonl


class Time(NamedTuple):
    """When a run got to a threshold or, if it never did, when it was last seen."""

    when: float
    arrived: bool


class Results(NamedTuple):
    """Measures of a study by name, of each run by the name of its trial; a run that is missing has none."""

    study: Study
    values: Mapping[str, Mapping[str, float | Time]]

    def of(self, measure: str, labels: Mapping[str, str]) -> list[float | Time]:
        """One measure of all runs there are that have these labels."""
        found = self.values[measure]
        return [found[trial.name] for trial in self.study.having(labels) if trial.name in found]

    def sample(self, measure: str, labels: Mapping[str, str]) -> claims.Sample:
        """The runs of these labels, as claims see them. Raises `NotMeasuredError` where one is missing."""
        part = self.study.measures[measure]
        free = [axis for axis in self.study.axes if axis.name not in labels and axis.name != "seed"]
        tasks = []
        for task in conditions(free):
            chosen = {**labels, **task}
            expected = len(self.study.having(chosen))
            runs = self.of(measure, chosen)
            if len(runs) < expected:
                where = ", ".join(f"{name}={label}" for name, label in chosen.items())
                raise claims.NotMeasuredError(
                    f"{expected - len(runs)} of {expected} runs of {where} are missing"
                )
            tasks.append(runs)
        if part.is_time:
            return claims.Sample(np.zeros((0, 0)), arrivals=arrivals([run for task in tasks for run in task]))
        return claims.Sample(np.array(tasks, float).T, part.higher_is_better)


def arrivals(times: Sequence[Any]) -> statistics.Arrivals:
    """Times until a threshold, as statistics take them."""
    return statistics.Arrivals(
        np.array([time.when for time in times], float), np.array([time.arrived for time in times], bool)
    )


def measure(
    study: Study, rows: Mapping[str, Sequence[Row]], looked_at: Mapping[str, Mapping[str, float]]
) -> Results:
    """All measures of finished runs, from their `rows` by trial and, by measure, what checkpoints say."""
    values: dict[str, Mapping[str, float | Time]] = dict(looked_at)
    for name, part in study.measures.items():
        if part.kind in OF_ROWS:
            values[name] = {trial: OF_ROWS[part.kind](part, found) for trial, found in rows.items()}
    return Results(study, {name: values.get(name, {}) for name in study.measures})


def final(part: Part, rows: Sequence[Row]) -> float:
    """Mean of the last evaluations, or of as many as there are; the one before training does not count."""
    last = [row for row in rows if row["updates"] > 0][-part.options["last"] :] or rows[-1:]
    return float(np.mean([row[part.options["metric"]] for row in last]))


def area(part: Part, rows: Sequence[Row]) -> float:
    """Mean over training, between evaluations as on a straight line."""
    clock, heights = (
        np.array([row[part.options[name]] for row in rows], float) for name in ("clock", "metric")
    )
    return float(np.trapezoid(heights, clock) / (clock[-1] - clock[0])) if len(rows) > 1 else float(heights[0])


def reached(part: Part, rows: Sequence[Row]) -> Time:
    """The first evaluation at a threshold: at least so much, or at most where less is better."""
    sign = -1 if part.options["metric"] == "final_distance" else 1
    for row in rows:
        if sign * row[part.options["metric"]] >= sign * part.options["at_least"]:
            return Time(float(row[part.options["clock"]]), arrived=True)
    return Time(float(rows[-1][part.options["clock"]]), arrived=False)


OF_ROWS = {"final": final, "area": area, "reached": reached}


class Verdict(NamedTuple):
    """What became of a prediction."""

    outcome: str  # success, partly, failure; or undecided
    figures: dict[str, float | bool]  # each function of samples in its claims, and its value
    missing: str  # what it was not decided for


def judge(results: Results) -> Verdict | None:
    """Judge the prediction of a study by its claims; None where it has none."""
    prediction = results.study.prediction
    if prediction is None:
        return None
    levels = {"success": prediction.success, "partly": prediction.partly}
    stated = {level: claim for level, claim in levels.items() if claim is not None}
    try:
        found: dict[str, float | bool] = {}
        for claim in stated.values():
            found |= claims.figures(claim, results.sample)
        holds = (level for level, claim in stated.items() if claims.judge(claim, results.sample))
        return Verdict(next(holds, "failure"), found, "")
    except claims.NotMeasuredError as error:
        return Verdict("undecided", {}, str(error))
