"""Statistics of few runs, against cases worked by hand and exact enumerations."""

import itertools

import numpy as np
import pytest

from goalward.lab import statistics as st

FIVE = [0.0, 1.0, 2.0, 3.0, 100.0]


def test_the_iqm_of_five_runs_is_the_mean_of_the_middle_three():
    assert st.iqm(FIVE) == pytest.approx(2.0)
    # Of two tasks the runs are put together first: 10 numbers, two left out at each end.
    both = np.stack([FIVE, [10.0, 11.0, 12.0, 13.0, 14.0]], axis=1)
    assert st.iqm(both) == pytest.approx(np.mean([2, 3, 10, 11, 12, 13]))
    assert st.iqm(np.stack([both, both + 1])).tolist() == pytest.approx([8.5, 9.5])


def test_the_bootstrap_of_a_mean_has_the_quantiles_of_all_its_resamples():
    scores = [0.0, 1.0, 5.0]
    exact = sorted(np.mean(drawn) for drawn in itertools.product(scores, repeat=3))
    found = st.interval(scores, st.mean, draws=200_000)
    assert found.value == pytest.approx(2.0)
    assert found.low == pytest.approx(np.quantile(exact, 0.025, method="inverted_cdf"))
    assert found.high == pytest.approx(np.quantile(exact, 0.975, method="inverted_cdf"))
    assert found == st.interval(scores, st.mean, draws=200_000)  # the same scores, the same interval


def test_runs_are_drawn_again_within_their_task():
    """Two tasks far apart, each without spread: an interval across tasks would be wide."""
    found = st.interval(np.array([[0.0, 100.0]] * 4), st.mean)
    assert found == st.Interval(50.0, 50.0, 50.0)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    random = np.random.default_rng(1)
    samples = random.normal(size=(200, 20))
    found = [st.interval(sample, st.mean, draws=500) for sample in samples]
    assert 0.86 < np.mean([one.low <= 0 <= one.high for one in found]) < 0.98


def test_the_probability_of_improvement_is_the_share_of_pairs():
    a, b = [1.0, 2.0, 3.0], [0.0, 2.0]
    # Pairs: 1 > 0, 1 < 2, 2 > 0, 2 = 2, 3 > 0, 3 > 2.
    assert st.improvement(a, b).value == pytest.approx(4.5 / 6)
    assert st.improvement(b, a).value == pytest.approx(1.5 / 6)
    tasks = np.stack([a, [0.0, 0.0, 0.0]], axis=1), np.stack([b, [1.0, 1.0]], axis=1)
    assert st.improvement(*tasks).value == pytest.approx(4.5 / 12)
    assert st.improvement([1.0] * 5, [0.0] * 5) == st.Interval(1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="a has 2 tasks and b 1; compare the same ones"):
        st.improvement(tasks[0], b)


def test_a_profile_is_the_share_of_runs_above_each_threshold():
    share, band = st.profile(np.array([[0.1, 0.9], [0.3, 0.9]]), [0.0, 0.2, 0.5, 1.0])
    assert share.tolist() == [1.0, 0.75, 0.5, 0.0]
    assert band.shape == (2, 4)
    assert np.all(band[0] <= share)
    assert np.all(share <= band[1])


def test_arrivals_and_runs_that_never_arrive():
    found = st.Arrivals(np.array([20.0, 40.0, 20.0]), np.array([True, True, False]))
    # Of three at 20 one arrives; of the one left at 40, it does: 1 − 2/3, then 1 − 2/3 · 0.
    np.testing.assert_allclose(found.share_by([0, 20, 39, 40]), [0, 1 / 3, 1 / 3, 1])
    assert found.median() == 40
    assert st.Arrivals(found.times, np.zeros(3, bool)).median() is None


def test_better_is_said_only_where_the_interval_of_the_difference_excludes_zero():
    clearly = st.difference([5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 1.5])
    assert st.verdict(clearly) == "better"
    assert st.verdict(st.difference([1.0, 2.0, 3.0, 1.5], [5.0, 6.0, 7.0, 8.0])) == "worse"
    assert st.verdict(st.difference([1.0, 9.0, 3.0], [2.0, 4.0, 5.0])) == "no difference shown"


@pytest.mark.parametrize("scores", [[], [np.nan, 1.0], np.zeros((0, 2))])
def test_no_scores_and_nan_are_refused(scores):
    with pytest.raises(ValueError, match="at least one run of one task"):
        st.interval(scores)


# --- against another implementation ---

# Scores (runs, tasks), equal ones among them, and what rliable 1.2.0 (arch 7.2.0, NumPy 2.4.6) makes of them:
# metrics.aggregate_iqm and metrics.probability_of_improvement, with library.get_interval_estimates (50,000
# and 20,000 resamples), and library.create_performance_profile (20,000 resamples).
A = np.array([[12.0, 0.91, 3.0], [48.5, 0.40, 3.0], [31.0, 0.77, 5.5], [7.25, 0.83, 9.0], [39.0, 0.12, 4.0]])
B = np.array([
    [10.0, 0.55, 3.0], [22.0, 0.40, 4.5], [31.0, 0.35, 2.0], [5.5, 0.60, 6.0],
    [18.0, 0.05, 4.0], [27.0, 0.30, 1.0], [3.0, 0.71, 2.5],
])  # fmt: skip
THRESHOLDS = [0.0, 0.4, 0.8, 3.0, 5.0, 20.0, 40.0]
RLIABLE = {
    "a": {
        "scores": A,
        "iqm": (5.054444444444445, 3.80444444, 10.74888889),
        "profile": [1.0, 13 / 15, 12 / 15, 8 / 15, 7 / 15, 3 / 15, 1 / 15],
        "band": [
            [1.0, 11 / 15, 10 / 15, 6 / 15, 5 / 15, 1 / 15, 0.0],
            [1.0, 15 / 15, 14 / 15, 10 / 15, 9 / 15, 5 / 15, 3 / 15],
        ],
    },
    "b": {
        "scores": B,
        "iqm": (2.982727272727273, 2.16454545, 5.17454545),
        "profile": [1.0, 17 / 21, 14 / 21, 9 / 21, 7 / 21, 3 / 21, 0.0],
        "band": [
            [1.0, 15 / 21, 14 / 21, 6 / 21, 5 / 21, 1 / 21, 0.0],
            [1.0, 20 / 21, 14 / 21, 12 / 21, 10 / 21, 6 / 21, 0.0],
        ],
    },
}  # fmt: skip
A_OVER_B = (0.719047619047619, 0.52380952, 0.88571429)


@pytest.mark.parametrize("golden", RLIABLE.values(), ids=RLIABLE)
def test_aggregates_are_those_of_rliable(golden):
    """Intervals but for the draws: the IQM's to 2%, the profile's, which are whole runs, to one run."""
    scores = golden["scores"]
    found = st.interval(scores)
    assert found.value == pytest.approx(golden["iqm"][0], rel=1e-12)
    assert found[1:] == pytest.approx(golden["iqm"][1:], rel=0.02)
    share, band = st.profile(scores, THRESHOLDS)
    np.testing.assert_allclose(share, golden["profile"], rtol=1e-12)
    np.testing.assert_allclose(band, golden["band"], rtol=0, atol=1 / scores.size + 1e-9)


def test_the_probability_of_improvement_is_that_of_rliable():
    assert st.improvement(A, B) == pytest.approx(A_OVER_B, abs=0.02)
    assert st.improvement(A, B).value == pytest.approx(A_OVER_B[0], rel=1e-12)
    assert st.improvement(B, A).value == pytest.approx(0.2809523809523809, rel=1e-12)
