"""Which files of code may be loaded: those that a person named on this account, as they were then.

A run directory or a sweep may come from a stranger and name any file, so a name there asks for nothing. What is
typed does: its SHA-256 is kept, and a file of these bytes is loaded from then on.
"""

import hashlib
from pathlib import Path

from platformdirs import user_state_path

from goalward.errors import MachineError, UserError


def fingerprint(code: bytes) -> str:
    """SHA-256 of the bytes of a file."""
    return hashlib.sha256(code).hexdigest()


def read(path: Path) -> bytes:
    """The bytes of a file of code. Raises `UserError` where it is gone or cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(
            f"{path} is gone, the file of an environment; put it back, or say by --env-file where it is now"
        ) from None
    except OSError as error:
        raise UserError(f"{path}, the file of an environment, cannot be read: {error.strerror}") from error


def trust(path: Path) -> None:
    """Let a file be loaded from now on, as it is: a person has named it."""
    found = fingerprint(read(path))
    if is_trusted(found):
        return
    store = _store()
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with store.open("a", encoding="utf-8") as lines:
            lines.write(f"{found}  {path}\n")
    except OSError as error:
        raise MachineError(
            f"that {path} may be loaded cannot be kept in {store}: {error.strerror}; "
            "set XDG_STATE_HOME to a folder that you may write"
        ) from error


def is_trusted(found: str) -> bool:
    """Whether a person has named a file of this SHA-256."""
    try:
        lines = _store().read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return found in {line.split(" ", 1)[0] for line in lines}


def folder() -> Path:
    """Where it is kept which files were named."""
    return user_state_path("goalward")


def _store() -> Path:
    return folder() / "env_files.txt"
