"""The command `report`."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from goalward.cli.process import start_jax


@dataclass(frozen=True)
class Args:
    """Write a page about a sweep: prediction and verdict, figures, what is missing."""

    folder: tyro.conf.Positional[Path]
    """Folder of the sweep; it may still be running."""
    out: Path | None = None
    """File to write, .html or .md with its pictures beside it; by default report.html in the folder."""
    study: str | None = None
    """Another study of the same runs, such as q_map of those of depth_point_u4."""
    force: bool = False
    """Replace a file of --out's name that is there already."""
    json: bool = False
    """Print the verdict and all measures as JSON."""


def run(args: Args) -> None:
    """Write the page, and say what became of the prediction."""
    start_jax("cpu")  # other devices are for runs, which may still be on their way
    from goalward import machine
    from goalward.lab import drawn, evidence, page, report, results

    out = args.out or args.folder / "report.html"
    study = evidence.choose(args.folder, args.study)
    page.check(out, force=args.force or args.out is None)
    found = evidence.gather(args.folder, study, lambda name: print(f"looking at {name}", file=sys.stderr))
    measures = results.measure(study, found.rows, found.scalars)
    verdict = results.judge(measures)
    words = [] if args.study is None else ["--study", args.study]
    words += [] if args.out is None else ["--out", str(args.out), *["--force"] * args.force]
    command = machine.command("report", args.folder, *words)
    composed = report.compose(
        found, measures, verdict,
        pictures=drawn.pictures(found, measures), beside=drawn.beside(study), command=command,
    )  # fmt: skip
    written = page.write(composed, out)
    if args.json:
        print(json.dumps({"files": list(map(str, written)), **report.as_json(measures, verdict)}))
        return
    print(report.state(found))
    if verdict:
        print(report.outcome(verdict))
    print(f"written: {out}", file=sys.stderr)
