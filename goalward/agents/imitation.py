"""Imitation with goals of hindsight: what led from here to there once is what to do (GCBC, GCSL)."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from goalward.agents import parts
from goalward.agents.parts import State
from goalward.config import GCBCConfig
from goalward.errors import UserError
from goalward.losses import masked_mean
from goalward.networks import Actor, log_density
from goalward.replay import HORIZONS, Relabel
from goalward.trunks import Architecture
from goalward.types import Batch, EnvSpec, Metrics

NO_VALUE = "an agent that imitates learns no value; name a run of another agent"


class Params(NamedTuple):
    """All that is learned, and the gradients of it."""

    actor: Actor


@dataclass(frozen=True)
class Imitation:
    """The agent for an environment's sizes."""

    config: GCBCConfig
    spec: EnvSpec
    actor: Architecture

    @property
    def relabel(self) -> Relabel:
        """Goals that the episode reached later."""
        return Relabel(HORIZONS[self.config.horizon](self.config.discount), chunk=self.config.chunk)

    @property
    def chunk(self) -> int:
        """Actions that are decided on at once."""
        return self.config.chunk

    def init(self, key: PRNGKeyArray) -> State:
        """Give the state before any update."""
        return parts.start(
            self.config, self.spec, Params(parts.make_actor(self.config, self.spec, self.actor, key))
        )

    def act(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Draw actions of the policy, if it has learned how random it is, and add noise."""
        draw_key, noise_key = jax.random.split(key)
        drawn = parts.explore if self.config.likelihood == "gaussian" else self.exploit
        action = drawn(state, obs, goal, draw_key)
        noise = self.config.exploration_noise * jax.random.normal(noise_key, action.shape)
        return jnp.clip(action + noise, -1.0, 1.0)

    def exploit(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Act without noise."""
        del key
        return parts.exploit(state, obs, goal)

    def embed(self, state: State, obs: Array, goal: Array) -> Array:
        """Give what the actor's head is given."""
        return parts.acting(state).features(*parts.inputs(state.scales, obs, goal))

    def value(self, state: State, obs: Array, goal: Array) -> Array:
        """There is none: raises `UserError`."""
        del state, obs, goal
        raise UserError(NO_VALUE)

    def action_value(self, state: State, obs: Array, action: Array, goal: Array) -> Array:
        """There is none: raises `UserError`."""
        del state, obs, action, goal
        raise UserError(NO_VALUE)

    def update(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """Take one step of the actor."""
        return parts.update(self.config, self.gradients, state, batch, key)

    def block_norms(self, state: State, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Look at the actor."""
        grads, _ = self.gradients(state, batch, key)
        batch = parts.inputs_of(state.scales, batch)
        trunks = (state.params.actor.trunk, grads.actor.trunk)
        return parts.norms_of({"actor": (*trunks, (batch.obs, batch.goal))})

    def gradients(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[Params, Metrics]:
        """Of the actor's loss; it draws nothing."""
        del key
        batch = parts.inputs_of(state.scales, batch)
        loss_of = jax.value_and_grad(self.actor_loss, has_aux=True)
        (loss, metrics), grad = loss_of(state.params.actor, batch)
        return Params(grad), metrics | {"actor_loss": loss, "actor_grad_norm": optax.tree.norm(grad)}

    def actor_loss(self, actor: Actor, batch: Batch) -> tuple[Array, Metrics]:
        """Minus the mean log-likelihood of the actions of samples that count; with metrics."""
        mean, log_std = actor(batch.obs, batch.goal)
        squares = jnp.sum((jnp.tanh(mean) - batch.action) ** 2, axis=-1)
        of_each = 0.5 * squares
        if self.config.likelihood == "gaussian":
            of_each = -log_density(mean, log_std, batch.action)
        counted = parts.counted(batch)
        of_numbers = masked_mean(squares, counted) / mean.shape[-1]
        return masked_mean(of_each, counted), {"action_error": jnp.sqrt(of_numbers)}
