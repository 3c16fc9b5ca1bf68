"""Learning from rewards: on chains and bandits whose values are known, and against the updates' definitions."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy
from test_agents import KEY, after_updates, agent_of, batch_of, compiled

from goalward import agents
from goalward.agents import parts
from goalward.config import NetworkConfig, SACConfig, TD3Config, TrainConfig
from goalward.networks import sample_action
from goalward.policy import load_policy
from goalward.returns import Returns
from goalward.types import Batch, EnvSpec, Next

NETWORK = NetworkConfig(depth=1, block_size=1, width=32)
CHAIN, DISCOUNT = 5, 0.8
FAST = {"critic_lr": 3e-3, "actor_lr": 3e-3, "target_rate": 0.05, "discount": DISCOUNT}
LINE = EnvSpec(CHAIN, 1, 1, 10, lambda obs: obs[..., :1], lambda a, g: jnp.abs(a - g)[..., 0], 0.5)


def trained(config, batch_of_key, updates):
    """The agent's state after updates on batches of random keys."""
    agent = agents.make(TrainConfig("", agent=config, network=NETWORK), LINE)

    @jax.jit
    def learn(state):
        def step(state, key):
            return agent.update(state, batch_of_key(jax.random.fold_in(key, 1)), key)

        return jax.lax.scan(step, state, jax.random.split(KEY, updates))

    state, metrics = learn(agent.init(KEY))
    assert all(np.all(np.isfinite(leaf)) for leaf in metrics.values())
    return agent, state, metrics


def chain(key, size=64):
    """Rows of a chain whose steps lead one on, whatever is done; at its end is the goal, where all stops."""
    at_key, action_key = jax.random.split(key)
    at = jax.random.randint(at_key, (size,), 0, CHAIN - 1)
    action, goal = jax.random.uniform(action_key, (size, 1), minval=-1), jnp.zeros((size, 1))
    there = at == CHAIN - 2
    after = Next(jax.nn.one_hot(at + 1, CHAIN), there.astype(jnp.float32), jnp.where(there, 0.0, DISCOUNT))
    return Batch(jax.nn.one_hot(at, CHAIN), action, goal, goal, next=after)


@pytest.mark.parametrize(
    "config",
    [
        TD3Config(**FAST, reward="zero_one", stop_at_goal=True),
        TD3Config(**FAST, reward="zero_one", stop_at_goal=True, value_loss="hl_gauss", value_bins=21),
        pytest.param(
            TD3Config(**FAST, reward="zero_one", stop_at_goal=True, value_loss="two_hot", value_bins=21),
            marks=pytest.mark.slow,
        ),
        SACConfig(**FAST, reward="zero_one", stop_at_goal=True, soft_value=False),
    ],
    ids=["td3", "td3, HL-Gauss", "td3, two-hot", "sac"],
)
def test_values_of_a_chain_are_discounted_by_its_steps(config):
    """Q(s_k) = γ^{K−1−k}, whatever the action."""
    agent, state, _ = trained(config, chain, 1_500)
    obs = jnp.eye(CHAIN)[: CHAIN - 1]
    found = agent.value(state, obs, jnp.zeros((CHAIN - 1, 1)))
    np.testing.assert_allclose(found, DISCOUNT ** np.arange(CHAIN - 2, -1, -1), atol=0.05)


def bandit(key, size=64):
    """One step, whose reward is most at the goal; nothing comes after it."""
    goal_key, action_key = jax.random.split(key)
    goal = jax.random.uniform(goal_key, (size, 1), minval=-0.7, maxval=0.7)
    action = jax.random.uniform(action_key, (size, 1), minval=-1)
    obs = jnp.ones((size, CHAIN))
    return Batch(obs, action, goal, goal, next=Next(obs, -jnp.abs(action - goal)[:, 0], jnp.zeros(size)))


@pytest.mark.parametrize("config", [SACConfig(**FAST, alpha_lr=1e-2), TD3Config(**FAST)], ids=["sac", "td3"])
def test_the_best_action_of_a_bandit_is_found(config):
    agent, state, metrics = trained(config, bandit, 1_500)
    goal = jnp.linspace(-0.6, 0.6, 13)[:, None]
    action = agent.exploit(state, jnp.ones((13, CHAIN)), goal, KEY)
    assert np.mean(np.abs(action - goal)) < 0.1
    np.testing.assert_allclose(agent.value(state, jnp.ones((13, CHAIN)), goal), 0.0, atol=0.15)
    if isinstance(config, SACConfig):  # it stays as random as it is told
        assert np.mean(metrics["entropy"][-100:]) == pytest.approx(config.target_entropy, abs=0.3)


