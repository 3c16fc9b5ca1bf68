from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_losses import finite_differences, rows

from goalward import survival
from goalward.losses import masked_mean
from goalward.survival import bin_edges, discounted_lengths

STEP_BINS = (0, 1, 2, 3, 4, 5, 6)  # one bin a step, W = 6
WIDE_BINS = (0, 1, 3, 4, 8)
NO_BIN_OF_ZERO = (0, 3, 4, 9)
ALL_EDGES = [STEP_BINS, WIDE_BINS, NO_BIN_OF_ZERO]

log_likelihood = jax.jit(survival.log_likelihood, static_argnums=2)
value = jax.jit(survival.value, static_argnums=(2, 3))


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def steps_of_bins(edges):
    bins = [list(range(start, stop)) for start, stop in pairwise(edges)]
    bins[-1].append(edges[-1])
    return bins


def naive_log_likelihood(now, hazards, edges, reached, steps):
    """One sample, bin after bin, in float64."""
    if reached and steps == 0:
        return np.log(sigmoid(now))
    total = np.log(1 - sigmoid(now))
    for hazard, inside in zip(sigmoid(hazards), steps_of_bins(edges), strict=True):
        if reached and steps in inside:
            return total + np.log(hazard)
        seen = np.mean([step <= int(steps) for step in inside])
        total += (1 if reached else seen) * np.log(1 - hazard)
    return total


def every_outcome(edges):
    """(reached, steps) of all that may be seen."""
    steps = np.arange(edges[-1] + 1)
    return jnp.repeat(jnp.array([True, False]), len(steps)), jnp.tile(jnp.asarray(steps, jnp.int32), 2)


def bce(logits, targets):
    p = sigmoid(logits)
    return -(targets * np.log(p) + (1 - targets) * np.log(1 - p))


# --- bins ---


@pytest.mark.parametrize(("window", "bins"), [(1000, 32), (1000, 64), (1000, 999), (50, 7), (3, 2), (7, 1)])
def test_geometric_edges_are_distinct_and_go_from_zero_to_the_window(window, bins):
    edges = bin_edges(window, bins)
    assert (edges[0], edges[1], edges[-1]) == (0, 1, window)
    assert np.all(np.diff(edges) > 0)
    assert len(edges) <= bins + 2
    ratios = edges[1:] / window ** (np.arange(bins + 1) / bins)[:, None]
    assert np.all(np.abs(ratios - 1).min(axis=0) <= 0.5)  # each is one of the geometric ones, rounded


def test_as_many_bins_as_steps_are_one_a_step():
    for bins in (20, 30):
        np.testing.assert_array_equal(bin_edges(20, bins), np.arange(21))


def test_thirty_two_bins_of_a_thousand_steps_become_thirty():
    assert len(bin_edges(1000, 32)) - 1 == 30


@pytest.mark.parametrize("discount", [0.9, 0.999, 1.0])
@pytest.mark.parametrize("edges", [*ALL_EDGES, (1, 2, 5, 9)])
def test_discounted_lengths_are_sums_over_steps(edges, discount):
    lengths = [sum(discount**t for t in range(a, b)) for a, b in pairwise(edges)]
    np.testing.assert_allclose(discounted_lengths(edges, discount), lengths, rtol=1e-6)


# --- likelihood ---


