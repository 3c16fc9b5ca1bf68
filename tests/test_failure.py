import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_losses import finite_differences, rows

from goalward import failure

DISCOUNT = 0.9
UNIFORM = np.float32((np.arange(20_000) + 0.5) / 20_000)
LOSS = jax.jit(jax.value_and_grad(failure.survival_loss))


def labels_of(left, failed, discount=DISCOUNT):
    size = len(UNIFORM)
    return failure.survival_labels(
        jnp.full(size, left, jnp.int32), jnp.full(size, failed), discount, jnp.asarray(UNIFORM)
    )


def test_mass_weights_are_sums_of_what_is_left_of_the_discounted_future():
    left = np.int32([0, 1, 2, 7, 500, 3, 0])
    failed = np.array([True] * 5 + [False] * 2)
    expected = [sum((1 - DISCOUNT) * DISCOUNT**t for t in range(n)) for n in left[:5]] + [1, 1]
    found = failure.mass_weights(jnp.asarray(left), jnp.asarray(failed), DISCOUNT)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("left", [1, 2, 10])
def test_before_a_failure_the_label_has_the_mass_as_its_mean(left):
    survived, known = labels_of(left, failed=True)
    assert np.all(known)
    assert np.mean(survived) == pytest.approx(1 - DISCOUNT**left, abs=1e-4)


@pytest.mark.parametrize("left", [1, 2, 10])
def test_without_a_failure_rows_are_known_to_survive_as_far_as_they_go(left):
    survived, known = labels_of(left, failed=False)
    assert np.all(survived)
    assert np.mean(known) == pytest.approx(1 - DISCOUNT ** (left + 1), abs=1e-4)


def test_last_rows_say_nothing():
    for failed in (True, False):
        assert not np.any(labels_of(0, failed)[1])


def test_near_a_discount_of_one_and_at_the_ends_of_the_uniform_law():
    ends = jnp.asarray([0, 1 - 2**-24], jnp.float32)
    survived, known = failure.survival_labels(jnp.full(2, 900, jnp.int32), jnp.ones(2, bool), 0.999, ends)
    np.testing.assert_array_equal(survived, [True, False])
    assert np.all(known)
    assert np.mean(labels_of(900, failed=True, discount=0.999)[0]) == pytest.approx(1 - 0.999**900, abs=1e-3)


def test_loss_is_a_loop_over_known_labels_and_its_gradient_matches_finite_differences():
    logit, survived = rows(0, 6), np.array([True, False, True, True, False, False])
    known = np.array([True, True, False, True, False, True])

    def naive(logit):
        p = 1 / (1 + np.exp(-logit))
        return -sum(np.log(p[i] if survived[i] else 1 - p[i]) for i in range(6) if known[i]) / known.sum()

    loss, gradient = LOSS(logit, survived, known)
    assert loss == pytest.approx(naive(np.float64(logit)), rel=1e-5)
    np.testing.assert_allclose(gradient, finite_differences(naive, logit), atol=1e-5)
    other = LOSS(np.where(known, logit, 60).astype(np.float32), survived ^ ~known, known)
    assert other[0] == loss
    np.testing.assert_array_equal(other[1], gradient)


def test_loss_is_least_where_the_critic_gives_the_mass():
    survived, known = labels_of(5, failed=True)
    mass = 1 - DISCOUNT**5
    logit = np.full(len(UNIFORM), np.log(mass / (1 - mass)), np.float32)
    assert abs(np.sum(LOSS(logit, survived, known)[1])) < 1e-4
    np.testing.assert_allclose(failure.log_mass(jnp.asarray(logit[:3])), np.log(mass), rtol=1e-5)


def test_extreme_logits_and_no_known_row():
    logit, survived = np.float32([100, -100, 100, -100]), np.array([True, True, False, False])
    loss, gradient = LOSS(logit, survived, np.ones(4, bool))
    assert loss == pytest.approx(50)
    np.testing.assert_allclose(gradient, [0, -0.25, 0.25, 0], atol=1e-6)
    np.testing.assert_allclose(failure.log_mass(jnp.asarray(logit)), [0, -100, 0, -100], atol=1e-6)
    loss, gradient = LOSS(logit, survived, np.zeros(4, bool))
    assert loss == 0
    assert not np.any(gradient)
