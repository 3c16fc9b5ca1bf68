"""Contrastive RL (arXiv 2503.14858, §3.1): InfoNCE critic, tanh-Gaussian actor, learned temperature."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from goalward import moments
from goalward.agents.core import Agent, architectures
from goalward.config import CRLConfig, NetworkConfig
from goalward.losses import (
    ENERGIES,
    OBJECTIVES,
    actor_loss,
    contrastive_metrics,
    logsumexp_penalty,
    temperature_loss,
)
from goalward.networks import Actor, Critic, block_norms, sample_action
from goalward.replay import HORIZONS, Relabel
from goalward.types import Batch, EnvSpec, Metrics


class CRLParams(NamedTuple):
    """All that is learned."""

    actor: Actor
    critic: Critic
    log_alpha: Array  # ()


class Scales(NamedTuple):
    """Moments of what the networks are given."""

    obs: moments.Moments
    goal: moments.Moments


class CRLState(NamedTuple):
    """Parameters, the state of an optimiser for each of the three, and the scales of inputs if asked for."""

    params: CRLParams
    opt: tuple[optax.OptState, optax.OptState, optax.OptState]
    scales: Scales | None = None


def make(config: CRLConfig, network: NetworkConfig, spec: EnvSpec) -> Agent:
    """Build the agent for an environment's sizes. Raises `UserError` for an invalid depth."""
    actor_arch, critic_arch = architectures(network)
    energy, objective = ENERGIES[config.energy], OBJECTIVES[config.objective]
    target_entropy = config.target_entropy * spec.action_dim
    optimisers: list[Any] = [optax.adam(rate) for rate in (config.actor_lr, config.critic_lr, config.alpha_lr)]

    def init(key: PRNGKeyArray) -> CRLState:
        actor_key, critic_key = jax.random.split(key)
        params = CRLParams(
            Actor(spec.obs_dim, spec.goal_dim, spec.action_dim, actor_arch, actor_key),
            Critic(spec.obs_dim, spec.action_dim, spec.goal_dim, config.repr_dim, critic_arch, critic_key),
            jnp.zeros(()),
        )
        actor_opt, critic_opt, alpha_opt = (o.init(p) for o, p in zip(optimisers, params, strict=True))
        scales = None
        if config.normalise_inputs:
            scales = Scales(moments.init(spec.obs_dim), moments.init(spec.goal_dim))
        return CRLState(params, (actor_opt, critic_opt, alpha_opt), scales)

    def act(state: CRLState, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        action, _ = sample_action(*state.params.actor(*_inputs(state.scales, obs, goal)), key)
        return action

    def act_greedily(state: CRLState, obs: Array, goal: Array) -> Array:
        mean, _ = state.params.actor(*_inputs(state.scales, obs, goal))
        return jnp.tanh(mean)

    def embed(state: CRLState, obs: Array, goal: Array) -> Array:
        action = act_greedily(state, obs, goal)
        return state.params.critic.encode_sa(_inputs(state.scales, obs, goal)[0], action)

    def value(state: CRLState, obs: Array, goal: Array) -> Array:
        psi = state.params.critic.encode_g(_inputs(state.scales, obs, goal)[1])
        return energy.paired(embed(state, obs, goal), psi)

    def actor_goals(critic: Critic, batch: Batch, psi: Array) -> tuple[Array, Array]:
        """Goals (B, G) that the actor trains on, and their ψ (B, R).

        The first ones each come from another sample, the next ones were commanded, all others are the batch's.
        """
        size = batch.goal.shape[0]
        random = round(config.actor_random_goals * size)
        commanded = slice(random, random + round(config.actor_commanded_goals * size))

        def mixed(of_goals: Array, of_commanded: Array) -> Array:
            first = jnp.roll(of_goals[:random], 1, axis=0)
            return jnp.concatenate([first, of_commanded, of_goals[commanded.stop :]])

        goals = batch.commanded[commanded]
        of_commanded = critic.encode_g(goals) if len(goals) else psi[:0]
        return mixed(batch.goal, goals), mixed(psi, of_commanded)

    def critic_objective(critic: Critic, batch: Batch) -> tuple[Array, tuple[Metrics, Array]]:
        psi = critic.encode_g(batch.goal)
        logits = energy.pairwise(critic.encode_sa(batch.obs, batch.action), psi)
        loss = objective(logits) + config.logsumexp_penalty * logsumexp_penalty(logits)
        return loss, (contrastive_metrics(logits), psi)

    def actor_objective(
        actor: Actor, critic: Critic, psi: Array, alpha: Array, batch: Batch, key: PRNGKeyArray
    ) -> tuple[Array, Array]:
        goal, psi = actor_goals(critic, batch, psi)
        action, log_prob = sample_action(*actor(batch.obs, goal), key, config.log_prob)
        f = energy.paired(critic.encode_sa(batch.obs, action), psi)
        return actor_loss(log_prob, f, alpha), -jnp.mean(log_prob)

    def gradients(state: CRLState, batch: Batch, key: PRNGKeyArray) -> tuple[CRLParams, Metrics]:
        """Of all three losses, on a batch as the networks are given it."""
        actor, critic, log_alpha = state.params
        (critic_loss, (metrics, psi)), critic_grad = jax.value_and_grad(critic_objective, has_aux=True)(
            critic, batch
        )
        alpha = jnp.exp(log_alpha)
        (loss, entropy), actor_grad = jax.value_and_grad(actor_objective, has_aux=True)(
            actor, critic, psi, alpha, batch, key
        )
        alpha_grad = jax.grad(temperature_loss)(log_alpha, entropy, target_entropy)
        metrics |= {
            "critic_loss": critic_loss,
            "actor_loss": loss,
            "entropy": entropy,
            "alpha": alpha,
            "actor_grad_norm": optax.tree.norm(actor_grad),
            "critic_grad_norm": optax.tree.norm(critic_grad),
        }
        return CRLParams(actor_grad, critic_grad, alpha_grad), metrics

    def update(state: CRLState, batch: Batch, key: PRNGKeyArray) -> tuple[CRLState, Metrics]:
        """One Adam step of actor, temperature and critic, all from the parameters before the step.

        That is the paper's order, actor and α before the critic: neither of the first two gradients
        changes what the critic's is taken at. Its ψ(g) serves the actor's loss too.
        """
        if state.scales is not None:
            obs, goal = state.scales
            state = state._replace(scales=Scales(moments.add(obs, batch.obs), moments.add(goal, batch.goal)))
        grads, metrics = gradients(state, _inputs_of(state.scales, batch), key)
        with jax.named_scope("optimiser"):
            return _step(state, grads), metrics

    def norms(state: CRLState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        batch = _inputs_of(state.scales, batch)
        params, (grads, _) = state.params, gradients(state, batch, key)
        seen = {
            "actor": (params.actor.trunk, grads.actor.trunk, (batch.obs, batch.goal)),
            "phi": (params.critic.phi, grads.critic.phi, (batch.obs, batch.action)),
            "psi": (params.critic.psi, grads.critic.psi, (batch.goal,)),
        }
        found: Metrics = {}
        for name, (trunk, gradient, inputs) in seen.items():
            found |= block_norms(trunk, gradient, jnp.concatenate(inputs, axis=-1), name)
        return found

    def _step(state: CRLState, grads: CRLParams) -> CRLState:
        steps = [o.update(g, s) for o, g, s in zip(optimisers, grads, state.opt, strict=True)]
        updates, (actor_opt, critic_opt, alpha_opt) = zip(*steps, strict=True)
        params = eqx.apply_updates(state.params, CRLParams(*updates))
        return state._replace(params=params, opt=(actor_opt, critic_opt, alpha_opt))

    relabel = Relabel(HORIZONS[config.horizon](config.discount))
    return Agent(init, act, act_greedily, embed, value, update, norms, relabel)


def _inputs(scales: Scales | None, obs: Array, goal: Array) -> tuple[Array, Array]:
    """What the networks are given of observations (…, D) and goals (…, G)."""
    if scales is None:
        return obs, goal
    return moments.normalise(scales.obs, obs), moments.normalise(scales.goal, goal)


def _inputs_of(scales: Scales | None, batch: Batch) -> Batch:
    """The same for a whole batch."""
    if scales is None:
        return batch
    obs, goal = _inputs(scales, batch.obs, batch.goal)
    return batch._replace(obs=obs, goal=goal, commanded=moments.normalise(scales.goal, batch.commanded))
