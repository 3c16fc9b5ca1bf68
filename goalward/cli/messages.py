"""What people are told: one message for what goes wrong, and the names of files that were written."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from goalward.errors import DivergedError, MachineError, UserError

INTERRUPTED = 130  # what a shell says of a program that a Ctrl-C ended


@contextmanager
def one_message() -> Iterator[None]:
    """Turn what can go wrong into one message on standard error and an exit code."""
    try:
        yield
    except UserError as error:
        _exit(2, f"error: {error}")
    except (MachineError, DivergedError) as error:
        _exit(1, f"error: {error}")
    except KeyboardInterrupt:
        _exit(INTERRUPTED, "interrupted")
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; nobody is left to tell
        sys.exit(1)
    except (OSError, MemoryError) as error:
        _exit(1, f"error: the machine refused: {error}")
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # how JAX says that there is no memory
            raise
        _exit(1, f"error: the machine refused: {' '.join(str(error).split())}")


def _exit(code: int, message: str) -> None:
    with suppress(OSError):  # nobody is left to tell
        print(message, file=sys.stderr)
    sys.exit(code)


def tell_saved(directory: Path, more: str = "") -> None:
    """Say how to go on with a run that was stopped, and what `more` one may do."""
    from goalward import machine

    again = machine.command("train", "--resume", directory)
    print(f"stopped and saved; go on with: {again}{more}", file=sys.stderr)


def tell_files(paths: list[Path], *, as_json: bool) -> None:
    """Print the names of files, one a line or as JSON."""
    names = [str(path) for path in paths]
    print(json.dumps(names) if as_json else "\n".join(names))
