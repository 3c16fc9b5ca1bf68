"""Rules by which weights are stepped: Adam, or Muon within blocks (kellerjordan.github.io/posts/muon).

Which rule it is says the `Architecture` of the trunks that a part of an agent holds. Its state is arrays.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from goalward.networks import AnyTrunk

# A step of Muon is as large as most of Adam's are, so that one step size serves both (arXiv 2502.16982, §2.2).
ROOT_MEAN_SQUARE = 0.2
# By what steps within N blocks are multiplied: what they change adds up (arXiv 2310.02244).
LR_SCALES: dict[str, Callable[[int], float]] = {
    "one": lambda _: 1.0,
    "inverse_sqrt_blocks": lambda blocks: max(blocks, 1) ** -0.5,
}


def rule(size: float, part: Any) -> optax.GradientTransformation:
    """Give the optimiser, of a step size, for a part of what is learned, or for gradients of it."""
    adam = optax.adam(size)
    if all(trunk.arch.optimiser == "adam" for trunk in _trunks(part)):
        return adam
    return optax.partition({"adam": adam, "muon": muon(size)}, _rules)


def muon(size: float) -> optax.GradientTransformation:
    """Momentum, of each matrix (…, i, o) the nearest orthogonal one, times 0.2 √max(i, o) and the step size."""

    def matrices(tree: Any) -> Any:
        return jax.tree.map(lambda _: MuonDimensionNumbers(reduction_axis=-2, output_axis=-1), tree)

    def sized(updates: Any, _: Any) -> Any:
        return jax.tree.map(lambda leaf: ROOT_MEAN_SQUARE * max(leaf.shape[-2:]) ** 0.5 * leaf, updates)

    return optax.chain(
        scale_by_muon(weight_dimension_numbers=matrices),
        optax.stateless(sized),
        optax.scale_by_learning_rate(size),
    )


def by_depth(updates: Any) -> Any:
    """The same steps, those within blocks as large as `lr_by_depth` says; at "one" nothing is done to them."""

    def scaled(node: Any) -> Any:
        if not isinstance(node, AnyTrunk):
            return node
        factor = LR_SCALES[node.arch.lr_by_depth](node.arch.depth // node.arch.block_size)
        if factor == 1 or not node.arch.residual:  # nothing adds up in a plain stack
            return node
        return eqx.tree_at(
            lambda trunk: trunk.blocks, node, jax.tree.map(lambda leaf: factor * leaf, node.blocks)
        )

    return jax.tree.map(scaled, updates, is_leaf=lambda node: isinstance(node, AnyTrunk))


def _trunks(tree: Any) -> list[AnyTrunk]:
    nodes = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, AnyTrunk))
    return [node for node in nodes if isinstance(node, AnyTrunk)]


def _rules(tree: Any) -> Any:
    """Which of the two rules each leaf goes by: matrices within blocks by Muon."""

    def of(path: tuple[Any, ...], _: Any) -> str:
        names = [getattr(entry, "name", None) for entry in path]
        return "muon" if "blocks" in names and names[-1] == "weight" else "adam"

    return jax.tree_util.tree_map_with_path(of, tree)
