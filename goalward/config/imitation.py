"""Settings of imitation with goals of hindsight."""

from dataclasses import dataclass
from typing import Literal

from goalward.config.actor_critic import ACTOR_RANGES, ActorConfig
from goalward.config.values import check

RANGES = ACTOR_RANGES | {"exploration_noise": (0.0, 1e3)}


@dataclass(frozen=True)
class GCBCConfig(ActorConfig):
    """Behaviour cloning with goals (arXiv 2410.20092): do what led from here to there once; no critic."""

    horizon: Literal["truncated_geometric", "clipped_geometric", "uniform"] = "uniform"
    likelihood: Literal["unit_variance", "gaussian"] = "unit_variance"
    """The law whose log-likelihood of the actions is raised: a Gaussian of deviation 1 around the action, which
    makes it half their squared distance, or a tanh-Gaussian whose deviation is learned too."""
    exploration_noise: float = 0.4
    """Deviation of the noise on actions that explore."""

    def __post_init__(self):
        check(self, RANGES)


@dataclass(frozen=True)
class GCSLConfig(GCBCConfig):
    """GCSL (arXiv 1912.06088): clone what one's own policy, which stays random, has reached by chance."""

    likelihood: Literal["unit_variance", "gaussian"] = "gaussian"
    exploration_noise: float = 0.1
