"""The figures of a study: what is drawn of its runs, and the sentence below each."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from goalward import envs
from goalward.errors import UserError
from goalward.lab import statistics
from goalward.lab.axes import Axis, Trial, conditions
from goalward.lab.blocks import Fold, Picture
from goalward.lab.evidence import Evidence
from goalward.lab.measured import CLOCKS, METRICS, SHORT, described, interval, varied
from goalward.lab.results import Results, arrivals
from goalward.lab.statistics import Interval
from goalward.lab.study import Part, Study
from goalward.pictures import blocks, charts, embedding, figures, grids, lines, maps, published
from goalward.pictures.charts import Chart, Place, Series
from goalward.pictures.embedding import Way
from goalward.pictures.grids import Grid
from goalward.pictures.lines import Group, Panel
from goalward.pictures.maps import Map, Ranks

_NETWORKS = {
    "actor": "the actor",
    "phi": "φ, the critic's network of states",
    "psi": "ψ, that of goals",
    "q": "Q, the critic of returns",
}
DRAWS = 1_000  # of the bootstrap of a band: it has an interval at each evaluation
MOST_BESIDE = 3  # panels of a published figure; a larger one is folded
NOTHING = Interval(float("nan"), float("nan"), float("nan"))

Drawn = tuple[str, str, Callable[[], Figure]]  # what it shows, the sentence below, and what draws it


def pictures(evidence: Evidence, results: Results) -> list[Picture]:
    """The figures of a study, in its order."""
    found = []
    for number, part in enumerate(results.study.figures, start=1):
        alt, caption, draw = _KINDS[part.kind](evidence, results, part)
        what = part.options.get("measure") or part.options.get("metric") or part.options["by"]
        name, sentence = f"{number}-{part.kind}-{what}", caption[0].upper() + caption[1:]
        found.append(Picture(name, alt[0].upper() + alt[1:], sentence, draw))
    return found


def beside(study: Study) -> list[Picture | Fold]:
    """Curves that others published, in one figure, folded where it is large; none where none are named."""
    names = [part.options["curves"] for part in study.published if part.options["curves"]]
    if not names:
        return []
    panels = [published.panel(name) for name in names]
    by = published.curves(names[0]).by
    caption = "Published curves, with axes of their own: other bodies, other physics, other budgets."
    picture = Picture("published", f"Published curves, by {by}", caption, lambda: lines.curves(panels, by))
    folded = Fold(f"Published curves, in {len(panels)} panels", (picture,))
    return [picture if len(panels) <= MOST_BESIDE else folded]


def _others(results: Results, part: Part) -> list[dict[str, str]]:
    """Labels of the panels of a figure: all combinations of the axes that it does not name."""
    named = {part.options.get(option) for option in ("by", "x", "y")}
    return conditions([axis for axis in varied(results.study) if axis.name not in named])


def _title(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {label}" for name, label in labels.items())


def _axis(results: Results, name: str | None) -> Axis:
    """An axis by its name; one point without a label for none."""
    return results.study.axis(name) if name else Axis("", ())


def _points(axis: Axis) -> list[dict[str, str]]:
    return [{axis.name: label} for label in axis.labels] or [{}]


def _curves(evidence: Evidence, results: Results, part: Part) -> Drawn:
    metric, clock, by = (part.options[name] for name in ("metric", "clock", "by"))

    def draw() -> Figure:
        shown = []
        for other in _others(results, part):
            points = _points(_axis(results, by))
            groups = [_group(evidence, other | point, point[by], metric, clock) for point in points]
            groups = [group for group in groups if len(np.asarray(group.clock))]
            chance = evidence.chance(other, metric)
            shown.append(Panel(_title(other), CLOCKS[clock], SHORT[metric], groups, chance))
        return lines.curves(shown, by)

    what = f"{METRICS[metric]} over {CLOCKS[clock]}, by {by}"
    how = "Thin lines are runs, thick ones their interquartile mean, bands its 95 % interval."
    return what, f"{what}. {how}", draw


def _group(evidence: Evidence, labels: Mapping[str, str], label: str, metric: str, clock: str) -> Group:
    """Runs of these labels, and their IQM with its interval up to where all have come."""
    runs = []
    for trial in evidence.having(labels):
        rows = evidence.rows[trial.name]
        runs.append(([row[clock] for row in rows], [row[metric] for row in rows]))
    shared = min((len(values) for _, values in runs), default=0)
    scores = np.array([values[:shared] for _, values in runs], float).T
    found = [statistics.interval(column, draws=DRAWS) for column in scores]
    middle, low, high = (np.array([one[k] for one in found]) for k in range(3))
    return Group(label, runs[0][0][:shared] if runs else [], middle, low, high, runs)


def _chart(results: Results, evidence: Evidence, part: Part, other: Mapping[str, str]) -> Chart:
    """A measure over an axis, a series for each point of another."""
    measure, x, by = (part.options[name] for name in ("measure", "x", "by"))
    measured = results.study.measures[measure]
    place = _time_place if measured.is_time else _score_place
    series, along = [], [{**other, x: label} for label in results.study.axis(x).labels]
    for point in _points(_axis(results, by)):
        labels = [one | point for one in along]
        places = [place(chosen[x], results.of(measure, chosen)) for chosen in labels]
        series.append(Series(point.get(by, ""), places))
    metric = None if measured.is_time else measured.options.get("metric")
    random = {one[x]: evidence.chance(one, metric) for one in along}
    chance = {label: value for label, value in random.items() if value is not None}
    y = f"{measure}, {CLOCKS[measured.options['clock']]}" if measured.is_time else measure
    return Chart(_title(other), x, y, series, chance, part.options.get("log", False))


def _score_place(label: str, scores: Sequence[Any]) -> Place:
    return Place(label, *(interval(tuple(scores)) if scores else NOTHING), scores)


def _time_place(label: str, times: Sequence[Any]) -> Place:
    median = arrivals(times).median() if times else None
    there, missed = ([time.when for time in times if time.arrived is arrived] for arrived in (True, False))
    return Place(label, float("nan") if median is None else median, float("nan"), float("nan"), there, missed)


def _charted(draw_all: Callable[[Sequence[Chart], str], Figure]) -> Callable[[Evidence, Results, Part], Drawn]:
    """What draws a measure against an axis: as a line, or as bars."""

    def drawn(evidence: Evidence, results: Results, part: Part) -> Drawn:
        measure, x, by = (part.options[name] for name in ("measure", "x", "by"))
        measured = results.study.measures[measure]

        def draw() -> Figure:
            shown = [_chart(results, evidence, part, other) for other in _others(results, part)]
            return draw_all(shown, by or "")

        if measured.is_time:
            how = "Small marks are runs, large ones their median; hollow are runs that had not got there."
        else:
            how = "Small marks are runs, large ones or bars their interquartile mean, with its 95 % interval."
        what = f"{measure} by {x}{f' and {by}' if by else ''}"
        return what, f"{what}: {described(measured)}. {how}", draw

    return drawn


def _heat_map(_: Evidence, results: Results, part: Part) -> Drawn:
    measure, x, y = (part.options[name] for name in ("measure", "x", "y"))
    columns, rows = (
        results.study.axis(x).labels,
        results.study.axis(y).labels[::-1],
    )  # upwards, as published ones
    measured = results.study.measures[measure]
    place = _time_place if measured.is_time else _score_place

    def value(labels: Mapping[str, str]) -> float:
        return place("", results.of(measure, labels)).value

    def draw() -> Figure:
        shown = []
        for other in _others(results, part):
            values = [[value({**other, x: column, y: row}) for column in columns] for row in rows]
            shown.append(Grid(_title(other), x, y, columns, rows, np.array(values, float)))
        if part.options["beside"]:
            shown.append(published.grid(part.options["beside"]))
        return grids.heat_map(shown)

    what = f"{measure} by {x} and {y}"
    how = f"Each number is the {'median' if measured.is_time else 'interquartile mean'} of its runs."
    return what, f"{what}: {described(measured)}. {how}", draw


def _distance_maps(evidence: Evidence, results: Results, part: Part) -> Drawn:
    by = part.options["by"]
    chosen = _typical(evidence, results, by, lambda look: look["map_ranks"][0])
    config = (next(iter(chosen.values())) if chosen else results.study.trials[0]).config
    env = config.eval_env or config.env
    same = {
        label: trial for label, trial in chosen.items() if (trial.config.eval_env or trial.config.env) == env
    }

    def draw() -> Figure:
        maze = envs.make(env, config.env_settings).maze
        if maze is None:
            raise UserError(f"{env} has no maze; distance_maps are of point mazes")
        shown = []
        for label, trial in same.items():
            look = evidence.looks[trial.name]
            shown.append(Map(f"{by} {label}", look["map"], Ranks(*look["map_ranks"].tolist())))
        return maps.distance_maps(maze, figures.farthest_goal(maze), shown)

    what = f"Learned distance to the farthest goal of {env}, by {by}"
    ranks = (
        "Above each map are its rank correlations with the walking distance and with the straight line, of "
        "this goal alone; measures of runs are means over all goals of evaluations."
    )
    return what, f"{what}, beside the true ones. {ranks} {_which(by, same)}", draw


def _embedding(evidence: Evidence, results: Results, part: Part) -> Drawn:
    by = part.options["by"]
    chosen = _typical(evidence, results, by, lambda look: look["effective_rank"])

    def draw() -> Figure:
        looks = {label: evidence.looks[trial.name] for label, trial in chosen.items()}
        return embedding.embedding(
            [Way(f"{by} {label}", look["way"], bool(look["arrived"])) for label, look in looks.items()]
        )

    what = f"Representations of the states of the way to the farthest goal that is reached, by {by}"
    return what, f"{what}, from start (light) to end (dark). {_which(by, chosen)}", draw


def _typical(
    evidence: Evidence, results: Results, by: str, key: Callable[[Mapping[str, np.ndarray]], Any]
) -> dict[str, Trial]:
    """Of the runs of each point of an axis the one in the middle, the lower one of two; NaN comes last."""
    chosen = {}
    for label in results.study.axis(by).labels:
        seen = [trial for trial in evidence.having({by: label}) if trial.name in evidence.looks]
        seen.sort(key=lambda trial: np.nan_to_num(float(key(evidence.looks[trial.name])), nan=np.inf))
        if seen:
            chosen[label] = seen[(len(seen) - 1) // 2]
    return chosen


def _which(by: str, chosen: Mapping[str, Trial]) -> str:
    if not chosen:
        return "No run is done of which it could be drawn."
    return f"Of each {by} the run in the middle: {'; '.join(trial.name for trial in chosen.values())}."


def _block_norms(evidence: Evidence, results: Results, part: Part) -> Drawn:
    by, network = part.options["by"], part.options["network"]

    def draw() -> Figure:
        norms = {label: _last_norms(evidence, {by: label}, network) for label in results.study.axis(by).labels}
        return blocks.block_norms(norms, network, by)

    what = f"Norms by residual block of {_NETWORKS[network]}, by {by}"
    return what, f"{what}, at the last evaluation: means over runs. Block 1 comes first.", draw


def _last_norms(evidence: Evidence, labels: Mapping[str, str], network: str) -> dict[str, np.ndarray]:
    """Means over runs of what the last row says of each block; empty where it says nothing."""
    found = {}
    for name in blocks.SHOWN:
        rows = [evidence.rows[trial.name][-1].get(f"{network}_{name}") for trial in evidence.having(labels)]
        given = [row for row in rows if isinstance(row, list) and row]
        alike = [row for row in given if len(row) == len(given[0])]
        found[f"{network}_{name}"] = np.mean(alike, axis=0) if alike else np.zeros(0)
    return found


_KINDS: dict[str, Callable[[Evidence, Results, Part], Drawn]] = {
    "curves": _curves,
    "line": _charted(charts.line),
    "bars": _charted(charts.bars),
    "heat_map": _heat_map,
    "distance_maps": _distance_maps,
    "embedding": _embedding,
    "block_norms": _block_norms,
}
