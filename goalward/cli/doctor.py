"""The command `doctor`."""

import json
import sys
from dataclasses import dataclass

from goalward.cli import process


@dataclass(frozen=True)
class Args:
    """Say whether this installation and machine are in order, and what helps."""

    json: bool = False
    """Print JSON."""


def run(args: Args) -> None:
    """Look, and print a line for each thing; exits with 1 where there is a problem."""
    from goalward import doctor, progress
    from goalward.findings import PROBLEM

    lines = list(doctor.look(process.start_jax))
    if args.json:
        print(json.dumps([line._asdict() for line in lines]))
    else:
        progress.print_lines(lines)
    if any(line.state == PROBLEM for line in lines):
        sys.exit(1)
