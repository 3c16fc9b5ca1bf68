"""Files of a run directory: no link in it is followed, and nothing in it makes a reader wait.

A run directory may come from a stranger, and what is in it may have changed since it was written.
"""

import fcntl
import io
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from goalward.errors import UserError

HUGE = 2**63  # what no number that we write comes to
# A pipe is opened without waiting for who writes to it; a link that took a file's place just now is an error.
_SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Whoever looks whether a lock is held holds it for a moment: so long, in seconds, it is tried to take one.
_LOOKS = 0.3


def short(name: str) -> str:
    """Part of the name of a folder, for the name of an environment, which may be a file's."""
    last = name.rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "-", re.sub(r"\.py(:make)?$", "", last), flags=re.ASCII)


def named(value: object, name: str) -> Path:
    """The path that a program gave. Raises `UserError`, naming the parameter, for what is none."""
    if not isinstance(value, (str, os.PathLike)):
        raise UserError(f"{name} is {value!r:.80}; it must be a path, such as 'runs/reacher'")
    return Path(value)


def lacking(folder: Path, name: str) -> str:
    """Why there is no file of this name in a folder, for a sentence."""
    if folder.is_dir():
        return f"has no {name}"
    return "is a file" if folder.exists() else "does not exist"


def inside(directory: Path, *names: str) -> Path:
    """The path of these names below a run directory; see `check` for what is refused on the way there."""
    path = directory
    for name in names:
        path /= name
        check(path)
    return path


def check(path: Path) -> None:
    """Raise `UserError`, naming it, for a link, a pipe or a device; files, folders and nothing pass."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(mode):
        raise UserError(
            f"{path} is a link, and nothing in a run directory is followed out of it; "
            "put what it points to in its place, or remove it"
        )
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path} is neither a file nor a folder; remove it")


def below(folder: Path) -> list[Path]:
    """All files below a folder, sorted; see `check` for what is refused among them."""
    found = []
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            check(Path(parent) / name)
        found += [Path(parent) / name for name in names]
    return sorted(found)


def open_to_read(path: Path) -> io.BufferedReader:
    """Open a file for reading. Raises `UserError` as `check` does."""
    check(path)
    return os.fdopen(os.open(path, os.O_RDONLY | _SAFE), "rb")


def open_new(path: Path) -> IO[bytes]:
    """Open a file for writing that must not be there yet, not even as a link."""
    return os.fdopen(_new(path), "wb")


def open_to_append(path: Path) -> IO[bytes]:
    """Open a file to add to its end. Raises `UserError` as `check` does."""
    check(path)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | _SAFE), "ab")


def _new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _SAFE, 0o666)


def hold(path: Path) -> int:
    """Hold a lock until the descriptor that is returned is closed, at the latest when this process ends.

    The file is made where it is missing, and its content stays as it is. Raises `BlockingIOError` while another
    process holds it.
    """
    check(path)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _SAFE, 0o666)
    end = time.monotonic() + _LOOKS
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(_LOOKS / 30)
    except BaseException:
        os.close(descriptor)
        raise


def is_held(path: Path) -> bool:
    """Whether a process holds a lock, on any host that shares the file."""
    try:
        file = open_to_read(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def replace(path: Path, content: str | bytes) -> None:
    """Write a file that takes the place of `path` when it is whole, and not before; text in UTF-8."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of `path` when this ends without an error."""
    check(path)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    with _taking_place(temporary, path), open_new(temporary) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """The path of a file to write, of the same ending, which takes the place of `path` as in `replacing`.

    Of a link, as a person may name one, it takes the place of what that leads to.
    """
    path = path.resolve()
    temporary = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}")
    with _taking_place(temporary, path):
        yield temporary
        with open_to_read(temporary) as file:
            os.fsync(file.fileno())


@contextmanager
def _taking_place(temporary: Path, path: Path) -> Iterator[None]:
    try:
        with naming(path, temporary):
            yield
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def naming(path: Path, *others: Path) -> Iterator[None]:
    """Have errors of the system name this file where they name none, as of a full disk, or one of others."""
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None or str(error.filename) in map(str, others)
        if error.errno is not None and unnamed:
            error.filename = str(path)
        raise


def is_temporary(path: Path, name: str) -> bool:
    """Whether `replace` may have left this behind, in a process that was killed while it wrote `name`."""
    return path.name.startswith(f"{name}.") and path.name.endswith(".tmp")


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises `UserError` as `check` does, `OSError`, and `ValueError` for no JSON."""
    with open_to_read(path) as file:
        return parse_json(file.read())


def parse_json(text: str | bytes) -> Any:
    """What JSON text says. Raises `ValueError` for anything else, however deep it is nested."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
