"""Contrastive RL written the plain way, to compare Goalward with (arXiv 2503.14858, §3).

Layers are unrolled, energies take the difference of every pair, each loss is differentiated for itself, and
goals are drawn from matrices of probabilities. The losses are those of `goalward.agents.crl` at the paper's
settings; a test says so. Axis letters as in `goalward.types`; also W windows of T rows, and K updates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from goalward import trunks
from goalward.agents import parts
from goalward.losses import DISTANCE_EPSILON
from goalward.types import Batch, Metrics, Trajectory

ADAM = optax.adam(3e-4)  # one for each of actor, temperature and critic
OWN_WEIGHT = 1e-20  # of a row among its own futures: so small that it counts only where there are no others


@dataclass(frozen=True)
class Settings:
    """Sizes of an iteration's updates, and the paper's constants."""

    batch_size: int
    updates: int
    window: int  # T, consecutive rows of one world within which goals are drawn
    action_dim: int
    achieved: Callable[[Array], Array]  # observations (…, D) -> goals (…, G)
    discount: float = 0.99
    target_entropy: float = -0.5  # per action dimension
    logsumexp_penalty: float = 0.1


class Layer(NamedTuple):
    """Dense → LayerNorm → Swish."""

    weight: Float[Array, "i o"]
    bias: Float[Array, " o"]
    scale: Float[Array, " o"]
    offset: Float[Array, " o"]


class Network(NamedTuple):
    """Stem, residual blocks, and the weight and bias of the head."""

    stem: Layer
    blocks: list[list[Layer]]
    head: tuple[Float[Array, "i o"], Float[Array, " o"]]


Critic = tuple[Network, Network]  # φ(s, a) and ψ(g)


class State(NamedTuple):
    """All that is learned, and an optimiser's state for each of the three."""

    actor: Network
    log_alpha: Float[Array, ""]
    critic: Critic
    opt: tuple[Any, Any, Any]


def from_goalward(state: parts.State) -> State:
    """The same parameters, unstacked, with optimisers that have not stepped yet."""
    actor, critic, log_alpha, _ = state.params
    params = (unstack(actor.trunk), log_alpha, (unstack(critic.phi), unstack(critic.psi)))
    return State(*params, (ADAM.init(params[0]), ADAM.init(params[1]), ADAM.init(params[2])))


