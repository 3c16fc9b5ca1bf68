"""What a report says: what was predicted and measured, what is missing, how it was made."""

import math
import statistics
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from goalward import machine
from goalward.lab import claims, measured
from goalward.lab import folder as folders
from goalward.lab import study as studies
from goalward.lab.axes import conditions
from goalward.lab.blocks import Block, Fold, Listing, Page, Picture, Section, Table, Text
from goalward.lab.evidence import Evidence
from goalward.lab.measured import interval_text, number
from goalward.lab.page import wrapped
from goalward.lab.results import Results, Time, Verdict

MOST_SHOWN = 12  # rows of a table that is not folded
MOST_LOGS = 5  # ends of logs that are shown
OUTCOMES = {
    "success": "The prediction holds",
    "partly": "The prediction holds in part",
    "failure": "The prediction fails",
    "undecided": "Not decided",
}
JOINED = {"and": " all of these hold", "or": " one of these holds", "": ""}  # parts of a claim
PACKAGES = ("jax", "jaxlib", "equinox", "optax", "numpy", "mujoco")


def compose(
    evidence: Evidence, results: Results, verdict: Verdict | None, *, pictures: Sequence[Picture],
    beside: Sequence[Picture | Fold], command: str,
) -> Page:  # fmt: skip
    """All that is to be said of a study.

    `pictures` are the study's, `beside` those of what others published; `command` is the one that asked for it.
    """
    study = evidence.study
    sections = {
        "Prediction": _prediction(results, verdict) if verdict else (),
        "Figures": tuple(pictures),
        "What was measured": _measured(evidence, results) if evidence.rows else (),
        "Published numbers": (*_published(results), *beside),
        "What is missing": _missing(evidence),
        "How it was made": _made(evidence, command),
    }
    told = f"Study {study.name} at scale {study.scale}"
    told += f", of the runs of {study.of}." if study.of != study.name else "."
    source = f" Source: {study.source}." if study.source else ""
    lead = (Text(told + source, "note"), Text(state(evidence), "note"))
    return Page(
        study.question, lead, tuple(Section(title, blocks) for title, blocks in sections.items() if blocks)
    )


def state(evidence: Evidence) -> str:
    """How many runs are done, in a sentence."""
    done, all_runs = len(evidence.rows), len(evidence.study.trials)
    return f"All {all_runs} runs are done." if done == all_runs else f"{done} of {all_runs} runs are done."


def outcome(verdict: Verdict) -> str:
    """What became of a prediction, in a sentence."""
    return f"{OUTCOMES[verdict.outcome]}{': ' if verdict.missing else ''}{verdict.missing}."


def _prediction(results: Results, verdict: Verdict) -> tuple[Block, ...]:
    prediction = results.study.prediction
    if prediction is None:
        return ()
    # Of another study of the same runs their sweep holds nothing.
    own = results.study.name == results.study.of
    when = "Written before the runs" if own else "Written with the study, which looks at runs of another"
    blocks: list[Block] = [
        Text(outcome(verdict), verdict.outcome),  # type: ignore[arg-type]
        Text(f"{when}: " + " ".join(prediction.text.split())),
    ]
    for level, claim in (("It holds", prediction.success), ("It holds in part", prediction.partly)):
        if claim is not None:
            joined, parts = claims.parts(claim)
            lines = tuple(line for part in parts for line in _judged(part, results))
            blocks += [Text(f"{level} if{JOINED[joined]}:", "note"), Listing(lines)]
    return tuple(blocks)


def _judged(claim: str, results: Results) -> Iterator[str]:
    """Whether a part of a claim holds as a whole and, below it, the value of each of its statistics."""
    try:
        holds, figures = claims.judge(claim, results.sample), claims.figures(claim, results.sample)
        gains = claims.gains(claim, results.sample)
    except claims.NotMeasuredError:
        yield from textwrap.wrap(f"not decided: {claim}", 100, subsequent_indent="  ")
        return
    yield from textwrap.wrap(f"{'holds' if holds else 'does not hold'}: {claim}", 100, subsequent_indent="  ")
    for call, value in figures.items():
        told = f"by {interval_text(gains[call])}" if call in gains else f"= {number(value)}"
        yield from textwrap.wrap(f"{call} {told}", 100, initial_indent=" " * 4, subsequent_indent=" " * 6)


def _measured(evidence: Evidence, results: Results) -> tuple[Block, ...]:
    study = evidence.study
    blocks: list[Block] = []
    for name, part in study.measures.items():
        blocks += [Text(f"{name}: {measured.described(part)}."), measured.table(evidence, results, name)]
        blocks += [] if part.is_time else _compared(results, name)
    return (*blocks, *_cautions(study))


