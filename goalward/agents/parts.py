"""What agents share that have an actor, and some of it all agents.

Acting, scales of inputs, steps of actor and temperature, optimisers.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from goalward import moments, survival
from goalward.config import ActorConfig, ActorCriticConfig, EntropyConfig
from goalward.critics import Prediction
from goalward.hyperspherical import projected
from goalward.losses import actor_loss, masked_mean, scaled, temperature_loss
from goalward.networks import Actor, AnyTrunk, block_norms, log_density, sample_action
from goalward.optimisers import by_depth, rule
from goalward.replay import HORIZONS, Relabel
from goalward.trunks import Architecture
from goalward.types import Batch, EnvSpec, Metrics, Next


class Params(NamedTuple):
    """All that is learned, and the gradients of it."""

    actor: Actor
    critic: Any
    log_alpha: Array  # ()
    survival: AnyTrunk | None = None  # of an agent that learns how likely it is not to fail


class Scales(NamedTuple):
    """Moments of what the networks are given."""

    obs: moments.Moments
    goal: moments.Moments


class State(NamedTuple):
    """Parameters, the state of an optimiser for each part of them, and what else is asked for."""

    params: Any  # `Params`, or those of an agent without an actor
    opt: tuple[optax.OptState, ...]
    scales: Scales | None = None  # of inputs
    average: Actor | None = None  # of the actor's weights over the last updates
    target: Any = None  # slow copies of what gives targets


def relabel(config: ActorCriticConfig, **asked: Any) -> Relabel:
    """Which goals an agent trains on, with what else it asks of each sample."""
    horizon = HORIZONS[config.horizon](config.discount)
    return Relabel(horizon, config.current_goals, config.random_goals, chunk=config.chunk, **asked)


def make_actor(config: ActorConfig, spec: EnvSpec, arch: Architecture, key: PRNGKeyArray) -> Actor:
    """Build the policy of chunks of actions."""
    return Actor(spec.obs_dim, spec.goal_dim, config.chunk * spec.action_dim, arch, key)


def start(config: ActorConfig, spec: EnvSpec, params: Any) -> State:
    """Give the state of an agent with an actor before any update."""
    state = begin(rates(config, params), params)
    if config.normalise_inputs:
        state = state._replace(scales=Scales(moments.init(spec.obs_dim), moments.init(spec.goal_dim)))
    if config.actor_average:
        state = state._replace(average=jax.tree.map(jnp.copy, params.actor))  # buffers of its own
    return state


# Which setting is the step size of a part of what is learned.
RATES: dict[str, Callable[[Any], float]] = {
    "actor": lambda config: config.actor_lr,
    "critic": lambda config: config.critic_lr,
    "log_alpha": lambda config: config.alpha_lr,
    "survival": lambda config: config.critic_lr,
}


def rates(config: ActorConfig, params: Any) -> tuple[float, ...]:
    """Step sizes of each part of what is learned."""
    return tuple(RATES[name](config) for name in params._fields)


def begin(step_sizes: Sequence[float], params: Any) -> State:
    """Give the state before any step, for parts with a step size each; a part may be None."""
    there = zip(step_sizes, params, strict=True)
    return State(params, tuple(rule(size, part).init(part) for size, part in there if part is not None))


def step(step_sizes: Sequence[float], state: State, grads: Any) -> State:
    """Take one step of each part; weights that have to be of length 1 are brought back to it."""
    named = zip(grads._fields, step_sizes, grads, strict=True)
    there = [(name, rule(size, grad), grad) for name, size, grad in named if grad is not None]
    steps = {name: each.update(grad, opt) for (name, each, grad), opt in zip(there, state.opt, strict=True)}
    updates = by_depth(grads._replace(**{name: update for name, (update, _) in steps.items()}))
    params = projected(eqx.apply_updates(state.params, updates))
    return state._replace(params=params, opt=tuple(opt for _, opt in steps.values()))


def explore(state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
    """Draw actions (N, H·A) of the policy."""
    actor: Actor = state.params.actor
    action, _ = sample_action(*actor(*inputs(state.scales, obs, goal)), key)
    return action


def exploit(state: State, obs: Array, goal: Array) -> Array:
    """Give the policy's actions (N, H·A) without noise, tanh of the mean."""
    mean, _ = acting(state)(*inputs(state.scales, obs, goal))
    return jnp.tanh(mean)


def acting(state: State) -> Actor:
    """Give the actor that acts without noise: the average where there is one, else the newest."""
    return state.params.actor if state.average is None else state.average


def embed(state: State, obs: Array, goal: Array) -> Array:
    """Give φ(s, π(s, g)), (N, R), of the actions without noise."""
    action = exploit(state, obs, goal)
    return state.params.critic.encode_sa(inputs(state.scales, obs, goal)[0], action)


def encoded(state: State, obs: Array, action: Array, goal: Array) -> tuple[Array, Array]:
    """Give φ(s, a) and ψ(g), both (N, R)."""
    obs, goal = inputs(state.scales, obs, goal)
    return state.params.critic.encode_sa(obs, action), state.params.critic.encode_g(goal)


