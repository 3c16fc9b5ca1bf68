"""Contrastive RL (arXiv 2503.14858, §3.1): InfoNCE critic, tanh-Gaussian actor, learned temperature.

As options, what Safe-CRL adds (arXiv 2608.26571): samples weighted by the mass that a failure takes from their
future, and the chance to survive, log Z(s, a), in what the actor maximises.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from goalward import failure
from goalward.agents import parts
from goalward.agents.parts import Params, State
from goalward.config import CRLConfig
from goalward.losses import ENERGIES, OBJECTIVES, Energy, contrastive_metrics, logsumexp_penalty
from goalward.networks import AnyTrunk, Critic, make_trunk
from goalward.replay import Relabel
from goalward.trunks import Architecture
from goalward.types import Batch, EnvSpec, Metrics

SURVIVAL_STREAM = 0x6C697665  # keys of the labels of survival: the actor's noise has the update's key itself


@dataclass(frozen=True)
class CRL:
    """The agent for an environment's sizes."""

    config: CRLConfig
    spec: EnvSpec
    actor: Architecture
    critic: Architecture

    @property
    def relabel(self) -> Relabel:
        """Goals that the episode reached later, and where asked for, whether it failed."""
        return parts.relabel(self.config, outcomes=self.config.mass_weights or self._survives)

    @property
    def chunk(self) -> int:
        """Actions that are decided on at once."""
        return self.config.chunk

    def init(self, key: PRNGKeyArray) -> State:
        """Give the state before any update."""
        config, spec = self.config, self.spec
        actor_key, critic_key, survival_key = jax.random.split(key, 3)
        actions = config.chunk * spec.action_dim
        actor = parts.make_actor(config, spec, self.actor, actor_key)
        critic = Critic(spec.obs_dim, actions, spec.goal_dim, config.repr_dim, self.critic, critic_key)
        survival = None
        if self._survives:
            survival = make_trunk(
                spec.obs_dim + actions, 1, self.critic._replace(depth=self.critic.block_size), survival_key
            )
        return parts.start(config, spec, Params(actor, critic, jnp.zeros(()), survival))

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
        """Give f(s, π(s, g), g)."""
        return self.action_value(state, obs, parts.exploit(state, obs, goal), goal)

    def action_value(self, state: State, obs: Array, action: Array, goal: Array) -> Array:
        """Give f(s, a, g)."""
        return self._energy.paired(*parts.encoded(state, obs, action, goal))

    def update(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """Take one step of actor, critic and temperature."""
        return parts.update(self.config, self.gradients, state, batch, key)

    def block_norms(self, state: State, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Look at the actor and both encoders."""
        return parts.norms(state, self.gradients(state, batch, key)[0], batch)

    def gradients(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[Params, Metrics]:
        """Of all losses."""
        params, batch = state.params, parts.inputs_of(state.scales, batch)

        def worth(action: Array, psi: Array) -> Array:
            f = self._energy.paired(params.critic.encode_sa(batch.obs, action), psi)
            if params.survival is None:
                return f
            logit = _logit(params.survival, batch.obs, action)
            return f + self.config.survival_weight * failure.log_mass(logit)

        grads, metrics = parts.gradients(
            self.config, params, batch, partial(self.critic_loss, batch=batch), worth, key
        )
        if params.survival is None:
            return grads, metrics
        loss, grad = jax.value_and_grad(self.survival_loss)(params.survival, batch, key)
        metrics |= {"survival_loss": loss, "survival_grad_norm": optax.tree.norm(grad)}
        return grads._replace(survival=grad), metrics

    def critic_loss(self, critic: Critic, batch: Batch) -> tuple[Array, tuple[Metrics, Array]]:
        """The contrastive loss of a batch as networks are given it; with metrics, and ψ of its goals (B, R)."""
        psi = critic.encode_g(batch.goal)
        logits = self._energy.pairwise(critic.encode_sa(batch.obs, batch.action), psi)
        loss = OBJECTIVES[self.config.objective](logits, self._weights(batch))
        loss += self.config.logsumexp_penalty * logsumexp_penalty(logits)
        return loss, (contrastive_metrics(logits), psi)

    def survival_loss(self, survival: AnyTrunk, batch: Batch, key: PRNGKeyArray) -> Array:
        """How badly Z(s, a) tells which samples survive a geometric number of steps."""
        left, failed = parts.outcomes(batch)
        uniform = jax.random.uniform(jax.random.fold_in(key, SURVIVAL_STREAM), left.shape)
        survived, known = failure.survival_labels(left, failed, self.config.discount, uniform)
        return failure.survival_loss(
            _logit(survival, batch.obs, batch.action), survived, known & parts.counted(batch)
        )

    def _weights(self, batch: Batch) -> Array | None:
        """What each sample counts in the critic's loss, (B,); None where all count 1."""
        weights = None
        if batch.valid is not None:  # their mean is 1
            valid = batch.valid.astype(jnp.float32)
            weights = valid / jnp.maximum(jnp.mean(valid), 1 / valid.size)
        if not self.config.mass_weights:
            return weights
        mass = failure.mass_weights(*parts.outcomes(batch), self.config.discount)
        return mass if weights is None else weights * mass

    @property
    def _survives(self) -> bool:
        return self.config.survival_weight > 0

    @property
    def _energy(self) -> Energy:
        return ENERGIES[self.config.energy]


def _logit(survival: AnyTrunk, obs: Array, action: Array) -> Array:
    """Logit (B,) of Z(s, a)."""
    return jax.vmap(survival)(jnp.concatenate([obs, action], axis=-1))[:, 0]
