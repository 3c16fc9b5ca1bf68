"""The command `quickstart`."""

import json
from dataclasses import dataclass
from pathlib import Path

from goalward.cli.messages import tell_saved
from goalward.cli.process import heedless_output, stop_signals


@dataclass(frozen=True)
class Args:
    """Learn a U-shaped maze from scratch in at most 3 minutes, and draw the result."""

    out: Path = Path("runs/quickstart")
    """Run directory; an earlier quickstart in it is replaced."""
    seed: int = 0
    """Seed of everything random."""
    json: bool = False
    """Print the summary as JSON, and nothing else on standard output."""


def run(args: Args) -> None:
    """Train, draw and sum up the quickstart."""
    with heedless_output(), stop_signals() as should_stop:
        from goalward.lab import quickstart

        try:
            summary = quickstart.run(args.out, args.seed, quiet=args.json, should_stop=should_stop)
        except KeyboardInterrupt:
            tell_saved(args.out, ", or start anew")
            raise
    if args.json:
        print(json.dumps(summary))