@pytest.mark.parametrize("edges", ALL_EDGES)
def test_log_likelihood_is_a_loop_over_bins(edges):
    reached, steps = every_outcome(edges)
    now, hazards = rows(0, len(steps)), 2 * rows(1, len(steps), len(edges) - 1)
    looped = [
        naive_log_likelihood(*one, edges, r, s)
        for one, r, s in zip(zip(now, hazards, strict=True), reached, steps, strict=True)
    ]
    np.testing.assert_allclose(
        log_likelihood(now, hazards, edges, reached, steps), looped, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("edges", ALL_EDGES)
def test_probabilities_of_all_outcomes_sum_to_one(edges):
    """Now, each bin, and never. A bin [0, 1) has a hazard, but none of the outcomes: T = 0 is now."""
    first = np.int32([0, *(inside[-1] for inside in steps_of_bins(edges) if inside[-1] > 0), edges[-1]])
    reached = np.arange(len(first)) < len(first) - 1
    now = np.full(len(first), 0.3, np.float32)
    hazards = np.tile(rows(2, 1, len(edges) - 1), (len(first), 1))
    total = np.exp(log_likelihood(now, hazards, edges, reached, first)).sum()
    impossible = (1 - sigmoid(0.3)) * sigmoid(hazards[0, 0]) if edges[1] == 1 else 0
    assert total + impossible == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("edges", ALL_EDGES)
def test_what_is_beyond_the_window_is_as_at_its_end(edges):
    reached, end = np.array([True, False]), np.full(2, edges[-1], np.int32)
    now, hazards = rows(0, 2), rows(1, 2, len(edges) - 1)
    at_end = log_likelihood(now, hazards, edges, reached, end)
    np.testing.assert_array_equal(log_likelihood(now, hazards, edges, reached, end + 5), at_end)


@pytest.mark.parametrize("edges", ALL_EDGES)
def test_likelihood_gradients_match_finite_differences(edges):
    reached, steps = every_outcome(edges)
    weights = rows(3, len(steps))
    logits = rows(4, len(steps), len(edges))

    def weighted(logits):
        return jnp.sum(weights * survival.log_likelihood(logits[:, 0], logits[:, 1:], edges, reached, steps))

    def naive(logits):
        each = [
            naive_log_likelihood(x[0], x[1:], edges, r, s)
            for x, r, s in zip(logits, reached, steps, strict=True)
        ]
        return np.sum(weights * each)

    gradient = jax.jit(jax.grad(weighted))(logits)
    np.testing.assert_allclose(gradient, finite_differences(naive, logits), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("logit", [-100.0, 100.0])
def test_extreme_logits_have_finite_values_and_gradients(logit):
    edges = bin_edges(50, 50)
    reached, steps = every_outcome(edges)
    now = np.full(len(steps), logit, np.float32)
    hazards = np.full((len(steps), 50), logit, np.float32)

    def total(now, hazards):
        likelihood = survival.log_likelihood(now, hazards, edges, reached, steps)
        return jnp.sum(likelihood) + jnp.sum(survival.value(now, hazards, edges, 0.99))

    found, gradients = jax.jit(jax.value_and_grad(total, (0, 1)))(now, hazards)
    assert np.isfinite(found)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


def test_masked_rows_change_neither_loss_nor_gradient():
    reached, steps = every_outcome(WIDE_BINS)
    size = len(steps)
    mask = np.arange(size) % 3 != 0

    def loss(logits, steps):
        likelihood = survival.log_likelihood(logits[:, 0], logits[:, 1:], WIDE_BINS, reached, steps)
        return -masked_mean(likelihood, jnp.asarray(mask))

    run = jax.jit(jax.value_and_grad(loss))
    logits = rows(5, size, len(WIDE_BINS))
    found, gradient = run(logits, steps)
    other_logits = np.where(mask[:, None], logits, 100 * rows(6, size, len(WIDE_BINS)))
    other, other_gradient = run(other_logits, np.where(mask, steps, 2).astype(np.int32))
    assert found == other > 0
    np.testing.assert_array_equal(gradient, other_gradient)
    assert not np.any(gradient[~mask])
    likelihood = log_likelihood(logits[mask, 0], logits[mask, 1:], WIDE_BINS, reached[mask], steps[mask])
    assert found == pytest.approx(-float(np.mean(likelihood)), rel=1e-5)


# --- a chain whose hazards are known ---

WINDOW, P_NOW = 8, 0.2
STEP_HAZARDS = np.array(
    [0.0, 0.1, 0.3, 0.05, 0.2, 0.25, 0.15, 0.3, 0.4]
)  # of T = 0 … W, given T >= that and T > 0


def seen_of_chain(count, censoring):
    """(reached, steps, how often) of rows whose episodes end after 0 … 12 more steps."""
    random = np.random.default_rng(0)
    hits = random.random((count, WINDOW + 1)) < STEP_HAZARDS
    first = np.where(hits.any(axis=1), hits.argmax(axis=1), WINDOW + 1)
    first = np.where(random.random(count) < P_NOW, 0, first)
    left = np.minimum(random.integers(0, 13, count), WINDOW)
    reached = first <= left
    censored_at = left if censoring == "observed" else WINDOW
    seen = np.stack([reached, np.where(reached, first, censored_at)], axis=1)
    (reached, steps), counts = (x.T for x in np.unique(seen, axis=0, return_counts=True))
    return jnp.asarray(reached, bool), jnp.asarray(steps, jnp.int32), jnp.asarray(counts, jnp.float32)


def fitted(edges, reached, steps, counts):
    """P(T = 0) and the hazards of maximal likelihood, by gradient descent."""
    optimiser = optax.adam(0.1)

    def loss(logits):
        every = jnp.broadcast_to(logits[None], (len(steps), len(edges)))
        likelihood = survival.log_likelihood(every[:, 0], every[:, 1:], edges, reached, steps)
        return -jnp.sum(counts * likelihood) / jnp.sum(counts)

    @jax.jit
    def step(logits, state):
        updates, state = optimiser.update(jax.grad(loss)(logits), state)
        return optax.apply_updates(logits, updates), state

    logits = jnp.zeros(len(edges))
    state = optimiser.init(logits)
    for _ in range(500):
        logits, state = step(logits, state)
    return sigmoid(logits[0]), sigmoid(logits[1:])


def test_maximum_likelihood_recovers_hazards_from_censored_times():
    now, hazards = fitted(tuple(range(WINDOW + 1)), *seen_of_chain(20_000, "observed"))
    assert now == pytest.approx(P_NOW, abs=0.01)
    assert hazards[0] < 0.01  # T = 0 is no event of a bin
    # The last bin holds two steps, of which a row may see one.
    np.testing.assert_allclose(hazards[1:-1], STEP_HAZARDS[1 : WINDOW - 1], atol=0.02)


def test_unseen_taken_for_unreached_within_the_window_makes_hazards_too_small():
    _, hazards = fitted(tuple(range(WINDOW + 1)), *seen_of_chain(20_000, "window"))
    assert np.all(hazards[2:-1] < 0.85 * STEP_HAZARDS[2 : WINDOW - 1])


# --- survival and value ---


def test_survival_is_a_product():
    now, hazards = rows(0, 4), rows(1, 4, 7)
    looped = np.ones((4, 7)) * (1 - sigmoid(now))[:, None]
    for k in range(1, 7):
        looped[:, k] = looped[:, k - 1] * (1 - sigmoid(hazards[:, k - 1]))
    np.testing.assert_allclose(jax.jit(survival.survival)(now, hazards), looped, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 10, 53, 1000])
def test_survival_of_any_number_of_bins(count):
    now, hazards = rows(0, 3), rows(1, 3, count) - 5
    before = np.cumprod(1 - sigmoid(hazards), axis=1)[:, :-1]
    expected = (1 - sigmoid(now))[:, None] * np.concatenate([np.ones((3, 1)), before], axis=1)
    np.testing.assert_allclose(jax.jit(survival.survival)(now, hazards), expected, rtol=1e-4)


def test_value_is_minus_the_discounted_time_until_the_goal():
    """−Σ_{t<W} γᵗ P(T > 0, T ≥ t) of the chain, step by step."""
    discount, alive, total = 0.9, 1 - P_NOW, 0.0
    for t in range(WINDOW):
        total -= discount**t * alive
        alive *= 1 - STEP_HAZARDS[t]
    with np.errstate(divide="ignore"):
        logits = np.maximum(np.log(STEP_HAZARDS / (1 - STEP_HAZARDS)), -100)[:WINDOW]
    now = np.float32([np.log(P_NOW / (1 - P_NOW))])
    found = value(now, np.float32(logits)[None], tuple(range(WINDOW + 1)), discount)
    assert found[0] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("edges", ALL_EDGES)
def test_value_is_a_sum_over_bins_and_its_gradient_matches_finite_differences(edges):
    logits, weights = rows(7, 3, len(edges)), rows(8, 3)

    def naive(logits):
        total = 0.0
        for weight, x in zip(weights, logits, strict=True):
            alive = 1 - sigmoid(x[0])
            for inside, hazard in zip(steps_of_bins(edges), sigmoid(x[1:]), strict=True):
                total -= weight * alive * sum(0.95**t for t in inside if t < edges[-1])
                alive *= 1 - hazard
        return total

    def weighted(logits):
        return jnp.sum(weights * survival.value(logits[:, 0], logits[:, 1:], edges, 0.95))

    found, gradient = jax.jit(jax.value_and_grad(weighted))(logits)
    assert found == pytest.approx(naive(logits), rel=1e-5)
    np.testing.assert_allclose(gradient, finite_differences(naive, logits), rtol=1e-3, atol=1e-5)


def test_value_rises_with_every_hazard_and_lies_between_never_and_there():
    edges = STEP_BINS
    never, there = np.float32([-100.0]), np.float32([100.0])
    none = np.full((1, 6), -100, np.float32)
    assert value(never, none, edges, 0.999)[0] == pytest.approx(-(1 - 0.999**6) / (1 - 0.999), rel=1e-6)
    assert value(there, none, edges, 0.999)[0] == 0
    now, hazards = rows(9, 1), rows(10, 1, 6)
    base = value(now, hazards, edges, 0.999)[0]
    assert value(now + 1, hazards, edges, 0.999)[0] > base
    for k in range(5):  # the last one tells of what comes after the window
        assert value(now, hazards + np.eye(6, dtype=np.float32)[k : k + 1], edges, 0.999)[0] > base


# --- occupancy ---


def occupancy_batch(seed):
    random = np.random.default_rng(seed)
    near = np.float32(random.integers(0, 4, (5, 4)) / 3)
    return rows(seed, 5, 4), near, random.random((5, 4)) < 0.7, np.array([True, True, False, True, False])


def test_occupancy_loss_and_its_gradient():
    logits, near, observed, valid = occupancy_batch(0)
    mask = observed & valid[:, None]
    assert 0 < mask.sum() < mask[valid].size

    def naive(logits):
        return np.mean([bce(logits[i], near[i])[mask[i]].sum() for i in range(5)]) * 5 / mask.sum()

    run = jax.jit(jax.value_and_grad(survival.occupancy_loss))
    loss, gradient = run(logits, near, observed, valid)
    assert loss == pytest.approx(naive(logits), rel=1e-5)
    np.testing.assert_allclose(gradient, finite_differences(naive, logits), atol=1e-5)
    unseen = run(np.where(mask, logits, 50), np.where(mask, near, np.float32(np.nan)), observed, valid)
    assert unseen[0] == loss
    np.testing.assert_array_equal(unseen[1], gradient)


@pytest.mark.parametrize("logit", [-100.0, 100.0])
def test_occupancy_loss_of_extreme_logits_and_of_no_rows(logit):
    _, near, observed, valid = occupancy_batch(1)
    logits = np.full(near.shape, logit, np.float32)
    run = jax.jit(jax.value_and_grad(survival.occupancy_loss))
    loss, gradient = run(logits, near, observed, valid)
    assert np.isfinite(loss)
    assert np.all(np.isfinite(gradient))
    loss, gradient = run(logits, near, observed, np.zeros_like(valid))
    assert loss == 0
    assert not np.any(gradient)


def test_occupancy_value_is_a_discounted_sum_from_the_next_step_on():
    logits = rows(11, 3, 4)
    expected = [
        sum(
            sigmoid(x[k]) * sum(0.9**t for t in range(a, b))
            for k, (a, b) in enumerate(pairwise(WIDE_BINS))
            if k
        )
        for x in logits
    ]
    run = jax.jit(survival.occupancy_value, static_argnums=(1, 2))
    np.testing.assert_allclose(run(logits, WIDE_BINS, 0.9), expected, rtol=1e-5)
    np.testing.assert_allclose(run(logits[:, 1:], WIDE_BINS[1:], 0.9), expected, rtol=1e-5)
