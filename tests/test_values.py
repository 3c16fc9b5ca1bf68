"""Values by regression and by classification: what they say, and what their losses pull them to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goalward import values

BOUNDS, BINS = (-20.0, 0.0), 41
KINDS = {kind: values.make(kind, BOUNDS, BINS) for kind in ("mse", "hl_gauss", "two_hot")}
ALL = pytest.mark.parametrize("kind", KINDS)
# Within, on and between centres and edges, and at both ends.
TARGETS = jnp.asarray([-20.0, -19.9, -12.3, -7.5, -7.25, -0.4, 0.0])


def outputs(kind, seed=0, rows=7):
    return jax.random.normal(jax.random.key(seed), (rows, KINDS[kind].outputs))


@ALL
def test_the_loss_is_least_where_the_value_is_its_target(kind):
    """By descent from anywhere: the mean of the bins is the target, at the ends of the support too."""
    value, out = KINDS[kind], outputs(kind)
    slope = jax.jit(jax.grad(lambda out: jnp.sum(value.loss(out, TARGETS))))
    for _ in range(2_000):
        out = out - (0.1 if kind == "mse" else 2.0) * slope(out)
    np.testing.assert_allclose(value.read(out), TARGETS, atol=0.02)


@ALL
def test_gradients_are_the_slopes_of_the_loss(kind):
    value, out = KINDS[kind], outputs(kind, 1)
    total = jax.jit(lambda out: jnp.sum(value.loss(out, TARGETS)))
    gradient = jax.grad(total)(out)
    squared, step = float(jnp.sum(gradient**2)), 1e-2
    slope = (float(total(out + step * gradient)) - float(total(out - step * gradient))) / (2 * step)
    assert slope == pytest.approx(squared, rel=0.02)


@pytest.mark.parametrize("kind", ["hl_gauss", "two_hot"])
def test_classes_are_those_of_their_definition(kind):
    """The loss is a cross-entropy: linear in log p, with weights that are the target's distribution."""
    value, count = KINDS[kind], KINDS[kind].outputs
    eye = -jnp.log(jnp.float32(count)) * jnp.ones(count)  # equal logits
    low, high = BOUNDS
    for target in (-20.0, -7.3, 0.0):
        given = jnp.full(1, target)
        gradient = jax.grad(lambda out, given=given: value.loss(out[None], given)[0])(eye)
        weights = 1 / count - np.asarray(gradient)  # softmax − p
        if kind == "two_hot":
            centres = np.linspace(low, high, BINS)
            wanted = [max(0.0, 1 - abs(target - c) / ((high - low) / (BINS - 1))) for c in centres]
        else:
            width = (high - low) / BINS
            edges = low + width * (np.arange(count + 1) - 3)
            inner = [np.mean(np.random.default_rng(0).normal(target, 0.75 * width, 200_000) < e) for e in edges]
            wanted = np.diff(inner) / (inner[-1] - inner[0])
        np.testing.assert_allclose(weights, wanted, atol=5e-3)
        assert np.sum(weights) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("kind", ["hl_gauss", "two_hot"])
def test_what_lies_beyond_the_support_is_taken_to_its_end(kind):
    value = KINDS[kind]
    out = outputs(kind, 2, 2)
    np.testing.assert_allclose(
        value.loss(out, jnp.asarray([5.0, -90.0])), value.loss(out, jnp.asarray([0.0, -20.0]))
    )
