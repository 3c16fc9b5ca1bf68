"""Settings of survival RL."""

from dataclasses import dataclass
from typing import Literal

from goalward.config.actor_critic import DISCOUNTS, EntropyConfig
from goalward.config.actor_critic import RANGES as SHARED_RANGES
from goalward.config.values import check
from goalward.limits import INT32

_BINS = (1, 65_536)
RANGES = SHARED_RANGES | {
    "repr_dim": (1, INT32), "value_discount": DISCOUNTS, "window": (1, 1_000_000), "bins": _BINS,
    "time_basis": _BINS,
}  # fmt: skip


@dataclass(frozen=True)
class SRLConfig(EntropyConfig):
    """Survival RL (arXiv 2605.31273): learn the law of the time until a goal is first reached."""

    discount: float = 0.999
    current_goals: float = 0.05
    random_goals: float = 0.1
    repr_dim: int = 128
    """Dimension of the representations of (s, a) and g."""
    value_discount: float = 0.999
    """γ of the value that the actor climbs, the discounted time until the goal is reached, negated."""
    window: int = 1000
    """Steps ahead in which a goal may be reached."""
    bins: int = 1000
    """Bins of that time, each with a hazard; where they are fewer than the window's steps, they grow
    geometrically from one step on, behind one for the present step."""
    censoring: Literal["observed", "window"] = "observed"
    """What is known where a goal is not seen to be reached: that it is not reached within the steps that were
    observed, or, as in the paper's code, within the whole window."""
    time_basis: int = 64
    """Rank of the hazards' last layer: all bins share so many functions of time."""

    def __post_init__(self):
        check(self, RANGES)
