"""The command `eval`."""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Args:
    """Evaluate a run's policy: success, time at goal, distance, in all and by goal."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    env: str | None = None
    """Environment to evaluate on; by default the run's own."""
    episodes: int | None = None
    """Number of episodes; by default as in training."""
    best: bool = False
    """Take the best checkpoint, not the latest."""
    explore: bool = False
    """Act as in training, with noise."""
    env_file: Path | None = None
    """File of the run's environment, a person's own: where it is, if it was not named before."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> None:
    """Evaluate a run's policy and print the figures."""
    from goalward import policy, progress

    evaluation = policy.evaluate(
        args.run,
        env=args.env,
        episodes=args.episodes,
        best=args.best,
        explore=args.explore,
        env_file=args.env_file,
    )
    if args.json:
        print(json.dumps(evaluation))
    else:
        progress.print_evaluation(evaluation, str(args.run))
