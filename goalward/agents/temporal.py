"""What agents share that learn Q(s, a, g) from rewards: goals, targets, the critics and their loss."""

from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from goalward import values
from goalward.agents import parts
from goalward.agents.parts import State
from goalward.config import TDConfig
from goalward.critics import ValueCritic
from goalward.losses import masked_mean
from goalward.replay import Relabel
from goalward.returns import Returns, bounds
from goalward.trunks import Architecture
from goalward.types import Batch, EnvSpec, Metrics
from goalward.values import Value

CRITICS = 2  # of either the smaller value counts (arXiv 1802.09477, §4)
Critics = tuple[ValueCritic, ...]


def relabel(config: TDConfig) -> Relabel:
    """Goals of hindsight and commanded ones, with the return of the next decisions."""
    final = config.her_share if config.her_goals == "final" else 0.0
    kept = max(0.0, 1.0 - config.her_share - config.current_goals - config.random_goals)
    return parts.relabel(config, final=final, commanded=kept, returns=_returns(config))


def _returns(config: TDConfig) -> Returns:
    return Returns(config.n_step * config.chunk, config.discount, config.reward, config.stop_at_goal)


def value(config: TDConfig) -> Value:
    """How the critics' outputs are read."""
    return values.make(config.value_loss, bounds(_returns(config)), config.value_bins)


def make_critics(config: TDConfig, spec: EnvSpec, arch: Architecture, key: PRNGKeyArray) -> Critics:
    """Build critics of chunks of actions."""
    sizes = (spec.obs_dim, config.chunk * spec.action_dim, spec.goal_dim, value(config).outputs)
    return tuple(ValueCritic(*sizes, arch, each) for each in jax.random.split(key, CRITICS))


def least(config: TDConfig, critics: Critics, obs: Array, action: Array, goal: Array) -> Array:
    """The smallest of the critics' values, (B,)."""
    read = value(config).read
    return reduce(jnp.minimum, [read(critic(obs, action, goal)) for critic in critics])


def targets(config: TDConfig, batch: Batch, worth: Array, *, bounded: bool) -> Array:
    """Give R + γⁿ V(s', g), (B,), for values V (B,) of what follows; held to what it can be if `bounded`."""
    after = parts.following(batch)
    target = after.reward + after.discount * worth
    return jnp.clip(target, *bounds(_returns(config))) if bounded else target


def critic_loss(config: TDConfig, critics: Critics, batch: Batch, target: Array) -> tuple[Array, Metrics]:
    """Sum over critics of the mean loss of Q(s, a, g) against targets (B,), over what counts; with metrics."""
    value_of, counted = value(config), parts.counted(batch)
    outputs = [critic(batch.obs, batch.action, batch.goal) for critic in critics]
    loss = sum((masked_mean(value_of.loss(out, target), counted) for out in outputs), start=jnp.zeros(()))
    found = value_of.read(outputs[0])
    return loss, {
        "value": masked_mean(found, counted),
        "target": masked_mean(target, counted),
        "td_error": masked_mean(jnp.abs(found - target), counted),
    }


def critic_gradients(
    config: TDConfig, critics: Critics, batch: Batch, target: Array
) -> tuple[Critics, Metrics]:
    """Gradients of that loss, with metrics of both."""
    loss_of = jax.value_and_grad(lambda critics: critic_loss(config, critics, batch, target), has_aux=True)
    (loss, metrics), grad = loss_of(critics)
    return grad, metrics | {"critic_loss": loss, "critic_grad_norm": optax.tree.norm(grad)}


def action_value(config: TDConfig, state: State, obs: Array, action: Array, goal: Array) -> Array:
    """Q(s, a, g), the smaller of the critics' values, (N,)."""
    return least(config, state.params.critic, *_inputs(state, obs, action, goal))


def embed(state: State, obs: Array, goal: Array) -> Array:
    """What the head of the first critic is given for the actions without noise, (N, W)."""
    action = parts.exploit(state, obs, goal)
    return state.params.critic[0].features(*_inputs(state, obs, action, goal))


def _inputs(state: State, obs: Array, action: Array, goal: Array) -> tuple[Array, Array, Array]:
    obs, goal = parts.inputs(state.scales, obs, goal)
    return obs, action, goal


def norms(state: State, grads: Any, batch: Batch) -> Metrics:
    """Norms by residual block of the actor and of the first critic, (blocks,), on a batch and its gradients."""
    params, batch = state.params, parts.inputs_of(state.scales, batch)
    of_critic = (batch.obs, batch.action, batch.goal)
    return parts.norms_of({
        "actor": (params.actor.trunk, grads.actor.trunk, (batch.obs, batch.goal)),
        "q": (params.critic[0].q, grads.critic[0].q, of_critic),
    })  # fmt: skip
