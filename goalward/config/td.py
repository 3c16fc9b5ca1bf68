"""Settings that agents share which learn a value from rewards, by temporal differences."""

from dataclasses import dataclass
from typing import Literal

from goalward.config.actor_critic import CRITIC_RANGES, SHARE, ActorCriticConfig
from goalward.config.values import check

TD_RANGES = CRITIC_RANGES | {
    "her_share": SHARE, "n_step": (1, 1_000), "value_bins": (2, 65_536), "target_rate": (1e-6, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class TDConfig(ActorCriticConfig):
    """Two critics Q(s, a, g), and slow copies of them that give their targets."""

    her_share: float = 0.8
    """Share of samples whose goal is one of hindsight. What is left, beside current and random goals, keeps the
    goal that was commanded."""
    her_goals: Literal["future", "final"] = "future"
    """Goals of hindsight: what the episode achieved later, by the horizon, or what it achieved last."""
    reward: Literal["minus_one_zero", "zero_one"] = "minus_one_zero"
    """What each step gives: −1 until at the goal and 0 there, or 0 and 1."""
    stop_at_goal: bool = False
    """Let nothing come after a goal is reached: the value is of the time until then, not of staying there."""
    n_step: int = 1
    """Decisions whose rewards are summed up before a critic says what the rest is worth."""
    value_loss: Literal["mse", "hl_gauss", "two_hot"] = "mse"
    """Regress the value, or classify it: by a bell curve over bins or by the two bins next to it
    (arXiv 2403.03950)."""
    value_bins: int = 101
    """Bins over all that the value can be, where it is classified."""
    target_rate: float = 0.005
    """Share of the newest weights that each update mixes into the slow copies."""

    def __post_init__(self):
        check(self, TD_RANGES)
