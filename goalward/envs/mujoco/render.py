"""Pictures of a task without a display: which graphics there are, what is in a picture, and from where."""

import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from functools import reduce
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import mujoco
import numpy as np
from PIL import Image

from goalward import files
from goalward.envs.mujoco.task import Marker, Task
from goalward.errors import MachineError, UserError

View = Literal["auto", "top", "side"]

GOAL_COLOUR = (0.87, 0.16, 0.25, 0.65)
REMEDY = "install one of the two, as by `apt-get install libegl1` or `apt-get install libosmesa6`"
DISABLED = ("disable", "disabled", "off", "false", "0")
LONGEST_PATH = 400  # segments that the path of an episode is drawn with
GROUND, SKY = (0.76, 0.79, 0.85, 1.0), (0.9, 0.93, 0.97, 1.0)
GROUND_SIZE = 5.0  # half a side, in extents of the model
SMALLEST = 0.012  # radius of a goal, in distances of the camera: smaller ones would not be seen
MARGIN = 1.08  # of what must be in a picture, on all sides
SMALL = (64, 64)  # pixels of a picture that is not looked at
COLOURS = 255  # of a frame of a GIF: the last of 256 is for what does not change


# Graphics --------------------------------------------------------------------------------------------------


def backends() -> tuple[str, ...]:
    """Names of the graphics to try, in turn: what MUJOCO_GL says, or those that need no display."""
    wanted = os.environ.get("MUJOCO_GL", "").lower().strip()
    if wanted in DISABLED:
        raise MachineError(
            f"pictures are turned off by MUJOCO_GL={wanted}; unset it, or set it to egl or osmesa"
        )
    if wanted:
        return (wanted if wanted in ("egl", "osmesa", "cgl") else "glfw",)
    return {"Linux": ("egl", "osmesa"), "Darwin": ("cgl", "glfw")}.get(platform.system(), ("glfw",))


def new_context(backend: str, width: int, height: int) -> Any:
    """An OpenGL context of MuJoCo's for a backend. Raises almost anything where the machine has none."""
    return importlib.import_module(f"mujoco.{backend}").GLContext(width, height)


class Canvas:
    """Draws scenes of one model, off screen, in an OpenGL context that it owns."""

    backend = ""  # that gave the context

    def __init__(self, model: mujoco.MjModel, width: int, height: int, context: Any):
        self._context, self._rect = context, mujoco.MjrRect(0, 0, width, height)
        context.make_current()
        self._resources = mujoco.MjrContext(model, int(mujoco.mjtFontScale.mjFONTSCALE_100))
        mujoco.mjr_setBuffer(int(mujoco.mjtFramebuffer.mjFB_OFFSCREEN), self._resources)
        mujoco.mjr_resizeOffscreen(width, height, self._resources)  # so that no model limits the size

    def draw(self, scene: mujoco.MjvScene) -> np.ndarray:
        """The picture of a scene, (height, width, 3) uint8."""
        self._context.make_current()
        picture = np.empty((self._rect.height, self._rect.width, 3), np.uint8)
        mujoco.mjr_render(self._rect, scene, self._resources)
        mujoco.mjr_readPixels(picture, None, self._rect, self._resources)
        return np.ascontiguousarray(picture[::-1])  # OpenGL's rows go upward

    def close(self) -> None:
        """Free what the canvas holds of the machine."""
        self._context.make_current()
        self._resources.free()
        self._context.free()


@contextmanager
def renderer(model: mujoco.MjModel, width: int, height: int) -> Iterator[Canvas]:
    """Give a canvas of the first backend that works.

    Raises `MachineError`, with what each of them said, if none does.
    """
    said = {}
    for backend in backends():
        try:
            canvas = _open(backend, model, width, height)
        except Exception as error:  # a missing library shows as ImportError, AttributeError, GLError, …
            said[backend] = " ".join(str(error).split()) or type(error).__name__
            continue
        try:
            yield canvas
        finally:
            canvas.close()
        return
    tried = "; ".join(f"{name} said: {what}" for name, what in said.items())
    raise MachineError(f"no graphics to draw pictures with ({tried}); {REMEDY}")


