"""Files of trajectories in OGBench's format (arXiv 2410.20092): read, checked, written. NumPy alone.

Rows lie one after the other, one trajectory behind the other. `terminals` is 1 at the last row of each; an
episode of K steps has K + 1 rows, and the action of its last row is without effect, as in `types.Trajectory`.
OGBench's own loader reads `observations`, `actions` and `terminals`, and passes over what else is there.
"""

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from goalward import files
from goalward.errors import UserError
from goalward.limits import INT32

OBSERVATIONS, ACTIONS, TERMINALS, QPOS, QVEL = "observations", "actions", "terminals", "qpos", "qvel"
GOALS, FAILURES = "commanded_goals", "failures"  # ours
ABOUT = "goalward"  # where the rows are from, as JSON
_NEEDED = (OBSERVATIONS, ACTIONS, TERMINALS)
_DAMAGE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
SUFFIX = ".npz"


class Rows(NamedTuple):
    """M rows of trajectories, float32 where nothing else is said; what is not known is None."""

    obs: np.ndarray  # (M, D)
    action: np.ndarray  # (M, A) taken at obs
    last: np.ndarray  # (M,) bool: the trajectory ends here
    failed: np.ndarray  # (M,) bool: and it does so by a termination, not by the time limit or a cut
    goal: np.ndarray | None = None  # (M, G) commanded
    qpos: np.ndarray | None = None  # (M, nq)
    qvel: np.ndarray | None = None  # (M, nv)

    @property
    def first(self) -> np.ndarray:
        """Where trajectories begin, (M,) bool."""
        return np.roll(self.last, 1)  # the last row of all ends one too

    @property
    def episodes(self) -> int:
        """How many trajectories there are."""
        return int(self.last.sum())


def make(arrays: Mapping[str, Any]) -> Rows:
    """Rows from arrays by their names in a file; the last row of all ends a trajectory, whatever is said.

    Raises `ValueError` for arrays that hold no numbers.
    """
    for name, array in arrays.items():
        kind = np.asarray(array).dtype
        if array is not None and kind.kind not in "biuf":
            raise ValueError(f"{name} holds no numbers, but {kind}")
    last = np.array(arrays[TERMINALS]).astype(bool)
    last[-1:] = True
    failed = arrays.get(FAILURES)

    def numbers(name: str) -> Any:
        return None if arrays.get(name) is None else np.asarray(arrays[name], np.float32)

    failed = np.zeros_like(last) if failed is None else np.asarray(failed).astype(bool)
    return Rows(numbers(OBSERVATIONS), numbers(ACTIONS), last, failed, *map(numbers, (GOALS, QPOS, QVEL)))


def named(rows: Rows) -> dict[str, np.ndarray]:
    """Arrays by their names in a file."""
    found = {
        OBSERVATIONS: rows.obs,
        ACTIONS: rows.action,
        TERMINALS: rows.last.astype(np.float32),
        FAILURES: rows.failed.astype(np.float32),
        GOALS: rows.goal,
        QPOS: rows.qpos,
        QVEL: rows.qvel,
    }
    return {name: array for name, array in found.items() if array is not None}


def of_ring(rows: Mapping[str, np.ndarray], inserted: int) -> Rows:
    """What a replay's ring holds: each world's rows in the order of time, one world behind the other.

    `rows` are the leaves (C, N, …) of a `Trajectory` by name, `inserted` says how many each world has had. A
    trajectory is cut where the ring begins, and where it is still open.
    """
    capacity, worlds = rows["first"].shape
    filled = min(inserted, capacity)
    order = np.arange(inserted - filled, inserted) % capacity

    def laid_out(name: str) -> np.ndarray:
        return np.swapaxes(rows[name][order], 0, 1).reshape(worlds * filled, *rows[name].shape[2:])

    first = np.swapaxes(rows["first"][order], 0, 1).copy()
    first[:, :1] = True
    last = np.roll(first.reshape(-1), -1)
    found = Rows(laid_out("obs"), laid_out("action"), last, laid_out("terminated"), laid_out("goal"))
    return without_single(found)


def without_single(rows: Rows) -> Rows:
    """The same without trajectories of a single row, in which nothing is done."""
    return _where(rows, ~(rows.first & rows.last))


def first_rows(rows: Rows, number: int) -> Rows:
    """The first so many rows, or all; a trajectory that goes on beyond them is cut."""
    cut = _where(rows, slice(number))
    cut.last[-1:] = True  # of a copy
    return cut


def join(parts: Sequence[Rows]) -> Rows:
    """One behind the other; what some do not know, nobody does."""
    if len(parts) == 1:
        return parts[0]
    columns: Any = zip(*parts, strict=True)
    return Rows._make(None if any(one is None for one in each) else np.concatenate(each) for each in columns)


def _where(rows: Rows, chosen: Any) -> Rows:
    return Rows._make(None if array is None else array[chosen].copy() for array in rows)


def counts(rows: Rows) -> dict[str, int]:
    """How much there is."""
    return {"rows": len(rows.last), "trajectories": rows.episodes, "failed": int(rows.failed.sum())}


def told(rows: Rows) -> str:
    """The same in words."""
    found = counts(rows)
    return (
        f"{found['rows']:,} rows of {found['trajectories']:,} trajectories, {found['failed']:,} of which failed"
    )


