"""What every agent promises, looked at over a table of all of them."""

import functools
from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from goalward import agents, survival
from goalward.agents import parts
from goalward.config import (
    ChronoConfig,
    CRLConfig,
    DiscreteCRLConfig,
    GCBCConfig,
    GCSLConfig,
    NetworkConfig,
    SACConfig,
    SRLConfig,
    TD3Config,
    TDConfig,
    TrainConfig,
)
from goalward.errors import UserError
from goalward.losses import ENERGIES
from goalward.networks import sample_action
from goalward.types import Batch, EnvSpec, Next, Reach

OBS, ACTION, GOAL, SIZE, WINDOW = 3, 2, 2, 16, 12
KEY = jax.random.key(0)
NETWORK = NetworkConfig(depth=2, block_size=1, width=8)
STEPS = {"actor_lr": 1e-3, "critic_lr": 2e-3}
RATES = STEPS | {"alpha_lr": 5e-3, "repr_dim": 8}
CONFIGS = {
    "crl": CRLConfig(**RATES),
    "safe_crl_in_chunks": CRLConfig(
        **RATES, chunk=3, survival_weight=1.0, mass_weights=True, normalise_inputs=True
    ),
    "srl": SRLConfig(
        **RATES,
        window=WINDOW,
        bins=WINDOW,
        actor_random_goals=0.25,
        actor_commanded_goals=0.25,
        actor_average=0.9,
    ),
    "chrono_in_chunks": ChronoConfig(**RATES, window=WINDOW, bins=6, occupancy_bins=4, normalise_inputs=True),
    "discrete_crl": DiscreteCRLConfig(
        repr_dim=8, critic_lr=2e-3, temperature_lr=5e-3, target_entropy=0.5, samples_per_episode=2
    ),
    "sac": SACConfig(**STEPS, alpha_lr=5e-3, discount=0.9, normalise_inputs=True),
    "sac_in_classes_and_chunks": SACConfig(
        **STEPS, alpha_lr=5e-3, discount=0.9, value_loss="hl_gauss", soft_value=False, chunk=3,
        actor_random_goals=0.25, actor_commanded_goals=0.25,
    ),
    "td3": TD3Config(**STEPS, discount=0.9, policy_delay=1, actor_average=0.9, exploration_clip=0.3),
    "gcbc": GCBCConfig(actor_lr=1e-3, normalise_inputs=True),
    "gcsl_in_chunks": GCSLConfig(actor_lr=1e-3, chunk=2),
}  # fmt: skip
CHOOSES = {"discrete_crl"}  # among as many actions as others give numbers
IMITATE = {name for name, config in CONFIGS.items() if isinstance(config, GCBCConfig)}
TEMPORAL = {name for name, config in CONFIGS.items() if isinstance(config, TDConfig)}
ALL = pytest.mark.parametrize("name", CONFIGS)


def spec(discrete=False):
    return EnvSpec(
        OBS, ACTION, GOAL, 10, lambda obs: obs[..., :GOAL], lambda a, g: jnp.linalg.norm(a - g, axis=-1), 0.5,
        discrete=discrete,
    )  # fmt: skip


@functools.cache
def agent_of(name):
    return agents.make(TrainConfig("", agent=CONFIGS[name], network=NETWORK), spec(name in CHOOSES))


@functools.cache
def compiled(name, method):
    return jax.jit(getattr(agent_of(name), method))


