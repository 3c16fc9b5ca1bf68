"""The command line. Each command imports what it needs when it runs, so that `--help` is quick."""

import sys

from goalward.cli import dispatch, messages, process

__all__ = ["main"]


def main(argv: list[str] | None = None) -> None:
    """Run one command. Exits with 2 for bad input and 1 for a fault of the machine, with one message."""
    if argv is not None:
        with messages.one_message():
            dispatch.run(argv)
        return
    process.own_process()
    try:
        with process.heard_interrupts():
            main(sys.argv[1:])
    except SystemExit as end:
        if end.code == messages.INTERRUPTED:
            process.end_now(messages.INTERRUPTED)
        raise