def inputs(scales: Scales | None, obs: Array, goal: Array) -> tuple[Array, Array]:
    """Give what the networks are given of observations (…, D) and goals (…, G)."""
    if scales is None:
        return obs, goal
    return moments.normalise(scales.obs, obs), moments.normalise(scales.goal, goal)


def inputs_of(scales: Scales | None, batch: Batch) -> Batch:
    """Give the same for a whole batch."""
    if scales is None:
        return batch
    obs, goal = inputs(scales, batch.obs, batch.goal)
    if batch.next is not None:
        batch = batch._replace(next=batch.next._replace(obs=moments.normalise(scales.obs, batch.next.obs)))
    return batch._replace(obs=obs, goal=goal, commanded=moments.normalise(scales.goal, batch.commanded))


Gradients = Callable[[State, Batch, PRNGKeyArray], tuple[Any, Metrics]]


def update(
    config: ActorConfig, gradients: Gradients, state: State, batch: Batch, key: PRNGKeyArray
) -> tuple[State, Metrics]:
    """Take one step of each part, all from the parameters before the step.

    That is the paper's order, actor and α before the critic: neither of the first two gradients changes what
    the critic's is taken at. What the critic computes of its goals serves the actor's loss too.
    """
    state = seen(state, batch)
    grads, metrics = gradients(state, batch, key)
    with jax.named_scope("optimiser"):
        return apply(config, state, grads), metrics


def seen(state: State, batch: Batch) -> State:
    """Count a batch in the moments of inputs."""
    if state.scales is None:
        return state
    obs, goal = state.scales
    return state._replace(scales=Scales(moments.add(obs, batch.obs), moments.add(goal, batch.goal)))


def apply(config: ActorConfig, state: State, grads: Any) -> State:
    """Take one step of each part, and the actor's average after it."""
    state = step(rates(config, grads), state, grads)
    if state.average is None:
        return state
    return state._replace(average=averaged(state.average, state.params.actor, config.actor_average))


def averaged(average: Any, newest: Any, kept: float) -> Any:
    """Give the running average of weights after one more update, of which it keeps a share."""

    def mix(before: Any, now: Any) -> Any:
        return before + (1 - kept) * (now - before) if eqx.is_inexact_array(now) else now

    return projected(jax.tree.map(mix, average, newest))


def gradients(
    config: EntropyConfig,
    params: Params,
    batch: Batch,
    critic_loss: Callable[[Any], tuple[Array, tuple[Metrics, Array]]],
    worth: Callable[[Array, Array], Array],
    key: PRNGKeyArray,
) -> tuple[Params, Metrics]:
    """Gradients of critic, actor and log α, on a batch as the networks are given it.

    `critic_loss` gives the loss of a critic, with metrics and ψ of the batch's goals (B, R); `worth` says how
    good actions (B, H·A) are for goals of ψ (B, R), as (B,).
    """
    (loss, (metrics, psi)), critic_grad = jax.value_and_grad(critic_loss, has_aux=True)(params.critic)
    goal, psi = actor_goals_and_psi(config, params.critic.encode_g, batch, psi)
    actor_grad, alpha_grad, of_actor = actor_gradients(
        config, params, batch, goal, lambda action: worth(action, psi), key
    )
    metrics |= {"critic_loss": loss, "critic_grad_norm": optax.tree.norm(critic_grad)} | of_actor
    return Params(actor_grad, critic_grad, alpha_grad), metrics


def keeps_goals(config: ActorCriticConfig) -> bool:
    """Whether the actor trains on just the goals of the batch."""
    return not (config.actor_random_goals or config.actor_commanded_goals)


def actor_goals(config: ActorCriticConfig, batch: Batch) -> Array:
    """Goals (B, G) that the actor trains on.

    The first ones each come from another sample, the next ones were commanded, all others are the batch's.
    """
    return _mixed(config, batch.goal, batch.commanded[_commanded(config, batch)])


def actor_goals_and_psi(
    config: ActorCriticConfig, encode: Callable[[Array], Array], batch: Batch, psi: Array
) -> tuple[Array, Array]:
    """The same with their ψ (B, R), where those of the batch's goals are given."""
    goals = batch.commanded[_commanded(config, batch)]
    of_commanded = encode(goals) if len(goals) else psi[:0]
    return _mixed(config, batch.goal, goals), _mixed(config, psi, of_commanded)


def _commanded(config: ActorCriticConfig, batch: Batch) -> slice:
    """The samples for which the actor trains on commanded goals."""
    size = batch.goal.shape[0]
    random = round(config.actor_random_goals * size)
    return slice(random, random + round(config.actor_commanded_goals * size))


def _mixed(config: ActorCriticConfig, of_goals: Array, of_commanded: Array) -> Array:
    """What belongs to the actor's goals, of what belongs to the batch's and to commanded ones."""
    random = round(config.actor_random_goals * of_goals.shape[0])
    first = jnp.roll(of_goals[:random], 1, axis=0)
    return jnp.concatenate([first, of_commanded, of_goals[random + len(of_commanded) :]])


