"""Optimisers: Muon is its definition, on each matrix of a stack; Adam is what it was."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy
from test_agents import CONFIGS, RATES, batch_of, named_leaves, spec
from test_networks import shape_of
from test_trunks import KEY, SIZES, column_lengths

from goalward import agents, runs
from goalward.config import CRLConfig, NetworkConfig, TrainConfig
from goalward.networks import make_trunk
from goalward.optimisers import by_depth, muon, rule

KINDS = pytest.mark.parametrize("kind", SIZES)
LR = 0.01


def part(kind="mlp", seed=0, **changes):
    shape = shape_of(make_trunk, 3, 5, SIZES[kind]._replace(**changes))
    random = np.random.default_rng(seed)
    trunk = jax.tree.map(lambda leaf: jnp.asarray(random.standard_normal(leaf.shape), jnp.float32), shape)
    return {"trunk": trunk, "number": jnp.float32(random.standard_normal())}


def steps(optimiser, gradients):
    """All updates of an optimiser, one for each gradient."""
    state, found = optimiser.init(gradients[0]), []
    step = jax.jit(optimiser.update)
    for gradient in gradients:
        update, state = step(gradient, state)
        found.append(update)
    return found


def orthogonalised(x):
    """Five steps of Newton and Schulz on a float64 matrix, as published."""
    wide = x.shape[0] <= x.shape[1]
    x = (x if wide else x.T) / np.linalg.norm(x)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x if wide else x.T


def muons_steps(gradients):
    """With Nesterov's momentum of 0.95, both parts corrected for what they lack at the start."""
    momentum, found = np.zeros_like(gradients[0], np.float64), []
    for t, gradient in enumerate(np.float64(gradients), start=1):
        momentum = 0.95 * momentum + 0.05 * gradient
        ahead = 0.95 * momentum / (1 - 0.95 ** (t + 1)) + 0.05 * gradient / (1 - 0.95**t)
        found.append(-LR * 0.2 * np.sqrt(max(gradient.shape)) * orthogonalised(ahead))
    return found


@pytest.mark.parametrize("shape", [(3, 2, 8, 8), (2, 8, 24), (4, 6, 3)])
def test_muon_steps_each_matrix_of_a_stack_as_if_alone(shape):
    gradients = [jnp.asarray(np.random.default_rng(t).standard_normal(shape), jnp.float32) for t in range(3)]
    found = steps(muon(LR), gradients)
    for at in np.ndindex(shape[:-2]):
        alone = steps(muon(LR), [gradient[at] for gradient in gradients])
        defined = muons_steps([gradient[at] for gradient in gradients])
        for t in range(3):
            np.testing.assert_allclose(found[t][at], alone[t], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(found[t][at], defined[t], rtol=1e-3, atol=1e-5)
    # An orthogonal (i, o) has min(i, o) singular values of 1, here of 0.7 to 1.2.
    size = np.sqrt(np.mean(np.square(found[0])))
    assert 0.6 < size / (0.2 * LR) < 1.25


@KINDS
def test_muon_is_for_matrices_within_blocks_and_adam_for_all_else(kind):
    gradients = [part(kind, seed, optimiser="muon") for seed in range(3)]
    ours, by_adam = (steps(each, gradients)[-1] for each in (rule(LR, gradients[0]), optax.adam(LR)))
    for (name, update), (_, of_adam) in zip(named_leaves(ours), named_leaves(by_adam), strict=True):
        if ".blocks" in name and name.endswith(".weight"):
            alone = steps(muon(LR), [dict(named_leaves(gradient))[name] for gradient in gradients])[-1]
            np.testing.assert_allclose(update, alone, rtol=1e-3, atol=1e-6)
            assert np.any(update != of_adam)
        else:
            np.testing.assert_array_equal(update, of_adam, err_msg=name)


@KINDS
def test_adam_is_to_the_bit_what_it_is_alone(kind):
    gradients = [part(kind, seed) for seed in range(3)]
    ours, alone = (steps(each, gradients) for each in (rule(LR, gradients[0]), optax.adam(LR)))
    jax.tree.map(np.testing.assert_array_equal, ours, alone)
    assert not jax.make_jaxpr(by_depth)(gradients[0]).eqns


@KINDS
def test_steps_within_blocks_shrink_with_their_number_and_no_others(kind):
    updates = part(kind, lr_by_depth="inverse_sqrt_blocks")
    blocks = jax.tree.leaves(updates["trunk"].blocks)[0].shape[0]
    assert blocks > 1
    for (name, scaled), (_, update) in zip(named_leaves(by_depth(updates)), named_leaves(updates), strict=True):
        np.testing.assert_allclose(scaled, update * (blocks**-0.5 if ".blocks" in name else 1.0), rtol=1e-6)


def test_without_blocks_there_is_nothing_to_step_there():
    gradient = part(depth=1, optimiser="muon", lr_by_depth="inverse_sqrt_blocks")
    update = by_depth(steps(rule(LR, gradient), [gradient])[0])
    jax.tree.map(np.testing.assert_array_equal, update, steps(optax.adam(LR), [gradient])[0])


def settings(**changes):
    return NetworkConfig(optimiser="muon", lr_by_depth="inverse_sqrt_blocks", depth=8, width=8, **changes)


@pytest.mark.parametrize("name", CONFIGS)
def test_all_agents_take_muon(name):
    """By shapes alone: of a matrix within blocks there is one moment, of all else there are two."""
    discrete = name == "discrete_crl"
    agent = agents.make(TrainConfig("", agent=CONFIGS[name], network=settings()), spec(discrete))
    state, after = jax.eval_shape(lambda: ((s := agent.init(KEY)), agent.update(s, batch_of(name), KEY)[0]))
    assert jax.tree.structure(state) == jax.tree.structure(after)
    sizes = [
        (".blocks" in where and where.endswith(".weight"), leaf.size)
        for where, leaf in named_leaves(state.params)
    ]
    moments = sum(leaf.size for where, leaf in named_leaves(state.opt) if ".mu" in where or ".nu" in where)
    assert moments == sum(size if in_block else 2 * size for in_block, size in sizes)


@pytest.mark.parametrize("kind", ["mlp", pytest.param("hyperspherical", marks=pytest.mark.slow)])
def test_an_agent_learns_by_muon(kind):
    config = TrainConfig("", agent=CRLConfig(**RATES), network=settings(trunk=kind))
    agent = agents.make(config, spec())
    state, update, losses = jax.jit(agent.init)(KEY), jax.jit(agent.update), []
    for i in range(150):
        state, metrics = update(state, batch_of("crl", i % 4), jax.random.key(i))
        losses.append(float(metrics["critic_loss"]))
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05
    if kind == "hyperspherical":
        np.testing.assert_allclose(column_lengths(state.params), 1, rtol=1e-5)


def test_a_resume_with_muon_is_no_stop(tmp_path):
    changes = {"network": {"optimiser": "muon", "lr_by_depth": "inverse_sqrt_blocks"}}
    toy.run(tmp_path / "whole", toy.epochs(2, **changes))
    toy.run(tmp_path / "run", toy.epochs(1, **changes))
    toy.run(tmp_path / "run", toy.epochs(2, **changes), resume=True)
    assert toy.digest(tmp_path / "run") == toy.digest(tmp_path / "whole")
    assert runs.read_metrics(tmp_path / "run")[-1]["critic_loss"] > 0
