"""Atomic save and restore of all arrays of a run.

A checkpoint is a folder named by its iteration: the arrays (Orbax), `state.json` (what is not an array)
and `manifest.json` (SHA-256 of every file). It is written beside its final name and renamed when whole.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from goalward.errors import MachineError, UserError

_ARRAYS, _STATE, _MANIFEST, _PARTIAL = "arrays", "state.json", "manifest.json", ".partial-"


class Saved(NamedTuple):
    """One checkpoint on disk."""

    path: Path
    iteration: int
    state: dict[str, Any]  # epoch, score and whatever else the saver gave


def save(folder: Path, iteration: int, tree: Any, state: dict[str, Any]) -> None:
    """Write a checkpoint of `tree`, a pytree of arrays, and of `state`, which JSON can hold.

    Raises `MachineError` if it cannot be written; what was there before stays untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(_PARTIAL + "*"):
        shutil.rmtree(leftover, ignore_errors=True)
    final, partial = folder / f"{iteration:08d}", folder / f"{_PARTIAL}{iteration:08d}"
    try:
        partial.mkdir()
        _write_arrays(partial / _ARRAYS, named_arrays(tree))
        (partial / _STATE).write_text(json.dumps(state))
        (partial / _MANIFEST).write_text(json.dumps(_hashes(partial), indent=1))
        _sync(partial)
        if final.exists():  # the same iteration again, after a resume: the arrays are equal
            shutil.rmtree(final)
        partial.rename(final)
        _sync_folder(folder)
    except Exception as error:
        shutil.rmtree(partial, ignore_errors=True)
        if not _is_disk_fault(error):
            raise
        raise MachineError(
            f"checkpoint {final} could not be written: {error}; earlier checkpoints are untouched. "
            "Free some space, then resume the run"
        ) from error


def restore(saved: Saved, like: Any) -> Any:
    """Read a checkpoint into a tree shaped as `like` (arrays or shapes).

    Raises `UserError` if it is damaged, or does not fit.
    """
    verify(saved.path)
    found = _read_arrays(saved.path / _ARRAYS)
    leaves, treedef = jax.tree_util.tree_flatten_with_path(like)
    expected = {_name(path): leaf for path, leaf in leaves}
    if found.keys() != expected.keys():
        odd = sorted(found.keys() ^ expected.keys())[0]
        raise UserError(
            f"checkpoint {saved.path} does not fit the run's config.json: array {odd} is not in both"
        )
    arrays = []
    for name, leaf in expected.items():
        is_key = jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = jax.random.wrap_key_data(jax.numpy.asarray(found[name])) if is_key else found[name]
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise UserError(
                f"checkpoint {saved.path} does not fit the run's config.json: "
                f"{name} is {array.dtype} {array.shape}, not {leaf.dtype} {leaf.shape}"
            )
        arrays.append(jax.numpy.asarray(array))
    return jax.tree_util.tree_unflatten(treedef, arrays)


def verify(path: Path) -> None:
    """Raise `UserError`, naming the file, if one of a checkpoint's files is missing or changed."""
    remedy = f"remove the folder {path} to fall back to the checkpoint before it"
    try:
        manifest = json.loads((path / _MANIFEST).read_text())
        expected = dict(manifest.items())
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"checkpoint {path} is damaged: {_MANIFEST} is missing or unreadable; {remedy}"
        ) from error
    found = _hashes(path)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            what = (
                "missing" if name not in found else "not listed" if name not in expected else "changed on disk"
            )
            raise UserError(f"checkpoint {path} is damaged: {name} is {what}; {remedy}")


def list_saved(folder: Path) -> list[Saved]:
    """All whole checkpoints, oldest first."""
    paths = sorted(path for path in folder.glob("*") if path.name.isdigit() and path.is_dir())
    return [Saved(path, int(path.name), _read_state(path)) for path in paths]


def latest(folder: Path) -> Saved:
    """The newest checkpoint. Raises `UserError` if there is none."""
    return _some(folder)[-1]


def best(folder: Path) -> Saved:
    """The checkpoint of the highest score, the newest of equals. Raises `UserError` if there is none."""
    return max(_some(folder), key=_rank)


def prune(folder: Path, keep_last: int) -> None:
    """Remove all but the newest `keep_last` checkpoints and the best one."""
    saved = list_saved(folder)
    kept = {entry.path for entry in [*saved[-keep_last:], *([max(saved, key=_rank)] if saved else [])]}
    for entry in saved:
        if entry.path not in kept:
            shutil.rmtree(entry.path)


def _some(folder: Path) -> list[Saved]:
    saved = list_saved(folder)
    if not saved:
        raise UserError(f"{folder.parent} has no checkpoint yet; train it anew")
    return saved


def _rank(saved: Saved) -> tuple[float, int]:
    score = saved.state.get("score")
    return (float("-inf") if score is None else score, saved.iteration)


def named_arrays(tree: Any) -> dict[str, np.ndarray]:
    """Arrays of a tree by the path to each, on the host; random keys as their raw data."""
    return {_name(path): _host(leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes of all arrays."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name} {array.dtype} {array.shape} ".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def digest_saved(saved: Saved) -> str:
    """`digest` of a checkpoint's arrays. Raises `UserError` if it is damaged."""
    verify(saved.path)
    return digest(_read_arrays(saved.path / _ARRAYS))


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _host(leaf: Any) -> np.ndarray:
    is_key = jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(path.absolute(), arrays)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        try:
            return checkpointer.restore(path.absolute())
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"checkpoint {path.parent} cannot be read: {error}") from error


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder` but the manifest itself, by relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / _MANIFEST)
    return {str(path.relative_to(folder)): _hash(path) for path in paths}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_state(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        state = json.loads((path / _STATE).read_text())
        if isinstance(state, dict):
            return state
    return {}  # `verify` tells what is wrong with it


def _sync(folder: Path) -> None:
    """Hand every file below `folder` to the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_disk_fault(error: BaseException) -> bool:
    """Whether the system refused to write: as an `OSError`, or as text inside a library's own error."""
    if isinstance(error, OSError):
        return True
    signs = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)]
    return any(sign in str(error) for sign in signs)
