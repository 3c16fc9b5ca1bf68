"""Settings of ChronoSRL."""

from dataclasses import dataclass

from goalward.config.srl import RANGES as SRL_RANGES
from goalward.config.srl import SRLConfig
from goalward.config.values import check

_WEIGHT = (0.0, 1e6)
RANGES = SRL_RANGES | {
    "window": (2, 1_000_000), "occupancy_bins": (1, 65_536), "hazard_weight": _WEIGHT, "time_weight": _WEIGHT,
    "separation_weight": _WEIGHT, "occupancy_weight": _WEIGHT,
}  # fmt: skip


@dataclass(frozen=True)
class ChronoConfig(SRLConfig):
    """ChronoSRL (arXiv 2609.36238): survival RL, a distance in time, an occupancy, and action chunks."""

    discount: float = 0.99
    repr_dim: int = 64
    chunk: int = 2
    occupancy_bins: int = 32
    """Bins of future steps, in each of which the critic says how near the goal the agent will be; they grow
    geometrically."""
    hazard_weight: float = 1.0
    """Weight of the likelihood of the time until the goal is reached, in the critic's loss."""
    time_weight: float = 1.0
    """Weight of the difference between the distance ‖φ − ψ‖ and that time, by its scale."""
    separation_weight: float = 1.0
    """Weight of what keeps a state at least a window away from goals that it did not reach."""
    occupancy_weight: float = 1.0
    """Weight of the cross-entropy of the occupancy."""

    def __post_init__(self):
        check(self, RANGES)
