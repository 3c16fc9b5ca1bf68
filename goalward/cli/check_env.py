"""The command `check-env`."""

import json
import sys
from dataclasses import dataclass, field

import tyro

from goalward.config import Settings


@dataclass(frozen=True)
class Args:
    """Try random actions: are promises kept, and how often is a goal reached?"""

    env: tyro.conf.Positional[str]
    """Environment; `goalward envs` lists them."""
    env_settings: Settings = field(default_factory=dict)
    """Its settings, as NAME=VALUE …"""
    worlds: int = 32
    """Worlds that run side by side, two episodes each."""
    seed: int = 0
    """Seed of starts, goals and actions."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> None:
    """Look for broken promises of an environment; exits with 1 if there are any."""
    from goalward import contract, envs, progress

    findings = contract.check(
        envs.make(envs.asked(args.env), args.env_settings), worlds=args.worlds, seed=args.seed
    )
    if args.json:
        print(json.dumps(findings._asdict()))
    else:
        progress.print_findings(findings, args.env)
    if findings.problems:
        sys.exit(1)
