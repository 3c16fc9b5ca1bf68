"""What an agent is, and the network shapes that all agents share."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, PRNGKeyArray

from goalward.config import NetworkConfig
from goalward.networks import Architecture, check_depth
from goalward.replay import Relabel
from goalward.types import Batch, Metrics

State = Any


class Agent(NamedTuple):
    """Pure functions; `state` is a NamedTuple of arrays, `params` (a NamedTuple of parts) what is learned.

    `update` keeps to two rules. Where its new state is not finite, neither are its metrics: such an update is
    not taken. Its optimiser's part is under `jax.named_scope("optimiser")`: profiles tell it apart by that.
    """

    init: Callable[[PRNGKeyArray], State]
    act: Callable[[State, Array, Array, PRNGKeyArray], Array]  # obs (N, D), goal (N, G) -> explore (N, A)
    act_greedily: Callable[[State, Array, Array], Array]  # the same, without noise
    embed: Callable[[State, Array, Array], Array]  # the same, φ(s, π(s, g)) -> (N, R)
    value: Callable[[State, Array, Array], Array]  # the same, f(s, π(s, g), g) -> (N,): how near is the goal?
    update: Callable[[State, Batch, PRNGKeyArray], tuple[State, Metrics]]
    # by network and residual block, leaves (blocks,)
    block_norms: Callable[[State, Batch, PRNGKeyArray], Metrics]
    relabel: Relabel  # which goals, and what else, it trains on


def architectures(config: NetworkConfig) -> tuple[Architecture, Architecture]:
    """Shapes of the actor's and the critic's trunks. Raises `UserError` for an invalid depth."""
    actor_depth = config.depth if config.actor_depth is None else config.actor_depth
    critic_depth = config.depth if config.critic_depth is None else config.critic_depth
    check_depth(actor_depth, config.block_size, "depth" if config.actor_depth is None else "actor_depth")
    check_depth(critic_depth, config.block_size, "depth" if config.critic_depth is None else "critic_depth")
    shared = Architecture(
        block_size=config.block_size,
        residual=config.residual,
        residual_scale=config.residual_scale,
        layer_norm=config.layer_norm,
        activation=config.activation,
        stem_bias=config.stem_bias,
        remat=config.remat,
        unroll=config.unroll,
        precision=config.precision,
    )
    actor_width = config.width if config.actor_width is None else config.actor_width
    critic_width = config.width if config.critic_width is None else config.critic_width
    return (
        shared._replace(depth=actor_depth, width=actor_width),
        shared._replace(depth=critic_depth, width=critic_width),
    )
