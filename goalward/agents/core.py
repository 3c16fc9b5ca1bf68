"""What an agent is, and the network shapes that all agents share."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, PRNGKeyArray

from goalward.config import NetworkConfig
from goalward.replay import Relabel
from goalward.trunks import Architecture, check_depth
from goalward.types import Batch, Metrics

AgentState = Any  # a NamedTuple of arrays; its `params` (a NamedTuple of parts) are what is learned


@runtime_checkable
class Agent(Protocol):
    """A learning method: pure functions of its state, the methods of a frozen dataclass of settings.

    Letters: N worlds, D observation, G goal, A action, H actions of a chunk, R representation. A chunk is
    played open loop; it is flat, one action after the other.

    `update` keeps to two rules. Where its new state is not finite, neither are its metrics: such an update is
    not taken. Its optimiser's part is under `jax.named_scope("optimiser")`: profiles tell it apart by that.
    """

    @property
    def relabel(self) -> Relabel:
        """Which goals it trains on, and what else it has to know of each sample."""
        ...

    @property
    def chunk(self) -> int:
        """Actions that it decides on at once, H."""
        ...

    def init(self, key: PRNGKeyArray) -> AgentState:
        """Give the state before any update."""
        ...

    def act(self, state: AgentState, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Explore: obs (N, D), goal (N, G) -> actions (N, H·A)."""
        ...

    def exploit(self, state: AgentState, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Act as in evaluations, mostly without noise: obs (N, D), goal (N, G) -> actions (N, H·A)."""
        ...

    def embed(self, state: AgentState, obs: Array, goal: Array) -> Array:
        """Give φ(s, π(s, g)): obs (N, D), goal (N, G) -> (N, R)."""
        ...

    def value(self, state: AgentState, obs: Array, goal: Array) -> Array:
        """Say how near the goal is, more where it is nearer: obs (N, D), goal (N, G) -> (N,)."""
        ...

    def action_value(self, state: AgentState, obs: Array, action: Array, goal: Array) -> Array:
        """Say the same of an action taken now: with actions (N, H·A) in [−1, 1], or one-hot -> (N,)."""
        ...

    def update(self, state: AgentState, batch: Batch, key: PRNGKeyArray) -> tuple[AgentState, Metrics]:
        """Take one step of all optimisers; metrics are scalars."""
        ...

    def block_norms(self, state: AgentState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Give norms by network and residual block, leaves (blocks,)."""
        ...


def architectures(config: NetworkConfig) -> tuple[Architecture, Architecture]:
    """Shapes of the actor's and the critic's trunks. Raises `UserError` for an invalid depth."""
    actor_depth = config.depth if config.actor_depth is None else config.actor_depth
    critic_depth = config.depth if config.critic_depth is None else config.critic_depth
    check_depth(actor_depth, config.block_size, "depth" if config.actor_depth is None else "actor_depth")
    check_depth(critic_depth, config.block_size, "depth" if config.critic_depth is None else "critic_depth")
    shared = Architecture(
        trunk=config.trunk,
        block_size=config.block_size,
        residual=config.residual,
        residual_scale=config.residual_scale,
        layer_norm=config.layer_norm,
        activation=config.activation,
        stem_bias=config.stem_bias,
        remat=config.remat,
        unroll=config.unroll,
        precision=config.precision,
        optimiser=config.optimiser,
        lr_by_depth=config.lr_by_depth,
    )
    actor_width = config.width if config.actor_width is None else config.actor_width
    critic_width = config.width if config.critic_width is None else config.critic_width
    return (
        shared._replace(depth=actor_depth, width=actor_width),
        shared._replace(depth=critic_depth, width=critic_width),
    )
