"""The command line. Each command imports what it needs when it runs, so that `--help` is quick."""

import sys

from goalward.cli import dispatch, messages, process

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Run one command. Exits with 2 for bad input and 1 for a fault of the machine, with one message."""
    if argv is None:
        process.own_process()
    with messages.one_message():
        dispatch.run(sys.argv[1:] if argv is None else argv)
