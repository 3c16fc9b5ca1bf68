"""Atomic save and restore of all arrays of a run.

A checkpoint is a folder named by its iteration: `arrays.npz` (NumPy's format), `state.json` (what is not an
array) and `manifest.json` (SHA-256 of every file). It is written beside its final name, read back, and renamed.
"""

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from goalward import files, prng
from goalward.errors import MachineError, UserError

_ARRAYS, _STATE, _MANIFEST, _PARTIAL = "arrays.npz", "state.json", "manifest.json", ".partial-"

T = TypeVar("T")


class Saved(NamedTuple):
    """One checkpoint on disk."""

    path: Path
    iteration: int
    state: dict[str, Any]  # epoch, score and whatever else the saver gave


def save(folder: Path, iteration: int, tree: Any, state: dict[str, Any]) -> None:
    """Write a checkpoint of `tree`, a pytree of arrays, and of `state`, which JSON can hold.

    Raises `MachineError` if it cannot be written, or read again; what was there before stays untouched.
    """
    files.check(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(_PARTIAL + "*"):
        _remove(leftover)
    final, partial = folder / f"{iteration:08d}", folder / f"{_PARTIAL}{iteration:08d}"
    arrays = named_arrays(tree)
    try:
        partial.mkdir()
        _write_arrays(partial / _ARRAYS, arrays)
        _write_json(partial / _STATE, state)
        _write_json(partial / _MANIFEST, _hashes(partial))
        _sync(partial)
        _read_back(partial / _ARRAYS, arrays)
        if final.exists():  # the same iteration again, after a resume: the arrays are equal
            _discard(final)
        partial.rename(final)
        _sync_folder(folder)
    except OSError as error:
        _remove(partial)
        raise MachineError(
            f"checkpoint {final} could not be written: {error}; earlier checkpoints are untouched. "
            "Free some space, then resume the run"
        ) from error
    except Exception:
        _remove(partial)
        raise


def read(folder: Path, choose: Callable[[Path], Saved], use: Callable[[Saved], T]) -> T:
    """What `use` makes of the checkpoint that `choose` (`latest` or `best`) finds.

    A run beside may remove or replace that checkpoint meanwhile; then the next one that is found is taken.
    """
    while True:
        before = _listing(folder)
        try:
            return use(choose(folder))
        except (UserError, OSError):
            if _listing(folder) == before:
                raise


def _listing(folder: Path) -> set[tuple[str, int]]:
    """Names of what is in a folder, and what tells a file from its successor of the same name."""
    with contextlib.suppress(OSError):
        return {(entry.name, entry.inode()) for entry in os.scandir(folder)}
    return set()


def check_run(saved: Saved, run: str) -> None:
    """Raise `UserError` if a checkpoint is not of the run of this id."""
    found = saved.state.get("run")
    if found != run:
        verify(saved.path)  # a damaged state is not of another run
        raise UserError(
            f"checkpoint {saved.path} is of another run: its {_STATE} names run {found}, meta.json run {run}; "
            "remove that folder, or put it back where it is from"
        )


def restore(saved: Saved, like: Any) -> Any:
    """Read a checkpoint into a tree shaped as `like` (arrays or shapes).

    Raises `UserError` if it is damaged, or does not fit.
    """
    verify(saved.path)
    found = _read_arrays(saved.path)
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
        array = prng.wrap(jax.numpy.asarray(found[name])) if is_key else found[name]
        if array.shape != leaf.shape or array.dtype != leaf.dtype:
            raise UserError(
                f"checkpoint {saved.path} does not fit the run's config.json: "
                f"{name} is {array.dtype} {array.shape}, not {leaf.dtype} {leaf.shape}"
            )
        arrays.append(jax.numpy.asarray(array))
    return jax.tree_util.tree_unflatten(treedef, arrays)


def arrays_under(saved: Saved, prefix: str) -> tuple[dict[str, np.ndarray], str]:
    """Arrays whose names begin with a prefix, without it, and the SHA-256 of the file that they are in.

    Raises `UserError` if the checkpoint is damaged.
    """
    verify(saved.path)
    path = saved.path / _ARRAYS
    found = {name: array for name, array in _each_array(path) if name.startswith(prefix)}
    return {name.removeprefix(prefix): array for name, array in found.items()}, _hash(path)


def verify(path: Path) -> None:
    """Raise `UserError`, naming the file, if one of a checkpoint's files is missing or changed."""
    remedy = f"remove the folder {path} to fall back to the checkpoint before it"
    try:
        expected = dict(files.read_json(path / _MANIFEST).items())
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
    """All whole checkpoints, oldest first. Raises `UserError` for a link in the place of one."""
    files.check(folder)
    paths = [path for path in folder.iterdir() if _is_iteration(path.name)] if folder.is_dir() else []
    for path in paths:
        files.check(path)
    saved = [Saved(path, int(path.name), _read_state(path)) for path in paths if path.is_dir()]
    return sorted(saved, key=lambda entry: entry.iteration)


def _is_iteration(name: str) -> bool:
    """Whether `save` names a folder so."""
    return name.isascii() and name.isdigit() and name == f"{int(name):08d}"


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
            _discard(entry.path)


def _discard(path: Path) -> None:
    """Remove a checkpoint in one step, as seen by whoever reads it: it is whole or gone."""
    aside = path.with_name(f"{_PARTIAL}removed-{path.name}")
    path.rename(aside)
    _remove(aside)


def _remove(path: Path) -> None:
    """Remove a folder, or a link but not what it points to; what cannot be removed stays."""
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink()


def _some(folder: Path) -> list[Saved]:
    saved = list_saved(folder)
    if not saved:
        raise UserError(f"{folder.parent} has no checkpoint yet; train it anew")
    return saved


def _rank(saved: Saved) -> tuple[float, int]:
    score: Any = saved.state.get("score")
    is_score = type(score) in (int, float) and abs(score) < files.HUGE  # which NaN is not
    return (score if is_score else float("-inf"), saved.iteration)


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
    return digest(_read_arrays(saved.path))


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def _host(leaf: Any) -> np.ndarray:
    is_key = jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with files.open_new(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy")
            # NumPy's format knows its own types: bfloat16 is two bytes of anything there.
            entry.comment = array.dtype.name.encode()
            with archive.open(entry, "w", force_zip64=True) as target:
                np.lib.format.write_array(target, array, allow_pickle=False)


def _each_array(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and arrays in a file, one after the other. Raises `UserError` if it cannot be read."""
    damage = (OSError, ValueError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
    try:
        with files.open_to_read(path) as file, zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as source:
                    array = np.lib.format.read_array(source, allow_pickle=False)
                yield entry.filename.removesuffix(".npy"), array.view(jax.numpy.dtype(entry.comment.decode()))
    except damage as error:
        raise UserError(f"checkpoint {path.parent} cannot be read: {error}") from error


def _read_back(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Raise `MachineError` unless a file holds just these arrays, bit for bit."""
    try:
        same = {name: _bits(found) == _bits(arrays.get(name)) for name, found in _each_array(path)}
    except UserError as error:
        raise MachineError(f"what was just written cannot be read: {error}; try another disk") from error
    if same.keys() != arrays.keys() or not all(same.values()):
        raise MachineError(f"{path} does not hold what was just written to it; try another disk")


def _bits(array: np.ndarray | None) -> Any:
    """All that makes an array what it is, without a copy of it."""
    return None if array is None else (array.dtype, array.shape, array.reshape(-1).view(np.uint8).data)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    return dict(_each_array(path / _ARRAYS))


def _hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder` but the manifest itself, by relative path."""
    paths = [path for path in files.below(folder) if path != folder / _MANIFEST]
    return {str(path.relative_to(folder)): _hash(path) for path in paths}


def _hash(path: Path) -> str:
    with files.open_to_read(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, values: dict[str, Any]) -> None:
    with files.open_new(path) as file:
        file.write(json.dumps(values, indent=1).encode())


def _read_state(path: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        state = files.read_json(path / _STATE)
        if isinstance(state, dict):
            return state
    return {}  # `verify` tells what is wrong with it


def _sync(folder: Path) -> None:
    """Hand every file below `folder` to the disk."""
    for path in files.below(folder):
        with files.open_to_read(path) as file:
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
