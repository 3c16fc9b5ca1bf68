"""Measures of runs, and verdicts on predictions, on runs made up by hand."""

import numpy as np
import pytest

from goalward.lab import claims, results, study
from goalward.lab.study import Part

ROWS = [
    {"updates": u, "env_steps": 10 * u, "success_rate": s, "final_distance": d}
    for u, s, d in [(0, 0.0, 4.0), (10, 0.2, 3.0), (30, 0.6, 1.0), (40, 0.4, 2.0)]
]


def test_measures_by_hand():
    last2 = Part("final", {"metric": "success_rate", "last": 2})
    assert results.final(last2, ROWS) == pytest.approx(0.5)
    assert results.final(last2, ROWS[:2]) == 0.2, "the evaluation before training does not count"
    assert results.final(last2, ROWS[:1]) == 0.0
    by_updates = Part("area", {"metric": "success_rate", "clock": "updates"})
    assert results.area(by_updates, ROWS) == pytest.approx((10 * 0.1 + 20 * 0.4 + 10 * 0.5) / 40)
    assert results.area(by_updates, ROWS[:1]) == 0.0
    half = Part("reached", {"metric": "success_rate", "at_least": 0.5, "clock": "env_steps"})
    assert results.reached(half, ROWS) == (300.0, True)
    assert results.reached(half, ROWS[:2]) == (100.0, False)
    leaves = [*ROWS, ROWS[0] | {"updates": 50, "env_steps": 500}]  # that it is left again does not count
    assert results.reached(half, leaves) == (300.0, True)
    near = Part("reached", {"metric": "final_distance", "at_least": 1.5, "clock": "updates"})
    assert results.reached(near, ROWS) == (30.0, True)


def made_up(success, partly=None, depths="[4, 8]"):
    document = {
        "question": "?",
        "base": {"env": "point_u_maze"},
        "axes": {"depth": [4, 8], "env": ["point_u_maze", "point_u2_maze"], "seed": "0..2"},
        "measures": {
            "score": {"kind": "final", "metric": "success_rate", "last": 1},
            "when": {"kind": "reached", "metric": "success_rate", "at_least": 0.5},
        },
        "prediction": {"text": "!", "success": success, **({"partly": partly} if partly else {})},
        "scales": {"laptop": {}},
    }
    return study.build(document, "made_up", study.Source("x", "", "laptop"))


def rows_of(trial):
    depth, seed, second = (
        int(trial.labels["depth"]),
        int(trial.labels["seed"]),
        trial.labels["env"] != "point_u_maze",
    )
    return [{"updates": 100 + seed, "success_rate": depth / 10 + seed / 100 + second / 1000}]


def measured(found, without=()):
    rows = {trial.name: rows_of(trial) for trial in found.trials if trial.name not in without}
    return results.measure(found, rows, {})


def test_a_sample_has_a_column_for_each_task():
    found = measured(made_up("iqm(score(depth=8)) > 0"))
    sample = found.sample("score", {"depth": "8"})
    np.testing.assert_allclose(sample.scores, [[0.8, 0.801], [0.81, 0.811], [0.82, 0.821]])
    assert found.of("score", {"depth": "4", "seed": "1"}) == pytest.approx([0.41, 0.411])
    assert found.sample("when", {"depth": "4"}).arrivals.arrived.tolist() == [False] * 6


@pytest.mark.parametrize(
    ("success", "partly", "outcome"),
    [
        ("iqm(score(depth=8)) > iqm(score(depth=4))", None, "success"),
        ("iqm(score(depth=8)) > 3 * iqm(score(depth=4))", "better(score(depth=8), score(depth=4))", "partly"),
        ("iqm(score(depth=8)) > 3 * iqm(score(depth=4))", None, "failure"),
        ("reached(when(depth=8)) == 1", "iqm(score(depth=8)) > 3 * iqm(score(depth=4))", "success"),
    ],
)
def test_verdicts(success, partly, outcome):
    verdict = results.judge(measured(made_up(success, partly)))
    assert verdict is not None
    assert verdict.outcome == outcome
    assert all(isinstance(value, (float, bool)) for value in verdict.figures.values())


def test_missing_runs_decide_nothing():
    found = made_up("iqm(score(depth=8)) > 0")
    missing = next(trial.name for trial in found.trials if trial.labels["depth"] == "8")
    incomplete = measured(found, [missing])
    verdict = results.judge(incomplete)
    assert verdict == ("undecided", {}, "1 of 3 runs of depth=8, env=point_u_maze are missing")
    with pytest.raises(claims.NotMeasuredError):
        incomplete.sample("score", {"depth": "8"})
    assert results.judge(incomplete._replace(study=found._replace(prediction=None))) is None
    assert len(incomplete.of("score", {"depth": "8"})) == 5