def random_batch(relabel, seed=0, size=SIZE):
    """Samples as an agent asks for them; what has to do with its goal follows from where the row is."""
    random = np.random.default_rng(seed)
    obs, action = random.standard_normal((size, OBS)), random.uniform(-1, 1, (size, relabel.chunk * ACTION))
    goal = obs[:, :GOAL] + action[:, :GOAL] + 0.1 * random.standard_normal((size, GOAL))
    batch = Batch(
        *(jnp.asarray(x, jnp.float32) for x in (obs, action, goal, random.standard_normal((size, GOAL))))
    )
    left = np.append(random.integers(1, 2 * WINDOW, size - 3), [1, 1, 1])
    if relabel.chunk > 1:
        batch = batch._replace(valid=jnp.asarray(left >= relabel.chunk))
    if relabel.outcomes:
        batch = batch._replace(left=jnp.asarray(left, jnp.int32), failed=jnp.asarray(random.random(size) < 0.5))
    if relabel.window is not None:
        steps = np.minimum(np.ceil(4 * np.linalg.norm(goal - obs[:, :GOAL], axis=1)), WINDOW)
        reach = Reach(jnp.asarray(random.random(size) < 0.8), jnp.asarray(steps, jnp.int32), None, None)
        if relabel.occupancy:
            bins = (size, len(relabel.occupancy) - 1)
            seen = jnp.asarray(random.random(bins) < 0.7)
            reach = reach._replace(near=jnp.asarray(random.random(bins), jnp.float32), observed=seen)
        batch = batch._replace(reach=reach)
    if relabel.returns is not None:
        after = jnp.asarray(obs + 0.1 * random.standard_normal(obs.shape), jnp.float32)
        reward, discount = -random.random(size), np.where(random.random(size) < 0.3, 0.0, 0.9)
        batch = batch._replace(next=Next(after, *(jnp.asarray(x, jnp.float32) for x in (reward, discount))))
    return batch


def batch_of(name, seed=0):
    batch = random_batch(agent_of(name).relabel, seed)
    if name not in CHOOSES:
        return batch
    return batch._replace(action=jax.nn.one_hot(jnp.argmax(batch.action, axis=-1), ACTION))


@functools.cache
def after_updates(name, updates):
    """The state after some updates: Adam's moments are no longer 0 then, nor is log α."""
    state = compiled(name, "init")(KEY)
    for i in range(updates):
        state, _ = compiled(name, "update")(state, batch_of(name, i), jax.random.key(i))
    return state


def named_leaves(tree):
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)]


@ALL
def test_the_value_of_a_state_is_that_of_what_is_done_there(name):
    """And another action has another value, each row its own."""
    state, batch, agent = after_updates(name, 2), batch_of(name), agent_of(name)
    action = compiled(name, "exploit")(state, batch.obs, batch.goal, KEY)
    if name in IMITATE:
        with pytest.raises(UserError, match="learns no value"):
            agent.action_value(state, batch.obs, action, batch.goal)
        return
    judge, value = compiled(name, "action_value"), compiled(name, "value")(state, batch.obs, batch.goal)
    if name in CHOOSES:
        every = [judge(state, batch.obs, jnp.tile(one, (SIZE, 1)), batch.goal) for one in jnp.eye(ACTION)]
        np.testing.assert_allclose(value, np.max(every, axis=0), rtol=1e-5, atol=1e-6)
        return
    np.testing.assert_allclose(judge(state, batch.obs, action, batch.goal), value, rtol=1e-5, atol=1e-6)
    turned = judge(state, batch.obs, action[::-1], batch.goal)
    assert np.any(np.abs(turned - value) > 1e-4)
    again = judge(state, batch.obs[::-1], action, batch.goal[::-1])
    np.testing.assert_allclose(again[::-1], turned, rtol=1e-4, atol=1e-5)


@ALL
def test_actions_values_and_embeddings_are_those_of_each_row(name):
    """Shapes as promised; and a row's are its own, whatever stands beside it."""
    state, batch, chunk = after_updates(name, 2), batch_of(name), agent_of(name).chunk
    actions = (chunk * ACTION,)
    for method, size, last in (
        ("act", actions, (KEY,)), ("exploit", actions, (KEY,)), ("embed", (8,), ()), ("value", (), ()),
    ):  # fmt: skip
        if method == "value" and name in IMITATE:
            with pytest.raises(UserError, match="learns no value"):
                agent_of(name).value(state, batch.obs, batch.goal)
            continue
        call = compiled(name, method)
        all_rows = call(state, batch.obs, batch.goal, *last)
        assert all_rows.shape == (SIZE, *size), method
        assert np.all(np.isfinite(all_rows)), method
        if not last:
            turned = call(state, batch.obs[::-1], batch.goal[::-1])
            np.testing.assert_allclose(turned[::-1], all_rows, rtol=1e-4, atol=1e-5, err_msg=method)
        elif method == "act":
            assert np.all(np.abs(all_rows) <= 1)
            assert np.any(all_rows != call(state, batch.obs, batch.goal, jax.random.key(1)))
        if method in ("act", "exploit") and name in CHOOSES:
            np.testing.assert_array_equal(np.sort(all_rows), np.eye(ACTION)[[-1] * SIZE])


