"""What networks are given in place of observations: the lens of point mazes, and agents behind a `Sight`."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from goalward import agents, envs, training
from goalward.agents.seeing import Seeing
from goalward.config import NetworkConfig
from goalward.envs import point
from goalward.errors import UserError
from goalward.types import Batch, Next, Sight

SIGHT = Sight(lambda obs: jnp.concatenate([obs, 2 * obs], axis=-1), lambda goal: -goal, 4, 2)


@pytest.mark.parametrize("layers", [1, 3])
def test_a_lens_is_the_same_for_all_and_mixes_more_the_deeper_it_is(layers):
    see = point.lens(2, layers)
    places = jnp.asarray(np.random.default_rng(0).uniform(-2, 2, (512, 2)), jnp.float32)
    seen = see(places)
    assert seen.shape == (512, point.LENS_WIDTH)
    assert np.all(np.abs(seen) <= 1)
    assert np.median(np.std(seen, axis=0)) > 0.1
    np.testing.assert_array_equal(seen, point.lens(2, layers)(places))
    np.testing.assert_allclose(jax.jit(jax.vmap(see))(places), seen, atol=1e-5)


def test_places_that_are_apart_are_seen_apart_and_neighbours_less_alike_through_more_layers():
    places = jnp.asarray(np.random.default_rng(0).uniform(-2, 2, (256, 2)), jnp.float32)
    alike = []
    for layers in (1, 2, 4):
        a, b, far = (np.asarray(point.lens(2, layers)(x)) for x in (places, places + 0.1, places[::-1]))
        alike.append(np.mean(np.linalg.norm(a - b, axis=1)) / np.mean(np.linalg.norm(a - far, axis=1)))
        assert np.linalg.norm(a[:, None] - a[None], axis=-1)[~np.eye(256, dtype=bool)].min() > 1e-3
    assert alike == sorted(alike)


def test_rows_goals_and_distances_do_not_know_of_a_lens():
    plain, through = (envs.make("point_u_maze", {"lens_layers": layers}) for layers in (0, 2))
    assert plain.spec.sight is None
    assert (through.spec.sight.obs_dim, through.spec.sight.goal_dim) == (64, 2)
    assert through.spec.sight.goal is None
    state, goal = plain.reset(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, (state, goal), through.reset(jax.random.key(0)))
    np.testing.assert_array_equal(plain.observe(state), through.observe(state))
    assert goal.shape == (2,)


@pytest.mark.parametrize("name", ["crl", "td3"])
def test_an_agent_behind_a_sight_is_the_agent_of_what_it_is_given(name):
    network = NetworkConfig(depth=1, block_size=1, width=4).__dict__
    config = toy.config(network=network, agent={"name": name, "actor_commanded_goals": 0.5})
    spec = training.build(config).env.spec
    seeing = agents.make(config, spec._replace(sight=SIGHT))
    inner = agents.make(config, spec._replace(obs_dim=4))
    assert isinstance(seeing, Seeing)
    key, sizes = jax.random.key(7), (2, 2, 2, 2)
    batch = Batch(*(jax.random.normal(jax.random.key(i), (8, size)) for i, size in enumerate(sizes)))
    batch = batch._replace(next=Next(batch.obs + 1, jnp.ones(8), jnp.full(8, 0.9)))
    seen, after = (jnp.concatenate([obs, 2 * obs], axis=1) for obs in (batch.obs, batch.next.obs))
    given = batch._replace(
        obs=seen, goal=-batch.goal, commanded=-batch.commanded, next=batch.next._replace(obs=after)
    )

    @partial(jax.jit, static_argnums=0)
    def live(agent, batch):
        state = agent.init(key)
        looks = [f(state, batch.obs, batch.goal) for f in (agent.embed, agent.value)]
        looks += [f(state, batch.obs, batch.goal, key) for f in (agent.act, agent.exploit)]
        return agent.update(state, batch, key), looks, agent.block_norms(state, batch, key)

    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), live(seeing, batch), live(inner, given)
    )


def test_goals_that_are_seen_otherwise_are_not_compared():
    """ChronoSRL's hinge is of distances between goals as they are."""
    config = toy.config(agent={"name": "chrono"})
    spec = training.build(config).env.spec
    batch = Batch(*(jnp.ones((8, size)) for size in (2, 4, 2, 2)))
    for sight, refused in ((SIGHT, True), (SIGHT._replace(goal=None), False)):
        inner = agents.make(config, spec._replace(sight=sight)).agent
        if refused:
            with pytest.raises(UserError, match="compares goals"):
                inner.spec.distance(batch.goal, batch.goal)
        else:
            assert np.all(inner.spec.distance(batch.goal, batch.goal) == 0)


def test_a_collector_sees_as_its_learner_does():
    config = toy.config(
        collector_depth=1, env_settings={"episode_length": 20, "lens_layers": 1},
        network=NetworkConfig(depth=1, block_size=1, width=4).__dict__,
    )  # fmt: skip
    pair = training.build(config).agent
    assert isinstance(pair.collector, Seeing)
    assert isinstance(pair.learner, Seeing)
    assert pair.learner.agent.spec.obs_dim == point.LENS_WIDTH
