"""The command `dataset`."""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from goalward.errors import UserError


@dataclass(frozen=True)
class Args:
    """Write a run's experience, or fresh episodes of its policy, as a dataset."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    out: Path | None = None
    """File to write, .npz, in OGBench's format."""
    minari: str | None = None
    """Name of a dataset of Minari to write, such as point/u_maze-v0, beside the file or without one."""
    episodes: int | None = None
    """Write so many fresh episodes of the policy; by default what the replay holds."""
    explore: bool = False
    """Let the policy act as in training, not as in evaluations."""
    seed: int = 0
    """Seed of starts, goals and noise of fresh episodes."""
    best: bool = False
    """Take the best checkpoint, not the latest."""
    env_file: Path | None = None
    """File of the run's environment, a person's own: where it is, if it was not named before."""
    force: bool = False
    """Replace a file of --out's name that is there already."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> None:
    """Write the dataset, and say what is in it."""
    if args.out is None and args.minari is None:
        raise UserError("there is nowhere to write to; use --out FILE.npz, --minari NAME, or both")
    for name, given in (("explore", args.explore), ("seed", args.seed)):
        if given and args.episodes is None:
            raise UserError(
                f"{name} is {given}, but a replay is written as it is; add --episodes, or leave it out"
            )
    from goalward import data, envs, minari_data, recorded, runs

    if args.out is not None:
        data.check_new(args.out, force=args.force)
    if args.episodes is None:
        rows, what = recorded.replay(args.run, best=args.best), {"from": "replay"}
    else:
        rows = recorded.episodes(
            args.run,
            args.episodes,
            explore=args.explore,
            best=args.best,
            seed=args.seed,
            env_file=args.env_file,
        )
        what = {"from": "exploration" if args.explore else "evaluated policy"}
    about = recorded.about(args.run, **what)
    if args.minari is not None:
        config = envs.located(runs.load_config(args.run), args.env_file)
        spec = envs.make(config.env, config.env_settings).spec
        minari_data.write(args.minari, rows, json.dumps(about), spec.achieved, spec.success)
    if args.out is not None:
        data.write(args.out, rows, about, force=args.force)
    if args.json:
        print(json.dumps({"out": args.out and str(args.out), "minari": args.minari, **data.counts(rows)}))
        return
    names = [str(args.out)] if args.out else []
    names += [f"minari:{args.minari}"] if args.minari else []
    print(f"{' and '.join(names)}: {data.told(rows)}")