@ALL
def test_update_is_finite_and_changes_every_parameter(name):
    state = compiled(name, "init")(KEY)
    updated, metrics = compiled(name, "update")(state, batch_of(name), KEY)
    of_critic, of_actor = {"critic_loss", "critic_grad_norm"}, {"actor_loss", "actor_grad_norm"}
    told = {
        "discrete_crl": of_critic | {"temperature", "entropy"},
        **dict.fromkeys(IMITATE, of_actor | {"action_error"}),
        **dict.fromkeys(TEMPORAL, of_critic | of_actor | {"value", "target", "td_error"}),
    }
    assert told.get(name, of_critic | of_actor | {"entropy", "alpha"}) <= set(metrics)
    for metric, value in metrics.items():
        assert value.shape == (), metric
        assert np.isfinite(value), metric
    for (leaf, old), (_, new) in zip(named_leaves(state.params), named_leaves(updated.params), strict=True):
        assert np.all(np.isfinite(new)), leaf
        assert np.any(old != new), leaf


@ALL
def test_update_is_a_function_of_state_batch_and_key(name):
    state, update = after_updates(name, 2), compiled(name, "update")
    one, again, other = (update(state, batch_of(name), jax.random.key(i))[0].params for i in (1, 1, 2))
    for (leaf, a), (_, b) in zip(named_leaves(one), named_leaves(again), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=leaf)
    if name in CHOOSES | IMITATE:
        jax.tree.map(np.testing.assert_array_equal, one, other)  # an update draws nothing
        return
    if name in TEMPORAL:  # the targets of the critics are drawn
        assert np.any(one.critic[0].q.head.bias != other.critic[0].q.head.bias)
        return
    assert np.any(one.actor.trunk.head.bias != other.actor.trunk.head.bias)
    np.testing.assert_array_equal(one.critic.phi.head.bias, other.critic.phi.head.bias)  # it sees no noise


@ALL
def test_gradients_are_the_slopes_of_the_losses(name):
    """Along the gradient itself, by central differences, of the critic's loss and the actor's."""
    agent, state, batch = agent_of(name), after_updates(name, 3), batch_of(name, 5)
    grads, metrics = jax.jit(agent.gradients)(state, batch, KEY)

    @functools.partial(jax.jit, static_argnums=0)
    def loss_at(part, step):
        params = getattr(state.params, part)
        moved = jax.tree.map(lambda p, g: p + step * g, params, getattr(grads, part))
        moved = state._replace(params=state.params._replace(**{part: moved}))
        return agent.gradients(moved, batch, KEY)[1][f"{part.removesuffix('s')}_loss"]

    learned = ("critics",) if name in CHOOSES else ("actor",) if name in IMITATE else ("critic", "actor")
    for part in learned:
        squared = float(metrics[f"{part.removesuffix('s')}_grad_norm"]) ** 2
        step = 1e-2 / np.sqrt(squared)
        slope = (float(loss_at(part, step)) - float(loss_at(part, -step))) / (2 * step)
        assert slope == pytest.approx(squared, rel=0.05), part


@ALL
def test_learning_lowers_the_loss(name):
    state, losses = compiled(name, "init")(KEY), []
    for i in range(150):
        state, metrics = compiled(name, "update")(state, batch_of(name, i % 4), jax.random.key(i))
        losses.append(float(metrics["actor_loss" if name in IMITATE else "critic_loss"]))
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05


