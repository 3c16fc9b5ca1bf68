import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_losses import finite_differences, rows

from goalward.distances import separation, time_regression
from goalward.losses import DISTANCE_EPSILON, ENERGIES

SIZE, SCALE = 6, 0.3
EVENTS = np.array([True, False, True, True, False, True])
STEPS = np.int32([2, 3, 0, 5, 1, 9])
APART = np.random.default_rng(3).random((SIZE, SIZE)) < 0.6
UNREACHED = np.array([False, True, False, False, True, False])

regression = jax.jit(jax.value_and_grad(time_regression), static_argnums=1)
repulsion = jax.jit(jax.value_and_grad(separation), static_argnums=1)


def naive_regression(distance):
    errors = [distance[i] - SCALE * STEPS[i] for i in range(SIZE) if EVENTS[i] and STEPS[i] >= 1]
    return sum(0.5 * e**2 if abs(e) <= 1 else abs(e) - 0.5 for e in errors) / len(errors)


def naive_separation(distances, margin):
    total, count = 0.0, 0
    for i in range(SIZE):
        for j in range(SIZE):
            if UNREACHED[i] if i == j else APART[i, j]:
                total += max(0.0, margin - distances[i, j])
                count += 1
    return total / count


def distances_from(seed, *shape):
    return np.abs(rows(seed, *shape))


def test_time_regression_is_a_loop_over_events_and_its_gradient_matches_finite_differences():
    distance = distances_from(0, SIZE)
    errors = np.abs(distance - SCALE * STEPS)[EVENTS & (STEPS > 0)]
    assert errors.min() < 1 < errors.max()  # both branches of Huber's loss
    loss, gradient = regression(distance, SCALE, EVENTS, STEPS)
    assert loss == pytest.approx(naive_regression(distance), rel=1e-5)
    np.testing.assert_allclose(gradient, finite_differences(naive_regression, distance), atol=1e-5)


def test_time_regression_does_not_see_other_rows():
    distance = distances_from(0, SIZE)
    counted = EVENTS & (STEPS > 0)
    other = regression(
        np.where(counted, distance, 77), SCALE, EVENTS, np.where(EVENTS, STEPS, 4).astype(np.int32)
    )
    loss, gradient = regression(distance, SCALE, EVENTS, STEPS)
    assert other[0] == loss
    np.testing.assert_array_equal(other[1], gradient)
    assert not np.any(gradient[~counted])


def test_separation_is_a_double_loop_and_its_gradient_matches_finite_differences():
    distances, margin = distances_from(1, SIZE, SIZE), 1.0
    loss, gradient = repulsion(distances, margin, APART, UNREACHED)
    assert loss == pytest.approx(naive_separation(distances, margin), rel=1e-5)
    expected = finite_differences(lambda x: naive_separation(x, margin), distances)
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
    assert np.any(gradient.diagonal())
    assert np.all(gradient <= 0)  # it only pushes away


def test_separation_does_not_see_other_pairs():
    distances = distances_from(1, SIZE, SIZE)
    seen = np.where(np.eye(SIZE, dtype=bool), UNREACHED[:, None], APART)
    others = repulsion(np.where(seen, distances, 0), 1.0, APART ^ np.eye(SIZE, dtype=bool), UNREACHED)
    loss, gradient = repulsion(distances, 1.0, APART, UNREACHED)
    assert others[0] == loss
    np.testing.assert_array_equal(others[1], gradient)


def test_nothing_to_learn_from_is_zero():
    none = np.zeros(SIZE, bool)
    for loss, gradient in (
        regression(distances_from(0, SIZE), SCALE, none, STEPS),
        repulsion(distances_from(1, SIZE, SIZE), 1.0, np.zeros((SIZE, SIZE), bool), none),
    ):
        assert loss == 0
        assert not np.any(gradient)


def test_both_gradients_reach_the_representations():
    """Through distances of equal and of different rows; d = √(‖φ − ψ‖² + ε)."""
    phi, psi = rows(4, SIZE, 3) / 2, rows(5, SIZE, 3) / 2
    phi[1] = psi[1]

    apart, unreached, events, steps = (jnp.asarray(x) for x in (APART, UNREACHED, EVENTS, STEPS))
    goals = jnp.asarray(psi)

    def loss(phi):
        near = time_regression(-ENERGIES["l2"].paired(phi, goals), SCALE, events, steps)
        return near + separation(-ENERGIES["l2"].pairwise(phi, goals), 1.5, apart, unreached)

    def naive(phi):
        distances = np.sqrt(((phi[:, None] - psi[None]) ** 2).sum(-1) + DISTANCE_EPSILON)
        return naive_regression(distances.diagonal()) + naive_separation(distances, 1.5)

    gradient = jax.jit(jax.grad(loss))(phi)
    expected = finite_differences(naive, phi, step=1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-3)