def actor_gradients(
    config: EntropyConfig,
    params: Params,
    batch: Batch,
    goal: Array,
    worth: Callable[[Array], Array],
    key: PRNGKeyArray,
) -> tuple[Any, Array, Metrics]:
    """Gradients of the actor and of log α, for a batch as networks are given it, and goals (B, G) of the actor.

    `worth` says how good actions (B, H·A) are, (B,). The entropy is held to `target_entropy` for each number.
    With `bc_weight` w the loss is E[α log π(a' | s, g') − f / mean |f|] − w E[log π(a | s, g)], a' ~ π, of the
    batch's own actions a and goals g: to clone what led elsewhere would teach to ignore the goal.
    """
    alpha = jnp.exp(params.log_alpha)

    def objective(actor: Actor) -> tuple[Array, tuple[Array, Metrics]]:
        law = actor(batch.obs, goal)
        action, log_prob = sample_action(*law, key, config.log_prob)
        value, entropy = worth(action), -jnp.mean(log_prob)
        if not config.bc_weight:
            return actor_loss(log_prob, value, alpha), (entropy, {})
        of_data = law if keeps_goals(config) else actor(batch.obs, batch.goal)
        cloning = -masked_mean(log_density(*of_data, batch.action), counted(batch))
        loss = actor_loss(log_prob, scaled(value), alpha) + config.bc_weight * cloning
        return loss, (entropy, {"bc_loss": cloning})

    (loss, (entropy, extra)), actor_grad = jax.value_and_grad(objective, has_aux=True)(params.actor)
    size = params.actor.trunk.head.bias.shape[0] // 2
    alpha_grad = jax.grad(temperature_loss)(params.log_alpha, entropy, config.target_entropy * size)
    metrics = {
        "actor_loss": loss,
        "entropy": entropy,
        "alpha": alpha,
        "actor_grad_norm": optax.tree.norm(actor_grad),
    }
    return actor_grad, alpha_grad, metrics | extra


def norms(state: State, grads: Params, batch: Batch) -> Metrics:
    """Norms by residual block of the actor and of both encoders, (blocks,), on a batch and its gradients."""
    params, batch = state.params, inputs_of(state.scales, batch)
    return norms_of({
        "actor": (params.actor.trunk, grads.actor.trunk, (batch.obs, batch.goal)),
        "phi": (params.critic.phi, grads.critic.phi, (batch.obs, batch.action)),
        "psi": (params.critic.psi, grads.critic.psi, (batch.goal,)),
    })  # fmt: skip


def norms_of(looked_at: dict[str, tuple[AnyTrunk, AnyTrunk, tuple[Array, ...]]]) -> Metrics:
    """Norms by residual block, (blocks,), of trunks by name, each with its gradient and its inputs (B, …)."""
    found: Metrics = {}
    for name, (trunk, gradient, given) in looked_at.items():
        found |= block_norms(trunk, gradient, jnp.concatenate(given, axis=-1), name)
    return found


def counted(batch: Batch) -> Array:
    """Which samples count in the critic's losses, (B,) bool: their chunks are all within the episode."""
    return jnp.ones(batch.obs.shape[0], bool) if batch.valid is None else batch.valid


def reached_and_steps(batch: Batch) -> tuple[Array, Array]:
    """Whether and when each goal was reached. Raises `TypeError` for a batch that was not asked for it."""
    if batch.reach is None:
        raise TypeError("the agent's relabel asks for no window, so its batches have no times")
    return batch.reach.reached, batch.reach.steps


def nearness(batch: Batch) -> tuple[Array, Array]:
    """How near to its goal each sample's future is in each bin, and which bins were seen. Raises likewise."""
    if batch.reach is None or batch.reach.near is None or batch.reach.observed is None:
        raise TypeError("the agent's relabel asks for no occupancy, so its batches have none")
    return batch.reach.near, batch.reach.observed


def following(batch: Batch) -> Next:
    """What the samples' actions led to. Raises `TypeError` likewise."""
    if batch.next is None:
        raise TypeError("the agent's relabel asks for no returns, so its batches have none")
    return batch.next


def outcomes(batch: Batch) -> tuple[Array, Array]:
    """Rows left of each episode, and whether it failed then. Raises `TypeError` likewise."""
    if batch.left is None or batch.failed is None:
        raise TypeError("the agent's relabel asks for no outcomes, so its batches have none")
    return batch.left, batch.failed


def hazard_loss(prediction: Prediction, edges: survival.Edges, batch: Batch) -> tuple[Array, Metrics]:
    """Minus the mean log-likelihood of the times to the goals of what counts; with metrics of it."""
    reached, steps = reached_and_steps(batch)
    log_likelihood = survival.log_likelihood(prediction.now, prediction.hazards, edges, reached, steps)
    mask = counted(batch)
    # Never within the window: not now, and in no bin; all of them at once, without the survival of each.
    never = jnp.exp(-jax.nn.softplus(prediction.now) - jnp.sum(jax.nn.softplus(prediction.hazards), axis=1))
    loss = -masked_mean(log_likelihood, mask)
    return loss, {
        "hazard_loss": loss,
        "reached": masked_mean(reached.astype(jnp.float32), mask),
        "reached_predicted": masked_mean(1 - never, mask),
    }
