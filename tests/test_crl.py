"""The contrastive agent: one update is the paper's, and many of them learn."""

import functools
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from goalward import agents
from goalward.agents.parts import State
from goalward.config import CRLConfig, NetworkConfig, TrainConfig
from goalward.networks import sample_action
from goalward.types import Batch, EnvSpec

OBS, ACTION, GOAL, SIZE = 3, 2, 2, 32
KEY = jax.random.key(0)
NETWORK = NetworkConfig(depth=1, block_size=1, width=16)
# Each rate its own, so that no optimiser can be taken for another.
L2 = CRLConfig(repr_dim=8, actor_lr=1e-3, critic_lr=2e-3, alpha_lr=5e-3)
DOT = CRLConfig(
    repr_dim=8, energy="dot", objective="symmetric_info_nce", logsumexp_penalty=0.3,
    actor_lr=1e-3, critic_lr=3e-3, alpha_lr=1e-2, target_entropy=-3.0,
    actor_random_goals=0.25, actor_commanded_goals=0.375, log_prob="bounded",
)  # fmt: skip
METRICS = {
    "accuracy", "positive_logit", "negative_logit", "logsumexp", "critic_loss",
    "actor_loss", "entropy", "alpha", "actor_grad_norm", "critic_grad_norm",
}  # fmt: skip


def spec():
    def distance(achieved, goal):
        return jnp.linalg.norm(achieved - goal, axis=-1)

    return EnvSpec(OBS, ACTION, GOAL, 10, lambda obs: obs[..., :GOAL], distance, 0.5)


@functools.cache
def agent_of(config):
    """The agent's methods, those compiled that take long."""
    agent = agents.make(TrainConfig("", agent=config, network=NETWORK), spec())
    names = ("init", "update", "act", "exploit", "embed", "value")
    methods = {name: getattr(agent, name) for name in names}
    return SimpleNamespace(**methods | {name: jax.jit(methods[name]) for name in names[:2]})


@functools.cache
def make_batch(seed=0):
    """The goal is where the state and the action lead, with some noise."""
    random = np.random.default_rng(seed)
    obs, action = random.standard_normal((SIZE, OBS)), random.uniform(-1, 1, (SIZE, ACTION))
    goal = obs[:, :GOAL] + action + 0.1 * random.standard_normal((SIZE, GOAL))
    commanded = random.standard_normal((SIZE, GOAL))
    return Batch(*(jnp.asarray(leaf, jnp.float32) for leaf in (obs, action, goal, commanded)))


@functools.cache
def after_updates(config, updates):
    """The state after some updates: Adam's moments are no longer 0 then, nor is log α."""
    agent = agent_of(config)
    state = agent.init(KEY)
    for i in range(updates):
        state, _ = agent.update(state, make_batch(i), jax.random.key(i))
    return state


def named_leaves(tree):
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


# --- one update, as the paper writes it ---


def pairwise(config, phi, psi):
    if config.energy == "dot":
        return jnp.einsum("ir,jr->ij", phi, psi)
    return -jnp.sqrt(jnp.sum((phi[:, None] - psi[None, :]) ** 2, axis=-1) + 1e-6)


def critic_loss(critic, batch, config):
    f = pairwise(config, critic.encode_sa(batch.obs, batch.action), critic.encode_g(batch.goal))
    positive, rows, columns = jnp.diagonal(f), jax.nn.logsumexp(f, axis=1), jax.nn.logsumexp(f, axis=0)
    forward, backward = -jnp.mean(positive - rows), -jnp.mean(positive - columns)
    loss = forward if config.objective == "info_nce" else (forward + backward) / 2
    return loss + config.logsumexp_penalty * jnp.mean(rows**2), f


def actor_loss(actor, critic, alpha, batch, key, config):
    count = int(config.actor_random_goals * SIZE)
    source = [(i - 1) % count if i < count else i for i in range(SIZE)]  # whose goal each sample is given
    last = count + int(config.actor_commanded_goals * SIZE)
    goal = batch.goal[np.array(source)].at[count:last].set(batch.commanded[count:last])
    action, log_prob = sample_action(*actor(batch.obs, goal), key, config.log_prob)
    f = pairwise(config, critic.encode_sa(batch.obs, action), critic.encode_g(goal))
    return jnp.mean(alpha * log_prob - jnp.diagonal(f)), -jnp.mean(log_prob)


def one_after_the_other(state, batch, key, config):
    """First actor and α step, against the old critic; then the critic steps."""
    (actor, critic, log_alpha, _), (actor_opt, critic_opt, alpha_opt) = state.params, state.opt

    def stepped(params, gradient, opt, rate):
        updates, _ = optax.adam(rate).update(gradient, opt)
        return optax.apply_updates(params, updates)

    alpha = jnp.exp(log_alpha)
    (a_loss, entropy), gradient = jax.value_and_grad(actor_loss, has_aux=True)(
        actor, critic, alpha, batch, key, config
    )
    new_actor = stepped(actor, gradient, actor_opt, config.actor_lr)
    metrics = {"actor_loss": a_loss, "entropy": entropy, "alpha": alpha, "actor_grad_norm": norm(gradient)}
    gradient = alpha * (entropy - config.target_entropy * ACTION)
    new_log_alpha = stepped(log_alpha, gradient, alpha_opt, config.alpha_lr)
    (c_loss, f), gradient = jax.value_and_grad(critic_loss, has_aux=True)(critic, batch, config)
    new_critic = stepped(critic, gradient, critic_opt, config.critic_lr)
    metrics |= {"critic_loss": c_loss, "critic_grad_norm": norm(gradient), "logits": f}
    return (new_actor, new_critic, new_log_alpha), metrics


