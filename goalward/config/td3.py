"""Settings of TD3."""

from dataclasses import dataclass

from goalward.config.td import TD_RANGES, TDConfig
from goalward.config.values import check

_NOISE = (0.0, 1e3)
RANGES = TD_RANGES | {
    "exploration_noise": _NOISE, "exploration_clip": _NOISE, "target_noise": _NOISE, "noise_clip": _NOISE,
    "policy_delay": (1, 1_000), "saturation_weight": (0.0, 1e6),
}  # fmt: skip


@dataclass(frozen=True)
class TD3Config(TDConfig):
    """TD3 (arXiv 1802.09477) with hindsight goals: one best action, by temporal differences."""

    exploration_noise: float = 0.4
    """Deviation of the noise on actions that explore."""
    exploration_clip: float = 0.5
    """That noise is held within ± this: 0.5 as in JaxGCRL; 2 leaves it as it is, as in TD3's paper."""
    target_noise: float = 0.2
    """Deviation of the noise on actions whose value is a target."""
    noise_clip: float = 0.5
    """The noise on actions whose value is a target is held within ± this."""
    policy_delay: int = 2
    """Updates of the critics for each one of the actor and of the slow copies."""
    saturation_weight: float = 0.0
    """Weight, in the actor's loss, of the mean square of what goes into tanh (arXiv 1707.01495, appendix A):
    without it an actor may stay at the bounds of its actions, where tanh is flat."""

    def __post_init__(self):
        check(self, RANGES)
