"""ChronoSRL (arXiv 2609.36238): survival RL, whose embeddings are a distance in time as well."""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from goalward import distances, survival
from goalward.agents import parts
from goalward.agents.parts import Params, State
from goalward.config import ChronoConfig
from goalward.critics import SurvivalCritic
from goalward.losses import ENERGIES, masked_mean
from goalward.replay import Relabel
from goalward.trunks import Architecture
from goalward.types import Batch, EnvSpec, Metrics


@dataclass(frozen=True)
class Chrono:
    """The agent for an environment's sizes."""

    config: ChronoConfig
    spec: EnvSpec
    actor: Architecture
    critic: Architecture

    @property
    def relabel(self) -> Relabel:
        """Future, current and random goals, with the time until each was reached, and what came of it then."""
        config = self.config
        return parts.relabel(
            config, outcomes=True, window=config.window, censoring=config.censoring,
            occupancy=self._occupancy_edges,
        )  # fmt: skip

    @property
    def chunk(self) -> int:
        """Actions that are decided on at once."""
        return self.config.chunk

    def init(self, key: PRNGKeyArray) -> State:
        """Give the state before any update."""
        config, spec = self.config, self.spec
        actor_key, critic_key = jax.random.split(key)
        critic = SurvivalCritic(
            spec.obs_dim, config.chunk * spec.action_dim, spec.goal_dim, config.repr_dim,
            self.critic, self.critic, len(self._edges) - 1, critic_key,
            rank=config.time_basis, occupancy_bins=len(self._occupancy_edges) - 1,
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
        return self.worth(state.params.critic, *parts.encoded(state, obs, action, goal), jnp.zeros(()))

    def update(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """Take one step of actor, critic and temperature."""
        return parts.update(self.config, self.gradients, state, batch, key)

    def block_norms(self, state: State, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Look at the actor and both encoders."""
        return parts.norms(state, self.gradients(state, batch, key)[0], batch)

    def gradients(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[Params, Metrics]:
        """Of all losses."""
        apart = self.spec.distance(batch.goal[:, None], batch.goal[None]) > self.spec.threshold
        critic, batch = state.params.critic, parts.inputs_of(state.scales, batch)
        _, failed = parts.outcomes(batch)
        falls = masked_mean(failed.astype(jnp.float32), parts.counted(batch))

        def worth(action: Array, psi: Array) -> Array:
            return self.worth(critic, critic.encode_sa(batch.obs, action), psi, falls)

        critic_loss = partial(self.critic_loss, batch=batch, apart=apart)
        grads, metrics = parts.gradients(self.config, state.params, batch, critic_loss, worth, key)
        return grads, metrics | {"falls": falls}

    def critic_loss(
        self, critic: SurvivalCritic, batch: Batch, apart: Array
    ) -> tuple[Array, tuple[Metrics, Array]]:
        """The four losses, weighted; with metrics, and ψ of the goals (B, R).

        `apart` (B, B) says which goals are further from each other than what counts as reached.
        """
        config, (reached, steps), mask = self.config, parts.reached_and_steps(batch), parts.counted(batch)
        phi, psi = critic.encode_sa(batch.obs, batch.action), critic.encode_g(batch.goal)
        prediction = critic.predict(phi, psi)
        hazard, metrics = parts.hazard_loss(prediction, self._edges, batch)
        step = -math.log(config.value_discount)  # of distance, for each of time
        distance, pairs = -ENERGIES["l2"].paired(phi, psi), -ENERGIES["l2"].pairwise(phi, psi)
        time = distances.time_regression(distance, step, reached & mask, steps)
        separation = distances.separation(pairs, step * config.window, apart, mask & ~reached)
        occupancy = survival.occupancy_loss(prediction.occupancy, *parts.nearness(batch), mask)
        loss = config.hazard_weight * hazard + config.time_weight * time
        loss += config.separation_weight * separation + config.occupancy_weight * occupancy
        metrics |= {"time_loss": time, "separation_loss": separation, "occupancy_loss": occupancy}
        return loss, (metrics, psi)

    def worth(self, critic: SurvivalCritic, phi: Array, psi: Array, falls: Array) -> Array:
        """V + β O (B,) of φ(s, a) and ψ(g) (B, R): time until the goal, and near it, with β = `falls` ()."""
        now, hazards, occupancy = critic.predict(phi, psi)
        discount = self.config.value_discount
        value = survival.value(now, hazards, self._edges, discount)
        return value + falls * survival.occupancy_value(occupancy, self._occupancy_edges, discount)

    @property
    def _edges(self) -> np.ndarray:
        return survival.bin_edges(self.config.window, self.config.bins)

    @property
    def _occupancy_edges(self) -> tuple[int, ...]:
        """From 1 on: where the agent is now is no matter of its actions."""
        return tuple(survival.bin_edges(self.config.window, self.config.occupancy_bins)[1:].tolist())
