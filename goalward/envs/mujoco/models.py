"""Models: those of Gymnasium's installed package, edited through `MjSpec`, with walls and options of ours."""

from importlib.util import find_spec
from pathlib import Path

import mujoco
import numpy as np

from goalward.errors import UserError

WALL_COLOUR = (0.42, 0.45, 0.5, 1.0)
# Kinds of surface, as bits of contype and conaffinity: what stands on the ground, and what meets only walls and
# things. A robot that touches the ground as a whole is a foot all over.
FOOT, BODY = 1, 2


def library_version() -> str:
    """The version of MuJoCo's library, which may be another than its packages say."""
    return mujoco.mj_versionString()


def gymnasium_model(name: str, timestep: float) -> mujoco.MjSpec:
    """Load a model that Gymnasium ships, such as "ant", and set how it is integrated.

    `implicitfast` in place of the shipped RK4 takes a quarter of the time, and is stable at these time steps.
    """
    found = find_spec("gymnasium")
    if found is None or found.origin is None:
        raise UserError("the package gymnasium, whose models these tasks use, is not installed")
    spec = mujoco.MjSpec.from_file(str(Path(found.origin).parent / "envs/mujoco/assets" / f"{name}.xml"))
    set_options(spec, timestep)
    return spec


def set_options(spec: mujoco.MjSpec, timestep: float) -> None:
    """Set integrator, solver and time step in s, and the size of pictures."""
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    spec.option.timestep = timestep
    getattr(spec.visual, "global").offwidth, getattr(spec.visual, "global").offheight = 1280, 960


def initial_qpos(model: mujoco.MjModel) -> np.ndarray:
    """The posture that a model of Gymnasium's names `init_qpos`, else its default, (nq,)."""
    names = [model.numeric(i).name for i in range(model.nnumeric)]
    posture = model.numeric("init_qpos").data if "init_qpos" in names else model.qpos0
    return np.asarray(posture, np.float32)


def remove_body(spec: mujoco.MjSpec, name: str) -> None:
    """Take a body out of a model, with its joints: goals are no part of the physics here."""
    spec.delete(spec.body(name))


def add_walls(spec: mujoco.MjSpec, walls: np.ndarray, cell: float, height: float) -> None:
    """Put the walls of a maze, (rows, columns) bool, into a model; cell (r, c) is centred on (r, c) · cell."""
    for top, left, bottom, right in rectangles(walls):
        spec.worldbody.add_geom(
            name=f"wall_{top}_{left}",
            type=mujoco.mjtGeom.mjGEOM_BOX,
            pos=[(top + bottom) / 2 * cell, (left + right) / 2 * cell, height / 2],
            size=[(bottom - top + 1) / 2 * cell, (right - left + 1) / 2 * cell, height / 2],
            rgba=WALL_COLOUR,
            contype=0,
            conaffinity=FOOT | BODY,
        )


def rectangles(walls: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Cover all cells that are true, each once, by few rectangles (top, left, bottom, right), ends included.

    Each is as wide as it can be from the first cell that is left, then as high; or the other way round, where
    that holds more cells.
    """
    left_over = walls.copy()
    found = []
    for row, column in np.argwhere(walls).tolist():
        if left_over[row, column]:
            wide = _grow(left_over, row, column)
            high = tuple(_grow(left_over.T, column, row)[i] for i in (1, 0, 3, 2))
            top, left, bottom, right = max(wide, high, key=_area)
            left_over[top : bottom + 1, left : right + 1] = False
            found.append((top, left, bottom, right))
    return found


def _grow(free: np.ndarray, row: int, column: int) -> tuple[int, int, int, int]:
    """From a cell that is true to the right, then downward as long as the whole width is true."""
    right = column
    while right + 1 < free.shape[1] and free[row, right + 1]:
        right += 1
    bottom = row
    while bottom + 1 < free.shape[0] and free[bottom + 1, column : right + 1].all():
        bottom += 1
    return row, column, bottom, right


def _area(rectangle: tuple[int, ...]) -> int:
    top, left, bottom, right = rectangle
    return (bottom - top + 1) * (right - left + 1)


def add_sensor(spec: mujoco.MjSpec, kind: str, of: mujoco.mjtObj, name: str) -> None:
    """Add a sensor, such as "framelinvel", of a body or site, behind the sensors there are."""
    spec.add_sensor(
        name=f"{name}_{kind}",
        type=getattr(mujoco.mjtSensor, f"mjSENS_{kind.upper()}"),
        objtype=of,
        objname=name,
    )


def to_bytes(model: mujoco.MjModel) -> bytes:
    """A compiled model as MuJoCo's own binary file has it."""
    binary = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, binary)
    return binary.tobytes()
