"""Worlds of one process: each a Gymnasium environment, told by arrays what to do next."""

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from goalward.foreign import layout as layouts
from goalward.foreign import making, snapshot
from goalward.foreign.layout import Layout
from goalward.foreign.making import Recipe

# What a world does next; the first three as in `envs.core`.
GO, START, STAY, TAKE = 0, 1, 2, 3
SEEDS = 1 << 31


class Block(NamedTuple):
    """What goes to N worlds and comes from them, leaves (N, …)."""

    turn: np.ndarray  # int32
    control: np.ndarray  # (N, A) float32 in the action's range, or (N, 1) the number of a choice
    seed: np.ndarray  # int64, of those that start
    restore: np.ndarray  # bool: first go back to the snapshot
    token: np.ndarray  # uint64, which says what led to the state: the seed and all actions since
    snapshot: np.ndarray  # (N, S) uint64
    row: np.ndarray  # (N, R) float32
    goal: np.ndarray  # (N, G) float32
    terminated: np.ndarray  # bool
    truncated: np.ndarray  # bool


def fields(layout: Layout, words: int) -> list[tuple[str, Any, int]]:
    """Names, types and sizes of a block's leaves, for snapshots of so many words."""
    controls = 1 if layout.discrete else layout.action_dim
    return [
        ("turn", np.int32, 0), ("control", np.float32, controls), ("seed", np.int64, 0),
        ("restore", np.bool_, 0), ("token", np.uint64, 0), ("snapshot", np.uint64, words),
        ("row", np.float32, layout.row_dim), ("goal", np.float32, layout.goal_dim),
        ("terminated", np.bool_, 0), ("truncated", np.bool_, 0),
    ]  # fmt: skip


def nbytes(layout: Layout, words: int, number: int) -> int:
    """Size of a block for so many worlds."""
    return sum(
        _padded(number * max(1, size) * np.dtype(kind).itemsize) for _, kind, size in fields(layout, words)
    )


def block(layout: Layout, words: int, number: int, buffer: Any) -> Block:
    """The leaves of a block that lie in a buffer, one after the other."""
    found, at = {}, 0
    for name, kind, size in fields(layout, words):
        shape = (number, size) if size or name == "snapshot" else (number,)
        count = int(np.prod(shape))
        found[name] = np.frombuffer(buffer, kind, count, at).reshape(shape)
        at += _padded(number * max(1, size) * np.dtype(kind).itemsize)
    return Block(**found)


def _padded(size: int) -> int:
    return -(-size // 64) * 64


class World:
    """One environment and what is read of it."""

    def __init__(self, recipe: Recipe, layout: Layout, keeps: bool):
        self.env = making.make(recipe)
        self._read, self._commanded = layouts.reader(self.env, layout), layouts.commanded(self.env, layout)
        self._act = layouts.actor(self.env, layout)
        self._goal = np.zeros(layout.goal_dim, np.float32)
        self._kept: list[snapshot.Leaf] = []
        if keeps:
            making.reset(self.env, 0)
            self._kept = snapshot.leaves(self.env)

    def turn(self, all_worlds: Block, i: int) -> None:
        """Do what the block says of world i, and write what came of it."""
        what = all_worlds.turn[i]
        if what == START:
            self._start(all_worlds, i)
        elif what == GO:
            if all_worlds.restore[i]:
                snapshot.put(self.env, self._kept, all_worlds.snapshot[i])
                self._goal = all_worlds.goal[i].copy()
            self._go(all_worlds, i)
        elif what == TAKE:
            snapshot.take(self.env, self._kept, all_worlds.snapshot[i])

    def _start(self, all_worlds: Block, i: int) -> None:
        seed = int(all_worlds.seed[i])
        obs, info = making.reset(self.env, seed)
        all_worlds.token[i] = zlib.crc32(seed.to_bytes(8, "little"))
        self._write(all_worlds, i, obs, info)
        all_worlds.terminated[i] = all_worlds.truncated[i] = False

    def _go(self, all_worlds: Block, i: int) -> None:
        control = all_worlds.control[i]
        obs, _, terminated, truncated, info = self.env.step(self._act(control))
        all_worlds.token[i] = _next_token(int(all_worlds.token[i]), control)
        self._write(all_worlds, i, obs, info)
        all_worlds.terminated[i], all_worlds.truncated[i] = terminated, truncated

    def _write(self, all_worlds: Block, i: int, obs: Any, info: Mapping[str, Any]) -> None:
        self._read(obs, all_worlds.row[i])
        if self._commanded is not None:
            goal = self._commanded(obs, info)
            self._goal = (
                self._goal if goal is None else goal
            )  # some tell it when an episode starts, and no more
            all_worlds.goal[i] = self._goal


def _next_token(token: int, control: np.ndarray) -> int:
    """Two sums over the same bytes, from what the last ones were: 64 bits of what led to a state."""
    data = control.tobytes()
    return zlib.crc32(data, token & 0xFFFFFFFF) | zlib.adler32(data, token >> 32) << 32
