"""The state of a Gymnasium environment, taken out as numbers and put back.

What can be: MuJoCo's integration state, random generators, and numbers and small arrays that the environment,
its wrappers and those inside it keep. Whether that is all there is to it is tried out (`foreign.probe`).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np

LARGEST = 256  # numbers of an array that is kept
_WORD = (1 << 64) - 1
_GENERATOR = 6  # words of a PCG64
_TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")  # of numbers
_BACK: dict[Any, Callable[[np.ndarray], Any]] = {
    bool: np.ndarray.item,
    int: np.ndarray.item,
    float: np.ndarray.item,
    tuple: lambda array: tuple(array.tolist()),
    list: np.ndarray.tolist,
    np.generic: lambda array: array[()],
    np.ndarray: lambda array: array,
}
_CONTAINERS = tuple(_BACK)
_MOVED = ("site_pos", "body_pos", "body_quat")  # of MuJoCo's model


class Leaf(NamedTuple):
    """One thing that is kept: an attribute of the environment or of one inside it."""

    path: tuple[str, ...]  # attributes from the outermost wrapper to the owner
    name: str
    words: int  # of 64 bits
    take: Callable[[Any, np.ndarray], None]  # (value, words) writes the words
    put: Callable[[Any, str, np.ndarray], None]  # (owner, name, words) writes the attribute


def leaves(env: gymnasium.Env) -> list[Leaf]:
    """All that is kept of an environment that was reset once."""
    found = []
    for path, owner in _owners(env, (), set()):
        for name, value in vars(owner).items():
            leaf = _leaf(path, name, value)
            if leaf is not None:
                found.append(leaf)
    return found


def size(kept: list[Leaf]) -> int:
    """Words of a snapshot."""
    return sum(leaf.words for leaf in kept)


def take(env: gymnasium.Env, kept: list[Leaf], row: np.ndarray) -> None:
    """Write the state of an environment into a row of uint64."""
    at = 0
    for leaf in kept:
        leaf.take(getattr(_owner(env, leaf.path), leaf.name), row[at : at + leaf.words])
        at += leaf.words


def put(env: gymnasium.Env, kept: list[Leaf], row: np.ndarray) -> None:
    """Bring an environment into the state of a row."""
    at = 0
    for leaf in kept:
        leaf.put(_owner(env, leaf.path), leaf.name, row[at : at + leaf.words])
        at += leaf.words


def _owner(env: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        env = getattr(env, name)
    return env


def _owners(env: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """An environment, its wrappers, and environments that they hold."""
    if id(env) in seen:
        return
    seen.add(id(env))
    yield path, env
    for name, value in list(vars(env).items()):
        if isinstance(value, gymnasium.Env):
            yield from _owners(value, (*path, name), seen)


def _leaf(path: tuple[str, ...], name: str, value: Any) -> Leaf | None:
    if isinstance(value, np.random.Generator) and isinstance(value.bit_generator, np.random.PCG64):
        return Leaf(path, name, _GENERATOR, _take_generator, _put_generator)
    if type(value).__name__ == "MjData":
        return _mujoco_leaf(path, name, value)
    numbers = _numbers(value)
    if numbers is None:
        return None
    shape = numbers.shape

    def take(value: Any, words: np.ndarray) -> None:
        """Write what kind of thing it is, then its numbers."""
        now = _numbers(value)
        if now is None or now.shape != shape:
            raise ValueError(f"{name} was {shape} and is {value!r:.40}")
        words[0] = _CONTAINERS.index(_container(value)) * len(_TYPES) + _TYPES.index(now.dtype.str[1:])
        words[1:].view(np.float64)[:] = now.ravel()

    def put(owner: Any, name: str, words: np.ndarray) -> None:
        container, kind = divmod(int(words[0]), len(_TYPES))
        array = words[1:].view(np.float64).astype(_TYPES[kind]).reshape(shape)
        setattr(owner, name, _BACK[_CONTAINERS[container]](array))

    return Leaf(path, name, 1 + numbers.size, take, put)


def _numbers(value: Any) -> np.ndarray | None:
    """What is kept of a value, as an array; None for what is no few numbers of one kind."""
    if _container(value) not in _CONTAINERS or (isinstance(value, tuple | list) and len(value) > LARGEST):
        return None
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError):
        return None
    if array.dtype.str[1:] not in _TYPES or not 1 <= array.size <= LARGEST:
        return None
    if isinstance(value, tuple | list) and len({type(item) for item in value}) > 1:
        return None
    return array


def _container(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return np.ndarray
    return np.generic if isinstance(value, np.generic) else type(value)


def _take_generator(generator: np.random.Generator, words: np.ndarray) -> None:
    state: Any = generator.bit_generator.state
    numbers = (state["state"]["state"], state["state"]["inc"])
    parts = [part for number in numbers for part in (number & _WORD, number >> 64)]
    words[:] = [*parts, state["has_uint32"], state["uinteger"]]


def _put_generator(owner: Any, name: str, words: np.ndarray) -> None:
    low, high, low_inc, high_inc, has, integer = (int(word) for word in words)
    getattr(owner, name).bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": low | high << 64, "inc": low_inc | high_inc << 64},
        "has_uint32": has,
        "uinteger": integer,
    }


def _mujoco_leaf(path: tuple[str, ...], name: str, value: Any) -> Leaf:
    """MuJoCo's integration state, and what of the model an episode may move, such as the site of a goal.

    What MuJoCo derives from them is computed.
    """
    import mujoco

    what = int(mujoco.mjtState.mjSTATE_INTEGRATION)
    size = mujoco.mj_stateSize(value.model, what)
    moved = [getattr(value.model, field).size for field in _MOVED]

    def take(data: Any, words: np.ndarray) -> None:
        numbers = words.view(np.float64)
        mujoco.mj_getState(data.model, data, numbers[:size], what)
        numbers[size:] = np.concatenate([getattr(data.model, field).ravel() for field in _MOVED])

    def put(owner: Any, name: str, words: np.ndarray) -> None:
        data, numbers = getattr(owner, name), words.view(np.float64).copy()
        state, places = numbers[:size], np.split(numbers[size:], np.cumsum(moved)[:-1])
        for field, place in zip(_MOVED, places, strict=True):
            getattr(data.model, field).flat = place
        mujoco.mj_setState(data.model, data, state, what)
        mujoco.mj_forward(data.model, data)
        mujoco.mj_setState(
            data.model, data, state, what
        )  # what `mj_forward` leaves for the next solver's start

    return Leaf(path, name, size + sum(moved), take, put)
