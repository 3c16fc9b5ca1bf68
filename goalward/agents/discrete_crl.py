"""Contrastive RL for actions that are choices (arXiv 2510.21995): a critic scores all of them, and acts.

The policy is π(a | s, g) = softmax_a(f(s, a, g) / T), where T is learned so that its entropy is as told.
"""

import math
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from goalward.agents import parts
from goalward.agents.parts import State
from goalward.config import DiscreteCRLConfig
from goalward.critics import ChoiceCritic, taken
from goalward.losses import (
    ENERGIES,
    OBJECTIVES,
    Energy,
    contrastive_metrics,
    logsumexp_penalty,
    temperature_loss,
)
from goalward.networks import block_norms
from goalward.replay import HORIZONS, Relabel
from goalward.trunks import Architecture
from goalward.types import Batch, EnvSpec, Metrics

ENTROPY, SHARE = 1.1, 0.614  # 1.1 nats are this share of log 6


class Params(NamedTuple):
    """All that is learned, and the gradients of it."""

    critics: tuple[ChoiceCritic, ...]
    log_temperature: Array  # ()


@dataclass(frozen=True)
class DiscreteCRL:
    """The agent for an environment's sizes."""

    config: DiscreteCRLConfig
    spec: EnvSpec
    critic: Architecture

    @property
    def relabel(self) -> Relabel:
        """Goals that the episode reached later, of some samples of each episode."""
        horizon = HORIZONS[self.config.horizon](self.config.discount)
        return Relabel(horizon, per_episode=self.config.samples_per_episode)

    @property
    def target_entropy(self) -> float:
        """In nats; by default the original's of six choices, and the same share of the most that fewer have."""
        told = self.config.target_entropy
        return min(ENTROPY, SHARE * math.log(self.spec.action_dim)) if told is None else told

    @property
    def chunk(self) -> int:
        """Actions that are decided on at once."""
        return 1

    def init(self, key: PRNGKeyArray) -> State:
        """Give the state before any update."""
        spec = self.spec
        critics = tuple(
            ChoiceCritic(spec.obs_dim, spec.action_dim, spec.goal_dim, self.config.repr_dim, self.critic, key)
            for key in jax.random.split(key, self.config.critics)
        )
        return parts.begin(self._rates, Params(critics, jnp.zeros(())))

    def act(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Draw choices, one-hot."""
        return self._one_hot(jax.random.categorical(key, self.logits(state, obs, goal)))

    def logits(self, state: State, obs: Array, goal: Array) -> Array:
        """Give f / T of all choices, (N, A), of which the policy is the softmax."""
        return self.scores(state.params.critics, obs, goal) / jnp.exp(state.params.log_temperature)

    def exploit(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Draw choices, or take the best, as `evaluation` says."""
        if self.config.evaluation == "sample":
            return self.act(state, obs, goal, key)
        return self._one_hot(jnp.argmax(self.scores(state.params.critics, obs, goal), axis=-1))

    def embed(self, state: State, obs: Array, goal: Array) -> Array:
        """Give φ(s, a) of the first critic, for the best choice a."""
        best = jnp.argmax(self.scores(state.params.critics, obs, goal), axis=-1)
        return taken(state.params.critics[0].encode_choices(obs), self._one_hot(best))

    def value(self, state: State, obs: Array, goal: Array) -> Array:
        """Give max_a f(s, a, g)."""
        return jnp.max(self.scores(state.params.critics, obs, goal), axis=-1)

    def action_value(self, state: State, obs: Array, action: Array, goal: Array) -> Array:
        """Give f(s, a, g) of choices that are one-hot."""
        return jnp.sum(self.scores(state.params.critics, obs, goal) * action, axis=-1)

    def update(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """Take one step of critics and temperature."""
        grads, metrics = self.gradients(state, batch, key)
        with jax.named_scope("optimiser"):
            return parts.step(self._rates, state, grads), metrics

    def block_norms(self, state: State, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Look at both encoders of the first critic."""
        critic, grads = state.params.critics[0], self.gradients(state, batch, key)[0].critics[0]
        of_phi = block_norms(critic.phi, grads.phi, batch.obs, "phi")
        return of_phi | block_norms(critic.psi, grads.psi, batch.goal, "psi")

    def gradients(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[Params, Metrics]:
        """Of all losses; they draw nothing."""
        del key
        params = state.params
        looks = [jax.value_and_grad(self.critic_loss, has_aux=True)(critic, batch) for critic in params.critics]
        of_critics = [metrics | {"critic_loss": loss} for (loss, (metrics, _)), _ in looks]
        metrics = jax.tree.map(lambda *values: jnp.mean(jnp.stack(values)), *of_critics)
        critics = tuple(grad for _, grad in looks)
        scores = _together([scores for (_, (_, scores)), _ in looks])
        entropy = mean_entropy(scores / jnp.exp(params.log_temperature))
        slope = jax.grad(temperature_loss)(params.log_temperature, entropy, self.target_entropy)
        metrics |= {
            "critic_grad_norm": optax.tree.norm(critics),
            "entropy": entropy,
            "temperature": jnp.exp(params.log_temperature),
        }
        return Params(critics, slope), metrics

    def critic_loss(self, critic: ChoiceCritic, batch: Batch) -> tuple[Array, tuple[Metrics, Array]]:
        """A critic's contrastive loss; with metrics, and f of all choices for goals of other episodes."""
        choices, psi = critic.encode_choices(batch.obs), critic.encode_g(batch.goal)
        logits = self._energy.pairwise(taken(choices, batch.action), psi)
        loss = OBJECTIVES[self.config.objective](logits, None)
        loss += self.config.logsumexp_penalty * logsumexp_penalty(logits)
        others = jnp.roll(psi, self.config.samples_per_episode, axis=0)
        return loss, (contrastive_metrics(logits), self._of_choices(choices, others))

    def scores(self, critics: tuple[ChoiceCritic, ...], obs: Array, goal: Array) -> Float[Array, "N A"]:
        """f(s, a, g) of all choices a."""
        each = [self._of_choices(one.encode_choices(obs), one.encode_g(goal)) for one in critics]
        return _together(each)

    def _of_choices(self, phi: Float[Array, "N A R"], psi: Float[Array, "N R"]) -> Float[Array, "N A"]:
        return jax.vmap(self._energy.paired, (1, None), 1)(phi, psi)

    def _one_hot(self, choice: Array) -> Array:
        return jax.nn.one_hot(choice, self.spec.action_dim)

    @property
    def _rates(self) -> tuple[float, float]:
        return self.config.critic_lr, self.config.temperature_lr

    @property
    def _energy(self) -> Energy:
        return ENERGIES[self.config.energy]


def mean_entropy(logits: Float[Array, "B A"]) -> Float[Array, ""]:
    """Mean of the entropies of softmax(logits), in nats."""
    log_pi = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.sum(jnp.exp(log_pi) * log_pi, axis=-1))


def _together(scores: list[Array]) -> Float[Array, "N A"]:
    """Log of the mean of exp f over critics."""
    return reduce(jnp.logaddexp, scores) - jnp.log(jnp.float32(len(scores)))
