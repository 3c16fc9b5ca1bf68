"""Soft actor-critic (arXiv 1812.05905) with hindsight goals (arXiv 1707.01495)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from goalward.agents import parts, temporal
from goalward.agents.parts import Params, State
from goalward.config import SACConfig
from goalward.networks import Actor, sample_action
from goalward.replay import Relabel
from goalward.trunks import Architecture
from goalward.types import Batch, EnvSpec, Metrics


@dataclass(frozen=True)
class SAC:
    """The agent for an environment's sizes."""

    config: SACConfig
    spec: EnvSpec
    actor: Architecture
    critic: Architecture

    @property
    def relabel(self) -> Relabel:
        """Goals of hindsight and commanded ones, with returns."""
        return temporal.relabel(self.config)

    @property
    def chunk(self) -> int:
        """Actions that are decided on at once."""
        return self.config.chunk

    def init(self, key: PRNGKeyArray) -> State:
        """Give the state before any update."""
        actor_key, critic_key = jax.random.split(key)
        actor = parts.make_actor(self.config, self.spec, self.actor, actor_key)
        critics = temporal.make_critics(self.config, self.spec, self.critic, critic_key)
        state = parts.start(self.config, self.spec, Params(actor, critics, jnp.zeros(())))
        return state._replace(target=jax.tree.map(jnp.copy, critics))  # buffers of its own

    def act(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Draw actions."""
        return parts.explore(state, obs, goal, key)

    def exploit(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Act without noise."""
        del key
        return parts.exploit(state, obs, goal)

    def embed(self, state: State, obs: Array, goal: Array) -> Array:
        """Give what the first critic's head is given for π(s, g)."""
        return temporal.embed(state, obs, goal)

    def value(self, state: State, obs: Array, goal: Array) -> Array:
        """Give Q(s, π(s, g), g)."""
        return self.action_value(state, obs, parts.exploit(state, obs, goal), goal)

    def action_value(self, state: State, obs: Array, action: Array, goal: Array) -> Array:
        """Give Q(s, a, g), the smaller of two."""
        return temporal.action_value(self.config, state, obs, action, goal)

    def update(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """Take one step of actor, critics and temperature."""
        state, metrics = parts.update(self.config, self.gradients, state, batch, key)
        with jax.named_scope("optimiser"):
            slow = parts.averaged(state.target, state.params.critic, 1 - self.config.target_rate)
            return state._replace(target=slow), metrics

    def block_norms(self, state: State, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Look at the actor and the first critic."""
        return temporal.norms(state, self.gradients(state, batch, key)[0], batch)

    def gradients(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[Params, Metrics]:
        """Of all losses."""
        config, params, batch = self.config, state.params, parts.inputs_of(state.scales, batch)
        actor_key, target_key = jax.random.split(key)
        target = self.targets(state, batch, target_key)
        critic_grad, metrics = temporal.critic_gradients(config, params.critic, batch, target)
        goal = parts.actor_goals(config, batch)

        def worth(action: Array) -> Array:
            return temporal.least(config, params.critic, batch.obs, action, goal)

        actor_grad, alpha_grad, of_actor = parts.actor_gradients(config, params, batch, goal, worth, actor_key)
        return Params(actor_grad, critic_grad, alpha_grad), metrics | of_actor

    def targets(self, state: State, batch: Batch, key: PRNGKeyArray) -> Array:
        """Give R + γⁿ (min Q̄(s', a', g) − α log π(a' | s', g)), a' ~ π, (B,); by the slow copies Q̄."""
        config, obs = self.config, parts.following(batch).obs
        actor: Actor = state.params.actor
        action, log_prob = sample_action(*actor(obs, batch.goal), key, config.log_prob)
        worth = temporal.least(config, state.target, obs, action, batch.goal)
        if config.soft_value:
            worth -= jnp.exp(state.params.log_alpha) * log_prob
        return temporal.targets(config, batch, worth, bounded=not config.soft_value)
