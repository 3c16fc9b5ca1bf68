"""The engine that runs all worlds of a task: `mujoco.batch`, on threads of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple

import jax.numpy as jnp
import mujoco
import numpy as np
from jaxtyping import Array
from mujoco.batch import Batch, SimulationError

from goalward import machine
from goalward.envs import core
from goalward.envs.mujoco.task import Physics, Start, Task

# Fields of `Physics` in MuJoCo's state; the others follow from it, and are computed once more after a step.
STATE_FIELDS = ("qpos", "qvel", "ctrl")
# Of MuJoCo's integration state what changes: the first part of a row. The rest are inputs, of which `ctrl` is
# written before each step and the others never.
KEPT_STATE = (
    mujoco.mjtState.mjSTATE_TIME
    | mujoco.mjtState.mjSTATE_QPOS
    | mujoco.mjtState.mjSTATE_QVEL
    | mujoco.mjtState.mjSTATE_ACT
    | mujoco.mjtState.mjSTATE_HISTORY
    | mujoco.mjtState.mjSTATE_WARMSTART
)
# What MuJoCo counts when numbers are no longer finite or out of all bounds.
BREAKDOWNS = [int(getattr(mujoco.mjtWarning, f"mjWARN_BAD{what}")) for what in ("QPOS", "QVEL", "QACC")]


class Simulation(NamedTuple):
    """State of N worlds, leaves (N, …)."""

    row: Any  # (N, 2 S) uint32: what changes of MuJoCo's integration state, S float64, bit for bit
    physics: Physics
    broke: Any  # (N,) bool: the last step broke down, and the world stands where it did before
    faults: Any  # (N,) int32: how often that happened


def make(task: Task, threads: int = 0) -> core.Env:
    """Build the environment of a task, its physics on so many threads; 0: one for each processor it may use."""
    host = Host(task, threads or machine.cores())
    follow, terminated, maze = task.follow, task.terminated, task.maze
    engine = core.Engine(
        control=lambda state, action: scale_control(task, state.physics, action),
        advance=host.advance,
        blank=host.blank,
        faults=lambda state: state.faults,
    )
    return core.Env(
        name=task.name,
        spec=task.spec,
        reset=task.reset,
        step=None,
        observe=lambda state: task.observe(state.physics),
        terminated=lambda state: terminated(state.physics) | state.broke,
        maze=maze,
        to_cells=(lambda positions: positions[..., :2] / maze.cell_size) if maze else None,
        engine=engine,
        follow=(lambda state, goal: follow(state.physics, goal)) if follow else None,
        task=task,
        constant=task.constant,
        version=task.version,
    )


def scale_control(task: Task, physics: Physics, action: Array) -> Array:
    """Control (nu,) for an action (A,): the task's own, or each actuator's range spanned by [−1, 1]."""
    if task.control is not None:
        return task.control(physics, action)
    low, high = jnp.asarray(task.model.actuator_ctrlrange.T, jnp.float32)
    return core.spanned(low, high, action)


class Host:
    """Steps all worlds of a task. Results depend on what `advance` is given alone, not on calls before."""

    def __init__(self, task: Task, threads: int):
        self._task, self._threads = task, threads
        self._derived = tuple(name for name in task.reads if name not in STATE_FIELDS)
        self._size = mujoco.mj_stateSize(task.model, int(KEPT_STATE))
        self._batches: dict[int, tuple[Batch, Batch | None]] = {}  # by number of worlds; made when first needed

    def blank(self, worlds: int) -> Simulation:
        """A state of the right shapes, before any start."""
        data = mujoco.MjData(self._task.model)

        def zeros(name: str) -> Array:
            return jnp.zeros((worlds, *getattr(data, name).shape), jnp.float32)

        physics = Physics(**{name: zeros(name) for name in ("qpos", "qvel", *self._task.reads)})
        row = jnp.zeros((worlds, 2 * self._size), jnp.uint32)
        return Simulation(row, physics, jnp.zeros(worlds, bool), jnp.zeros(worlds, jnp.int32))

    def advance(self, state: Simulation, control: np.ndarray, turn: np.ndarray, start: Start) -> Simulation:
        """The state of all worlds after their turn. A world whose physics breaks down stays where it is.

        MuJoCo says so by a warning (a NaN, an acceleration or a position out of all bounds) or an error.
        """
        batch, view = self._batch(len(turn))
        kept, before = batch.state[:, : self._size], state.row.view(np.float64)
        kept[:] = before
        batch.warning[:] = 0
        self._start(batch, np.flatnonzero(turn == core.START), start)
        broke = self._go(batch, np.flatnonzero(turn == core.GO), control)
        broke |= ~np.isfinite(kept).all(axis=1)
        stay = broke | (turn == core.STAY)
        row = np.where(stay[:, None], before, kept)
        if view is not None:
            view.state[:, : self._size] = row
            view.forward(np.flatnonzero(~stay), stage=int(mujoco.mjtStage.mjSTAGE_VEL))
        sources = {name: view if name in self._derived else batch for name in state.physics._fields}
        return Simulation(
            row.view(np.uint32),
            Physics(*(_field(sources[name], name, stay, old) for name, old in state.physics._asdict().items())),
            broke,
            state.faults + broke.astype(np.int32),
        )

    def _start(self, batch: Batch, ids: np.ndarray, start: Start) -> None:
        if len(ids) == 0:
            return
        batch.reset(ids, stage=int(mujoco.mjtStage.mjSTAGE_NONE))
        batch.bind("qpos")[ids] = start.qpos[ids]
        batch.bind("qvel")[ids] = start.qvel[ids]

    def _go(self, batch: Batch, ids: np.ndarray, control: np.ndarray) -> np.ndarray:
        """Step some worlds; which ones broke down, (N,)."""
        broke = np.zeros(batch.nsim, bool)
        if len(ids) == 0:
            return broke
        batch.bind("ctrl")[ids] = control[ids]
        all_or_some = None if len(ids) == batch.nsim else ids
        try:
            with _unheard_warnings():
                batch.step(all_or_some, nstep=self._task.substeps)
        except SimulationError as error:
            broke[error.ids] = True
        return broke | (batch.warning[:, BREAKDOWNS, 1] > 0).any(axis=1)

    def _batch(self, worlds: int) -> tuple[Batch, Batch | None]:
        """What steps so many worlds, and what computes the derived fields, if any are read."""
        if worlds not in self._batches:
            batch, view = Batch(self._task.model, worlds, self._threads), None
            if self._derived:
                view = Batch(_without_contacts(self._task.model), worlds, self._threads)
                for name in self._derived:  # a field that is bound after a call is 0 until the next one
                    view.bind(name)
            self._batches[worlds] = batch, view
        return self._batches[worlds]


def _field(source: Any, name: str, stay: np.ndarray, old: np.ndarray | None) -> Any:
    """A field of `Physics` after a call, with what it was where a world stays."""
    if old is None:
        return None
    new = source.bind(name).astype(np.float32)
    if stay.any():
        new[stay] = old[stay]
    return new


def _without_contacts(model: mujoco.MjModel) -> mujoco.MjModel:
    """The same model for kinematics alone, which takes a fraction of the time of a whole forward pass."""
    bare = copy(model)
    bare.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_CONSTRAINT)
    return bare


@contextmanager
def _unheard_warnings() -> Iterator[None]:
    """MuJoCo's warnings are counted, not also written to a file MUJOCO_LOG.TXT."""
    heard = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda _: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(heard)
