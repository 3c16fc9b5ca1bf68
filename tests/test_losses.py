import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goalward import quasimetrics
from goalward.losses import (
    DISTANCE_EPSILON,
    ENERGIES,
    OBJECTIVES,
    actor_loss,
    contrastive_metrics,
    logsumexp_penalty,
    masked_mean,
    temperature_loss,
)

PAIRED = {name: jax.jit(energy.paired) for name, energy in ENERGIES.items()}
PAIRWISE = {name: jax.jit(energy.pairwise) for name, energy in ENERGIES.items()}
OBJECTIVE = {name: jax.jit(objective) for name, objective in OBJECTIVES.items()}


def rows(seed, *shape):
    return np.float32(np.random.default_rng(seed).standard_normal(shape))


# --- the definitions, as plain loops in float64 ---


def union_length(intervals):
    """Of intervals (start, end), by their merging one after the other."""
    total, reach = 0.0, -np.inf
    for start, end in sorted(intervals):
        total += max(0.0, end - max(start, reach))
        reach = max(reach, end)
    return total


def interval_distance(x, y):
    lengths = [
        union_length([(x[k], max(x[k], y[k])) for k in range(group, group + 8)])
        for group in range(0, len(x), 8)
    ]
    return np.mean(lengths) / 2 + max(lengths) / 2


def residual_distance(x, y):
    half = len(x) // 2
    near = np.sqrt(((x[:half] - y[:half]) ** 2).sum() + DISTANCE_EPSILON)
    return near + max(0.0, *(x[half:] - y[half:]))


def energy_of_two(name, phi, psi):
    phi, psi = np.asarray(phi, np.float64), np.asarray(psi, np.float64)
    return {
        "l2": lambda: -np.sqrt(((phi - psi) ** 2).sum() + DISTANCE_EPSILON),
        "sq_l2": lambda: -((phi - psi) ** 2).sum(),
        "dot": lambda: (phi * psi).sum(),
        "scaled_dot": lambda: (phi * psi).sum() / np.sqrt(len(phi)),
        "cosine": lambda: (phi * psi).sum() / np.linalg.norm(phi) / np.linalg.norm(psi),
        "mrn": lambda: -residual_distance(phi, psi),
        "iqe": lambda: -interval_distance(phi, psi),
    }[name]()


def log_sum_exp(values):
    return np.log(sum(np.exp(value) for value in values))


def log_sigmoid(value):
    return -np.log(1 + np.exp(-value))


def forward(logits):
    size = len(logits)
    return -sum(logits[i, i] - log_sum_exp(logits[i, j] for j in range(size)) for i in range(size)) / size


def backward(logits):
    size = len(logits)
    return -sum(logits[j, j] - log_sum_exp(logits[i, j] for i in range(size)) for j in range(size)) / size


def binary(logits):
    size, total = len(logits), 0.0
    for i in range(size):
        total += log_sigmoid(logits[i, i])
        for j in range(size):
            if j != i:
                total += log_sigmoid(-logits[i, j]) / (size - 1)
    return -total / size


NAIVE_OBJECTIVES = {
    "info_nce": forward,
    "backward_info_nce": backward,
    "symmetric_info_nce": lambda logits: (forward(logits) + backward(logits)) / 2,
    "binary_nce": binary,
}


def naive_penalty(logits):
    return sum(log_sum_exp(row) ** 2 for row in logits) / len(logits)


def finite_differences(function, x, step=1e-5):
    """Central differences of a scalar function of a float64 array, element by element."""
    x, gradient = np.array(x, np.float64), np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        there, here = x.copy(), x.copy()
        there[index] += step
        here[index] -= step
        gradient[index] = (function(there) - function(here)) / (2 * step)
    return gradient


# --- energies ---