def norm(tree):
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


@functools.cache
def both_updates(config):
    state, batch, key = after_updates(config, 3), make_batch(9), jax.random.key(9)
    expected = jax.jit(one_after_the_other, static_argnums=3)(state, batch, key, config)
    updated, metrics = agent_of(config).update(state, batch, key)
    return (updated.params, metrics), expected


@pytest.mark.parametrize("config", [L2, DOT], ids=["l2", "dot"])
def test_update_is_the_papers_sequence(config):
    (params, _), (expected, _) = both_updates(config)
    for (name, a), (_, b) in zip(named_leaves(params[:3]), named_leaves(expected), strict=True):
        # A gradient near 0 is all rounding, and Adam makes a step of it: a tenth of a step is allowed.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-5, err_msg=name)


@pytest.mark.parametrize("config", [L2, DOT], ids=["l2", "dot"])
def test_metrics_are_those_of_the_update(config):
    (_, metrics), (_, expected) = both_updates(config)
    f = np.asarray(expected.pop("logits"), np.float64)
    off_diagonal = ~np.eye(SIZE, dtype=bool)
    expected |= {
        "accuracy": np.mean(f.argmax(axis=1) == np.arange(SIZE)),
        "positive_logit": f.diagonal().mean(),
        "negative_logit": f[off_diagonal].mean(),
        "logsumexp": np.log(np.exp(f).sum(axis=1)).mean(),
    }
    assert set(metrics) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=2e-3, atol=1e-4, err_msg=name)


def test_update_needs_no_jit():
    """With most sizes equal, so that fewer operations are compiled one by one."""
    config = CRLConfig(repr_dim=4)
    network = NetworkConfig(depth=1, block_size=1, width=4, layer_norm=False, activation="tanh")
    agent = agents.make(TrainConfig("", agent=config, network=network), spec()._replace(obs_dim=2))
    state, batch = jax.jit(agent.init)(KEY), make_batch()
    batch = Batch(batch.obs[:4, :2], batch.action[:4], batch.goal[:4], batch.commanded[:4])
    (plain, plain_metrics), (compiled, metrics) = (
        agent.update(state, batch, KEY),
        jax.jit(agent.update)(state, batch, KEY),
    )
    for (name, a), (_, b) in zip(named_leaves(plain.params), named_leaves(compiled.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-5, err_msg=name)
    for name, value in metrics.items():
        np.testing.assert_allclose(plain_metrics[name], value, rtol=1e-4, err_msg=name)


def test_value_is_the_energy_of_the_greedy_actions_embedding():
    agent, state, batch = agent_of(L2), after_updates(L2, 3), make_batch()
    actor, critic, *_ = state.params

    @jax.jit
    def both(state):
        looks = [f(state, batch.obs, batch.goal) for f in (agent.embed, agent.value)]
        return (
            agent.exploit(state, batch.obs, batch.goal, KEY),
            *looks,
            agent.act(state, batch.obs, batch.goal, KEY),
        )

    @jax.jit
    def expected():
        mean, log_std = actor(batch.obs, batch.goal)
        action = jnp.tanh(mean)
        phi = critic.encode_sa(batch.obs, action)
        f = pairwise(L2, phi, critic.encode_g(batch.goal))
        return action, phi, jnp.diagonal(f), sample_action(mean, log_std, KEY)[0]

    for a, b in zip(both(state), expected(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# --- inputs brought to one scale ---


def test_a_normalising_agent_is_a_plain_one_on_normalised_inputs():
    """Its update, actions and values are those of the same parameters on inputs scaled by what it has seen."""
    config = replace(DOT, normalise_inputs=True)
    agent, plain = agent_of(config), agent_of(DOT)
    state, batch = after_updates(config, 3), make_batch(3)
    updated, metrics = agent.update(state, batch, KEY)
    obs, goal = (np.concatenate([make_batch(i)[field] for i in range(4)]) for field in (0, 2))

    def scaled(x, seen):
        return jnp.asarray((np.asarray(x) - seen.mean(0)) / seen.std(0))

    inputs = Batch(
        scaled(batch.obs, obs), batch.action, scaled(batch.goal, goal), scaled(batch.commanded, goal)
    )
    bare = State(state.params, state.opt)
    _, expected_metrics = plain.update(bare, inputs, KEY)
    for name, value in metrics.items():
        np.testing.assert_allclose(value, expected_metrics[name], rtol=1e-3, atol=1e-4, err_msg=name)
    bare = State(updated.params, updated.opt)
    for name, last in (("act", (KEY,)), ("exploit", (KEY,)), ("embed", ()), ("value", ())):
        expected = getattr(plain, name)(bare, inputs.obs, inputs.commanded, *last)
        ours = getattr(agent, name)(updated, batch.obs, batch.commanded, *last)
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4, err_msg=name)


def test_scales_are_kept_only_where_they_are_used():
    assert agent_of(L2).init(KEY).scales is None
