"""The command `agents`."""

import json
import re
import textwrap
from dataclasses import dataclass

from goalward.config import AGENTS

WIDTH = 80  # of the list, in columns
NAMES = max(map(len, AGENTS)) + 2


@dataclass(frozen=True)
class Args:
    """List the agents: learning methods, and where they are from."""

    json: bool = False
    """Print JSON."""


def run(args: Args) -> None:
    """List the agents."""
    rows = describe()
    if args.json:
        print(json.dumps(rows))
        return
    for row in rows:
        told = f"{row['name']:<{NAMES}}{row['summary']} ({row['source']})"
        print(textwrap.fill(told, WIDTH, subsequent_indent=" " * NAMES, break_long_words=False))


def describe() -> list[dict[str, str]]:
    """Name, summary and source of each agent, as the first line of its settings' docstring has them."""
    rows = []
    for name, kind in AGENTS.items():
        line = (kind.__doc__ or "").splitlines()[0]
        found = re.search(r" \((arXiv \d{4}\.\d{5})[^)]*\)", line)
        source = found[1] if found else ""
        summary = line.replace(found[0], "") if found else line
        rows.append({"name": name, "summary": summary.removesuffix("."), "source": source})
    return rows
