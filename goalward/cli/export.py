"""The command `export`."""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Args:
    """Take a run's policy out, for NumPy and ONNX, without JAX."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    out: Path
    """Folder to write."""
    onnx: bool = True
    """Models of ONNX too, with the extra `export`, or not."""
    value: bool = True
    """What the critic says of distances too, or the policy alone."""
    best: bool = False
    """Take the best checkpoint, not the latest."""
    force: bool = False
    """Replace files of a folder that is there already."""
    env_file: Path | None = None
    """File of the run's environment, a person's own: where it is, if it was not named before."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> None:
    """Write the folder, and say what is in it and how well it agrees."""
    from goalward import exported

    done = exported.export(
        args.run, args.out, best=args.best, env_file=args.env_file, onnx=args.onnx, value=args.value,
        force=args.force,
    )  # fmt: skip
    if args.json:
        told = {"files": [str(path) for path in done.files], "differences": done.differences}
        print(json.dumps({**told, "left_out": done.left_out}))
        return
    for path in done.files:
        print(f"{path.stat().st_size:>12,} bytes  {path}")
    for name, difference in done.differences.items():
        print(f"{name}: NumPy differs from JAX by {difference:.1e} at most")
    for name, why in done.left_out.items():
        print(f"{name} is left out: {why}")
    print(f'use it:  goalward.runtime.load("{args.out}").act(obs, goal)')
