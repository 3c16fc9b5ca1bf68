"""Build the documentation as a site, strictly: any warning is an error.

python -m website                           # into site/
python -m website --out /tmp/site           # elsewhere; what is there is replaced
python -m http.server --directory site      # show it; from the folder alone, it has no search
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro

from website import generated, pages

HELP_COLUMNS = "84"  # of the texts of `--help`, which is what a page holds beside its navigation


@dataclass(frozen=True)
class Args:
    """Build the site."""

    out: Path = Path("site")
    """Folder of the site."""


def main(args: Args) -> int:
    """Gather the pages, build the site from them, and give an exit code."""
    if args.out.exists() and any(args.out.iterdir()) and not (args.out / "commands.html").is_file():
        print(f"{args.out} holds something else than a site; name another folder", file=sys.stderr)
        return 2
    os.environ |= {"COLUMNS": HELP_COLUMNS, "NO_COLOR": "1"}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copy(pages.ROOT / "mkdocs.yml", folder)
        pages.gather(folder / "docs")
        generated.write(folder / "docs")
        # From the repository's root, where Python finds `website.equations`.
        line = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", folder / "mkdocs.yml"]
        code = subprocess.run(line, cwd=pages.ROOT, check=False).returncode
        if code == 0:
            if args.out.exists():
                shutil.rmtree(args.out)
            shutil.move(folder / "site", args.out)
            print(f"{args.out / 'index.html'}; with its search: python -m http.server --directory {args.out}")
    return code


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Args, description=__doc__)))
