"""Settings of contrastive RL."""

from dataclasses import dataclass
from typing import Literal

from goalward.config.values import check
from goalward.limits import INT32

_LR = (1e-12, 1.0)
_RANGES = {
    "repr_dim": (1, INT32), "logsumexp_penalty": (0.0, 1e6), "target_entropy": (-1e6, 1e6),
    "discount": (1e-6, 0.9999999), "actor_random_goals": (0.0, 1.0), "actor_commanded_goals": (0.0, 1.0),
    "actor_lr": _LR, "critic_lr": _LR, "alpha_lr": _LR,
}  # fmt: skip


@dataclass(frozen=True)
class CRLConfig:
    """Contrastive RL (arXiv 2503.14858, §3)."""

    repr_dim: int = 64
    """Dimension of the representations φ(s, a) and ψ(g)."""
    energy: Literal["l2", "sq_l2", "dot", "cosine"] = "l2"
    """f(s, a, g): −‖φ − ψ‖, −‖φ − ψ‖², φᵀψ, or the cosine."""
    objective: Literal["info_nce", "backward_info_nce", "symmetric_info_nce", "binary_nce"] = "info_nce"
    """Contrastive objective of the critic."""
    normalise_inputs: bool = False
    """Give the networks observations and goals shifted and scaled to mean 0 and deviation 1, by what training
    has seen so far. Without it, what is large by its unit drowns the rest."""
    logsumexp_penalty: float = 0.1
    """Weight of mean (logsumexp f)² in the critic's loss."""
    horizon: Literal["truncated_geometric", "clipped_geometric", "uniform"] = "truncated_geometric"
    """Law of the steps between a state and its hindsight goal."""
    discount: float = 0.99
    """γ of that law."""
    actor_random_goals: float = 0.0
    """Share of a batch whose goals are shuffled among its samples before the actor trains on them."""
    actor_commanded_goals: float = 0.0
    """Share of a batch for which the actor trains on the goal that was commanded, reached or not."""
    actor_lr: float = 3e-4
    """Adam's step size for the actor."""
    critic_lr: float = 3e-4
    """Adam's step size for the critic."""
    alpha_lr: float = 3e-4
    """Adam's step size for the temperature α."""
    target_entropy: float = -0.5
    """Entropy that α holds the policy to, per action dimension."""
    log_prob: Literal["exact", "bounded"] = "exact"
    """log π in the actor's loss. Bounded is that of the paper's code, with log(1 − a² + 1e-6) for log(1 − a²):
    its gradient does not pull an action back that is at its bounds (docs/log.md)."""

    def __post_init__(self):
        check(self, _RANGES)