def test_targets_of_sac_hold_the_entropy_to_come():
    """R + γⁿ (min Q̄ − α log π), of an action of the present policy, by the slow copies; as networks see it."""
    name = "sac"
    agent, state, batch = agent_of(name), after_updates(name, 3), batch_of(name, 5)
    seen = parts.inputs_of(state.scales, batch)
    assert np.any(seen.next.obs != batch.next.obs)
    action, log_prob = sample_action(*state.params.actor(seen.next.obs, seen.goal), KEY)
    worth = np.min([critic(seen.next.obs, action, seen.goal)[:, 0] for critic in state.target], axis=0)
    alpha = np.exp(state.params.log_alpha)
    wanted = batch.next.reward + batch.next.discount * (worth - alpha * log_prob)
    np.testing.assert_allclose(agent.targets(state, seen, KEY), wanted, rtol=1e-5)
    hard = replace(agent, config=replace(agent.config, soft_value=False))
    held = np.clip(batch.next.reward + batch.next.discount * worth, -10.0, 0.0)
    np.testing.assert_allclose(hard.targets(state, seen, KEY), held, rtol=1e-5)


def test_targets_of_td3_are_of_a_noisy_action_of_the_slow_actor():
    name = "td3"
    agent, state, batch = agent_of(name), after_updates(name, 3), batch_of(name, 5)
    agent = replace(agent, config=replace(agent.config, target_noise=1.0))
    slow, config = state.target.params, agent.config
    noise = np.clip(config.target_noise * jax.random.normal(KEY, batch.action.shape), -0.5, 0.5)
    action = np.clip(np.tanh(slow.actor(batch.next.obs, batch.goal)[0]) + noise, -1, 1)
    worth = np.min(
        [each(batch.next.obs, jnp.asarray(action), batch.goal)[:, 0] for each in slow.critic], axis=0
    )
    wanted = np.clip(batch.next.reward + batch.next.discount * worth, -10.0, 0.0)
    np.testing.assert_allclose(agent.targets(state, batch, KEY), wanted, rtol=1e-4, atol=1e-5)
    by_newest = agent.targets(state._replace(target=state.target._replace(params=state.params)), batch, KEY)
    assert np.any(np.abs(by_newest - wanted) > 1e-4)


@pytest.mark.parametrize("name", ["sac", "td3"])
def test_slow_copies_follow_the_newest_weights(name):
    """θ̄ ← (1 − τ) θ̄ + τ θ, after the step."""
    state, batch = after_updates(name, 2), batch_of(name, 7)
    updated, _ = compiled(name, "update")(state, batch, KEY)
    rate = agent_of(name).config.target_rate
    before, after, newest = state.target, updated.target, updated.params.critic
    if name == "td3":
        before, after, newest = before.params, after.params, updated.params
    leaves = zip(*map(jax.tree.leaves, (before, after, newest)), strict=True)
    for old, new, goal in leaves:
        np.testing.assert_allclose(new, (1 - rate) * old + rate * goal, rtol=1e-5, atol=1e-7)
        assert np.any(old != goal)


def test_the_actor_of_td3_waits_for_its_turn():
    """Every third update is one of the actor, of its optimiser and of all slow copies."""
    plain = agent_of("td3")
    agent = replace(plain, config=replace(plain.config, policy_delay=3))
    state, update = agent.init(KEY), jax.jit(agent.update)
    for i in range(7):
        updated, metrics = update(state, batch_of("td3", i), jax.random.key(i))
        moved = {
            part: any(np.any(a != b) for a, b in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True))
            for part, old, new in (
                ("actor", state.params.actor, updated.params.actor),
                ("its optimiser", state.opt[0], updated.opt[0]),
                ("its average", state.average, updated.average),
                ("slow copies", state.target.params, updated.target.params),
                ("critics", state.params.critic, updated.params.critic),
            )
        }
        turn = i % 3 == 0
        assert moved == {
            "actor": turn, "its optimiser": turn, "its average": turn, "slow copies": turn, "critics": True,
        }  # fmt: skip
        assert (float(metrics["actor_grad_norm"]) > 0) == turn
        state = updated
    assert int(state.target.updates) == 7


@pytest.mark.parametrize("bc_weight", [0.0, 0.5])
def test_saturation_is_the_mean_square_of_what_goes_into_tanh(bc_weight):
    agent, state, batch = agent_of("td3"), after_updates("td3", 3), batch_of("td3", 5)

    def loss(weight):
        config = replace(agent.config, bc_weight=bc_weight, saturation_weight=weight)
        return float(replace(agent, config=config).gradients(state, batch, KEY)[1]["actor_loss"])

    mean, _ = state.params.actor(batch.obs, batch.goal)
    assert loss(0.3) - loss(0.0) == pytest.approx(0.3 * float(np.mean(mean**2)), rel=1e-3)