@pytest.mark.parametrize("name", ENERGIES)
@pytest.mark.parametrize("origin", [0.0, 100.0])
def test_pairwise_is_a_double_loop_over_paired(name, origin):
    phi, psi = origin + rows(0, 4, 16), origin + rows(1, 6, 16)
    looped = [[PAIRED[name](phi[i : i + 1], psi[j : j + 1])[0] for j in range(6)] for i in range(4)]
    np.testing.assert_allclose(PAIRWISE[name](phi, psi), looped, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name", ENERGIES)
def test_paired_is_its_definition(name):
    phi, psi = rows(0, 4, 16), rows(1, 4, 16)
    expected = [energy_of_two(name, p, q) for p, q in zip(phi, psi, strict=True)]
    np.testing.assert_allclose(PAIRED[name](phi, psi), expected, rtol=1e-5, atol=1e-6)


def near_rows(spread):
    """64 rows of norm about 10, half of them with a partner that is equal or 1e-3 away."""
    common = rows(0, 1, 64)
    psi = common * (10 / np.linalg.norm(common)) * (spread < 1) + rows(1, 64, 64) * (spread / 8)
    step = rows(2, 64, 64)
    phi = psi + 1e-3 * step / np.linalg.norm(step, axis=1, keepdims=True)
    phi[:32] = psi[:32]
    return np.float32(phi), np.float32(psi)


@pytest.mark.parametrize(
    ("spread", "tolerance"),
    [
        # Rounding of ‖φ‖² ≈ 100 leaves up to 2e-4 in the square: 1.5e-2 of distance, 0.15 % of the norm.
        pytest.param(10.0, 1.5e-2, id="scattered"),
        # A common offset costs nothing: the centre is moved to 0 first.
        pytest.param(0.1, 5e-5, id="clustered"),
    ],
)
def test_pairwise_l2_is_accurate_near_zero(spread, tolerance):
    phi, psi = near_rows(spread)
    assert 9 < np.median(np.linalg.norm(psi, axis=1)) < 11
    difference = phi.astype(np.float64)[:, None] - psi.astype(np.float64)[None, :]
    exact = -np.sqrt((difference**2).sum(-1) + DISTANCE_EPSILON)
    assert exact.diagonal().min() > -2e-3
    np.testing.assert_allclose(PAIRWISE["l2"](phi, psi), exact, atol=tolerance)


@pytest.mark.parametrize("name", ["l2", "sq_l2"])
def test_gradient_of_a_distance_is_zero_where_representations_meet(name):
    same = jnp.asarray(3 * rows(0, 5, 8))
    paired = jax.jit(jax.grad(lambda phi: jnp.sum(ENERGIES[name].paired(phi, same))))(same)
    np.testing.assert_array_equal(paired, 0)
    pairwise = jax.jit(jax.grad(lambda phi: jnp.sum(ENERGIES[name].pairwise(phi, same[:1]))))(same[:1])
    np.testing.assert_array_equal(pairwise, 0)
    coincident = jax.jit(jax.grad(lambda phi: jnp.sum(ENERGIES[name].pairwise(phi, same))))(same)
    assert np.all(np.isfinite(coincident))


@pytest.mark.parametrize("name", ENERGIES)
def test_energy_gradients_match_finite_differences(name):
    """Of a weighted sum of all pairwise energies and all paired ones, for φ and for ψ."""
    phi, psi, weights = rows(0, 3, 16), rows(1, 3, 16), rows(2, 3, 3)
    energy = ENERGIES[name]

    def weighted(phi, psi):
        return jnp.sum(weights * energy.pairwise(phi, psi)) + jnp.sum(weights[0] * energy.paired(phi, psi))

    def naive(phi, psi):
        table = np.array([[energy_of_two(name, p, q) for q in psi] for p in phi])
        return (weights * table).sum() + (weights[0] * table.diagonal()).sum()

    by_phi, by_psi = jax.jit(jax.grad(weighted, (0, 1)))(phi, psi)
    np.testing.assert_allclose(by_phi, finite_differences(lambda x: naive(x, psi), phi), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(by_psi, finite_differences(lambda x: naive(phi, x), psi), rtol=1e-3, atol=1e-4)


METRICS = pytest.mark.parametrize("name", ["l2", "mrn", "iqe"])


@METRICS
def test_a_way_through_another_point_is_not_shorter(name):
    x, y, z = (2 * rows(seed, 500, 16) for seed in range(3))
    x[:100], z[100:200] = y[:100], y[100:200]
    near = 0.2 * rows(3, 100, 16)
    y[200:300] = x[200:300] + near
    direct = -PAIRED[name](x, z)
    assert np.all(direct <= -PAIRED[name](x, y) - PAIRED[name](y, z) + 1e-5)


@METRICS
def test_a_distance_is_none_to_oneself_and_at_least_that_to_others(name):
    x, y = rows(0, 200, 16), rows(1, 200, 16)
    own = np.sqrt(DISTANCE_EPSILON) if name != "iqe" else 0.0
    np.testing.assert_allclose(-PAIRED[name](x, x), own, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(np.diagonal(-PAIRWISE[name](x, x)), own, atol=2e-3)
    assert np.all(-PAIRWISE[name](x, y) >= own)


# From 0 to 1 in the second half: MRN's first half stays where it is; IQE's eight equal intervals are one.
@pytest.mark.parametrize(("name", "there", "back"), [("mrn", 1e-3, 1.001), ("iqe", (1 / 2 + 1) / 2, 0.0)])
def test_back_may_be_further_than_there(name, there, back):
    low = np.zeros((1, 16), np.float32)
    high = np.float32([[0] * 8 + [1] * 8])
    assert -PAIRED[name](low, high)[0] == pytest.approx(there, rel=1e-4)
    assert -PAIRED[name](high, low)[0] == pytest.approx(back, rel=1e-4, abs=1e-7)


def test_intervals_that_touch_overlap_or_lie_apart_are_counted_once():
    x = np.float32([[0, 0.5, 2, 2, 5, 5, 9, 3]])
    # [0, 1], within it, [2, 3], within it, none, [5, 6], none, [3, 3.5]
    y = np.float32([[1, 0.7, 3, 2.5, 4, 6, 9, 3.5]])
    assert -PAIRED["iqe"](x, y)[0] == pytest.approx(1 + 1.5 + 1)
    assert -PAIRED["iqe"](x + 7, y + 7)[0] == pytest.approx(3.5)


def test_the_derivative_of_a_union_is_that_of_its_formula():
    starts, ends, weights = np.sort(2 * rows(0, 8, 40), axis=0), 2 * rows(1, 8, 40, 50), rows(2, 40, 50)

    def derivative(union):
        return jax.jit(jax.grad(lambda *at: jnp.sum(weights * union(*at)), (0, 1)))(starts, ends)

    own, formula = derivative(quasimetrics.union), derivative(quasimetrics.union.fun)
    np.testing.assert_allclose(own[0], formula[0], atol=1e-5)
    np.testing.assert_array_equal(own[1], formula[1])


@pytest.mark.parametrize("name", ["mrn", "iqe"])
def test_the_backward_pass_keeps_no_array_of_all_pairs_and_dimensions(name):
    shape = jax.ShapeDtypeStruct((32, 64), jnp.float32)
    _, backward = jax.eval_shape(lambda phi, psi: jax.vjp(ENERGIES[name].pairwise, phi, psi), shape, shape)
    assert sum(leaf.size for leaf in jax.tree.leaves(backward)) < 4 * 32**2 + 4 * 32 * 64


# --- objectives ---


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_is_its_definition(name):
    logits = 3 * rows(3, 5, 5)
    assert OBJECTIVE[name](logits) == pytest.approx(NAIVE_OBJECTIVES[name](logits), rel=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_gradient_matches_finite_differences(name):
    logits = 2 * rows(4, 4, 4)
    gradient = jax.jit(jax.grad(OBJECTIVES[name]))(logits)
    np.testing.assert_allclose(gradient, finite_differences(NAIVE_OBJECTIVES[name], logits), atol=1e-5)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective_is_finite_for_large_logits(name):
    logits = 1e4 * rows(5, 4, 4)
    assert np.isfinite(OBJECTIVE[name](logits))


def test_every_objective_is_lower_for_right_pairs_and_has_negatives():
    right = 5 * np.eye(4, dtype=np.float32)
    more_negative = right - np.float32([[0, 3, 0, 0], *[[0] * 4] * 3])
    for objective in OBJECTIVE.values():
        assert objective(right) < objective(right[::-1])
        assert objective(more_negative) < objective(right)


def test_backward_is_forward_of_the_transpose():
    logits = rows(6, 5, 5)
    backward_of, forward_of = OBJECTIVE["backward_info_nce"], OBJECTIVE["info_nce"]
    assert backward_of(logits) == pytest.approx(float(forward_of(logits.T)), rel=1e-6)
    assert abs(backward_of(logits) - forward_of(logits)) > 1e-2


def test_logsumexp_penalty_and_its_gradient():
    logits = 2 * rows(7, 4, 4)
    value, gradient = jax.jit(jax.value_and_grad(logsumexp_penalty))(logits)
    assert value == pytest.approx(naive_penalty(logits), rel=1e-5)
    np.testing.assert_allclose(gradient, finite_differences(naive_penalty, logits), atol=1e-5)


def test_metrics_of_a_small_matrix_by_hand():
    e = np.exp(1)
    logits = np.float32([[1, 0, 0], [2, 1, 0], [0, 0, 1]])  # rows 0 and 2 pick the right goal
    metrics = jax.jit(contrastive_metrics)(logits)
    assert set(metrics) == {"accuracy", "positive_logit", "negative_logit", "logsumexp"}
    assert metrics["accuracy"] == pytest.approx(2 / 3)
    assert metrics["positive_logit"] == pytest.approx(1)
    assert metrics["negative_logit"] == pytest.approx(2 / 6, rel=1e-5)
    expected = (2 * np.log(e + 2) + np.log(e**2 + e + 1)) / 3
    assert metrics["logsumexp"] == pytest.approx(expected, rel=1e-5)


# --- actor and temperature ---


def test_actor_loss_is_scaled_log_prob_minus_energy():
    log_prob, energy = jnp.array([1.0, -2.0, 4.0]), jnp.array([-3.0, -1.0, -2.0])
    value, gradients = jax.value_and_grad(actor_loss, (0, 1))(log_prob, energy, jnp.float32(0.5))
    assert value == pytest.approx((0.5 * 1 + 3 - 0.5 * 2 + 1 + 0.5 * 4 + 2) / 3)
    np.testing.assert_allclose(gradients[0], 0.5 / 3, rtol=1e-6)
    np.testing.assert_allclose(gradients[1], -1 / 3, rtol=1e-6)


@pytest.mark.parametrize(("entropy", "target"), [(1.0, -1.0), (-3.0, -1.0)])
def test_temperature_falls_while_entropy_is_above_its_target(entropy, target):
    gradient = jax.jit(jax.grad(temperature_loss, (0, 1)), static_argnums=2)
    by_log_alpha, by_entropy = gradient(jnp.float32(0.3), jnp.float32(entropy), target)
    assert np.sign(by_log_alpha) == np.sign(entropy - target)  # descent moves log α the other way
    assert by_log_alpha == pytest.approx(np.exp(0.3) * (entropy - target), rel=1e-5)
    assert by_entropy == 0  # the policy is not trained by this loss


def test_masked_mean_is_of_what_is_left_and_zero_of_nothing():
    values, mask = jnp.array([1.0, jnp.nan, 5.0]), jnp.array([True, False, True])
    assert masked_mean(values, mask) == 3
    assert masked_mean(values, jnp.zeros(3, bool)) == 0
    np.testing.assert_array_equal(jax.grad(masked_mean)(values, mask), [0.5, 0, 0.5])
