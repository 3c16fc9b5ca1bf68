"""Settings of the networks."""

from dataclasses import dataclass
from typing import Literal

from goalward.config.values import check
from goalward.limits import INT32

_WHOLE = (1, INT32)
_RANGES = {
    "depth": _WHOLE, "actor_depth": _WHOLE, "critic_depth": _WHOLE, "width": _WHOLE, "actor_width": _WHOLE,
    "critic_width": _WHOLE, "block_size": _WHOLE, "unroll": (1, 1_000),
}  # fmt: skip


@dataclass(frozen=True)
class NetworkConfig:
    """Actor and critic networks."""

    trunk: Literal["mlp", "hyperspherical", "attention"] = "mlp"
    """Kind of all networks: the paper's; one whose activations and weights keep length 1 (SimbaV2, arXiv
    2502.15280); or a transformer, to which each number of an input is a token (docs/methods.md)."""
    depth: int = 4
    """Dense layers inside residual blocks, for actor and critic; a multiple of block-size. Less than one block
    is a plain stack of so many layers in all, without a skip."""
    actor_depth: int | None = None
    """Depth of the actor alone; by default `depth`."""
    critic_depth: int | None = None
    """Depth of the critic alone, by default `depth`: of both encoders, or as docs/methods.md says."""
    width: int = 64
    """Units of each hidden layer, for actor and critic."""
    actor_width: int | None = None
    """Width of the actor alone; by default `width`."""
    critic_width: int | None = None
    """Width of the critic alone; by default `width`."""
    block_size: int = 4
    """Layers that one skip connection spans."""
    residual: bool = True
    """Add each block's input to its output."""
    residual_scale: Literal["one", "inverse_sqrt_blocks", "inverse_blocks"] = "one"
    """Multiply what each block adds. One is the paper's; from a few hundred layers on, the actor's first
    actions are then at their bounds, which inverse_blocks mends (docs/performance.md)."""
    layer_norm: bool = True
    """Normalise after each Dense layer."""
    activation: Literal["swish", "relu", "gelu", "elu", "tanh"] = "swish"
    """Non-linearity after each normalisation."""
    stem_bias: bool = False
    """Draw the first layer's biases like its weights. At zero, its LayerNorm lets through only the
    direction of an input, not its length, which is much of what a position of two numbers says."""
    remat: bool = False
    """Keep only block inputs and compute the rest again in the backward pass: a fifth of the memory for
    activations, a third more arithmetic."""
    unroll: int = 1
    """Blocks unrolled in each step of the scan over blocks. Time to compile grows with it; 1 was fastest where
    it was measured (docs/performance.md)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the factors of the trunks' matrix products; bfloat16 is for accelerators."""
    optimiser: Literal["adam", "muon"] = "adam"
    """Rule of the steps. Muon (kellerjordan.github.io/posts/muon) makes those of matrices within blocks
    orthogonal, of the size that Adam's have; all else is Adam's then too."""
    lr_by_depth: Literal["one", "inverse_sqrt_blocks"] = "one"
    """Multiply the steps of weights within blocks (arXiv 2310.02244): what many blocks change adds up."""

    def __post_init__(self):
        check(self, _RANGES)
