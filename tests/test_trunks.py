"""Kinds of trunks beside the paper's: each is its definition, learns, and suits all that looks at networks."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from test_agents import CONFIGS, RATES, batch_of, named_leaves, spec
from test_agents import agent_of as paper_agent_of
from test_networks import call, random_leaves, shape_of

from goalward import agents, plan, profile, runs, training
from goalward.attention import KEPT_ARRAYS, AttentionTrunk
from goalward.config import CRLConfig, NetworkConfig, TrainConfig
from goalward.errors import UserError
from goalward.hyperspherical import SphereTrunk, UnitDense, projected
from goalward.networks import TRUNKS, block_norms, make_trunk
from goalward.trunks import Architecture

KEY = jax.random.key(0)
IN, OUT = 3, 5
X = jnp.array([0.5, -1.2, 0.3])
SIZES = {
    "mlp": Architecture(depth=8, width=8, block_size=4),
    "hyperspherical": Architecture(trunk="hyperspherical", depth=9, width=8, block_size=3),
    "attention": Architecture(trunk="attention", depth=12, width=8, block_size=4),
}
NEW = [name for name in SIZES if name != "mlp"]
ALL, OF_NEW = (pytest.mark.parametrize("kind", kinds) for kinds in (SIZES, NEW))


# --- the definitions, as plain loops in float64 ---


def swish(x):
    return x / (1 + np.exp(-x))


def unit(x):
    return x / np.sqrt((x**2).sum() + 1e-6)


def sphere(trunk, x):
    def gain(leaf, init, scale):
        return leaf * (init / scale)

    width, blocks = trunk.arch.width, trunk.blocks.dense.weight
    h = unit(unit(np.append(x, 3.0)) @ trunk.stem.weight * trunk.stem_gain.value)
    for n in range(blocks.shape[0]):
        y, last = h, blocks.shape[1] - 1
        for i in range(last):
            scale = gain(trunk.blocks.gain.value[n, i], np.sqrt(width), np.sqrt(2 / width))
            y = unit(swish(y @ blocks[n, i] * scale))
        pull = gain(trunk.blocks.pull.value[n], 1 / (blocks.shape[0] + 1), 1 / np.sqrt(width))
        h = unit(h + pull * (unit(y @ blocks[n, last]) - h))
    return np.sqrt(width) * h @ trunk.head.weight + trunk.head.bias


def norm_of(leaves, x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * leaves.scale + leaves.offset


def attention(trunk, x, scale=1.0, heads=1):
    tokens = [x[i] * trunk.embedding[i] + trunk.place[i] for i in range(len(x))] + [trunk.readout]
    width = len(trunk.readout) // heads
    for n in range(trunk.arch.depth // 4):
        block = jax.tree.map(lambda leaf, n=n: leaf[n], trunk.blocks)
        triples = [np.split(norm_of(block.mix_norm, t) @ block.qkv.weight + block.qkv.bias, 3) for t in tokens]
        mixed = []
        for q, _, _ in triples:
            of_heads = []
            for h in range(heads):
                part = slice(h * width, (h + 1) * width)
                weights = np.exp([q[part] @ k[part] / np.sqrt(width) for _, k, _ in triples])
                of_heads.append(weights / weights.sum() @ np.stack([v[part] for _, _, v in triples]))
            mixed.append(np.concatenate(of_heads))
        for i, m in enumerate(mixed):
            t = tokens[i] + scale * (m @ block.out.weight + block.out.bias)
            up = swish(norm_of(block.norm, t) @ block.up.weight + block.up.bias)
            tokens[i] = t + scale * (up @ block.down.weight + block.down.bias)
    return norm_of(trunk.norm, tokens[-1]) @ trunk.head.weight + trunk.head.bias


LOOPS = {"hyperspherical": sphere, "attention": attention}


def loop(kind, trunk, x, **options):
    trunk = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), trunk)
    return LOOPS[kind](trunk, np.asarray(x, np.float64), **options)


@functools.cache
def random_trunk(kind, **changes):
    leaves = random_leaves(shape_of(make_trunk, IN, OUT, SIZES[kind]._replace(**changes)))
    return jax.tree.map(jnp.asarray, leaves)


def moved(trunk, direction, step):
    return jax.tree.map(lambda leaf, d: np.asarray(leaf, np.float64) + step * d, trunk, direction)


@OF_NEW
def test_a_trunk_is_its_definition(kind):
    trunk = random_trunk(kind)
    np.testing.assert_allclose(call(trunk, X), loop(kind, trunk, X), rtol=1e-4, atol=1e-4)


def test_attention_has_heads_of_64_and_a_scale_of_what_is_added():
    arch = SIZES["attention"]._replace(width=128, residual_scale="inverse_blocks")
    trunk = random_leaves(shape_of(make_trunk, IN, OUT, arch), 0.3)
    expected = loop("attention", trunk, X, scale=1 / 3, heads=2)
    np.testing.assert_allclose(call(trunk, X), expected, rtol=1e-3, atol=1e-3)
    assert np.abs(expected - loop("attention", trunk, X, scale=1 / 3)).max() > 1e-2


@OF_NEW
def test_gradients_are_the_slopes_of_the_definition(kind):
    """Along a random direction of all weights and the input, by central differences."""
    trunk, step = random_trunk(kind), 1e-5
    direction, along = random_leaves(trunk, 1.0), np.array([0.4, 0.9, -0.7])

    def total(t, x):
        return jnp.sum(t(x) ** 2)

    by_weights, by_input = jax.jit(jax.grad(total, (0, 1)))(trunk, X)
    pairs = zip(jax.tree.leaves(by_weights), jax.tree.leaves(direction), strict=True)
    slope = sum(np.sum(np.float64(g) * d) for g, d in pairs) + np.sum(np.float64(by_input) * along)

    def at(s):
        return np.sum(loop(kind, moved(trunk, direction, s), np.float64(X) + s * along) ** 2)

    assert slope == pytest.approx((at(step) - at(-step)) / (2 * step), rel=2e-3)
    assert all(np.all(np.isfinite(leaf)) and np.any(leaf) for leaf in jax.tree.leaves(by_weights))


@OF_NEW
@pytest.mark.parametrize("changes", [{"remat": True}, {"unroll": 2}], ids=["remat", "unrolled"])
def test_what_is_recomputed_or_unrolled_changes_neither_values_nor_gradients(kind, changes):
    def of(trunk):
        return jax.jit(jax.value_and_grad(lambda t, x: jnp.sum(t(x) ** 2), (0, 1)))(trunk, X)

    plain, other = of(random_trunk(kind)), of(random_trunk(kind, **changes))
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@OF_NEW
def test_jit_changes_nothing(kind):
    with jax.disable_jit():
        plain = random_trunk(kind)(X)
    np.testing.assert_allclose(call(random_trunk(kind), X), plain, rtol=1e-4, atol=1e-5)


@ALL
def test_every_kind_is_made_from_one_key_and_maps_each_row_alone(kind):
    trunk = jax.jit(lambda: make_trunk(IN, OUT, SIZES[kind], KEY))()
    assert isinstance(trunk, TRUNKS[kind])
    rows = jnp.stack([X, 2 * X, -X])
    together = jax.jit(lambda trunk, rows: jax.vmap(trunk)(rows))(trunk, rows)
    np.testing.assert_allclose(together[2], call(trunk, -X), rtol=1e-4, atol=1e-5)
    if kind != "mlp":  # an input's length is seen without biases of the first layer
        assert np.abs(together[0] - together[1]).max() > 1e-3
    assert trunk.head.bias.shape == (OUT,)
    np.testing.assert_allclose(trunk.head(trunk.features(X)), call(trunk, X), rtol=1e-5, atol=1e-6)
    half = make_trunk(IN, OUT, SIZES[kind]._replace(precision="bfloat16"), KEY)
    error = np.abs(call(half, X) - call(trunk, X)).max()
    assert 0 < error < 0.1
    assert call(half, X).dtype == np.float32


def dense_weights(blocks):
    """Shapes of the weights of all Dense layers within blocks."""
    return [leaf.shape for name, leaf in named_leaves(blocks) if name.endswith(".weight")]


@pytest.mark.parametrize(("depth", "blocks", "layers"), [(6, 2, 3), (3, 1, 3), (2, 1, 2), (1, 1, 1)])
def test_depth_counts_the_layers_of_the_sphere(depth, blocks, layers):
    trunk = shape_of(SphereTrunk, IN, OUT, SIZES["hyperspherical"]._replace(depth=depth))
    assert dense_weights(trunk.blocks) == [(blocks, layers, 8, 8)]
    assert trunk.blocks.gain.value.shape == (blocks, layers - 1, 8)


def test_depth_counts_the_layers_of_attention_and_there_is_a_block_at_least():
    trunk = shape_of(AttentionTrunk, IN, OUT, SIZES["attention"])
    assert dense_weights(trunk.blocks) == [(3, 8, 24), (3, 8, 8), (3, 8, 8), (3, 8, 8)]
    for wrong in ({"depth": 3}, {"block_size": 2}, {"depth": 6}):
        with pytest.raises(UserError, match=f"depth is {wrong.get('depth', 12)}"):
            shape_of(AttentionTrunk, IN, OUT, SIZES["attention"]._replace(**wrong))


def saved_floats(kind, batch, **changes):
    trunk = shape_of(make_trunk, IN, OUT, SIZES[kind]._replace(width=32, **changes))
    xs = jax.ShapeDtypeStruct((batch, IN), jnp.float32)
    _, backward = jax.eval_shape(lambda t, x: jax.vjp(lambda t, x: jax.vmap(t)(x), t, x), trunk, xs)
    return sum(leaf.size for leaf in jax.tree.leaves(backward))


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize(
    ("kind", "vectors", "arrays"), [("hyperspherical", 1, 4), ("attention", IN + 1, KEPT_ARRAYS)]
)
def test_a_block_keeps_its_input_and_what_a_plan_counts(kind, vectors, arrays, remat):
    growth = (saved_floats(kind, 200, remat=remat) - saved_floats(kind, 100, remat=remat)) / 100
    of_block = vectors * 32 * (1 if remat else arrays)
    assert 3 * of_block <= growth < 3 * (of_block + vectors * 16) + 9 * vectors * 32


@OF_NEW
def test_block_norms_are_what_each_block_changes_and_its_gradients(kind):
    trunk, gradient = random_trunk(kind), random_leaves(random_trunk(kind), 2.0)
    found = jax.jit(lambda *a: block_norms(*a, "phi"))(trunk, gradient, X[None])
    assert all(norm.shape == (3,) for norm in found.values())
    start = trunk._start(X) if kind == "hyperspherical" else trunk._tokens(X)
    for n in range(3):
        after = jax.tree.map(lambda leaf, n=n: leaf[n], trunk.blocks)(start)
        assert found["phi_branch_norm"][n] == pytest.approx(np.linalg.norm(after - start), rel=1e-4)
        assert found["phi_stream_norm"][n] == pytest.approx(np.linalg.norm(start), rel=1e-4)
        flat = np.concatenate([leaf[n].ravel() for leaf in jax.tree.leaves(gradient.blocks)])
        assert found["phi_block_grad_norm"][n] == pytest.approx(np.linalg.norm(flat), rel=1e-5)
        start = after


# --- attention ---


def test_attention_knows_its_inputs_by_their_places_alone():
    trunk, turned = random_trunk("attention"), np.array([2, 0, 1])
    other = jax.tree.map(lambda leaf: leaf, trunk)
    object.__setattr__(other, "embedding", trunk.embedding[turned])
    object.__setattr__(other, "place", trunk.place[turned])
    np.testing.assert_allclose(call(other, X[turned]), call(trunk, X), rtol=1e-4, atol=1e-4)
    assert np.abs(call(trunk, X[turned]) - call(trunk, X)).max() > 1e-2


# --- the sphere ---


def column_lengths(tree):
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, UnitDense))
    denses = [node for node in nodes if isinstance(node, UnitDense)]
    return np.concatenate([np.linalg.norm(dense.weight, axis=-2).ravel() for dense in denses])


def test_the_sphere_starts_orthogonal_with_a_gain_of_root_width():
    arch = SIZES["hyperspherical"]._replace(width=32)
    trunk = jax.jit(lambda: make_trunk(IN, OUT, arch, KEY))()
    np.testing.assert_allclose(column_lengths(trunk), 1, rtol=1e-5)
    assert trunk.stem.weight.shape == (IN + 1, 32)
    for weight in np.asarray(trunk.blocks.dense.weight).reshape(-1, 32, 32):
        np.testing.assert_allclose(weight.T @ weight, np.eye(32), atol=1e-5)
    blocks = trunk.blocks
    np.testing.assert_allclose(blocks.gain.factor * blocks.gain.value, 32**0.5, rtol=1e-5)
    np.testing.assert_allclose(blocks.pull.factor * blocks.pull.value, 1 / 4, rtol=1e-5)
    np.testing.assert_allclose(blocks.pull.value, 32**-0.5, rtol=1e-5)


@pytest.mark.parametrize("depth", [3, 96])
def test_the_stream_of_the_sphere_has_length_one_at_any_depth(depth):
    trunk = jax.jit(lambda: make_trunk(IN, OUT, SIZES["hyperspherical"]._replace(depth=depth, width=32), KEY))()
    branch, stream = jax.jit(SphereTrunk.norms)(trunk, X)
    np.testing.assert_allclose(stream, 1, rtol=1e-5)
    assert np.all(branch > 1e-3)


def test_projection_touches_the_sphere_alone():
    trunk = random_trunk("hyperspherical")
    assert np.abs(column_lengths(trunk) - 1).max() > 0.1
    onto = projected(trunk)
    np.testing.assert_allclose(column_lengths(onto), 1, rtol=1e-5)
    direction = onto.stem.weight / trunk.stem.weight  # of each column one number
    np.testing.assert_allclose(direction, np.tile(direction[:1], (IN + 1, 1)), rtol=1e-4)
    np.testing.assert_array_equal(onto.head.weight, trunk.head.weight)
    others = {kind: random_trunk(kind) for kind in ("mlp", "attention")}
    assert not jax.make_jaxpr(projected)(others).eqns


# --- agents ---


def network(kind):
    return NetworkConfig(trunk=kind, depth=8, block_size=4, width=8)


@functools.cache
def agent_of(kind, **changes):
    return agents.make(TrainConfig("", agent=CRLConfig(**RATES, **changes), network=network(kind)), spec())


@OF_NEW
@pytest.mark.parametrize("name", CONFIGS)
def test_all_agents_take_all_kinds(name, kind):
    """By shapes alone: a state is updated to one like it, and all methods go through."""
    paper, batch = paper_agent_of(name), batch_of(name)
    agent = agents.make(TrainConfig("", agent=CONFIGS[name], network=network(kind)), paper.spec)

    @jax.eval_shape
    def whole():
        state = agent.init(KEY)
        looks = agent.exploit(state, batch.obs, batch.goal, KEY), agent.embed(state, batch.obs, batch.goal)
        return state, agent.update(state, batch, KEY)[0], looks, agent.block_norms(state, batch, KEY)

    born, updated, *_ = whole
    assert jax.tree.structure(born) == jax.tree.structure(updated)
    assert all(a.shape == b.shape for a, b in zip(*map(jax.tree.leaves, (born, updated)), strict=True))
    trunks = jax.tree.leaves(born.params, is_leaf=lambda node: isinstance(node, TRUNKS[kind]))
    assert any(isinstance(node, TRUNKS[kind]) for node in trunks)


@OF_NEW
def test_an_agent_learns_and_its_weights_stay_where_they_belong(kind):
    agent = agent_of(kind, actor_average=0.9)
    state, update, losses = jax.jit(agent.init)(KEY), jax.jit(agent.update), []
    first = state.params
    for i in range(150):
        state, metrics = update(state, batch_of("crl", i % 4), jax.random.key(i))
        losses.append(float(metrics["critic_loss"]))
        assert all(np.isfinite(value) for value in metrics.values())
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05
    for (name, old), (_, new) in zip(named_leaves(first), named_leaves(state.params), strict=True):
        assert np.any(old != new), name
    if kind == "hyperspherical":
        for tree in (state.params, state.average):
            np.testing.assert_allclose(column_lengths(tree), 1, rtol=1e-5)
    norms = jax.jit(agent.block_norms)(state, batch_of("crl"), KEY)
    assert all(norm.shape == (2,) and np.all(np.isfinite(norm)) for norm in norms.values())


# --- runs ---


def settings(kind, **changes):
    sizes = {"trunk": kind, "stem_bias": False, "depth": 4, "block_size": 4, "width": 8}
    return {"network": sizes, "block_norms": True} | changes


@pytest.mark.parametrize("kind", ["attention", pytest.param("hyperspherical", marks=pytest.mark.slow)])
def test_a_resume_is_no_stop_and_blocks_are_measured(kind, tmp_path):
    toy.run(tmp_path / "whole", toy.epochs(2, **settings(kind)))
    toy.run(tmp_path / "run", toy.epochs(1, **settings(kind)))
    toy.run(tmp_path / "run", toy.epochs(2, **settings(kind)), resume=True)
    assert toy.digest(tmp_path / "run") == toy.digest(tmp_path / "whole")
    assert toy.rows(tmp_path / "run") == toy.rows(tmp_path / "whole")
    row = runs.read_metrics(tmp_path / "run")[-1]
    assert len(row["actor_branch_norm"]) == len(row["psi_block_grad_norm"]) == 1


@pytest.mark.slow
def test_a_run_is_planned_and_profiled(tmp_path):
    """Of the kind whose sizes a plan has to know."""
    config = toy.config(**settings("attention"))
    planned, actor = plan.plan(config), training.shapes(training.build(config)).agent.params.actor
    assert planned.memory.activations > 0
    assert planned.parameters["actor"] == sum(leaf.size for leaf in jax.tree.leaves(actor))
    profiler = profile.Profiler(tmp_path / "profile")
    toy.run(tmp_path / "run", config, profiler=profiler)
    assert all(profiler.result().parts[part] > 0 for part in profile.PARTS)


@pytest.mark.parametrize(
    ("kind", "network", "told"),
    [
        ("hyperspherical", {"stem_bias": True}, "stem_bias is True, .* hyperspherical; use --no-stem-bias$"),
        ("hyperspherical", {"layer_norm": False}, "layer_norm is False, .*; use --layer-norm$"),
        ("hyperspherical", {"residual": False}, "residual is False, .*; use --residual$"),
        (
            "hyperspherical",
            {"residual_scale": "inverse_blocks"},
            "residual_scale .* --residual-scale one$",
        ),
        ("attention", {"stem_bias": True}, "stem_bias is True, .* attention; use --no-stem-bias$"),
        ("attention", {"residual": False}, "residual is False, .*; use --residual$"),
        ("attention", {"layer_norm": False}, "layer_norm is False, .*; use --layer-norm$"),
        ("attention", {"block_size": 2}, "block_size is 2, .*; use --block-size 4$"),
        ("attention", {"depth": 2}, "^depth is 2, .*; use --depth 4$"),
        ("attention", {"actor_depth": 1}, "^actor_depth is 1, .*; use --actor-depth 4$"),
    ],
)
def test_settings_that_a_kind_does_not_have_are_refused_by_name(kind, network, told):
    whole = settings(kind)["network"]
    training.build(toy.config(network=whole))
    with pytest.raises(UserError, match=told):
        training.build(toy.config(network=whole | network))


def test_attention_needs_whole_blocks_in_a_collector_and_in_halves_too():
    config = toy.config(**settings("attention"))
    with pytest.raises(UserError, match=r"collector_depth is 2, .*--collector-depth 4"):
        training.build(replace(config, collector_depth=2))
    halved = settings("attention") | {"agent": {"name": "srl", "bins": 8}}
    with pytest.raises(UserError, match=r"half of it, .* use --critic-depth 8"):
        training.build(toy.config(**halved))
    training.build(toy.config(**halved | {"network": halved["network"] | {"critic_depth": 8}}))