def check(rows: Rows, sizes: Mapping[str, int], *, discrete: bool, name: str, env: str) -> None:
    """Raise `UserError`, naming the file, for rows of other sizes than an environment's, and for bad numbers.

    `sizes` are those of the environment's `EnvSpec`.
    """
    for what, size, array in (
        (OBSERVATIONS, sizes["obs_dim"], rows.obs),
        (ACTIONS, sizes["action_dim"], rows.action),
        (GOALS, sizes["goal_dim"], rows.goal),
    ):
        if array is None:
            continue
        if array.shape != (len(rows.last), size):
            raise UserError(
                f"{name}: {what} have {_told(array)}, {env}'s have {size}; "
                "name a dataset of this environment, or the environment of this dataset"
            )
        if not np.isfinite(array).all():
            raise UserError(f"{name}: {what} hold NaN or Inf in row {_row(~np.isfinite(array))}; remove it")
    if rows.failed.shape != rows.last.shape or (rows.failed & ~rows.last).any():
        raise UserError(f"{name}: {FAILURES} may be 1 in the last row of a trajectory alone; correct them")
    _check_actions(rows.action, discrete=discrete, name=name)
    if not (~rows.last).any():
        raise UserError(f"{name} has no trajectory of two rows or more; name a file with some")


def _check_actions(action: np.ndarray, *, discrete: bool, name: str) -> None:
    if discrete:
        bad = (action.sum(axis=1) != 1) | ((action != 0) & (action != 1)).any(axis=1)
        what = "one of the choices, written one-hot"
    else:
        bad, what = (np.abs(action) > 1 + 1e-6).any(axis=1), "numbers in −1 … 1"
    if bad.any():
        raise UserError(f"{name}: {ACTIONS} in row {_row(bad)} are not {what}; scale or code them so")


def _told(array: Any) -> str:
    shape = array.shape[1:]
    return (
        f"{shape[0]} numbers in each of {len(array):,} rows" if len(shape) == 1 else f"the shape {array.shape}"
    )


def _row(bad: Any) -> int:
    """The first row with something bad in it."""
    return int(np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))[0])


def paths(name: str) -> list[Path]:
    """The files that a name stands for: itself, or of a folder all that end in .npz, by name.

    Raises `UserError` where there is none.
    """
    path = Path(name)
    if path.is_dir():
        found = sorted(each for each in path.iterdir() if each.suffix == SUFFIX and each.is_file())
        if not found:
            raise UserError(f"{path} holds neither a run nor a file that ends in {SUFFIX}; name another folder")
        return found
    if not path.is_file():
        told = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise UserError(f"dataset {path} {told}; name a file that `goalward dataset` wrote, or a run directory")
    return [path]


def read(path: Path) -> Rows:
    """All of a file. Raises `UserError` for what it lacks."""
    try:
        with np.load(path, allow_pickle=False) as found:
            rows = make(
                {name: found[name] for name in (*_NEEDED, GOALS, FAILURES) if name in found or name in _NEEDED}
            )
    except _DAMAGE as error:
        raise UserError(f"{path} cannot be read as a dataset: {_why(error)}") from error
    if any(len(array) != len(rows.last) for array in rows if array is not None) or rows.last.ndim != 1:
        raise UserError(f"{path} cannot be read as a dataset: its arrays have different numbers of rows")
    return rows


def _why(error: Exception) -> str:
    told = " ".join(str(error).split()).strip("'\"") or type(error).__name__
    return f"{told}; it needs {', '.join(_NEEDED)}"


def environment(path: Path) -> str | None:
    """The environment that a file's rows are of; None where it does not say."""
    try:
        with np.load(path, allow_pickle=False) as found:
            told = json.loads(str(found[ABOUT]))["env"]
    except (*_DAMAGE, TypeError):
        return None
    return told if isinstance(told, str) else None


def count(path: Path) -> int:
    """How many rows a file has, from its head alone. Raises `UserError` as `read` does."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{TERMINALS}.npy") as file:
            version = np.lib.format.read_magic(file)
            read_head = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            (number, *_), _, _ = read_head(file)
    except _DAMAGE as error:
        raise UserError(f"{path} cannot be read as a dataset: {_why(error)}") from error
    if not 0 < number <= INT32:
        raise UserError(f"{path} has {number:,} rows; it must have 1 … {INT32:,}")
    return number


def write(path: Path, rows: Rows, about: Mapping[str, Any], *, force: bool = False) -> None:
    """Write a file, all at once; equal rows give equal bytes. Raises `UserError` as `check_new` does."""
    check_new(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as file:
        arrays: dict[str, Any] = named(rows) | {ABOUT: np.asarray(json.dumps(about))}
        np.savez(file, **arrays)


def check_new(path: Path, *, force: bool) -> None:
    """Raise `UserError` for a file of another kind, and without `force` for one that is there already."""
    if path.suffix != SUFFIX:
        raise UserError(f"out is {path}; a dataset is written to a file that ends in {SUFFIX}")
    if path.exists() and not force:
        raise UserError(f"{path} exists; choose another --out, or use --force to replace it")


def sha256(paths: Sequence[Path]) -> str:
    """SHA-256 of a file; of several, of their hashes in order."""
    hashes = []
    for path in paths:
        with path.open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