def test_a_running_average_of_the_actor_is_the_policy_and_changes_nothing_else():
    plain, kept = agent_of("crl"), 0.75
    averaging = replace(plain, config=replace(plain.config, actor_average=kept))
    state, obs, goal = averaging.init(KEY), batch_of("crl").obs, batch_of("crl").goal
    expected, update = state.params.actor, jax.jit(averaging.update)
    for i in range(3):
        state, _ = update(state, batch_of("crl", i), jax.random.key(i))
        expected = jax.tree.map(
            lambda old, new: kept * old + (1 - kept) * new if eqx.is_inexact_array(old) else old,
            expected, state.params.actor,
        )  # fmt: skip
    for (where, leaf), wanted in zip(named_leaves(state.average), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, wanted, rtol=1e-5, atol=1e-7, err_msg=where)
    newest = after_updates("crl", 3)
    jax.tree.map(np.testing.assert_array_equal, state._replace(average=None), newest)
    by_average = plain.exploit(
        newest._replace(params=newest.params._replace(actor=state.average)), obs, goal, KEY
    )
    np.testing.assert_array_equal(averaging.exploit(state, obs, goal, KEY), by_average)
    assert np.any(by_average != plain.exploit(newest, obs, goal, KEY))
    np.testing.assert_array_equal(averaging.act(state, obs, goal, KEY), plain.act(newest, obs, goal, KEY))


@pytest.mark.parametrize("name", [name for name in CONFIGS if agent_of(name).chunk > 1])
def test_a_chunk_that_runs_over_its_episodes_end_teaches_nothing(name):
    """It remains as the negative of others, in the terms that are taken over all pairs."""
    over_pairs: dict = {CRLConfig: {"logsumexp_penalty": 0.0}, ChronoConfig: {"separation_weight": 0.0}}
    config = replace(CONFIGS[name], **over_pairs.get(type(CONFIGS[name]), {}))
    agent = agents.make(TrainConfig("", agent=config, network=NETWORK), spec())
    state, batch, gradients = after_updates(name, 2), batch_of(name), jax.jit(agent.gradients)
    invalid = np.flatnonzero(~np.asarray(batch.valid))
    assert 0 < len(invalid) < SIZE
    other = batch._replace(action=batch.action.at[invalid].set(0.3))
    ours, theirs = (gradients(state, each, KEY)[0] for each in (batch, other))
    if name not in IMITATE:
        ours, theirs = ours.critic, theirs.critic
    for (leaf, a), (_, b) in zip(named_leaves(ours), named_leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, err_msg=leaf)


@ALL
def test_block_norms_are_of_the_actor_and_of_what_judges_it(name):
    found = compiled(name, "block_norms")(after_updates(name, 1), batch_of(name), KEY)
    trunks = {"phi", "psi", "actor"} - (set() if name not in CHOOSES else {"actor"})
    trunks = {"actor", "q"} if name in TEMPORAL else {"actor"} if name in IMITATE else trunks
    assert {key.split("_")[0] for key in found} == trunks
    assert all(np.all(np.isfinite(norm)) and norm.ndim == 1 for norm in found.values())


def test_a_falling_agent_is_told_to_stay_at_the_goal():
    """ChronoSRL's actor climbs V + β O, with β the share of the samples that count whose episodes fail."""
    name = "chrono_in_chunks"
    agent, state, batch = agent_of(name), after_updates(name, 2), batch_of(name)
    critic, config = state.params.critic, CONFIGS[name]
    inputs = parts.inputs_of(state.scales, batch)
    _, metrics = jax.jit(agent.gradients)(state, batch, KEY)
    falls = np.asarray(batch.failed)[np.asarray(batch.valid)].mean()
    assert metrics["falls"] == pytest.approx(falls)
    assert 0 < falls < 1

    phi, psi = critic.encode_sa(inputs.obs, inputs.action), critic.encode_g(inputs.goal)
    now, hazards, occupancy = critic.predict(phi, psi)
    edges = survival.bin_edges(WINDOW, config.bins)
    ahead = survival.bin_edges(WINDOW, config.occupancy_bins)[1:]
    reach = survival.value(now, hazards, edges, config.value_discount)
    stay = survival.occupancy_value(occupancy, ahead, config.value_discount)
    for share in (0.0, 0.5):
        found = agent.worth(critic, phi, psi, jnp.float32(share))
        np.testing.assert_allclose(found, reach + jnp.float32(share) * stay, rtol=1e-5)


