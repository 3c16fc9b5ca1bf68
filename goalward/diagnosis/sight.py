"""A rule about what networks are given, where it is not all of an observation: whether it tells of goals."""

import numpy as np

from goalward.diagnosis.goals import moves
from goalward.diagnosis.recording import Seen, is_part
from goalward.findings import Finding, listed, warning
from goalward.promises import LEAST_DEVIATION

# What is achieved is unseen if less than this share of its variance is told by what networks are given, in rows
# of other worlds than those that the map was fitted to.
EXPLAINED = 0.05
ROWS_FITTED = 4_000  # and looked at, together
RIDGE = 1e-4  # of the variance of an element


def unseen(seen: Seen) -> list[Finding]:
    """Elements of what is achieved that cannot be told from what networks are given, where these are apart.

    Neither does a linear map of it tell anything of them in worlds that it was not fitted to, nor is what is
    achieved more alike where observations are.
    """
    if not is_part(seen.spec) or seen.random.first.shape[1] == 1:
        return []
    vary = seen.ranges.deviation > LEAST_DEVIATION
    obs = (seen.random.obs[..., vary] - seen.ranges.mean[vary]) / seen.ranges.deviation[vary]
    achieved = seen.random.achieved.astype(np.float64)
    step = max(1, len(obs) * obs.shape[1] // ROWS_FITTED)
    fitted, tested = ((obs[::step, i::2], achieved[::step, i::2]) for i in (0, 1))
    linear, near = _explained_linearly(*fitted, *tested), _explained_by_nearest(*fitted, *tested)
    found = np.flatnonzero((linear < EXPLAINED) & (near < EXPLAINED) & moves(seen.random))
    if len(found) == 0:
        return []
    told = (
        f"elements {listed([str(g) for g in found])} of what is achieved are no function of what networks are "
        "given: neither a linear map nor the most similar observation tells anything of them in other worlds"
    )
    remedy = "put what goals are about into the observation"
    return [warning("unseen", told, remedy, elements=found, linear=linear[found], nearest=near[found])]


def _explained_linearly(x: np.ndarray, y: np.ndarray, x_new: np.ndarray, y_new: np.ndarray) -> np.ndarray:
    """Share of the variance of `y_new` (t, n, G) that a linear map of x (t, n, D) explains, (G,)."""
    x, x_new = (np.concatenate([part, np.ones_like(part[..., :1])], -1).reshape(-1, part.shape[-1] + 1)
                for part in (x, x_new))  # fmt: skip
    ridge = RIDGE * len(x) * np.eye(x.shape[1])
    weights = np.linalg.solve(x.T @ x + ridge, x.T @ y.reshape(-1, y.shape[-1]))
    return _explained(x_new @ weights, y_new)


def _explained_by_nearest(x: np.ndarray, y: np.ndarray, x_new: np.ndarray, y_new: np.ndarray) -> np.ndarray:
    """The same for the row whose x is most similar; half the error, since it has a deviation of its own."""
    x, x_new = x.reshape(-1, x.shape[-1]), x_new.reshape(-1, x.shape[-1])
    nearest = np.argmin((x**2).sum(-1) - 2 * x_new @ x.T, axis=-1)
    return 1 - (1 - _explained(y.reshape(-1, y.shape[-1])[nearest], y_new)) / 2


def _explained(guess: np.ndarray, y: np.ndarray) -> np.ndarray:
    y = y.reshape(-1, y.shape[-1])
    return 1 - ((guess - y) ** 2).mean(0) / np.maximum(y.var(0), LEAST_DEVIATION**2)


RULES = (unseen,)
