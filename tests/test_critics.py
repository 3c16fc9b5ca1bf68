import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_networks import random_leaves, unrolled

from goalward.critics import SurvivalCritic, half_depth
from goalward.errors import UserError
from goalward.trunks import Architecture

KEY = jax.random.key(0)
ENCODER = Architecture(depth=2, width=8, block_size=4)
HEAD = Architecture(depth=4, width=8, block_size=2)
OBS, ACTION, GOAL, REPR, BINS, RANK = 4, 2, 3, 5, 11, 6


def shape_of(encoder=ENCODER, head=HEAD, **options):
    options = {"rank": RANK, "occupancy_bins": 3} | options
    return jax.eval_shape(lambda: SurvivalCritic(OBS, ACTION, GOAL, REPR, encoder, head, BINS, KEY, **options))


def inputs(size=6):
    random = np.random.default_rng(0)
    return tuple(np.float32(random.standard_normal((size, dim))) for dim in (OBS, ACTION, GOAL))


encode_sa, encode_g = jax.jit(SurvivalCritic.encode_sa), jax.jit(SurvivalCritic.encode_g)
predict = jax.jit(SurvivalCritic.predict)


@pytest.mark.parametrize("norm_repr", [False, True])
def test_encoders_map_each_row_alone(norm_repr):
    critic = random_leaves(shape_of(norm_repr=norm_repr))
    obs, action, goal = inputs()
    phi, psi = encode_sa(critic, obs, action), encode_g(critic, goal)
    assert phi.shape == psi.shape == (6, REPR)
    for found, x, trunk, norm in (
        (phi[2], [*obs[2], *action[2]], critic.phi, critic.phi_norm),
        (psi[5], goal[5], critic.psi, critic.psi_norm),
    ):
        expected = unrolled(trunk, x)
        if norm_repr:
            expected = (expected - expected.mean()) / np.sqrt(expected.var() + 1e-6) * norm.scale + norm.offset
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_prediction_is_its_definition_row_by_row():
    critic = random_leaves(shape_of())
    phi, psi = np.random.default_rng(1).standard_normal((2, 6, REPR)).astype(np.float32)
    found = predict(critic, phi, psi)
    assert (found.now.shape, found.hazards.shape, found.occupancy.shape) == ((6,), (6, BINS), (6, 3))
    for i in range(6):
        film = psi[i] @ critic.film.weight + critic.film.bias
        z = (1 + 0.1 * film[:REPR]) * phi[i] + 0.1 * film[REPR:]
        out = unrolled(critic.head, [*z, *psi[i], *(z - psi[i]), *(z * psi[i])])
        np.testing.assert_allclose(found.now[i], out[0], rtol=1e-3, atol=1e-4)
        hazards = critic.time_basis @ out[1 : 1 + RANK] + critic.time_bias
        np.testing.assert_allclose(found.hazards[i], hazards, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.occupancy[i], out[1 + RANK :], rtol=1e-3, atol=1e-4)


def test_occupancy_may_be_left_out():
    critic = random_leaves(shape_of(occupancy_bins=0))
    phi = psi = np.ones((2, REPR), np.float32)
    assert predict(critic, phi, psi).occupancy.shape == (2, 0)


def test_time_basis_starts_small_and_normal():
    critic = jax.jit(lambda: SurvivalCritic(OBS, ACTION, GOAL, REPR, ENCODER, HEAD, 500, KEY))()
    assert critic.time_basis.shape == (500, 64)
    assert np.std(critic.time_basis) == pytest.approx(0.02, rel=0.02)
    assert abs(np.mean(critic.time_basis)) < 4e-4
    assert not np.any(critic.time_bias)
    assert critic.phi_norm is critic.psi_norm is None


def test_every_parameter_has_a_gradient():
    critic = random_leaves(shape_of(norm_repr=True))
    obs, action, goal = map(jnp.asarray, inputs())

    @jax.jit
    @jax.grad
    def gradient(critic):
        found = critic.predict(critic.encode_sa(obs, action), critic.encode_g(goal))
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in found)

    for path, leaf in jax.tree_util.tree_flatten_with_path(gradient(critic))[0]:
        if leaf.size:
            assert np.all(np.isfinite(leaf)), path
            assert np.any(leaf), path


def test_inputs_of_the_head_are_not_symmetric_in_state_and_goal():
    critic = random_leaves(shape_of())
    phi, psi = np.random.default_rng(1).standard_normal((2, 3, REPR)).astype(np.float32)
    assert np.abs(predict(critic, phi, psi).now - predict(critic, psi, phi).now).max() > 1e-2


@pytest.mark.parametrize(
    ("depth", "block_size", "half"),
    [
        (1, 4, 1),
        (2, 4, 1),
        (3, 4, 1),
        (4, 4, 2),
        (8, 4, 4),
        (12, 4, 4),
        (16, 4, 8),
        (64, 4, 32),
        (2, 2, 1),
        (6, 2, 2),
    ],
)
def test_half_of_a_depth_is_a_valid_depth(depth, block_size, half):
    arch = Architecture(depth=depth, block_size=block_size, width=8)
    assert half_depth(arch) == arch._replace(depth=half)
    shape_of(encoder=half_depth(arch))  # raises none


def test_a_head_of_less_than_a_block_is_its_stem():
    for depth in (1, 2, 3):
        assert shape_of(head=ENCODER._replace(depth=depth)).head.blocks.dense.weight.shape[0] == 0
    assert shape_of(head=ENCODER._replace(depth=4)).head.blocks.dense.weight.shape[:2] == (1, 4)
    assert shape_of(encoder=ENCODER._replace(depth=3)).phi.blocks.dense.weight.shape[0] == 2
    for depth in (0, -1, 6):
        with pytest.raises(UserError, match="depth"):
            shape_of(head=ENCODER._replace(depth=depth))