def test_the_losses_of_chrono_are_in_units_of_its_discount():
    """κ = −log γ a step, κ W apart; which goals are apart is told in metres, not as networks are given them."""
    name = "chrono_in_chunks"
    agent, state, batch, config = agent_of(name), after_updates(name, 2), batch_of(name), CONFIGS[name]
    _, metrics = jax.jit(agent.gradients)(state, batch, KEY)
    inputs, critic = parts.inputs_of(state.scales, batch), state.params.critic
    phi, psi = (np.asarray(x, np.float64) for x in (
        critic.encode_sa(inputs.obs, inputs.action), critic.encode_g(inputs.goal)
    ))  # fmt: skip
    distance = np.sqrt(np.sum((phi[:, None] - psi[None]) ** 2, axis=-1) + 1e-6)
    kappa, goal, valid = -np.log(config.value_discount), np.asarray(batch.goal), np.asarray(batch.valid)
    reached, steps = (np.asarray(x) for x in (batch.reach.reached, batch.reach.steps))
    events = [i for i in range(SIZE) if valid[i] and reached[i] and steps[i] >= 1]
    errors = np.abs([distance[i, i] - kappa * steps[i] for i in events])
    time = np.mean(np.where(errors <= 1, errors**2 / 2, errors - 0.5))
    apart = [
        max(0.0, kappa * WINDOW - distance[i, j])
        for i in range(SIZE)
        for j in range(SIZE)
        if (np.linalg.norm(goal[i] - goal[j]) > 0.5 if i != j else valid[i] and not reached[i])
    ]
    assert metrics["time_loss"] == pytest.approx(time, rel=1e-3)
    assert metrics["separation_loss"] == pytest.approx(np.mean(apart), rel=1e-3, abs=1e-6)


def test_samples_of_safe_crl_weigh_what_a_failure_leaves_of_their_future():
    """(1/B) Σ w Ẑ ℓ with w = valid / mean(valid); and the actor is told log Z of its action."""
    name = "safe_crl_in_chunks"
    agent, state, batch, config = agent_of(name), after_updates(name, 2), batch_of(name), CONFIGS[name]
    grads, metrics = jax.jit(agent.gradients)(state, batch, KEY)
    inputs, params = parts.inputs_of(state.scales, batch), state.params
    phi = params.critic.encode_sa(inputs.obs, inputs.action)
    f = np.asarray(ENERGIES["l2"].pairwise(phi, params.critic.encode_g(inputs.goal)), np.float64)
    rows = np.log(np.exp(f).sum(axis=1))
    valid, failed, left = (np.asarray(x) for x in (batch.valid, batch.failed, batch.left))
    mass = np.where(failed, 1 - config.discount**left, 1.0)
    loss = np.mean(valid / valid.mean() * mass * (rows - f.diagonal())) + 0.1 * np.mean(rows**2)
    assert metrics["critic_loss"] == pytest.approx(loss, rel=1e-4)

    without = agents.make(TrainConfig("", agent=replace(config, survival_weight=1e-6), network=NETWORK), spec())
    _, plain = jax.jit(without.gradients)(state, batch, KEY)
    action, _ = sample_action(*params.actor(inputs.obs, inputs.goal), KEY, config.log_prob)
    logit = jax.vmap(params.survival)(jnp.concatenate([inputs.obs, action], axis=-1))[:, 0]
    told = float(jnp.mean(jax.nn.log_sigmoid(logit)))
    assert metrics["actor_loss"] - plain["actor_loss"] == pytest.approx(-told, rel=1e-3)
    assert float(metrics["survival_grad_norm"]) > 0
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(grads.survival))
