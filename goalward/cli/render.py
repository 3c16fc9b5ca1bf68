"""The command `render`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from goalward.cli.messages import tell_files


@dataclass(frozen=True)
class Args:
    """Show a run's policy: a video and, in a maze, a picture of the paths."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    out: Path | None = None
    """File of the video, .gif or .mp4; by default episodes.gif in the run directory."""
    episodes: int = 4
    """Number of episodes, one after the other."""
    view: Literal["auto", "top", "side"] = "auto"
    """Look from above, or from the side along with what walks; by default from above on mazes."""
    best: bool = False
    """Take the best checkpoint, not the latest."""
    width: int = 480
    """Width in pixels, even."""
    height: int = 360
    """Height in pixels, even."""
    every: int | None = None
    """Steps from one frame to the next; by default real time, or faster where a GIF would be too long."""
    force: bool = False
    """Replace a file of --out's name that is there already."""
    env_file: Path | None = None
    """File of the run's environment, a person's own: where it is, if it was not named before."""
    json: bool = False
    """Print the names of the files as JSON."""


def run(args: Args) -> None:
    """Write a run's video and name the files."""
    from goalward.pictures.render import render

    files = render(
        args.run, args.out, episodes=args.episodes, view=args.view, best=args.best,
        width=args.width, height=args.height, every=args.every, force=args.force,
        env_file=args.env_file,
    )  # fmt: skip
    tell_files(files, as_json=args.json)
