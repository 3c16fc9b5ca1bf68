"""Columns of recorded numbers: their ranges, and which of them follow from each other."""

from typing import NamedTuple

import numpy as np

from goalward.promises import LEAST_DEVIATION

EQUAL = 1e-5  # what remains, in deviations and beside rounding, of a column that follows from another one
ROWS_COMPARED = 1024


class Ranges(NamedTuple):
    """Of each column over all rows, (D,) in 64 bits."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    @property
    def largest(self) -> np.ndarray:
        """The largest size of each."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def square(self) -> np.ndarray:
        """The mean square of each."""
        return self.mean**2 + self.deviation**2


def ranges(*parts: np.ndarray) -> Ranges:
    """Of parts (…, D) together; a column at a time, as all of them in 64 bits are large."""
    each = []
    for column in range(parts[0].shape[-1]):
        x = np.concatenate([part[..., column].ravel() for part in parts]).astype(np.float64)
        each.append((x.min(), x.max(), x.mean(), x.std()))
    return Ranges(*np.transpose(each))


def follow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which columns of `a` (…, D) are one of `b` (…, E) times a factor plus an offset, (D, E) bool.

    Columns that are constant follow from none.
    """
    (one, rounding), (other, also) = _normal(a), _normal(b)
    # The correlation of x and ±x + r, both of deviation 1, is ±(1 − r²/2).
    remains = np.sqrt(np.maximum(0.0, 2 * (1 - np.abs(one.T @ other / len(one)))))
    return remains < EQUAL + rounding[:, None] + also


def _normal(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some rows, each column of mean 0 and deviation 1, or 0 if constant; and rounding, in deviations."""
    rows = x.reshape(-1, x.shape[-1])
    rows = rows[:: max(1, len(rows) // ROWS_COMPARED)].astype(np.float64)
    deviation, largest = rows.std(axis=0), np.abs(rows).max(axis=0)
    moves = deviation > LEAST_DEVIATION
    scale = np.where(moves, deviation, np.inf)
    return (rows - rows.mean(axis=0)) / scale, np.spacing(largest.astype(np.float32)) / scale
