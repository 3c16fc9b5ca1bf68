"""The bodies of a model as triangles, to be shown by what draws meshes; needs trimesh, as the viewer does."""

from collections.abc import Callable
from typing import NamedTuple

import mujoco
import numpy as np
import trimesh

SHOWN_GROUPS = 3  # of geoms: MuJoCo's viewer shows 0, 1 and 2 at first; collision shapes are in others
DEFAULT = (0.5, 0.5, 0.5, 1.0)  # what a geom without colour has; its material's wins over it


Colour = tuple[float, float, float, float]


class Piece(NamedTuple):
    """What of one body has one colour."""

    body: int
    vertices: np.ndarray  # (V, 3) in the body's frame
    faces: np.ndarray  # (F, 3) int
    colour: Colour  # red, green, blue and opacity in [0, 1]


def pieces(model: mujoco.MjModel) -> list[Piece]:
    """All that is solid and shown, but for planes."""
    found: dict[tuple[int, Colour], list[trimesh.Trimesh]] = {}
    for geom in range(model.ngeom):
        colour = _colour(model, geom)
        if model.geom_group[geom] >= SHOWN_GROUPS or colour[3] == 0:
            continue
        mesh = _mesh(model, geom)
        if mesh is None:
            continue
        place = trimesh.transformations.quaternion_matrix(model.geom_quat[geom])
        place[:3, 3] = model.geom_pos[geom]
        found.setdefault((int(model.geom_bodyid[geom]), colour), []).append(mesh.apply_transform(place))
    return [_piece(body, colour, meshes) for (body, colour), meshes in found.items()]


def floor(model: mujoco.MjModel) -> float | None:
    """The height of the ground, where there is one: of the highest plane that belongs to the world."""
    planes = (model.geom_type == int(mujoco.mjtGeom.mjGEOM_PLANE)) & (model.geom_bodyid == 0)
    return float(model.geom_pos[planes, 2].max()) if planes.any() else None


def poser(model: mujoco.MjModel) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Make the function of a posture (nq,) to places (nbody, 3) and orientations (nbody, 4), w first."""
    data = mujoco.MjData(model)

    def pose(qpos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        return data.xpos.copy(), data.xquat.copy()

    return pose


def _piece(body: int, colour: Colour, meshes: list[trimesh.Trimesh]) -> Piece:
    whole = trimesh.util.concatenate(meshes)
    return Piece(body, np.asarray(whole.vertices, np.float32), np.asarray(whole.faces), colour)


def _colour(model: mujoco.MjModel, geom: int) -> Colour:
    material, own = int(model.geom_matid[geom]), tuple(model.geom_rgba[geom].tolist())
    colour = model.mat_rgba[material].tolist() if material >= 0 and own == DEFAULT else own
    return colour[0], colour[1], colour[2], colour[3]


def _mesh(model: mujoco.MjModel, geom: int) -> trimesh.Trimesh | None:
    """A geom in its own frame; None for what has no triangles."""
    make = MESHES.get(int(model.geom_type[geom]))
    return None if make is None else make(model, geom, model.geom_size[geom])


def _ellipsoid(model: mujoco.MjModel, geom: int, size: np.ndarray) -> trimesh.Trimesh:
    del model, geom
    return trimesh.creation.icosphere(subdivisions=2).apply_scale(size)


def _asset(model: mujoco.MjModel, geom: int, size: np.ndarray) -> trimesh.Trimesh:
    """Of a mesh in a file: MuJoCo has moved it to where its frame is the geom's."""
    del size
    mesh = int(model.geom_dataid[geom])
    first, count = int(model.mesh_vertadr[mesh]), int(model.mesh_vertnum[mesh])
    face, faces = int(model.mesh_faceadr[mesh]), int(model.mesh_facenum[mesh])
    return trimesh.Trimesh(
        model.mesh_vert[first : first + count], model.mesh_face[face : face + faces], process=False
    )


def _field(model: mujoco.MjModel, geom: int, size: np.ndarray) -> trimesh.Trimesh:
    """Of heights over a grid; size is not the geom's."""
    del size
    field = int(model.geom_dataid[geom])
    rows, columns, first = (
        int(model.hfield_nrow[field]),
        int(model.hfield_ncol[field]),
        int(model.hfield_adr[field]),
    )
    wide, deep, high, _ = model.hfield_size[field]
    z = model.hfield_data[first : first + rows * columns] * high
    x, y = np.meshgrid(np.linspace(-wide, wide, columns), np.linspace(-deep, deep, rows))
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    halves = [corner, corner + 1, corner + columns, corner + 1, corner + columns + 1, corner + columns]
    return trimesh.Trimesh(
        np.column_stack([x.ravel(), y.ravel(), z]), np.column_stack(halves).reshape(-1, 3), process=False
    )


MESHES: dict[int, Callable[[mujoco.MjModel, int, np.ndarray], trimesh.Trimesh]] = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE): lambda _, __, size: trimesh.creation.icosphere(2, float(size[0])),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): lambda _, __, size: trimesh.creation.capsule(
        2 * float(size[1]), float(size[0]), count=(16, 8)
    ),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER): lambda _, __, size: trimesh.creation.cylinder(
        float(size[0]), 2 * float(size[1]), sections=24
    ),
    int(mujoco.mjtGeom.mjGEOM_BOX): lambda _, __, size: trimesh.creation.box(2 * size),
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID): _ellipsoid,
    int(mujoco.mjtGeom.mjGEOM_MESH): _asset,
    int(mujoco.mjtGeom.mjGEOM_HFIELD): _field,
}
