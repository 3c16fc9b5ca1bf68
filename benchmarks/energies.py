"""What a critic's distances cost: `python -m benchmarks.energies [--batch-size 512] [--json]`.

Of every φ of a batch to every ψ, by each energy in turns: the values, and values with derivatives as an
update takes them, in ms and as a multiple of what the energy `l2`, a matrix product mostly, takes.
"""

import json
from dataclasses import dataclass
from functools import partial

import jax
import tyro
from jaxtyping import Array
from rich.console import Console
from rich.table import Table

from benchmarks.timing import seconds
from goalward.losses import ENERGIES, PairwiseFn, info_nce


@dataclass(frozen=True)
class Args:
    """What to measure."""

    batch_size: int = 512
    """Samples in an update."""
    repr_dim: int = 64
    """Numbers of a representation."""
    turns: int = 5
    """Of which the shortest time counts."""
    json: bool = False
    """Print JSON."""


def measure(args: Args) -> dict[str, dict[str, float]]:
    """Of each energy `values_ms`, `update_ms` and, over those of l2, `values` and `update`."""
    shape = (args.batch_size, args.repr_dim)
    phi, psi = (jax.random.normal(jax.random.key(seed), shape) for seed in (0, 1))
    calls = {}
    for name, energy in ENERGIES.items():
        calls[name, "values"] = jax.jit(energy.pairwise)
        loss = partial(_loss, energy.pairwise)
        calls[name, "update"] = jax.jit(jax.value_and_grad(loss, (0, 1)))
    turns = [
        {which: seconds(partial(call, phi, psi)) for which, call in calls.items()}
        for _ in range(1 + args.turns)  # the first compiles
    ]
    best = {which: min(turn[which] for turn in turns[1:]) for which in calls}
    found: dict[str, dict[str, float]] = {name: {} for name in ENERGIES}
    for (name, what), time in best.items():
        found[name] |= {f"{what}_ms": 1e3 * time, what: time / best["l2", what]}
    return found


def _loss(pairwise: PairwiseFn, phi: Array, psi: Array) -> Array:
    """The objective by default, of all pairs."""
    return info_nce(pairwise(phi, psi))


def main(args: Args) -> None:
    """Measure and print."""
    found = measure(args)
    if args.json:
        print(json.dumps(found))
        return
    table = Table(title=f"all pairs of a batch of {args.batch_size}, {args.repr_dim} numbers each")
    for head in ("energy", "values, ms", "× l2's", "with derivatives, ms", "× l2's"):
        table.add_column(head, justify="left" if head == "energy" else "right")
    for name, row in found.items():
        cells = (f"{row['values_ms']:.1f}", f"{row['values']:.1f}")
        table.add_row(name, *cells, f"{row['update_ms']:.1f}", f"{row['update']:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args))