def _compared(results: Results, measure: str) -> list[Block]:
    table, waiting = measured.comparisons(results, measure)
    blocks: list[Block] = []
    if len(table.rows) > MOST_SHOWN:
        blocks.append(Fold(f"{len(table.rows)} comparisons of {measure}", (table,)))
    elif table.rows:
        blocks.append(table)
    if waiting:
        blocks.append(Text(f"Comparisons that wait for runs without {measure}: {waiting}.", "note"))
    return blocks


def _cautions(study: studies.Study) -> list[Text]:
    seeds = len(study.axis("seed").points)
    rough = f"With {seeds} seed{'s' if seeds > 1 else ''} they are rough. " if seeds < measured.FEW else ""
    said = [
        "IQM is the interquartile mean: the mean of the middle half of the runs. In brackets are 95 % "
        "bootstrap intervals over runs. Of few runs they are too narrow, so every seed is shown beside them. "
        f"{rough}Better and worse are said only where the interval of the difference excludes 0. Each "
        "comparison stands for itself: of twenty pairs that are alike, about one is called different, and "
        "with few runs more."
    ]
    pooled = [axis.name for axis in measured.varied(study) if axis not in measured.compared(study)]
    if pooled:
        said.append(
            f"Comparisons are over all of {', '.join(pooled)} together. Where their scores lie far apart, an "
            "IQM says little of the lowest and the highest; the probability of improvement weighs all alike."
        )
    return [Text(text, "note") for text in said]


def _published(results: Results) -> tuple[Block, ...]:
    """What others published, by the labels of an axis, and ours beside it."""
    study = results.study
    blocks: list[Block] = []
    for name in dict.fromkeys(part.options["axis"] for part in study.published):
        parts = [part.options for part in study.published if part.options["axis"] == name]
        labels = list(
            dict.fromkeys([*study.axis(name).labels, *(key for part in parts for key in part["values"])])
        )
        if all(label.replace(".", "", 1).isdigit() for label in labels):
            labels.sort(key=float)
        rows = [*_ours(results, name, labels)]
        rows += [(part["what"], *(str(part["values"].get(label, "")) for label in labels)) for part in parts]
        blocks.append(Table((name, *labels), tuple(rows)))
    note = (
        "Published numbers are of other bodies, physics and budgets; what may be compared is how they change."
    )
    return (Text(note, "note"), *blocks) if blocks else ()


def _ours(results: Results, axis: str, labels: Sequence[str]) -> list[tuple[str, ...]]:
    """IQM of the first score, a row for each combination of the other axes."""
    study = results.study
    measure = next((name for name, part in study.measures.items() if not part.is_time), None)
    if measure is None:
        return []
    rows, unit = [], measured.unit(study.measures[measure])
    for other in conditions([one for one in measured.varied(study) if one.name != axis]):
        told = "".join(f", {name} {label}" for name, label in other.items())
        runs = [results.of(measure, {**other, axis: label}) for label in labels]
        rows.append((f"here: IQM of {measure}, {unit}{told}", *(measured.middle(found) for found in runs)))
    return rows


def _missing(evidence: Evidence) -> tuple[Block, ...]:
    blocks: list[Block] = []
    left = [one for one in evidence.standings.values() if one.state != "done"]
    if left:
        states = Counter(one.state for one in left)
        blocks.append(Text("Not done: " + ", ".join(f"{count} {name}" for name, count in states.items()) + "."))
        rows = [(one.name, one.state, f"{one.epoch} of {one.epochs}", str(one.failures)) for one in left]
        table = Table(("run", "state", "epochs", "processes that failed"), tuple(rows))
        blocks.append(table if len(rows) <= MOST_SHOWN else Fold("Which, and how far they are", (table,)))
    failed = [one.name for one in left if one.state == "failed"]
    for name in failed[:MOST_LOGS]:
        blocks += [Text(f"The end of the log of {name}:"), Listing(_log(evidence, name))]
    if len(failed) > MOST_LOGS:
        blocks.append(
            Text(f"{len(failed) - MOST_LOGS} more failed; their logs are in the folder of the sweep.")
        )
    if evidence.refused:
        blocks.append(Text("Done, but not counted:"))
        blocks.append(Table(("run", "why"), tuple(evidence.refused.items())))
    unmeasured = _unmeasured(evidence)
    if unmeasured:
        blocks.append(Text("Done, but nothing could be measured of their checkpoints:"))
        blocks.append(Table(("run", "why"), tuple(unmeasured.items())))
    return tuple(blocks)


def _unmeasured(evidence: Evidence) -> dict[str, str]:
    """Runs that lack a measure of their checkpoint, and why."""
    why = dict(evidence.unseen)
    for measure, found in evidence.scalars.items():
        for trial in evidence.done:
            if trial.name not in found:
                why.setdefault(trial.name, f"{measure}: there is no such number, as no way came to its goal")
    return why


def _log(evidence: Evidence, name: str) -> tuple[str, ...]:
    return tuple(folders.end_of_log(evidence.folder, name)) or ("(empty)",)


