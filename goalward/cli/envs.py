"""The command `envs`."""

import json
from dataclasses import dataclass
from pathlib import Path

from goalward.cli.messages import tell_files


@dataclass(frozen=True)
class Args:
    """List the environments and their settings, or draw them."""

    pictures: Path | None = None
    """Draw the start of an episode of each environment into this folder."""
    force: bool = False
    """Replace a picture that is there already."""
    json: bool = False
    """Print JSON."""


def run(args: Args) -> None:
    """List the environments, or draw them."""
    from goalward import envs, progress

    if args.pictures is not None:
        from goalward.pictures.render import gallery

        tell_files(gallery(envs.names(), args.pictures, force=args.force), as_json=args.json)
        return
    rows = envs.describe()
    if args.json:
        print(json.dumps(rows))
    else:
        progress.print_envs(rows)
