"""A policy that `goalward export` wrote, run by NumPy alone: importing this loads no JAX.

policy = goalward.runtime.load("exported")
action = policy.act(obs, goal)
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from goalward import files
from goalward.acting import Policy, as_rows
from goalward.errors import UserError
from goalward.runtime import graph, tensors

__all__ = ["Card", "Exported", "load"]

FORMAT = 1
MANIFEST, GRAPHS, WEIGHTS = "manifest.json", "graphs.json", "weights.safetensors"
CONFIG = "config.json"  # all settings of the run


class Card(NamedTuple):
    """What an exported policy says of itself."""

    env: str
    agent: str
    obs_dim: int
    goal_dim: int
    action_dim: int
    chunk: int  # actions that are decided on at once
    choice: str  # `sample` or `greedy` where actions are choices, else empty
    env_steps: int
    updates: int
    goalward: str  # version that wrote it


class Exported(Policy):
    """An exported policy; `act` and `reset` are those of any policy."""

    def __init__(self, card: Card, functions: dict[str, Any], seed: int):
        self.card = card
        self._value = functions.get("value")
        self._noise = np.random.default_rng(seed)
        decide = functions["policy"]
        super().__init__(card, (lambda obs, goal: self._choose(decide(obs, goal))) if card.choice else decide,
                         card.chunk)  # fmt: skip

    @property
    def has_value(self) -> bool:
        """Whether the value was exported too."""
        return self._value is not None

    def value(self, obs: ArrayLike, goal: ArrayLike) -> np.ndarray:
        """Say how near a goal is, more where it is nearer: () for one observation, (N,) for N.

        It is the critic's, for the policy's own action. Raises `UserError` where none was exported.
        """
        if self._value is None:
            raise UserError("no value was exported with this policy")
        obs, goal = as_rows(self.spec, obs, goal)
        return self._value(np.atleast_2d(obs), np.atleast_2d(goal)).reshape(obs.shape[:-1])

    def _choose(self, logits: np.ndarray) -> np.ndarray:
        """One-hot choices: drawn, as the largest of logits and Gumbel noise, or the best."""
        if self.card.choice == "sample":
            logits = logits + self._noise.gumbel(size=logits.shape)
        return np.eye(logits.shape[-1], dtype=np.float32)[np.argmax(logits, axis=-1)]


def load(directory: str | Path, *, seed: int = 0) -> Exported:
    """Load a folder that `goalward export` wrote. `seed` is that of choices that are drawn.

    Raises `UserError`, naming the file, for one that is missing, cut, altered or of another version.
    """
    directory = Path(directory)
    manifest = _manifest(directory / MANIFEST)
    content = {name: _checked(directory / name, manifest["files"][name]) for name in (GRAPHS, WEIGHTS)}
    constants = tensors.read(content[WEIGHTS], directory / WEIGHTS)
    functions = {}
    for name, words in json.loads(content[GRAPHS]).items():
        its = graph.from_json(words)
        functions[name] = graph.compiled(its, {one: constants[one] for one in graph.used(its)})
    return Exported(Card(**manifest["card"]), functions, seed)


def checksum(content: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sealed(values: dict[str, Any]) -> str:
    """The text of a manifest, with a checksum of all else in it."""
    return json.dumps({**values, "sha256": _seal(values)}, indent=2) + "\n"


def _seal(values: dict[str, Any]) -> str:
    return checksum(json.dumps(values, sort_keys=True).encode())


def _manifest(path: Path) -> dict[str, Any]:
    try:
        values = files.read_json(path)
    except FileNotFoundError:
        raise UserError(
            f"{path.parent} is no exported policy: it has no {path.name}; `goalward export RUN --out DIR` "
            "makes one"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise UserError(f"{path} is of format {found}; this version reads {FORMAT}: export the run again")
    if values.pop("sha256", None) != _seal(values):
        raise UserError(f"{path} is not as it was written; export the run again")
    return values


def _checked(path: Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; export the run again") from error
    if checksum(content) != expected:
        raise UserError(f"{path} is not as it was written, cut or altered; export the run again")
    return content
