import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from goalward.agents.core import architectures
from goalward.config import NetworkConfig
from goalward.errors import UserError
from goalward.networks import LOG_STD_MAX, LOG_STD_MIN, Actor, Critic, block_norms, sample_action
from goalward.trunks import ACTIVATIONS, Architecture, Layer, LayerNorm, Trunk, check_depth

KEY = jax.random.key(0)
IN, OUT = 3, 5
SMALL = Architecture(depth=4, width=8, block_size=2)
DEEP = SMALL._replace(depth=14)
SCALED = [{"residual_scale": "inverse_sqrt_blocks"}, {"residual_scale": "inverse_blocks"}]
X = jnp.array([0.5, -1.2, 0.3])

ACTIVATIONS_FLOAT64 = {
    "swish": lambda x: x / (1 + np.exp(-x)),
    "relu": lambda x: np.maximum(x, 0),
    # JAX's default is the tanh approximation, within 1e-3 of the exact form.
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "tanh": np.tanh,
}


SCALES = {"one": lambda n: 1.0, "inverse_sqrt_blocks": lambda n: 1 / n**0.5, "inverse_blocks": lambda n: 1 / n}


def unrolled(trunk, x):
    """y = head(x_N), x_{n+1} = x_n + block(x_n), x_0 = stem(x): plain loops in float64."""

    def layer(leaves, x):
        x = x @ leaves.dense.weight + leaves.dense.bias
        if leaves.norm is not None:
            x = (x - x.mean()) / np.sqrt(x.var() + 1e-6) * leaves.norm.scale + leaves.norm.offset
        return x / (1 + np.exp(-x))

    trunk = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), trunk)
    x = layer(trunk.stem, np.asarray(x, np.float64))
    blocks, layers = trunk.blocks.dense.weight.shape[:2]
    for n in range(blocks):
        y = x
        for s in range(layers):
            y = layer(jax.tree.map(lambda leaf, n=n, s=s: leaf[n, s], trunk.blocks), y)
        x = x + SCALES[trunk.arch.residual_scale](blocks) * y if trunk.arch.residual else y
    return x @ trunk.head.weight + trunk.head.bias


def shape_of(kind, *sizes):
    return jax.eval_shape(lambda: kind(*sizes, KEY))


def random_leaves(shape, scale=0.5):
    """Random leaves everywhere, so that zero biases and unit scales cannot hide a mistake."""
    random = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: np.float32(scale * random.standard_normal(leaf.shape)), shape)


call = jax.jit(lambda module, *inputs: module(*inputs))
draw_action = jax.jit(sample_action)
log_prob_gradient = jax.jit(jax.grad(lambda mean, log_std: jnp.sum(sample_action(mean, log_std, KEY)[1])))


