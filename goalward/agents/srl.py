"""Survival RL (arXiv 2605.31273): the critic is a survival model of when the goal is reached."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward import survival
from goalward.agents import parts
from goalward.agents.parts import Params, State
from goalward.config import SRLConfig
from goalward.critics import SurvivalCritic, half_depth
from goalward.replay import Relabel
from goalward.trunks import Architecture
from goalward.types import Batch, EnvSpec, Metrics


@dataclass(frozen=True)
class SRL:
    """The agent for an environment's sizes."""

    config: SRLConfig
    spec: EnvSpec
    actor: Architecture
    critic: Architecture

    @property
    def relabel(self) -> Relabel:
        """Future, current and random goals, with the time until each was reached."""
        return parts.relabel(self.config, window=self.config.window, censoring=self.config.censoring)

    @property
    def chunk(self) -> int:
        """Actions that are decided on at once."""
        return self.config.chunk

    def init(self, key: PRNGKeyArray) -> State:
        """Give the state before any update. Encoders have half of the critic's depth, the head all of it."""
        config, spec = self.config, self.spec
        actor_key, critic_key = jax.random.split(key)
        critic = SurvivalCritic(
            spec.obs_dim, config.chunk * spec.action_dim, spec.goal_dim, config.repr_dim,
            half_depth(self.critic), self.critic, len(self._edges) - 1, critic_key,
            rank=config.time_basis, norm_repr=True,
        )  # fmt: skip
        actor = parts.make_actor(config, spec, self.actor, actor_key)
        return parts.start(config, spec, Params(actor, critic, jnp.zeros(())))

    def act(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Draw actions."""
        return parts.explore(state, obs, goal, key)

    def exploit(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Act without noise."""
        del key
        return parts.exploit(state, obs, goal)

    def embed(self, state: State, obs: Array, goal: Array) -> Array:
        """Give φ(s, π(s, g))."""
        return parts.embed(state, obs, goal)

    def value(self, state: State, obs: Array, goal: Array) -> Array:
        """Give V(s, π(s, g), g)."""
        return self.action_value(state, obs, parts.exploit(state, obs, goal), goal)

    def action_value(self, state: State, obs: Array, action: Array, goal: Array) -> Array:
        """Give V(s, a, g): minus the discounted steps until the goal, of which never has the most."""
        return self.worth(state.params.critic, *parts.encoded(state, obs, action, goal))

    def update(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """Take one step of actor, critic and temperature."""
        return parts.update(self.config, self.gradients, state, batch, key)

    def block_norms(self, state: State, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Look at the actor and both encoders."""
        return parts.norms(state, self.gradients(state, batch, key)[0], batch)

    def gradients(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[Params, Metrics]:
        """Of all losses."""
        critic, batch = state.params.critic, parts.inputs_of(state.scales, batch)

        def worth(action: Array, psi: Array) -> Array:
            return self.worth(critic, critic.encode_sa(batch.obs, action), psi)

        critic_loss = partial(self.critic_loss, batch=batch)
        return parts.gradients(self.config, state.params, batch, critic_loss, worth, key)

    def critic_loss(self, critic: SurvivalCritic, batch: Batch) -> tuple[Array, tuple[Metrics, Array]]:
        """Minus the log-likelihood of the times to the goals; with metrics, and ψ of the goals (B, R)."""
        phi, psi = critic.encode_sa(batch.obs, batch.action), critic.encode_g(batch.goal)
        loss, metrics = parts.hazard_loss(critic.predict(phi, psi), self._edges, batch)
        return loss, (metrics, psi)

    def worth(self, critic: SurvivalCritic, phi: Array, psi: Array) -> Array:
        """V (B,) of φ(s, a) and ψ(g) (B, R)."""
        now, hazards, _ = critic.predict(phi, psi)
        return survival.value(now, hazards, self._edges, self.config.value_discount)

    @property
    def _edges(self) -> np.ndarray:
        return survival.bin_edges(self.config.window, self.config.bins)
