"""Settings of contrastive RL."""

from dataclasses import dataclass
from typing import Literal

from goalward.config.actor_critic import RANGES as SHARED_RANGES
from goalward.config.actor_critic import EntropyConfig
from goalward.config.values import check
from goalward.limits import INT32

RANGES = SHARED_RANGES | {
    "repr_dim": (1, INT32), "logsumexp_penalty": (0.0, 1e6), "survival_weight": (0.0, 1e6),
}  # fmt: skip


@dataclass(frozen=True)
class CRLConfig(EntropyConfig):
    """Contrastive RL (arXiv 2503.14858, §3): tell the goal that was reached from those of other samples."""

    repr_dim: int = 64
    """Dimension of the representations φ(s, a) and ψ(g)."""
    energy: Literal["l2", "sq_l2", "dot", "scaled_dot", "cosine", "mrn", "iqe"] = "l2"
    """f(s, a, g): −‖φ − ψ‖, −‖φ − ψ‖², φᵀψ, φᵀψ / √R, the cosine, or minus a distance that has a direction:
    MRN's, of an even repr-dim, or IQE's, of a multiple of 8 (docs/methods.md)."""
    objective: Literal["info_nce", "backward_info_nce", "symmetric_info_nce", "binary_nce"] = "info_nce"
    """Contrastive objective of the critic."""
    logsumexp_penalty: float = 0.1
    """Weight of mean (logsumexp f)² in the critic's loss."""
    survival_weight: float = 0.0
    """Weight, in the actor's loss, of log Z(s, a), where Z is the chance to go on without a failure, learned by
    a network of its own (arXiv 2608.26571, eq. 18–20); at 0 there is no such network."""
    mass_weights: bool = False
    """Weight each sample of the critic's loss by 1 − γ^L where a failure comes L steps later: by the mass that
    its future has (arXiv 2608.26571, eq. 15)."""

    def __post_init__(self):
        check(self, RANGES)
