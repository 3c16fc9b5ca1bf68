"""Settings of contrastive RL for choices."""

from dataclasses import dataclass
from typing import Literal

from goalward.config.actor_critic import DISCOUNTS, LR, AgentConfig
from goalward.config.values import check
from goalward.limits import INT32

RANGES: dict[str, tuple[float | int, float | int]] = {
    "discount": DISCOUNTS, "repr_dim": (1, INT32), "logsumexp_penalty": (0.0, 1e6), "critics": (1, 16),
    "samples_per_episode": (1, 65_536), "target_entropy": (1e-3, 1e6), "critic_lr": LR, "temperature_lr": LR,
}  # fmt: skip


@dataclass(frozen=True)
class DiscreteCRLConfig(AgentConfig):
    """CRL for actions that are choices (arXiv 2510.21995): all are scored at once, and there is no actor."""

    horizon: Literal["truncated_geometric", "clipped_geometric", "uniform"] = "truncated_geometric"
    """Law of the steps between a state and its hindsight goal."""
    discount: float = 0.99
    """γ of that law."""
    repr_dim: int = 64
    """Dimension of the representations φ(s, a) and ψ(g)."""
    energy: Literal["l2", "sq_l2", "dot", "scaled_dot", "cosine", "mrn", "iqe"] = "l2"
    """f(s, a, g): −‖φ − ψ‖, −‖φ − ψ‖², φᵀψ, φᵀψ / √R, the cosine, or minus a distance that has a direction:
    MRN's, of an even repr-dim, or IQE's, of a multiple of 8 (docs/methods.md)."""
    objective: Literal["info_nce", "backward_info_nce", "symmetric_info_nce", "binary_nce"] = "info_nce"
    """Contrastive objective of the critic."""
    logsumexp_penalty: float = 0.1
    """Weight of mean (logsumexp f)² in the critic's loss."""
    critics: int = 1
    """Critics that are trained side by side; log of the mean of exp f acts."""
    samples_per_episode: int = 1
    """Samples of a batch that come from one episode of one world: each is then told apart from others of its
    own episode too, not only from those of other worlds."""
    target_entropy: float | None = None
    """Mean entropy, in nats, that the temperature T holds the policy softmax(f / T) to; by default 1.1, or
    0.614 of the largest there is where choices are fewer than six."""
    evaluation: Literal["sample", "greedy"] = "sample"
    """Evaluations, and policies that are loaded, draw from softmax(f / T), or take the best choice."""
    critic_lr: float = 3e-4
    """Step size for the critics."""
    temperature_lr: float = 3e-4
    """Step size for log T."""

    def __post_init__(self):
        check(self, RANGES)
