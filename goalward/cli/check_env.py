"""The command `check-env`."""

import json
import sys
from dataclasses import dataclass, field

import tyro

from goalward.config import Settings


@dataclass(frozen=True)
class Args:
    """Try random actions: are promises kept, and what may spoil learning?"""

    env: tyro.conf.Positional[str]
    """Environment; `goalward envs` lists them."""
    env_settings: Settings = field(default_factory=dict)
    """Its settings, as NAME=VALUE …"""
    worlds: int | None = None
    """Worlds that run side by side; by default 32, or 12 around an engine outside of JAX."""
    steps: int | None = None
    """Steps in each; by default an episode and some more, 512 … 2,048."""
    seed: int = 0
    """Seed of starts, goals and actions."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> None:
    """Look at an environment; exits with 1 where a promise is broken."""
    from goalward import diagnosis, envs, progress

    env = envs.make(envs.asked(args.env), args.env_settings)
    with progress.busy(f"looking at {args.env} …"):
        found = diagnosis.diagnose(env, worlds=args.worlds, steps=args.steps, seed=args.seed)
    if args.json:
        print(json.dumps(diagnosis.as_json(found)))
    else:
        progress.print_diagnosis(found, args.env)
    if diagnosis.is_broken(found):
        sys.exit(1)