def unstack(trunk: trunks.Trunk) -> Network:
    """A trunk of the paper's kind, with leaves (N, S, …) in its blocks, as N lists of S layers."""
    arch = trunk.arch
    paper = arch._replace(
        trunk="mlp",
        residual=True,
        residual_scale="one",
        layer_norm=True,
        activation="swish",
        precision="float32",
        optimiser="adam",
        lr_by_depth="one",
    )
    if arch != paper:
        raise ValueError(f"this is written for the paper's layers only, not {arch}")

    def layer(p: Any, *at: int) -> Layer:
        return Layer(*(leaf[at] for leaf in (p.dense.weight, p.dense.bias, p.norm.scale, p.norm.offset)))

    blocks = [
        [layer(trunk.blocks, n, s) for s in range(arch.block_size)]
        for n in range(arch.depth // arch.block_size)
    ]
    return Network(layer(trunk.stem), blocks, (trunk.head.weight, trunk.head.bias))


def apply_layer(p: Layer, x: Float[Array, "B i"]) -> Float[Array, "B o"]:
    """swish((y − mean) / √(variance + ε) · scale + offset), where y = x W + b."""
    y = x @ p.weight + p.bias[None]
    y = y - jnp.mean(y, axis=-1, keepdims=True)
    y = y * jax.lax.rsqrt(jnp.mean(y**2, axis=-1, keepdims=True) + trunks.NORM_EPSILON)
    return jax.nn.swish(y * p.scale[None] + p.offset[None])


def apply(p: Network, *inputs: Float[Array, "B _"]) -> Float[Array, "B o"]:
    """x₀ = stem([inputs]);  x_{n+1} = x_n + layer_S(…layer_1(x_n));  y = head(x_N)."""
    x = apply_layer(p.stem, jnp.concatenate(inputs, axis=-1))
    for block in p.blocks:
        y = x
        for layer in block:
            y = apply_layer(layer, y)
        x = x + y
    weight, bias = p.head
    return x @ weight + bias[None]


def act(actor: Network, obs: Array, goal: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
    """Draw a = tanh(u), u ~ N(mean, σ²), (B, A); also log π(a) = Σ_d log N(u_d) − log(1 − a_d²), (B,)."""
    mean, raw = jnp.split(apply(actor, obs, goal), 2, axis=-1)
    deviation = jnp.exp(-5 + 3.5 * (jnp.tanh(raw) + 1))
    u = mean + deviation * jax.random.normal(key, mean.shape)
    log_slope = 2 * (jnp.log(2.0) - u - jax.nn.softplus(-2 * u))  # log(1 − a²), finite at a = ±1 too
    return jnp.tanh(u), jnp.sum(norm.logpdf(u, mean, deviation) - log_slope, axis=-1)


def distance(difference: Float[Array, "*b R"]) -> Float[Array, "*b"]:
    """√(‖φ − ψ‖² + ε)."""
    return jnp.sqrt(jnp.sum(difference**2, axis=-1) + DISTANCE_EPSILON)


def actor_loss(
    actor: Network, critic: Critic, alpha: Array, batch: Batch, key: PRNGKeyArray
) -> tuple[Array, Array]:
    """E[ α log π(a | s, g) + ‖φ(s, a) − ψ(g)‖ ]; also the entropy, −E[ log π ]."""
    action, log_prob = act(actor, batch.obs, batch.goal, key)
    phi, psi = apply(critic[0], batch.obs, action), apply(critic[1], batch.goal)
    return jnp.mean(alpha * log_prob + distance(phi - psi)), -jnp.mean(log_prob)


def alpha_loss(log_alpha: Array, entropy: Array, target: float) -> Array:
    """α (entropy − target)."""
    return jnp.exp(log_alpha) * (entropy - target)


def critic_loss(critic: Critic, batch: Batch, penalty: float) -> Array:
    """−(1/B) Σ_i [ f_ii − logsumexp_j f_ij ] + penalty · mean_i (logsumexp_j f_ij)², f_ij = −‖φ_i − ψ_j‖."""
    phi, psi = apply(critic[0], batch.obs, batch.action), apply(critic[1], batch.goal)
    f = -distance(phi[:, None] - psi[None])  # of a tensor (B, B, R)
    normaliser = jax.nn.logsumexp(f, axis=1)
    return -jnp.mean(jnp.diagonal(f) - normaliser) + penalty * jnp.mean(normaliser**2)


def update(settings: Settings, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
    """One Adam step of the actor, then of the temperature, then of the critic."""
    actor, log_alpha, critic, (actor_opt, alpha_opt, critic_opt) = state
    alpha, target = jnp.exp(log_alpha), settings.target_entropy * settings.action_dim
    (loss, entropy), gradient = jax.value_and_grad(actor_loss, has_aux=True)(actor, critic, alpha, batch, key)
    metrics = {"actor_loss": loss, "entropy": entropy, "alpha": alpha}
    actor, actor_opt = _step(actor, gradient, actor_opt)
    metrics["alpha_loss"], gradient = jax.value_and_grad(alpha_loss)(log_alpha, entropy, target)
    log_alpha, alpha_opt = _step(log_alpha, gradient, alpha_opt)
    metrics["critic_loss"], gradient = jax.value_and_grad(critic_loss)(
        critic, batch, settings.logsumexp_penalty
    )
    critic, critic_opt = _step(critic, gradient, critic_opt)
    return State(actor, log_alpha, critic, (actor_opt, alpha_opt, critic_opt)), metrics


def _step(params: Any, gradient: Any, opt: Any) -> tuple[Any, Any]:
    change, opt = ADAM.update(gradient, opt)
    return optax.apply_updates(params, change), opt


def insert(rows: Trajectory, chunk: Trajectory) -> Trajectory:
    """Copy all rows but the oldest, which make room for the chunk's. Leaves (C, N, …), oldest first."""
    steps = chunk.first.shape[0]
    return jax.tree.map(lambda old, new: jnp.concatenate([old[steps:], new]), rows, chunk)


def future_rows(first: Bool[Array, " T"], discount: float, key: PRNGKeyArray) -> Int[Array, " T"]:
    """For each row i draw a row j > i of its episode, P(j) ∝ γ^(j − i), and i itself where there is none."""
    episode, time = jnp.cumsum(first), jnp.arange(first.shape[0])
    ahead = time[None] - time[:, None]  # (T, T), j − i
    is_future = (ahead > 0) & (episode[None] == episode[:, None])
    discounted = jnp.float32(discount) ** ahead.astype(jnp.float32)
    weight = jnp.where(is_future, discounted, OWN_WEIGHT * jnp.eye(first.shape[0]))
    return jax.random.categorical(key, jnp.log(weight))


def sample(settings: Settings, rows: Trajectory, key: PRNGKeyArray) -> Batch:
    """Draw an iteration's batches, leaves (K, B, …), from rows (C, N, …), oldest first.

    Rows come from windows at random places; the last one of each has no future there and is left out.
    """
    capacity, worlds = rows.first.shape
    span, needed = settings.window - 1, settings.updates * settings.batch_size
    windows = -(-needed // span)
    world_key, start_key, goal_key, shuffle_key = jax.random.split(key, 4)
    world = jax.random.randint(world_key, (windows, 1), 0, worlds)
    start = jax.random.randint(start_key, (windows, 1), 0, capacity - span)
    time = start + jnp.arange(settings.window)[None]
    # (W, T, …)
    obs, action, commanded, first = (
        leaf[time, world] for leaf in (rows.obs, rows.action, rows.goal, rows.first)
    )
    draw = jax.vmap(lambda first, key: future_rows(first, settings.discount, key))
    future = draw(first, jax.random.split(goal_key, windows))
    goal = settings.achieved(jnp.take_along_axis(obs, future[..., None], axis=1))
    order = jax.random.permutation(shuffle_key, windows * span)[:needed]
    order = order.reshape(settings.updates, settings.batch_size)
    return jax.tree.map(
        lambda leaf: leaf[:, :-1].reshape(windows * span, -1)[order], Batch(obs, action, goal, commanded)
    )


def learn(settings: Settings, state: State, rows: Trajectory, key: PRNGKeyArray) -> tuple[State, Metrics]:
    """Draw an iteration's batches, then take an update on each; metrics of each, (K,)."""
    sample_key, update_key = jax.random.split(key)
    batches = sample(settings, rows, sample_key)
    keys = jax.random.split(update_key, settings.updates)
    return jax.lax.scan(lambda state, each: update(settings, state, *each), state, (batches, keys))