def test_cloning_is_half_the_squared_distance_of_actions():
    agent, batch = agent_of("gcbc"), batch_of("gcbc", 5)
    state = after_updates("gcbc", 3)
    _, metrics = agent.gradients(state, batch, KEY)
    action = agent.exploit(state, batch.obs, batch.goal, KEY)
    squares = np.sum((action - batch.action) ** 2, axis=1)
    assert metrics["actor_loss"] == pytest.approx(float(np.mean(squares) / 2), rel=1e-5)
    assert metrics["action_error"] == pytest.approx(float(np.sqrt(np.mean(squares) / 2)), rel=1e-5)


def test_a_likelihood_is_the_density_that_actions_are_drawn_by():
    """GCSL's loss is minus the log-density of the actions of samples that count."""
    agent, batch, state = (
        agent_of("gcsl_in_chunks"),
        batch_of("gcsl_in_chunks", 5),
        after_updates("gcsl_in_chunks", 3),
    )
    mean, log_std = (np.asarray(x, np.float64) for x in state.params.actor(batch.obs, batch.goal))
    action, _ = sample_action(*(jnp.asarray(x, jnp.float32) for x in (mean, log_std - 1)), KEY)
    u = np.arctanh(np.clip(np.asarray(action, np.float64), -0.999, 0.999))
    scale = np.exp(log_std)
    density = np.sum(
        -0.5 * ((u - mean) / scale) ** 2
        - np.log(scale)
        - 0.5 * np.log(2 * np.pi)
        - np.log(1 - np.tanh(u) ** 2),
        axis=1,
    )
    wanted = -np.mean(density[np.asarray(batch.valid)])
    loss, _ = agent.actor_loss(state.params.actor, batch._replace(action=action))
    assert float(loss) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("name", ["gcbc", "gcsl_in_chunks"])
def test_imitation_finds_what_led_to_the_goal(name):
    """In a world whose goal is where the action leads, the action is told by the goal."""
    agent, one = agent_of(name), batch_of(name)

    def told(goal):
        return jnp.tile(0.5 * jnp.tanh(goal), (1, agent.chunk))

    def step(state, key):
        goal = jax.random.normal(key, one.goal.shape)
        return agent.update(state, one._replace(goal=goal, action=told(goal)), key)

    state, _ = jax.jit(lambda state: jax.lax.scan(step, state, jax.random.split(KEY, 3_000)))(agent.init(KEY))
    found, wanted = agent.exploit(state, one.obs, one.goal, KEY), told(one.goal)
    assert np.mean(np.abs(found - wanted)) < 0.3 * np.mean(np.abs(wanted))


def test_exploring_is_with_noise_and_within_bounds():
    for name in ("td3", "gcbc", "gcsl_in_chunks"):
        agent, state, batch = agent_of(name), after_updates(name, 2), batch_of(name)
        best = np.asarray(agent.exploit(state, batch.obs, batch.goal, KEY))
        act = compiled(name, "act")
        tried = np.stack([act(state, batch.obs, batch.goal, jax.random.key(i)) for i in range(50)])
        if name == "td3":
            newest = np.tanh(state.params.actor(batch.obs, batch.goal)[0])
            assert np.abs(tried - newest).max() == pytest.approx(agent.config.exploration_clip)
        assert np.all(np.abs(tried) <= 1)
        assert 0.1 < np.sqrt(np.mean((tried - best) ** 2)) < 1.0


@pytest.mark.parametrize(
    "agent", [{"name": "sac"}, {"name": "td3", "policy_delay": 3, "n_step": 2}, {"name": "gcsl", "chunk": 3}]
)
def test_a_resume_is_no_stop_and_a_policy_can_be_loaded(agent, tmp_path):
    """Slow copies, whose turn it is, and what is left of a chunk are in the checkpoint."""
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    toy.run(whole, toy.epochs(2, agent=agent))
    toy.run(halves, toy.epochs(1, agent=agent))
    toy.run(halves, toy.epochs(2, agent=agent), resume=True)
    assert toy.digest(halves) == toy.digest(whole)
    assert toy.rows(halves) == toy.rows(whole)
    action = load_policy(whole).act(np.zeros(2, np.float32), np.ones(2, np.float32))
    assert action.shape == (2,)
    assert np.all(np.abs(action) <= 1)


@pytest.mark.parametrize("kind", [SACConfig, TD3Config])
@pytest.mark.parametrize(("her_goals", "final"), [("future", 0.0), ("final", 0.5)])
def test_what_is_asked_of_the_replay(kind, her_goals, final):
    """Shares of goals make up one batch; a return is of all actions of its decisions."""
    config = kind(
        her_share=0.5, her_goals=her_goals, current_goals=0.05, random_goals=0.25, chunk=3, n_step=2,
        discount=0.9, reward="zero_one", stop_at_goal=True,
    )  # fmt: skip
    asked = agents.make(TrainConfig("", agent=config, network=NETWORK), LINE).relabel
    assert (asked.current, asked.random, asked.final) == (0.05, 0.25, final)
    assert asked.commanded == pytest.approx(0.2)
    assert asked.chunk == 3
    assert asked.returns == Returns(6, 0.9, "zero_one", True)
