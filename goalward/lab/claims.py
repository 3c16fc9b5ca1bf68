"""Claims over what a study measured, such as `better(score(depth=16), score(depth=4))`, as checked text.

A name of a measure, called with labels of axes, is a sample of runs: all that have these labels. Functions of
samples are those of `FUNCTIONS`. What is said of numbers is Python's: + − * /, comparisons, and, or, not.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np

from goalward.lab import statistics


class Sample(NamedTuple):
    """One measure of some runs."""

    scores: np.ndarray  # (seeds, tasks): a column for each combination of the labels that are not named
    higher_is_better: bool = True
    arrivals: statistics.Arrivals | None = None  # in place of scores, for times until a threshold


class NotMeasuredError(Exception):
    """A claim cannot be judged, for runs that are missing."""


# (measure, labels by axis) -> the sample; raises NotMeasuredError.
Lookup = Callable[[str, Mapping[str, str]], Sample]


def iqm(a: Sample) -> float:
    """Interquartile mean."""
    return float(statistics.iqm(a.scores))


def mean(a: Sample) -> float:
    """Mean over runs."""
    return float(statistics.mean(a.scores))


def gain(a: Sample, b: Sample) -> statistics.Interval:
    """By how much a is better than b: the difference of their IQM, negative where a is worse."""
    found = statistics.difference(a.scores, b.scores)
    return found if a.higher_is_better else statistics.Interval(-found.value, -found.high, -found.low)


def better(a: Sample, b: Sample) -> bool:
    """Whether a is better than b: the interval of the difference of their IQM excludes 0."""
    return statistics.verdict(gain(a, b)) == "better"


def improvement(a: Sample, b: Sample) -> float:
    """Probability that a run of a is better than one of b."""
    share = statistics.improvement(a.scores, b.scores).value
    return share if a.higher_is_better else 1 - share


def reached(a: Sample) -> float:
    """Share of runs that got to the threshold of a time until it."""
    return float(_arrivals(a).arrived.mean())


def median(a: Sample) -> float:
    """When half of the runs had got to the threshold, by the Kaplan–Meier estimate; inf if they never had."""
    found = _arrivals(a).median()
    return float("inf") if found is None else found


FUNCTIONS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (iqm, mean, better, improvement, reached, median)
}
_OF_TIMES = ("reached", "median")
_NUMBERS = [name for name in FUNCTIONS if name != "better"]
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: lambda a, b: float(np.divide(a, b)) if b else float("inf") * a,
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne, ast.USub: operator.neg, ast.Not: operator.not_,
}  # fmt: skip


def _arrivals(a: Sample) -> statistics.Arrivals:
    if a.arrivals is None:
        raise NotMeasuredError("no run was measured")
    return a.arrivals


def check(text: str, times: Mapping[str, bool], axes: Mapping[str, Sequence[str]]) -> None:
    """Raise `ValueError`, saying what is wrong, unless `text` is a claim.

    `times` are the measures, and whether each is a time until a threshold; `axes` the labels of each axis.
    """
    try:
        _Checker(times, axes).claim(_parse(text).body)
    except RecursionError as error:
        raise ValueError(f"{text!r:.80} is nested too deep") from error


def judge(text: str, lookup: Lookup) -> bool:
    """Whether a claim that `check` has passed holds. Raises `NotMeasuredError`."""
    return bool(_evaluate(_parse(text).body, lookup))


def parts(text: str) -> tuple[str, list[str]]:
    """How a claim is joined (`and`, `or`, "" where it is one part), and its parts: claims, each on one line."""
    body = _parse(text).body
    if isinstance(body, ast.BoolOp):
        return "and" if isinstance(body.op, ast.And) else "or", [ast.unparse(part) for part in body.values]
    return "", [ast.unparse(body)]


def measures(text: str) -> set[str]:
    """The measures that a claim is made of."""
    calls = [node for node in ast.walk(_parse(text)) if isinstance(node, ast.Call)]
    return {node.func.id for node in calls if isinstance(node.func, ast.Name)} - FUNCTIONS.keys()


def figures(text: str, lookup: Lookup) -> dict[str, float | bool]:
    """The value of each function of samples in a claim, by its text, in the order in which they stand."""
    return {ast.unparse(node): _evaluate(node, lookup) for node in _calls(text)}


def gains(text: str, lookup: Lookup) -> dict[str, statistics.Interval]:
    """By how much one sample is better than the other, for each `better` in a claim, by its text."""
    judged = [node for node in _calls(text) if ast.unparse(node.func) == better.__name__]
    return {ast.unparse(node): gain(*(_evaluate(sample, lookup) for sample in node.args)) for node in judged}


def _calls(text: str) -> list[ast.Call]:
    """Functions of samples in a claim, in the order in which they stand."""
    calls = [node for node in ast.walk(_parse(text)) if isinstance(node, ast.Call)]
    calls.sort(key=lambda node: node.col_offset)
    return [node for node in calls if isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS]


def _parse(text: str) -> ast.Expression:
    try:
        return ast.parse(" ".join(text.split()), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!r:.80} is no expression") from error


class _Checker:
    """What may stand where: samples in functions, numbers in comparisons."""

    def __init__(self, times: Mapping[str, bool], axes: Mapping[str, Sequence[str]]):
        self.times, self.axes = times, axes

    def claim(self, node: ast.expr) -> None:
        """Check what is true or false."""
        match node:
            case ast.BoolOp(values=parts):
                for part in parts:
                    self.claim(part)
            case ast.UnaryOp(op=ast.Not(), operand=part):
                self.claim(part)
            case ast.Compare(left=left, comparators=others, ops=ops) if all(type(o) in _OPERATORS for o in ops):
                for part in (left, *others):
                    self._number(part)
            case ast.Call(func=ast.Name(id="better"), args=samples, keywords=[]):
                self._function("better", samples)
            case _:
                raise ValueError(
                    f"{ast.unparse(node)!r} is not understood here; claims are made of better(…), comparisons "
                    "of numbers, and, or, not"
                )

    def _number(self, node: ast.expr) -> None:
        match node:
            case ast.BinOp(left=left, right=right, op=op) if type(op) in _OPERATORS:
                self._number(left)
                self._number(right)
            case ast.UnaryOp(op=ast.USub(), operand=part):
                self._number(part)
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                pass
            case ast.Call(func=ast.Name(id=name), args=samples, keywords=[]) if name in _NUMBERS:
                self._function(name, samples)
            case _:
                raise ValueError(
                    f"{ast.unparse(node)!r} is not understood here; numbers are written out, or come of "
                    f"{', '.join(_NUMBERS)} and + − * /"
                )

    def _function(self, name: str, samples: list[ast.expr]) -> None:
        number = 2 if name in ("better", "improvement") else 1
        if len(samples) != number:
            raise ValueError(f"{name} takes {number} sample{'s' * (number > 1)} of runs, not {len(samples)}")
        for sample in samples:
            self._sample(name, sample)

    def _sample(self, function: str, node: ast.expr) -> None:
        match node:
            case ast.Call(func=ast.Name(id=measure), args=[], keywords=labels):
                _known("measure", measure, list(self.times))
            case _:
                raise ValueError(
                    f"{ast.unparse(node)!r} is no sample of runs; name a measure and labels, such as "
                    f"{next(iter(self.times), 'score')}(depth=4)"
                )
        if self.times[measure] != (function in _OF_TIMES):
            kind = "a time until a threshold" if self.times[measure] else "a score"
            fitting = [name for name in FUNCTIONS if (name in _OF_TIMES) == self.times[measure]]
            raise ValueError(f"{measure} is {kind}; of it there are {', '.join(fitting)}, not {function}")
        for keyword in labels:
            name = keyword.arg or "**"
            _known("axis", name, list(self.axes))
            _known(f"label of {name}", _label(keyword.value), self.axes[name])


def _known(what: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown {what} {name!r}; {hint}there are {', '.join(names)}")


def _label(node: ast.expr) -> str:
    if not isinstance(node, ast.Constant):
        raise ValueError(f"{ast.unparse(node)!r} is no label; write a number or a text in quotes")
    return label(node.value)


def label(value: Any) -> str:
    """How a value of an axis is called, such as 4, 0.5, true."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _evaluate(node: ast.expr, lookup: Lookup) -> Any:
    match node:
        case ast.BoolOp(values=values, op=op):
            results = (_evaluate(value, lookup) for value in values)
            return all(results) if isinstance(op, ast.And) else any(results)
        case ast.Compare(left=left, comparators=others, ops=ops):
            found = [_evaluate(part, lookup) for part in (left, *others)]
            return all(_OPERATORS[type(op)](found[i], found[i + 1]) for i, op in enumerate(ops))
        case ast.BinOp(left=left, right=right, op=op):
            return _OPERATORS[type(op)](_evaluate(left, lookup), _evaluate(right, lookup))
        case ast.UnaryOp(operand=operand, op=op):
            return _OPERATORS[type(op)](_evaluate(operand, lookup))
        case ast.Call(func=ast.Name(id=name), args=samples) if name in FUNCTIONS:
            return FUNCTIONS[name](*(_evaluate(sample, lookup) for sample in samples))
        case ast.Call(func=ast.Name(id=measure), keywords=labels):
            return lookup(measure, {str(keyword.arg): _label(keyword.value) for keyword in labels})
        case ast.Constant(value=value):
            return value
        case _:
            raise AssertionError(f"unchecked: {ast.unparse(node)}")
