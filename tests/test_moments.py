"""Moments of a stream are those of all its vectors, however it is cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goalward import moments

RANDOM = np.random.default_rng(0)
STREAM = (RANDOM.standard_normal((60, 4)) * [0.1, 1, 30, 0] + [0, 5, -200, 7]).astype(np.float32)


def moments_of(stream, sizes):
    seen, at = moments.init(stream.shape[1]), 0
    for size in sizes:
        seen = moments.add(seen, jnp.asarray(stream[at : at + size]))
        at += size
    return seen


@pytest.mark.parametrize("sizes", [[60], [1] * 60, [7, 50, 3]])
def test_moments_are_those_of_all_that_was_seen(sizes):
    seen = moments_of(STREAM, sizes)
    assert seen.seen == 60
    np.testing.assert_allclose(seen.mean, STREAM.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen.variance, STREAM.var(0), rtol=1e-4, atol=1e-6)


def test_normalised_inputs_have_mean_0_and_deviation_1():
    seen = moments_of(STREAM, [20, 40])
    scaled = np.asarray(jax.jit(moments.normalise)(seen, STREAM))
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(0)[:3], 1, rtol=1e-4)
    np.testing.assert_array_equal(scaled[:, 3], 0)
    np.testing.assert_allclose(moments.normalise(seen, jnp.asarray(STREAM[5])), scaled[5], rtol=1e-6)


def test_what_never_moved_is_held_within_bounds_when_it_does():
    seen = moments_of(STREAM, [60])
    moved = moments.normalise(seen, jnp.asarray(STREAM[0]) + jnp.asarray([0, 0, 0, 0.02]))
    np.testing.assert_allclose(moved[3], 0.02 / moments.LEAST_DEVIATION, rtol=1e-3)
    assert moments.normalise(seen, jnp.asarray(STREAM[0] + 1e6)).max() == moments.BOUND


def test_before_anything_was_seen_inputs_stay_as_they_are():
    x = jnp.asarray([[0.5, -9.0, 3.0]])
    np.testing.assert_array_equal(moments.normalise(moments.init(3), x), x)
