"""Claims: what they say of samples, and how a text that is no claim is refused."""

import re

import numpy as np
import pytest

from goalward.lab import claims
from goalward.lab.statistics import Arrivals

SCORES = {"4": [0.1, 0.2, 0.3, 0.2, 0.1], "16": [0.8, 0.7, 0.9, 0.75, 0.8]}
TIMES = {"score": False, "arrival": True, "distance": False}
AXES = {"depth": ["4", "16"], "kind": ["true", "a b"]}


def lookup(measure, labels):
    if labels.get("kind") == "true":
        raise claims.NotMeasuredError("runs are missing")
    column = np.array(SCORES[labels["depth"]])[:, None]
    if measure == "arrival":
        times, arrived = np.array([1.0, 2.0, 3.0, 4.0]), np.array([True, True, labels["depth"] == "16", False])
        return claims.Sample(np.zeros((0, 0)), False, Arrivals(times, arrived))
    return claims.Sample(column, higher_is_better=measure == "score")


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ("better(score(depth=16), score(depth=4))", True),
        ("better(score(depth=4), score(depth=16))", False),
        ("better(score(depth=4), score(depth=4))", False),
        ("better(distance(depth=4), distance(depth=16))", True),
        ("improvement(score(depth=16), score(depth=4)) == 1", True),
        ("improvement(distance(depth=16), distance(depth=4)) == 0", True),
        ("iqm(score(depth=16)) >= 2 * iqm(score(depth=4)) and not 1 > 2", True),
        ("mean(score(depth=4)) > 0.179 and mean(score(depth=4)) < 0.181", True),
        ("0.17 < mean(score(depth=4)) <= 0.19 < 1 - 0.5", True),
        ("iqm(score(depth=4)) > 1 or -1 < 0", True),
        ("iqm(score(depth=16)) / iqm(score(depth=4)) > 10", False),
        ("reached(arrival(depth=16)) == 0.75 and reached(arrival(depth=4)) == 0.5", True),
        ("median(arrival(depth=4)) == 2 and median(arrival(depth='4')) == 2", True),
        ("1 / 0 > 1e9", True),
    ],
)
def test_what_a_claim_says(claim, holds):
    claims.check(claim, TIMES, AXES)
    assert claims.judge(claim, lookup) is holds


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("iqm(score(depth=4)", "is no expression"),
        ("__import__('os')", "is not understood"),
        ("score(depth=4)", "is not understood"),
        ("score.x > 1", "is not understood"),
        ("iqm(score(depth=4)) is 1", "is not understood"),
        ("'a' > 'b'", "is not understood"),
        ("2 ** 2 > 1", "is not understood"),
        ("iqm(score(depth=4))", "is not understood"),  # a number is neither true nor false
        ("improvement(score(depth=16), score(depth=4))", "is not understood"),
        ("not iqm(score(depth=4))", "is not understood"),
        ("better(score(depth=16), score(depth=4)) > 0.5", "is not understood"),
        ("1", "is not understood"),
        ("True", "is not understood"),
        ("1 > True", "is not understood"),
        ("-" * 2_500 + "1 > 0", "is nested too deep"),
        ("iqm(4) > 1", "'4' is no sample of runs"),
        ("iqm(score(depth=4), score(depth=16)) > 1", "iqm takes 1 sample of runs, not 2"),
        ("better(score(depth=4))", "better takes 2 samples"),
        ("iqm(scor(depth=4)) > 1", "unknown measure 'scor'; did you mean 'score'"),
        ("iqm(score(dept=4)) > 1", "unknown axis 'dept'; did you mean 'depth'"),
        ("iqm(score(depth=5)) > 1", "unknown label of depth '5'; there are 4, 16"),
        ("iqm(score(depth=x)) > 1", "'x' is no label"),
        ("iqm(score(**{})) > 1", "unknown axis '**'"),
        ("iqm(score(4)) > 1", "no sample of runs"),
        ("iqm(arrival(depth=4)) > 1", "a time until a threshold; of it there are reached, median, not iqm"),
        ("reached(score(depth=4)) > 1", "score is a score"),
    ],
)
def test_what_is_no_claim_is_named(text, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        claims.check(text, TIMES, AXES)


def test_a_claim_and_a_table_of_comparisons_say_the_same():
    a, b = (claims.Sample(np.array([scores]).T, False) for scores in ([1.0, 2.0, 4.0], [1.5, 3.0, 3.5]))
    there, back = claims.gain(a, b), claims.gain(a._replace(higher_is_better=True), b)
    assert there == (-back.value, -back.high, -back.low)


def test_figures_of_a_claim_and_labels():
    assert claims.measures("iqm(score(depth=4)) < 1 and not median(arrival()) > 2") == {"score", "arrival"}
    found = claims.figures("iqm(score(depth=4)) < 1 and better(score(depth=16), score(depth=4))", lookup)
    assert list(found) == ["iqm(score(depth=4))", "better(score(depth=16), score(depth=4))"]
    assert found["better(score(depth=16), score(depth=4))"] is True
    gain = claims.gain(lookup("score", {"depth": "16"}), lookup("score", {"depth": "4"}))
    assert claims.gains("not better(score(depth=16), score(depth=4))", lookup) == {
        "better(score(depth=16), score(depth=4))": gain
    }
    assert [claims.label(value) for value in (True, 4, 0.5, "a b", None)] == ["true", "4", "0.5", "a b", "None"]
    with pytest.raises(claims.NotMeasuredError):
        claims.judge("iqm(score(depth=4, kind=True)) > 0", lookup)


@pytest.mark.parametrize(
    ("text", "joined", "parts"),
    [
        ("not better(a(),\n b())", "", ["not better(a(), b())"]),
        ("iqm(a()) > 1 and (x() or y())", "and", ["iqm(a()) > 1", "x() or y()"]),
        ("x() and y() or z()", "or", ["x() and y()", "z()"]),
    ],
)
def test_parts_of_a_claim_are_those_of_its_outermost_and_or_or(text, joined, parts):
    assert claims.parts(text) == (joined, parts)
