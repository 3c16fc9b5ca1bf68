"""CRL for choices: what it scores, how it draws, and the entropy it is held to."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from test_agents import ACTION, NETWORK, SIZE, batch_of, spec
from test_relabel import history, ring_of

from goalward import agents, replay
from goalward.config import CRLConfig, DiscreteCRLConfig, TrainConfig
from goalward.errors import UserError
from goalward.losses import ENERGIES, OBJECTIVES
from goalward.types import EnvSpec

KEY = jax.random.key(0)


def make(**changes):
    config = DiscreteCRLConfig(
        **{"repr_dim": 8, "critic_lr": 2e-3, "temperature_lr": 5e-2, "target_entropy": 0.5} | changes
    )
    return agents.make(TrainConfig("", agent=config, network=NETWORK), spec(discrete=True))


@pytest.mark.parametrize("energy", ENERGIES)
def test_all_choices_are_scored_as_one_by_one(energy):
    agent, batch = make(energy=energy, critics=2), batch_of("discrete_crl")
    state = agent.init(KEY)
    found = agent.scores(state.params.critics, batch.obs, batch.goal)
    for choice in range(ACTION):
        mean = 0.0
        for critic in state.params.critics:
            phi = jax.vmap(critic.phi)(batch.obs)[:, choice * 8 : (choice + 1) * 8]
            mean += jnp.exp(ENERGIES[energy].paired(phi, jax.vmap(critic.psi)(batch.goal))) / 2
        np.testing.assert_allclose(found[:, choice], jnp.log(mean), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(agent.value(state, batch.obs, batch.goal), np.max(found, axis=1))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_is_of_the_choices_that_were_taken(objective):
    agent, batch = make(objective=objective, energy="scaled_dot", critics=2), batch_of("discrete_crl")
    state = agent.init(KEY)
    _, metrics = agent.gradients(state, batch, KEY)
    expected = []
    for critic in state.params.critics:
        choices = np.asarray(jax.vmap(critic.phi)(batch.obs)).reshape(SIZE, ACTION, 8)
        phi = choices[np.arange(SIZE), np.argmax(batch.action, axis=1)]
        logits = jnp.asarray(phi) @ jax.vmap(critic.psi)(batch.goal).T / jnp.sqrt(8.0)
        penalty = jnp.mean(jax.nn.logsumexp(logits, axis=1) ** 2)
        expected.append(OBJECTIVES[objective](logits, None) + 0.1 * penalty)
    assert metrics["critic_loss"] == pytest.approx(float(np.mean(expected)), rel=1e-4)


def test_each_critic_learns_as_it_would_alone():
    batch, pair = batch_of("discrete_crl"), make(critics=2)
    state = pair.init(KEY)
    both = jax.jit(pair.update)(state, batch, KEY)[0].params.critics
    assert np.any(both[0].phi.head.bias != both[1].phi.head.bias)
    for i in range(2):
        alone = make()
        params = state.params._replace(critics=state.params.critics[i : i + 1])
        single = state._replace(params=params, opt=(alone.init(KEY).opt[0], state.opt[1]))
        ours = jax.jit(alone.update)(single, batch, KEY)[0].params.critics[0]
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(both[i]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_choices_are_drawn_by_their_probabilities():
    """Exploring, and in evaluations unless they are greedy."""
    agent, batch = make(), batch_of("discrete_crl")
    state = agent.init(KEY)
    state = state._replace(params=state.params._replace(log_temperature=jnp.log(jnp.float32(0.3))))
    scores = agent.scores(state.params.critics, batch.obs, batch.goal)
    expected = np.asarray(jax.nn.softmax(scores / 0.3))
    number = 4000
    obs, goal = (jnp.tile(part[:1], (number, 1)) for part in (batch.obs, batch.goal))
    for method in (agent.act, agent.exploit):
        drawn = np.asarray(method(state, obs, goal, jax.random.key(1))).sum(axis=0)
        assert stats.chisquare(drawn, number * expected[0]).pvalue > 1e-3
    greedy = make(evaluation="greedy").exploit(state, batch.obs, batch.goal, KEY)
    np.testing.assert_array_equal(np.argmax(greedy, axis=1), np.argmax(scores, axis=1))


@pytest.mark.parametrize("target", [0.2, 0.5])
def test_the_temperature_brings_the_entropy_to_its_target(target):
    agent, batch = make(target_entropy=target, critic_lr=1e-12), batch_of("discrete_crl")
    state, update = agent.init(KEY), jax.jit(agent.update)
    for _ in range(400):
        state, metrics = update(state, batch, KEY)
    assert metrics["entropy"] == pytest.approx(target, abs=0.03)
    temperature = metrics["temperature"]
    probabilities = np.asarray(jax.nn.softmax(scores_of_others(agent, state, batch) / temperature), np.float64)
    assert metrics["entropy"] == pytest.approx(np.mean(stats.entropy(probabilities, axis=1)), abs=1e-3)


def scores_of_others(agent, state, batch):
    goal = jnp.roll(batch.goal, agent.config.samples_per_episode, axis=0)
    return agent.scores(state.params.critics, batch.obs, goal)


def test_the_temperature_is_learned_on_goals_of_other_episodes():
    """Of a batch drawn as the agent asks for, whose rows name their episodes: the pairing it is given."""
    rows = history(200, 6, ACTION, 0.08, 1)
    agent = make(samples_per_episode=4)
    ring = ring_of(rows, 80, [20] * 10)
    places = EnvSpec(4, 2, 2, 50, lambda obs: obs[..., 2:], lambda a, g: jnp.linalg.norm(a - g, axis=-1), 1.0)
    batch = replay.sample(ring, places, agent.relabel, 64, KEY)
    world, time = np.asarray(batch.obs)[:, :2].astype(int).T
    episode = np.stack([world, np.cumsum(rows.first, axis=0)[time, world]], axis=1)
    other = np.roll(episode, agent.config.samples_per_episode, axis=0)
    assert np.any(episode != other, axis=1).mean() > 0.6  # a long one is drawn more than once
    assert np.all(episode == np.roll(episode, 1, axis=0), axis=1).mean() > 0.7  # its neighbours are its own


def test_agents_and_actions_must_fit():
    for config, discrete, words in (
        (CRLConfig(), True, "agent is crl, but an action in x is one of 2 choices; use --agent discrete_crl"),
        (
            DiscreteCRLConfig(),
            False,
            "agent is discrete_crl, but an action in x is 2 numbers; use --agent crl or",
        ),
    ):
        with pytest.raises(UserError, match=words):
            agents.make(TrainConfig("x", agent=config, network=NETWORK), spec(discrete))


@pytest.mark.parametrize(("choices", "expected"), [(2, 0.4256), (5, 0.9882), (6, 1.1), (20, 1.1)])
def test_the_entropy_is_held_to_what_so_many_choices_can_have(choices, expected):
    sizes = spec(discrete=True)._replace(action_dim=choices)
    agent = agents.make(TrainConfig("x", agent=DiscreteCRLConfig(), network=NETWORK), sizes)
    assert agent.target_entropy == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("target", [0.7, 3.0])
def test_an_entropy_that_no_policy_has_is_refused(target):
    with pytest.raises(UserError, match=f"target_entropy is {target}; with 2 choices .* less than .* 0.693"):
        make(target_entropy=target)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"agent": DiscreteCRLConfig(samples_per_episode=3)}, "use 2 or 4"),
        ({"agent": DiscreteCRLConfig(samples_per_episode=512)}, "use 128"),
        ({"agent": DiscreteCRLConfig(samples_per_episode=256)}, "two episodes or more, all alike; use 128"),
        ({"network": replace(NETWORK, actor_depth=4)}, "actor_depth is 4, but discrete_crl has no actor"),
        ({"network": replace(NETWORK, actor_width=4)}, "actor_width is 4, but discrete_crl has no actor"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, words):
    from goalward.config import check_together

    with pytest.raises(UserError, match=words):
        check_together(replace(TrainConfig("x", agent=DiscreteCRLConfig()), **changes))
