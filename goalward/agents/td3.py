"""TD3 (arXiv 1802.09477) with hindsight goals (arXiv 1707.01495)."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PRNGKeyArray

from goalward.agents import parts, temporal
from goalward.agents.parts import State
from goalward.agents.temporal import Critics
from goalward.config import TD3Config
from goalward.losses import masked_mean, scaled
from goalward.networks import Actor
from goalward.replay import Relabel
from goalward.trunks import Architecture
from goalward.types import Batch, EnvSpec, Metrics


class Params(NamedTuple):
    """All that is learned, and the gradients of it."""

    actor: Actor
    critic: Critics


class Target(NamedTuple):
    """Slow copies of all that is learned, and how many updates of the critics there were."""

    params: Params
    updates: Int[Array, ""]


@dataclass(frozen=True)
class TD3:
    """The agent for an environment's sizes."""

    config: TD3Config
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
        params = Params(actor, temporal.make_critics(self.config, self.spec, self.critic, critic_key))
        target = Target(jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32))  # buffers of its own
        return parts.start(self.config, self.spec, params)._replace(target=target)

    def act(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Act with noise."""
        mean, _ = state.params.actor(*parts.inputs(state.scales, obs, goal))
        return noisy(jnp.tanh(mean), self.config.exploration_noise, self.config.exploration_clip, key)

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
        """Take one step of the critics, and every few of them one of the actor and of the slow copies."""
        stepped, metrics = parts.update(self.config, self.gradients, state, batch, key)
        with jax.named_scope("optimiser"):
            updates = state.target.updates + 1
            slow = parts.averaged(state.target.params, stepped.params, 1 - self.config.target_rate)
            stepped = stepped._replace(target=Target(slow, updates))
            waiting = stepped._replace(
                params=stepped.params._replace(actor=state.params.actor),
                opt=(state.opt[0], *stepped.opt[1:]),
                average=state.average,
                target=Target(state.target.params, updates),
            )
            return jax.tree.map(partial(jnp.where, self._turn(state)), stepped, waiting), metrics

    def block_norms(self, state: State, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Look at the actor and the first critic."""
        due = state._replace(target=state.target._replace(updates=jnp.zeros((), jnp.int32)))
        return temporal.norms(state, self.gradients(due, batch, key)[0], batch)

    def gradients(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[Params, Metrics]:
        """Of all losses; the actor's is 0 where it is not its turn."""
        config, params, batch = self.config, state.params, parts.inputs_of(state.scales, batch)
        target = self.targets(state, batch, key)
        critic_grad, metrics = temporal.critic_gradients(config, params.critic, batch, target)
        goal = parts.actor_goals(config, batch)

        def actor_loss(actor: Actor) -> Array:
            mean = actor(batch.obs, goal)[0]
            action, saturation = jnp.tanh(mean), config.saturation_weight * jnp.mean(mean**2)
            value = temporal.least(config, params.critic[:1], batch.obs, action, goal)
            if not config.bc_weight:
                return saturation - jnp.mean(value)
            # −log π of the batch's actions, of a Gaussian of deviation 1 around the actor's (arXiv 2106.06860).
            of_data = action if parts.keeps_goals(config) else jnp.tanh(actor(batch.obs, batch.goal)[0])
            cloning = masked_mean(0.5 * jnp.sum((of_data - batch.action) ** 2, axis=-1), parts.counted(batch))
            return saturation + config.bc_weight * cloning - jnp.mean(scaled(value))

        def waiting(actor: Actor) -> tuple[Array, Actor]:
            return actor_loss(actor), jax.tree.map(jnp.zeros_like, actor)

        of_actor, actor_grad = jax.lax.cond(
            self._turn(state), jax.value_and_grad(actor_loss), waiting, params.actor
        )
        metrics |= {"actor_loss": of_actor, "actor_grad_norm": optax.tree.norm(actor_grad)}
        return Params(actor_grad, critic_grad), metrics

    def targets(self, state: State, batch: Batch, key: PRNGKeyArray) -> Array:
        """Give R + γⁿ min Q̄(s', a' + noise, g), a' of the slow actor, (B,); by the slow copies Q̄."""
        config, obs, slow = self.config, parts.following(batch).obs, state.target.params
        action = jnp.tanh(slow.actor(obs, batch.goal)[0])
        action = noisy(action, config.target_noise, config.noise_clip, key)
        worth = temporal.least(config, slow.critic, obs, action, batch.goal)
        return temporal.targets(config, batch, worth, bounded=True)

    def _turn(self, state: State) -> Array:
        """Whether this update is one of the actor and of the slow copies too."""
        return state.target.updates % self.config.policy_delay == 0


def noisy(action: Array, deviation: float, most: float, key: PRNGKeyArray) -> Array:
    """Actions with normal noise of at most ± `most`, held within their bounds."""
    noise = jnp.clip(deviation * jax.random.normal(key, action.shape), -most, most)
    return jnp.clip(action + noise, -1.0, 1.0)
