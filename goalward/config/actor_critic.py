"""Settings that agents share which have an actor, a critic, a temperature."""

from dataclasses import dataclass
from typing import Literal

from goalward.config.values import check

LR = (1e-12, 1.0)
SHARE = (0.0, 1.0)
DISCOUNTS = (1e-6, 0.9999999)
# What the shared numbers may be, both ends included.
Ranges = dict[str, tuple[float | int, float | int]]
ACTOR_RANGES: Ranges = {
    "discount": DISCOUNTS, "chunk": (1, 64), "actor_average": (0.0, 0.9999999), "actor_lr": LR,
}  # fmt: skip
CRITIC_RANGES = ACTOR_RANGES | {
    "current_goals": SHARE, "random_goals": SHARE, "actor_random_goals": SHARE, "actor_commanded_goals": SHARE,
    "bc_weight": (0.0, 1e6), "critic_lr": LR,
}  # fmt: skip
RANGES = CRITIC_RANGES | {"alpha_lr": LR, "target_entropy": (-1e6, 1e6)}


@dataclass(frozen=True)
class AgentConfig:
    """Settings of an agent, whichever it is; each agent has a subclass of its own."""


@dataclass(frozen=True)
class ActorConfig(AgentConfig):
    """An actor that is trained on goals of hindsight."""

    normalise_inputs: bool = False
    """Give the networks observations and goals shifted and scaled to mean 0 and deviation 1, by what training
    has seen so far. Without it, what is large by its unit drowns the rest."""
    horizon: Literal["truncated_geometric", "clipped_geometric", "uniform"] = "truncated_geometric"
    """Law of the steps between a state and its hindsight goal."""
    discount: float = 0.99
    """γ of that law, and of what an agent that knows them makes of later rewards and of failures."""
    chunk: int = 1
    """Actions that the actor chooses at once and takes one after the other, without looking in between."""
    actor_average: float = 0.0
    """Share that each update keeps of a running average of the actor's weights: at 0.9995 it is over some 2,000
    updates. The average is then the policy; training explores with the newest weights. At 0 there is none."""
    actor_lr: float = 3e-4
    """Step size for the actor."""

    def __post_init__(self):
        check(self, ACTOR_RANGES)


@dataclass(frozen=True)
class ActorCriticConfig(ActorConfig):
    """An actor and a critic."""

    current_goals: float = 0.0
    """Share of samples whose goal is what the sample's own state has achieved."""
    random_goals: float = 0.0
    """Share of samples whose goal was achieved at any time in the same world, in whichever episode."""
    actor_random_goals: float = 0.0
    """Share of a batch whose goals are shuffled among its samples before the actor trains on them."""
    actor_commanded_goals: float = 0.0
    """Share of a batch for which the actor trains on the goal that was commanded, reached or not."""
    bc_weight: float = 0.0
    """Weight, in the actor's loss, of behaviour cloning: −log π of the actions that were taken. What the critic
    says is then divided by its mean size (arXiv 2106.06860, 2410.20092). For learning from a dataset."""
    critic_lr: float = 3e-4
    """Step size for the critic."""

    def __post_init__(self):
        check(self, CRITIC_RANGES)


@dataclass(frozen=True)
class EntropyConfig(ActorCriticConfig):
    """An actor whose actions are random, as much as a learned temperature holds them to."""

    alpha_lr: float = 3e-4
    """Step size for the temperature α."""
    target_entropy: float = -0.5
    """Entropy that α holds the policy to, per action dimension and action of a chunk."""
    log_prob: Literal["exact", "bounded"] = "exact"
    """log π in the losses. Bounded is that of the paper's code, with log(1 − a² + 1e-6) for log(1 − a²):
    its gradient does not pull an action back that is at its bounds (docs/log.md)."""

    def __post_init__(self):
        check(self, RANGES)