def drawn_by() -> str:
    """The name of the graphics that draw here. Raises `MachineError` if none do."""
    with renderer(mujoco.MjModel.from_xml_string("<mujoco/>"), *SMALL) as canvas:
        return canvas.backend


def _open(backend: str, model: mujoco.MjModel, width: int, height: int) -> Canvas:
    """A canvas of one backend, or an error and a process in which another can be tried.

    MuJoCo's C library asks MUJOCO_GL where OpenGL's functions are. PyOpenGL chooses its platform once, when
    it is imported, by PYOPENGL_PLATFORM; after a failure it has to be imported anew.
    """
    loaded, before = (
        set(sys.modules),
        {name: os.environ.get(name) for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM")},
    )
    context = None
    os.environ["MUJOCO_GL"] = backend
    try:
        context = new_context(backend, width, height)
        canvas = Canvas(model, width, height, context)
        canvas.backend = backend
    except Exception:
        if context is not None:
            with suppress(Exception):  # what cannot be made current may not be freed either
                context.free()
        for name in set(sys.modules) - loaded:
            if name.partition(".")[0] == "OpenGL" or name.startswith(f"mujoco.{backend}"):
                del sys.modules[name]
        _set_environment("PYOPENGL_PLATFORM", before["PYOPENGL_PLATFORM"])
        raise
    finally:
        _set_environment("MUJOCO_GL", before["MUJOCO_GL"])
    return canvas


@contextmanager
def graphics_for_others() -> Iterator[None]:
    """Let MUJOCO_GL name graphics that work here, if any do, for libraries that ask it."""
    model, before, found = mujoco.MjModel.from_xml_string("<mujoco/>"), os.environ.get("MUJOCO_GL"), None
    for backend in backends():
        with suppress(Exception):  # a missing library shows as ImportError, AttributeError, GLError, …
            _open(backend, model, *SMALL).close()
            found = backend
            break
    _set_environment("MUJOCO_GL", found or before)
    try:
        yield
    finally:
        _set_environment("MUJOCO_GL", before)


def _set_environment(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


# Scenes ----------------------------------------------------------------------------------------------------


def frames(
    task: Task, qpos: np.ndarray, goals: np.ndarray, *, width: int, height: int, camera: View = "auto"
) -> Iterator[np.ndarray]:
    """One picture a state, (height, width, 3) uint8, with its goal. `qpos` (K, nq), `goals` (K, G).

    "top" looks straight down, on the whole maze where there is one; "side" follows what walks, with its goal
    in the picture, or shows what an arm can reach. "auto" is "top" for mazes and "side" for all others.
    Raises `MachineError` where nothing can be drawn.
    """
    stage = Stage(task, camera, width / height)
    with renderer(stage.model, width, height) as canvas:
        for posture, goal in zip(qpos, goals, strict=True):
            yield canvas.draw(stage.show(posture, task.markers(goal)))


def paths(
    task: Task, qpos: np.ndarray, goals: np.ndarray, colours: np.ndarray, *, width: int, height: int
) -> np.ndarray:
    """The ways of M episodes from above, (height, width, 3) uint8, each with its goal in its colour.

    `qpos` (K, M, nq), `goals` (M, G), `colours` (M, 4) of red, green, blue and opacity in [0, 1].
    """
    stage = Stage(task, "top", width / height, room=qpos.shape[1] * (LONGEST_PATH + 1))
    tracks = [stage.track(states[:: -(-len(states) // LONGEST_PATH)]) for states in qpos.swapaxes(0, 1)]
    scene = stage.show(qpos[0, 0], [])
    for track, goal, colour in zip(tracks, goals, colours, strict=True):
        stage.add_line(track, colour)
        for marker in task.markers(goal):
            stage.add_marker(marker, colour)
    with renderer(stage.model, width, height) as canvas:
        return canvas.draw(scene)


class Sphere(NamedTuple):
    """What a camera must have in its picture."""

    centre: np.ndarray  # (3,)
    radius: float


def dressed(model: mujoco.MjModel) -> mujoco.MjModel:
    """A copy of a model in softer light: MuJoCo's own overexposes what is seen from above.

    The ground goes on to the horizon, with squares of 1 m where it has any; no mirror is in it, and shadows are
    coarse, as it is often a processor that has to draw them.
    """
    model = copy(model)
    model.vis.headlight.ambient[:], model.vis.headlight.diffuse[:] = 0.45, 0.35
    model.vis.headlight.specular[:] = 0.0
    model.light_diffuse[:] = np.minimum(model.light_diffuse, 0.45)
    model.light_specular[:] = 0.0
    model.vis.quality.shadowsize = 1024
    # Found by eye: what is wider for one or narrower for the other has specks of shadow on the bare ground.
    model.vis.map.shadowclip = 2.0 if walker(model) is None else 1.0
    model.vis.rgba.haze[:] = SKY
    ground = model.geom_type == int(mujoco.mjtGeom.mjGEOM_PLANE)
    model.geom_size[ground, :2] = GROUND_SIZE * model.stat.extent  # MuJoCo's endless ground has specks too
    walls = [i for i in range(model.ngeom) if model.geom(i).name.startswith("wall_")]
    model.geom_matid[walls] = -1  # some models give all they have the material of their ground
    paint = model.geom_matid[ground & (model.geom_matid >= 0)]
    model.mat_reflectance[paint] = 0.0
    model.mat_rgba[paint] = model.geom_rgba[ground] = GROUND
    model.mat_texuniform[paint], model.mat_texrepeat[paint] = 1, 0.5
    textures = model.mat_texid[paint].ravel()
    sky = np.flatnonzero(model.tex_type == int(mujoco.mjtTexture.mjTEXTURE_SKYBOX))
    for texture in {*textures[textures >= 0].tolist(), *sky.tolist()}:
        _fade(model, texture)
    return model


def _fade(model: mujoco.MjModel, texture: int) -> None:
    """Bring a texture's colours near white."""
    start = int(model.tex_adr[texture])
    size = int(model.tex_height[texture] * model.tex_width[texture] * model.tex_nchannel[texture])
    pixels = model.tex_data[start : start + size]
    pixels[:] = 205 + 0.19 * pixels


class Stage:
    """A task's model in any posture, with markers and a camera that fits; needs no graphics."""

    def __init__(self, task: Task, camera: View, aspect: float, room: int = 0):
        self._task, self.model, self._aspect = task, dressed(task.model), aspect
        self._top = camera == "top" or (camera == "auto" and task.maze is not None)
        self._data, self._option = mujoco.MjData(task.model), mujoco.MjvOption()
        self._option.sitegroup[:] = 0  # marks of the model's makers
        self._scene = mujoco.MjvScene(task.model, maxgeom=2 * task.model.ngeom + 1000 + room)
        self._walker = walker(task.model)
        self._least = 0.0  # radius of a goal in the scene last shown
        self._radii: dict[int, float] = {}  # of what moves, from its first posture on, lest the camera tremble
        self._fixed: Sphere | None = None  # what to show of a task with an arm, from its first posture on
        self._tilt = -50.0 if task.maze else -35.0 if self._walker is None else -25.0
        # From above, rows go down and columns to the right, as in drawings of mazes. Arms are looked at from
        # the front, where they do not hide what they handle.
        self._turn = 180.0 if self._top else 215.0 if self._walker is None else 125.0

    def show(self, qpos: np.ndarray, markers: Sequence[Marker]) -> mujoco.MjvScene:
        """The scene of a posture (nq,); it is the same object each time."""
        self._pose(qpos)
        camera = self._camera(markers)
        everything = int(mujoco.mjtCatBit.mjCAT_ALL)
        mujoco.mjv_updateScene(self.model, self._data, self._option, None, camera, everything, self._scene)
        self._least = SMALLEST * float(camera.distance)
        for marker in markers:
            self.add_marker(marker, GOAL_COLOUR)
        return self._scene

    def add_marker(self, marker: Marker, colour: Sequence[float] | np.ndarray) -> None:
        """Put a sphere into the scene last shown."""
        size = np.full(3, max(marker.radius, self._least))
        self._add(mujoco.mjtGeom.mjGEOM_SPHERE, size, marker.position, colour)

    def add_line(self, points: np.ndarray, colour: np.ndarray) -> None:
        """Put a line through points (K, 3) into the scene last shown."""
        capsule = mujoco.mjtGeom.mjGEOM_CAPSULE
        for start, end in pairwise(points):
            geom = self._add(capsule, np.zeros(3), np.zeros(3), colour)
            mujoco.mjv_connector(geom, int(capsule), self._least / 4, start, end)

    def _add(
        self, kind: mujoco.mjtGeom, size: np.ndarray, place: np.ndarray, colour: Sequence[float] | np.ndarray
    ) -> mujoco.MjvGeom:
        self._scene.ngeom += 1
        geom = self._scene.geoms[self._scene.ngeom - 1]
        upright, paint = np.eye(3).ravel(), np.asarray(colour, np.float32)
        mujoco.mjv_initGeom(geom, int(kind), size, np.asarray(place, float), upright, paint)
        return geom

    def track(self, qpos: np.ndarray) -> np.ndarray:
        """Where what walks was in some postures (K, nq), (K, 3)."""
        places = np.empty((len(qpos), 3))
        for place, posture in zip(places, qpos, strict=True):
            self._pose(posture)
            place[:] = self._data.xpos[self._walker or 1]
        return places

    def _pose(self, qpos: np.ndarray) -> None:
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_comPos(self.model, self._data)
        mujoco.mj_camlight(self.model, self._data)

    def _camera(self, markers: Sequence[Marker]) -> mujoco.MjvCamera:
        camera = mujoco.MjvCamera()
        if self._top and self._task.maze is not None:
            walls = _box(self.model, self._data, self.model.geom_bodyid == 0)
            camera.lookat[:], camera.distance = self._above(*walls)
        else:
            view = self._in_view(markers)
            camera.lookat[:] = view.centre
            # The narrower of the two angles of view decides.
            half = np.tan(np.radians(self.model.vis.global_.fovy) / 2) * min(1.0, self._aspect)
            camera.distance = MARGIN * view.radius / np.sin(np.arctan(half))
        camera.azimuth = self._turn
        camera.elevation = -90.0 if self._top else self._tilt
        return camera

    def _in_view(self, markers: Sequence[Marker]) -> Sphere:
        """All that moves, and the goal; or, of an arm, all that there is."""
        if self._walker is None:
            return self._workspace(markers)
        roots = [i for i in range(1, self.model.nbody) if self.model.body_rootid[i] == i]
        moving = [self._walker, *(i for i in roots if self.model.body_jntnum[i] and i != self._walker)]
        for root in moving:
            self._radii.setdefault(root, _reach(self.model, self._data, root))
        bodies = [Sphere(self._data.xpos[root].copy(), self._radii[root]) for root in moving]
        return reduce(_around, [*bodies, *(Sphere(marker.position, marker.radius) for marker in markers)])

    def _workspace(self, markers: Sequence[Marker]) -> Sphere:
        if self._fixed is None:
            low, high = _box(self.model, self._data, np.ones(self.model.ngeom, bool))
            whole = Sphere((low + high) / 2, float(np.linalg.norm(high - low)) / 2)
            self._fixed = reduce(_around, (Sphere(marker.position, marker.radius) for marker in markers), whole)
        return self._fixed

    def _above(self, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, float]:
        """Where to look, and from how far, for all of a box to be in the picture."""
        down, right, up = high - low
        half = max(down, right / self._aspect) / 2
        distance = MARGIN * half / np.tan(np.radians(self.model.vis.global_.fovy) / 2) + up
        return np.array([*(low + high)[:2] / 2, low[2]]), float(distance)


def _box(model: mujoco.MjModel, data: mujoco.MjData, geoms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner, (3,) each, of the solid ones among some geoms (ngeom,) bool."""
    geoms = geoms & (model.geom_type != int(mujoco.mjtGeom.mjGEOM_PLANE))
    turn, box = data.geom_xmat[geoms].reshape(-1, 3, 3), model.geom_aabb[geoms]  # centre and half sizes
    middle = data.geom_xpos[geoms] + np.einsum("nij,nj->ni", turn, box[:, :3])
    half = np.einsum("nij,nj->ni", np.abs(turn), box[:, 3:])
    return (middle - half).min(axis=0), (middle + half).max(axis=0)


def walker(model: mujoco.MjModel) -> int | None:
    """The body that a camera follows: the root of what the first actuator moves, if that is free to travel."""
    joint = int(mujoco.mjtTrn.mjTRN_JOINT)
    moved = [int(model.actuator_trnid[i, 0]) for i in range(model.nu) if model.actuator_trntype[i] == joint]
    if not moved:
        return None
    root = int(model.body_rootid[model.jnt_bodyid[moved[0]]])
    if model.body_jntnum[root] == 0:
        return None
    travels = (int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_SLIDE))
    return root if model.jnt_type[model.body_jntadr[root]] in travels else None


def _reach(model: mujoco.MjModel, data: mujoco.MjData, root: int) -> float:
    """Radius about a root body of all that hangs on it."""
    geoms = model.body_rootid[model.geom_bodyid] == root
    away = np.linalg.norm(data.geom_xpos[geoms] - data.xpos[root], axis=1)
    return float((away + model.geom_rbound[geoms]).max(initial=1e-3))


def _around(a: Sphere, b: Sphere) -> Sphere:
    """The smallest sphere around two spheres."""
    between = float(np.linalg.norm(b.centre - a.centre))
    if between + min(a.radius, b.radius) <= max(a.radius, b.radius):
        return max(a, b, key=lambda sphere: sphere.radius)
    radius = (between + a.radius + b.radius) / 2
    return Sphere(a.centre + (b.centre - a.centre) * (radius - a.radius) / between, radius)


# Files -----------------------------------------------------------------------------------------------------


def video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write pictures (height, width, 3) uint8 as a GIF, or as an MP4 with the extra `video`.

    Raises `UserError` for another ending, without any picture, and for MP4 without the extra.
    """
    writer = writer_for(path)
    pictures = iter(frames)
    first = next(pictures, None)
    if first is None:
        raise UserError(f"{path} would have no pictures")
    writer(path, chain([first], pictures), first.shape[:2], fps)


def writer_for(path: Path) -> Callable[..., None]:
    """The function that writes a video of this name. Raises `UserError` where there is none."""
    if path.suffix.lower() == ".gif":
        return _write_gif
    if path.suffix.lower() != ".mp4":
        raise UserError(f"a video is written to {path}, whose name must end in .gif or .mp4")
    try:
        importlib.import_module("imageio_ffmpeg")
    except ImportError:
        raise UserError("MP4 needs a package more: `pip install imageio-ffmpeg`; .gif works without") from None
    return _write_mp4


def _write_gif(path: Path, frames: Iterator[np.ndarray], _: tuple[int, int], fps: float) -> None:
    """A GIF's time is in 1/100 s; below 2/100 s viewers slow down."""
    hundredths = max(2, round(100 / fps))
    # Dithering would make each picture noise that the next one cannot leave as it is.
    pictures = (Image.fromarray(frame).quantize(COLOURS, dither=Image.Dither.NONE) for frame in frames)
    with files.whole(path) as file:
        next(pictures).save(
            file, save_all=True, append_images=pictures, duration=10 * hundredths, loop=0, optimize=False
        )


def _write_mp4(path: Path, frames: Iterator[np.ndarray], size: tuple[int, int], fps: float) -> None:
    """An MP4 by the ffmpeg that the package brings; its own call of it would fork a process with threads."""
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[1]}x{size[0]}", "-r", f"{fps:g}", "-i", "-"]
    coded = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20"]
    ffmpeg = importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
    with files.whole(path) as file:
        # An absolute path: one that begins with http: or the like would be sent there.
        command = [ffmpeg, "-y", "-loglevel", "error", *raw, *coded, str(file.absolute())]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdin is not None  # noqa: S101  # by stdin=PIPE, which the type checker cannot know
            with suppress(BrokenPipeError):  # ffmpeg has ended early, and says below why
                for frame in frames:
                    process.stdin.write(frame.tobytes())
            _, said = process.communicate()
        if process.returncode:
            told = " ".join(said.decode(errors="replace").split())
            raise MachineError(f"ffmpeg could not write {path}: {told}")
