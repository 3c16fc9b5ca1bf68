"""Behaviour cloning in the actor's loss: its form, its gradient, and what it leads to."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_agents import ACTION, CONFIGS, KEY, NETWORK, SIZE, random_batch, spec

from goalward import agents
from goalward.agents import parts, temporal
from goalward.config import TD3Config, TrainConfig
from goalward.losses import scaled
from goalward.networks import log_density, sample_action

WEIGHT = 0.7
# Each way to an actor's loss: with inputs normalised, in chunks of which some do not count, with other goals.
OTHERS = ["safe_crl_in_chunks", "sac_in_classes_and_chunks", "td3"]
NAMES = ["crl", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]


def agent_of(name, weight=WEIGHT):
    goals = {} if name == "safe_crl_in_chunks" else {"actor_random_goals": 0.25, "actor_commanded_goals": 0.25}
    config = replace(CONFIGS[name], bc_weight=weight, **goals)
    return agents.make(TrainConfig("", agent=config, network=NETWORK), spec())


def worth_of(agent, params, batch, goal, action):
    """What the critic says of the actor's actions."""
    if hasattr(params, "log_alpha") and not hasattr(agent, "targets"):
        f = agent._energy.paired(params.critic.encode_sa(batch.obs, action), params.critic.encode_g(goal))
        if params.survival is None:
            return f
        logit = jax.vmap(params.survival)(jnp.concatenate([batch.obs, action], axis=-1))[:, 0]
        return f + agent.config.survival_weight * jax.nn.log_sigmoid(logit)
    critics = params.critic[:1] if isinstance(agent.config, TD3Config) else params.critic
    return temporal.least(agent.config, critics, batch.obs, action, goal)


def loss_of(agent, state, given, actor, size):
    """The whole loss of an actor, written out; what the critic says is divided by `size`, or by its own."""
    batch, params = parts.inputs_of(state.scales, given), state.params
    goal = parts.actor_goals(agent.config, batch)
    mean, log_std = actor(batch.obs, goal)
    own_mean, own_log_std = actor(batch.obs, batch.goal)
    counted = np.ones(SIZE, bool) if batch.valid is None else np.asarray(batch.valid)
    if isinstance(agent.config, TD3Config):
        action, alpha, log_prob = jnp.tanh(mean), 0.0, jnp.zeros(SIZE)
        cloning = 0.5 * jnp.sum((jnp.tanh(own_mean) - batch.action) ** 2, axis=1)
    else:
        key = jax.random.split(KEY)[0] if hasattr(agent, "targets") else KEY
        action, log_prob = sample_action(mean, log_std, key, agent.config.log_prob)
        alpha, cloning = jnp.exp(params.log_alpha), -log_density(own_mean, own_log_std, batch.action)
    worth = worth_of(agent, params, batch, goal, action)
    size = float(np.mean(np.abs(worth))) if size is None else size
    return jnp.mean(alpha * log_prob - worth / size) + WEIGHT * jnp.mean(cloning[counted]), size


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_finite_differences_for_a_critic_of_fixed_size(name):
    agent = agent_of(name)
    state, batch = agent.init(KEY), random_batch(agent.relabel)
    state = parts.seen(state, batch)
    grads, metrics = jax.jit(agent.gradients)(state, batch, KEY)
    actor = state.params.actor
    loss, size = loss_of(agent, state, batch, actor, None)
    assert metrics["actor_loss"] == pytest.approx(float(loss), rel=1e-4, abs=1e-5)
    squared = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(grads.actor))
    step = 1e-2 / np.sqrt(squared)
    moved = [jax.tree.map(lambda p, g, s=s: p + s * step * g, actor, grads.actor) for s in (1, -1)]
    there, back = (float(loss_of(agent, state, batch, one, size)[0]) for one in moved)
    assert (there - back) / (2 * step) == pytest.approx(squared, rel=0.05)


def test_a_critics_word_is_free_of_its_scale():
    worth = jnp.asarray([-3.0, 1.0, 2.0])
    np.testing.assert_allclose(scaled(worth), np.asarray(worth) / 2, rtol=1e-5)
    np.testing.assert_allclose(scaled(100 * worth), scaled(worth), rtol=1e-5)
    assert np.all(scaled(jnp.zeros(3)) == 0)
    slope = jax.grad(lambda x: jnp.sum(scaled(x)))(worth)
    np.testing.assert_allclose(slope, np.full(3, 0.5), rtol=1e-5, err_msg="the mean has no gradient")


@pytest.mark.slow
def test_a_large_weight_makes_an_actor_of_what_was_done():
    config = replace(CONFIGS["crl"], bc_weight=100.0, actor_lr=1e-2)
    agent = agents.make(TrainConfig("", agent=config, network=NETWORK), spec())
    state, update = agent.init(KEY), jax.jit(agent.update)
    batch = random_batch(agent.relabel)
    batch = batch._replace(action=jnp.tanh(batch.obs[:, :ACTION]))

    def apart(state):
        return float(jnp.mean(jnp.abs(agent.exploit(state, batch.obs, batch.goal, KEY) - batch.action)))

    before = apart(state)
    for i in range(150):
        state, _ = update(state, batch, jax.random.key(i))
    assert apart(state) < before / 2