@pytest.mark.parametrize(("depth", "block_size"), [(1, 1), (4, 4), (12, 4), (6, 3)])
def test_depth_counts_the_layers_in_blocks(depth, block_size):
    trunk = shape_of(Trunk, IN, OUT, SMALL._replace(depth=depth, block_size=block_size))
    assert trunk.blocks.dense.weight.shape == (depth // block_size, block_size, 8, 8)
    assert trunk.blocks.norm.scale.shape == (depth // block_size, block_size, 8)
    assert trunk.stem.dense.weight.shape == (IN, 8)
    assert trunk.head.weight.shape == (8, OUT)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_less_than_a_block_is_a_plain_stack(depth):
    trunk = random_leaves(shape_of(Trunk, IN, OUT, SMALL._replace(depth=depth, block_size=4)))
    layers = [trunk.stem.dense.weight, *trunk.blocks.dense.weight[:, 0]]
    assert [layer.shape for layer in layers] == [(IN, 8), (8, 8), (8, 8)][:depth]
    assert not trunk.arch.residual
    np.testing.assert_allclose(call(trunk, X), unrolled(trunk, X), rtol=1e-4, atol=1e-5)
    gradient = jax.grad(lambda trunk: jnp.sum(trunk(X)))(trunk)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    assert block_norms(trunk, gradient, X[None], "phi")["phi_branch_norm"].shape == (depth - 1,)


@pytest.mark.parametrize(
    ("depth", "block_size", "nearest"),
    [(-4, 4, "1 or 4"), (0, 4, "1 or 4"), (6, 4, "4 or 8"), (5, 2, "4 or 6"), (1000, 7, "994 or 1001")],
)
def test_invalid_depth_names_the_nearest_valid_ones(depth, block_size, nearest):
    with pytest.raises(UserError, match=f"depth is {depth},.*use depth {nearest},"):
        check_depth(depth, block_size)
    with pytest.raises(UserError, match=f"use depth {nearest},"):
        shape_of(Trunk, IN, OUT, SMALL._replace(depth=depth, block_size=block_size))


@pytest.mark.parametrize("block_size", [0, -4])
def test_invalid_block_size_is_named(block_size):
    with pytest.raises(UserError, match=f"block_size is {block_size}; .*at least 1"):
        check_depth(4, block_size)


@pytest.mark.parametrize("changes", [{}, {"residual": False}, {"layer_norm": False}, {"unroll": 3}, *SCALED])
def test_scanned_trunk_equals_the_unrolled_loop(changes):
    trunk = random_leaves(shape_of(Trunk, IN, OUT, DEEP._replace(**changes)))
    np.testing.assert_allclose(call(trunk, X), unrolled(trunk, X), rtol=1e-3, atol=1e-5)


def test_jit_changes_nothing():
    trunk = random_leaves(shape_of(Trunk, IN, OUT, SMALL))
    with jax.disable_jit():
        plain = trunk(X)
    np.testing.assert_allclose(call(trunk, X), plain, rtol=1e-5, atol=1e-6)


def plain_loop(trunk, x):
    """The trunk as a loop over its layers, nothing recomputed in the backward pass."""
    x = trunk.stem(x)
    for n in range(trunk.blocks.dense.weight.shape[0]):
        y = x
        for s in range(trunk.blocks.dense.weight.shape[1]):
            y = jax.tree.map(lambda leaf, n=n, s=s: leaf[n, s], trunk.blocks)(y)
        scale = SCALES[trunk.arch.residual_scale](trunk.blocks.dense.weight.shape[0])
        x = x + scale * y if trunk.arch.residual else y
    return trunk.head(x)


def value_and_gradients(forward, trunk):
    return jax.jit(jax.value_and_grad(lambda trunk, x: jnp.sum(forward(trunk, x) ** 2), (0, 1)))(trunk, X)


@pytest.mark.parametrize(
    "changes",
    [{}, {"layer_norm": False}, {"residual": False}, {"remat": True}, {"unroll": 2}, {"unroll": 100}, *SCALED],
)
def test_what_is_recomputed_or_unrolled_changes_neither_values_nor_gradients(changes):
    trunk = random_leaves(shape_of(Trunk, IN, OUT, SMALL._replace(depth=6, **changes)))
    expected = value_and_gradients(plain_loop, trunk)
    got = value_and_gradients(lambda trunk, x: trunk(x), trunk)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def saved_floats(batch, **changes):
    """Numbers that the backward pass of a wide trunk of six blocks keeps, by batch."""
    trunk = shape_of(Trunk, IN, OUT, SMALL._replace(depth=12, width=32, **changes))
    xs = jax.ShapeDtypeStruct((batch, IN), jnp.float32)
    _, backward = jax.eval_shape(lambda t, x: jax.vjp(lambda t, x: jax.vmap(t)(x), t, x), trunk, xs)
    return sum(leaf.size for leaf in jax.tree.leaves(backward))


@pytest.mark.parametrize(("remat", "arrays"), [(False, 1 + 2), (True, 1)])
def test_a_block_keeps_its_input_and_one_array_a_layer_or_only_its_input(remat, arrays):
    growth = (saved_floats(200, remat=remat) - saved_floats(100, remat=remat)) / 100
    blocks, width = 6, 32
    assert blocks * arrays * width <= growth < blocks * (arrays + 0.5) * width + 6 * width


@pytest.mark.parametrize(("scale", "low", "high"), [("one", 30, 80), ("inverse_blocks", 0.5, 2.0)])
def test_the_stream_grows_with_depth_unless_branches_are_scaled(scale, low, high):
    """At the start, branches share a direction: unscaled, their sum is in proportion to their number."""
    arch = Architecture(depth=512, width=32, residual_scale=scale)
    trunk = jax.jit(lambda: Trunk(IN, OUT, arch, KEY))()
    _, stream = jax.jit(Trunk.norms)(trunk, X)
    assert low < stream[-1] / stream[0] < high


def test_block_norms_are_what_the_loop_adds_and_adds_it_to():
    trunk = random_leaves(shape_of(Trunk, IN, OUT, SMALL._replace(depth=6)))
    xs = np.float32(np.random.default_rng(1).standard_normal((7, IN)))
    gradient = random_leaves(shape_of(Trunk, IN, OUT, SMALL._replace(depth=6)), scale=2.0)
    found = jax.jit(lambda *a: block_norms(*a, "actor"))(trunk, gradient, xs)
    branches, streams = np.zeros((7, 3)), np.zeros((7, 3))
    for i in range(7):
        x = trunk.stem(jnp.asarray(xs[i]))
        for n in range(3):
            y = x
            for s in range(2):
                y = jax.tree.map(lambda leaf, n=n, s=s: leaf[n, s], trunk.blocks)(y)
            branches[i, n], streams[i, n] = np.linalg.norm(y), np.linalg.norm(x)
            x = x + y
    np.testing.assert_allclose(found["actor_branch_norm"], branches.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(found["actor_stream_norm"], streams.mean(axis=0), rtol=1e-4)
    for n in range(3):
        flat = np.concatenate([leaf[n].ravel() for leaf in jax.tree.leaves(gradient.blocks)])
        np.testing.assert_allclose(found["actor_block_grad_norm"][n], np.linalg.norm(flat), rtol=1e-5)


def test_bfloat16_rounds_the_factors_of_products_and_nothing_else():
    full, half = (
        random_leaves(shape_of(Trunk, IN, OUT, SMALL._replace(width=64, precision=precision)), scale=0.1)
        for precision in ("float32", "bfloat16")
    )
    assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(half))
    assert call(half, X).dtype == np.float32
    error = np.abs(call(half, X) - call(full, X)).max() / np.abs(call(full, X)).max()
    assert 1e-5 < error < 0.03
    for a, b in zip(*(jax.tree.leaves(value_and_gradients(lambda t, x: t(x), t)[1]) for t in (full, half)),
                    strict=True):  # fmt: skip
        assert b.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=0.05 * np.abs(a).max() + 1e-6)


def test_without_blocks_the_residual_trunk_is_stem_and_head():
    def blockless(residual):
        trunk = random_leaves(shape_of(Trunk, IN, OUT, SMALL._replace(residual=residual)))
        zeros = jax.tree.map(np.zeros_like, trunk.blocks)
        leaves = jax.tree.leaves((trunk.stem, zeros, trunk.head))
        return jax.tree.unflatten(jax.tree.structure(trunk), leaves)

    trunk = blockless(residual=True)
    short = jax.jit(lambda trunk, x: trunk.head(trunk.stem(x)))(trunk, X)
    np.testing.assert_allclose(call(trunk, X), short, rtol=1e-5, atol=1e-6)
    cut = call(blockless(residual=False), X)
    np.testing.assert_allclose(cut, trunk.head.bias, rtol=1e-5, atol=1e-6)
    assert np.abs(cut - short).max() > 1e-2


def test_layer_norm_off_has_no_norm_parameters():
    with_norm, without = (
        shape_of(Trunk, IN, OUT, SMALL._replace(layer_norm=layer_norm)) for layer_norm in (True, False)
    )
    assert without.stem.norm is None
    assert without.blocks.norm is None
    assert len(jax.tree.leaves(with_norm)) - len(jax.tree.leaves(without)) == 4


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_the_function_it_is_named_for(name):
    layer = random_leaves(shape_of(Layer, IN, SMALL._replace(layer_norm=False, activation=name)))
    inside = np.asarray(X, np.float64) @ layer.dense.weight + layer.dense.bias
    tolerance = 1e-3 if name == "gelu" else 1e-6
    np.testing.assert_allclose(call(layer, X), ACTIVATIONS_FLOAT64[name](inside), atol=tolerance)


def test_layers_start_different_and_uniform_in_one_over_root_fan_in():
    trunk = jax.jit(lambda: Trunk(IN, OUT, SMALL._replace(width=64), KEY))()
    for dense, fan_in in ((trunk.stem.dense, IN), (trunk.blocks.dense, 64), (trunk.head, 64)):
        bound = fan_in**-0.5
        assert 0.99 * bound < np.abs(dense.weight).max() <= bound
        np.testing.assert_allclose(np.var(dense.weight), bound**2 / 3, rtol=0.25)
        assert not np.any(dense.bias)
    first_rows = np.asarray(trunk.blocks.dense.weight)[:, :, 0].reshape(4, 64)
    assert len(np.unique(first_rows)) > 250


def test_stem_biases_are_drawn_like_its_weights_on_request():
    trunk = jax.jit(lambda: Trunk(IN, OUT, SMALL._replace(width=64, stem_bias=True), KEY))()
    bias, bound = np.asarray(trunk.stem.dense.bias), IN**-0.5
    assert 0.9 * bound < np.abs(bias).max() <= bound
    np.testing.assert_allclose(np.var(bias), bound**2 / 3, rtol=0.35)
    assert not np.intersect1d(bias, trunk.stem.dense.weight).size
    assert not np.any(trunk.blocks.dense.bias)
    assert not np.any(trunk.head.bias)


def test_layer_norm_gives_mean_zero_and_variance_one():
    norm = LayerNorm(64)
    out = call(norm, np.float32(100 + 7 * np.random.default_rng(0).standard_normal(64)))
    np.testing.assert_allclose(np.mean(out), 0, atol=1e-5)
    np.testing.assert_allclose(np.var(out), 1, rtol=1e-4)


def test_encoders_map_each_row_alone():
    random = np.random.default_rng(0)
    obs, action, goal = (np.float32(random.standard_normal((6, dim))) for dim in (4, 2, 3))
    critic = random_leaves(shape_of(Critic, 4, 2, 3, 7, SMALL))
    phi = jax.jit(Critic.encode_sa)(critic, obs, action)
    psi = jax.jit(Critic.encode_g)(critic, goal)
    assert phi.shape == psi.shape == (6, 7)
    np.testing.assert_allclose(phi[2], unrolled(critic.phi, [*obs[2], *action[2]]), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(psi[5], unrolled(critic.psi, goal[5]), rtol=1e-3, atol=1e-4)


def test_actor_log_std_stays_within_its_range_and_fills_it():
    actor = random_leaves(shape_of(Actor, 4, 3, 2, SMALL), scale=30.0)
    random = np.random.default_rng(0)
    obs, goal = (np.float32(100 * random.standard_normal((64, dim))) for dim in (4, 3))
    mean, log_std = call(actor, obs, goal)
    assert mean.shape == log_std.shape == (64, 2)
    assert log_std.min() == LOG_STD_MIN == -5
    assert log_std.max() == LOG_STD_MAX == 2


def test_actor_splits_its_output_into_mean_and_log_std():
    actor = random_leaves(shape_of(Actor, 4, 3, 2, SMALL), scale=0.2)
    obs, goal = np.full((64, 4), 0.3, np.float32), np.full((64, 3), -0.2, np.float32)
    mean, log_std = call(actor, obs, goal)
    out = unrolled(actor.trunk, [*obs[0], *goal[0]])
    np.testing.assert_allclose(mean[0], out[:2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(log_std[0], -5 + 3.5 * (np.tanh(out[2:]) + 1), rtol=1e-4, atol=1e-5)


def test_log_prob_is_the_density_of_the_squashed_normal():
    """π(a) = N(atanh a; mean, σ²) / (1 − a²), in float64."""
    mean, log_std = np.tile(np.float32([[[-0.8, 0.1, 0.6]], [[-1.5, -0.7, -3.0]]]), (1, 500, 1))
    action, log_prob = draw_action(mean, log_std, KEY)
    a, m, s = (np.asarray(x, np.float64) for x in (action, mean, np.exp(log_std)))
    normal = np.exp(-0.5 * ((np.arctanh(a) - m) / s) ** 2) / (s * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(log_prob, np.log(normal / (1 - a**2)).sum(axis=-1), atol=2e-4)


def test_density_integrates_to_one():
    """The trapezoid rule, on the samples themselves as the grid."""
    mean, log_std = np.full((20_000, 1), 0.3, np.float32), np.full((20_000, 1), -0.5, np.float32)
    action, log_prob = (np.asarray(x, np.float64) for x in draw_action(mean, log_std, KEY))
    order = np.argsort(action[:, 0])
    assert np.trapezoid(np.exp(log_prob)[order], action[order, 0]) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("log_std", [LOG_STD_MIN, LOG_STD_MAX])
def test_log_prob_and_its_gradient_are_finite_for_huge_means(log_std):
    mean = np.float32([[1e6], [-1e6], [30.0], [-30.0], [0.0]])
    log_stds = np.full_like(mean, log_std)
    action, log_prob = draw_action(mean, log_stds, KEY)
    gradient = log_prob_gradient(mean, log_stds)
    assert np.all(np.isfinite(log_prob))
    assert np.all(np.isfinite(gradient))
    assert np.all(np.abs(action) <= 1)


def test_the_bounded_density_is_that_of_the_papers_code_and_lets_go_of_saturated_actions():
    u = jnp.asarray([[-20.0, -12.0, -3.0, 0.2, 2.0, 12.0, 20.0]])
    log_std = jnp.full_like(u, LOG_STD_MIN)  # so narrow that u is the mean, nearly
    _, bounded = sample_action(u, log_std, KEY, "bounded")
    _, exact = sample_action(u, log_std, KEY)
    drawn = np.float64(u + jnp.exp(log_std) * jax.random.normal(KEY, u.shape))
    squared = 1 / np.cosh(drawn) ** 2  # 1 − a²
    np.testing.assert_allclose(exact - bounded, [np.sum(np.log(squared + 1e-6) - np.log(squared))], rtol=1e-5)

    def of_mean(log_slope):
        return jax.grad(lambda mean: jnp.sum(sample_action(mean, log_std, KEY, log_slope)[1]))(u)

    np.testing.assert_allclose(of_mean("bounded")[0, [0, 1, 5, 6]], 0.0, atol=1e-3)
    np.testing.assert_allclose(of_mean("exact")[0, [0, 1, 5, 6]], [-2, -2, 2, 2], atol=1e-3)
    np.testing.assert_allclose(of_mean("bounded")[0, 2:5], of_mean("exact")[0, 2:5], atol=1e-3)


def test_actor_and_critic_sizes_are_independent():
    shared = NetworkConfig(
        depth=8, width=32, remat=True, activation="relu", stem_bias=True, unroll=2, precision="bfloat16",
        residual_scale="inverse_blocks",
    )  # fmt: skip
    assert architectures(shared)[0] == architectures(shared)[1]
    assert architectures(shared)[0] == Architecture(
        depth=8, width=32, activation="relu", stem_bias=True, remat=True, unroll=2, precision="bfloat16",
        residual_scale="inverse_blocks",
    )  # fmt: skip
    config = NetworkConfig(depth=8, width=32, actor_depth=4, critic_width=16)
    actor, critic = architectures(config)
    assert (actor.depth, actor.width, critic.depth, critic.width) == (4, 32, 8, 16)
    config = NetworkConfig(depth=8, width=32, critic_depth=12, actor_width=64)
    actor, critic = architectures(config)
    assert (actor.depth, actor.width, critic.depth, critic.width) == (8, 64, 12, 32)


@pytest.mark.parametrize("name", ["depth", "actor_depth", "critic_depth"])
def test_invalid_depth_names_its_setting(name):
    with pytest.raises(UserError, match=f"^{name} is 6,.* use {name} 4 or 8,"):
        architectures(NetworkConfig(**{name: 6}))
