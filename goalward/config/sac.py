"""Settings of soft actor-critic."""

from dataclasses import dataclass

from goalward.config.actor_critic import RANGES as ENTROPY_RANGES
from goalward.config.actor_critic import EntropyConfig
from goalward.config.td import TD_RANGES, TDConfig
from goalward.config.values import check

RANGES = ENTROPY_RANGES | TD_RANGES


@dataclass(frozen=True)
class SACConfig(TDConfig, EntropyConfig):
    """SAC (arXiv 1812.05905) with hindsight goals: rewards and entropy, by temporal differences."""

    soft_value: bool = True
    """Let the value hold the entropy to come, as SAC has it; else the policy alone is random."""

    def __post_init__(self):
        check(self, RANGES)