def _made(evidence: Evidence, command: str) -> tuple[Block, ...]:
    study, folder = evidence.study, evidence.folder
    commands = tuple(line for one in (sweep_command(evidence), command) for line in wrapped(one))
    blocks: list[Block] = [Text("The sweep and this report:"), Listing(commands)]
    blocks += _origins(evidence)
    lines = []
    for trial in study.trials:
        directory = folders.run_directory(folder, trial.name)
        lines += wrapped(machine.command(*_from_here(trial.words, folder), "--out", directory))
    blocks.append(Fold(f"The commands of the {len(study.trials)} runs", (Listing(tuple(lines)),)))
    if evidence.rows:
        rows = [
            (trial.name, str(evidence.origins[trial.name].get("started")), *_cost(evidence, trial.name))
            for trial in evidence.done
        ]
        table = Table(("run", "started", "seconds of training", "updates", "environment steps"), tuple(rows))
        blocks.append(Fold("When the runs were made, and how long they took", (table,)))
    return tuple(blocks)


def _from_here(words: Iterable[str], folder: Path) -> Iterator[str]:
    """Words of a command; paths to what lies beside a sweep's folder are told as the way to that folder is."""
    beside = folder.resolve().parent
    for word in words:
        place = Path(word).resolve()
        is_beside = Path(word).is_absolute() and place.is_relative_to(beside)
        yield str(folder.parent / place.relative_to(beside)) if is_beside else word


def _cost(evidence: Evidence, name: str) -> tuple[str, str, str]:
    last = evidence.rows[name][-1]
    return f"{last['seconds']:,.0f}", f"{last['updates']:,}", f"{last['env_steps']:,}"


def sweep_command(evidence: Evidence) -> str:
    """The command that trains the runs, as it can be typed here."""
    study = evidence.study
    if study.scale == studies.PLAIN:
        words: list[str] = ["sweep", study.of]
        for name, values in study.document.get("axes", {}).items():
            told = values if isinstance(values, str) else ",".join(map(claims.label, values))
            words += ["--axis", f"{name}={told}"]
    else:
        name = study.of if study.of in studies.shipped() else f"{study.of}.toml"
        words = ["sweep", name, "--scale", study.scale]
    return machine.command(*words, "--out", evidence.folder)


def as_json(results: Results, verdict: Verdict | None) -> dict[str, Any]:
    """Verdict and measures, as JSON can hold them."""
    values = {
        measure: {name: one._asdict() if isinstance(one, Time) else one for name, one in found.items()}
        for measure, found in results.values.items()
    }
    told: dict[str, Any] = {"study": results.study.name, "scale": results.study.scale, "measures": values}
    if verdict:
        statistics = {call: value if math.isfinite(value) else None for call, value in verdict.figures.items()}
        told |= {"outcome": verdict.outcome, "missing": verdict.missing, "statistics": statistics}
    return told


def _origins(evidence: Evidence) -> list[Block]:
    """With what and where the runs were made, and whether that differs."""
    if not evidence.rows:
        return []
    groups = Counter(_origin(values) for values in evidence.origins.values())
    lines = [f"{count} runs: {told}" if len(groups) > 1 else told for told, count in groups.items()]
    started = sorted(str(values.get("started"))[:10] for values in evidence.origins.values())
    days = started[0] if started[0] == started[-1] else f"{started[0]} to {started[-1]}"
    seconds = [rows[-1]["seconds"] for rows in evidence.rows.values()]
    cost = f"{_length(sum(seconds))} in all, evaluations included; the median of a run is"
    blocks: list[Block] = [Text(f"Begun {days}. Training took {cost} {_length(statistics.median(seconds))}.")]
    hosts = len({values.get("host") for values in evidence.origins.values()})
    if len(groups) > 1 or hosts > 1:
        differ = f"The runs come from {hosts} machine{'s' if hosts > 1 else ''}"
        differ += f" and {len(groups)} sets of versions" if len(groups) > 1 else ""
        blocks.append(Text(f"{differ}: part of what differs between them may be due to that."))
    return [*blocks, *(Text(line) for line in lines)]


def _length(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} hours" if seconds >= 3600 else f"{seconds / 60:.1f} minutes"


def _origin(values: Mapping[str, Any]) -> str:
    """Versions and machine of a run, in a sentence; names of hosts are nobody's business."""
    packages = values.get("versions")
    versions: Mapping[str, Any] = packages if isinstance(packages, dict) else {}
    commit = str(values.get("git_commit") or "")
    commit = f" (commit {commit[:12]}{', with changes' if commit.endswith('+') else ''})" if commit else ""
    used = ", ".join(f"{name} {versions[name]}" for name in PACKAGES if versions.get(name))
    return (
        f"goalward {versions.get('goalward')}{commit}, Python {values.get('python')}, {used}; "
        f"{values.get('platform')}, device {values.get('device')}, cores: {values.get('cores')}, "
        f"threads of XLA: {values.get('threads')}."
    )
