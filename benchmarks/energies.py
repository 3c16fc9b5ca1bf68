"""What a critic's distances cost: `python -m benchmarks.energies [--batch-size 512] [--json]`.

Of every φ of a batch to every ψ, by each energy in turns: the values, and values with derivatives as an
update takes them, in ms and as a multiple of what the energy `l2`, a matrix product mostly, takes.
"""

import json
from dataclasses import dataclass

import jax
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.timing import seconds
from goalward.losses import ENERGIES, info_nce


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
        values = jax.jit(energy.pairwise)
        update = jax.jit(jax.value_and_grad(lambda phi, psi, f=energy.pairwise: info_nce(f(phi, psi)), (0, 1)))
        calls[name] = {"values": values, "update": update}
    times = {name: {"values": [], "update": []} for name in calls}
    for _ in range(1 + args.turns):
        for name, both in calls.items():
            for what, call in both.items():
                times[name][what].append(seconds(lambda call=call: call(phi, psi)))
    best = {name: {what: min(each[1:]) for what, each in both.items()} for name, both in times.items()}
    return {
        name: {f"{what}_ms": 1e3 * time for what, time in both.items()}
        | {what: time / best["l2"][what] for what, time in both.items()}
        for name, both in best.items()
    }


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
