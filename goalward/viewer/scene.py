"""What there is to see of an environment: shapes that move and spheres for goals, or a picture of its own."""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import count
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import trimesh

from goalward import prng
from goalward.envs import core
from goalward.envs.boxes import AGENT, CARRYING, has_box
from goalward.envs.maze import Maze

LOOKED_AT = 64  # episodes that are drawn to find out where goals may be
PLAIN_RATE, MAZE_RATE, GRID_RATE = 20.0, 10.0, 5.0  # steps a second of what has no time of its own
WALL, POINT = (0.55, 0.58, 0.64, 1.0), (0.11, 0.42, 0.66, 1.0)
WALL_HEIGHT, POINT_RADIUS = 0.35, 0.18  # in cells
PIXELS = 48  # of a picture of the ground
TILE = 48  # pixels of a cell of a grid
PAPER, LINE, BOX, ROBOT, TARGET = (
    (247, 248, 250),
    (212, 216, 221),
    (197, 139, 59),
    (27, 108, 168),
    (222, 41, 64),
)

Picture = Callable[[Any, np.ndarray, np.ndarray], np.ndarray]  # (state, obs, goal) -> pixels (H, W, 3) uint8


class Shape(NamedTuple):
    """Triangles of one colour, in a frame of their own."""

    vertices: np.ndarray  # (V, 3)
    faces: np.ndarray  # (F, 3) int
    colour: tuple[float, float, float, float]  # red, green, blue and opacity in [0, 1]
    moves: bool = True


class Mark(NamedTuple):
    """A sphere that shows a goal, or a part of it."""

    position: np.ndarray  # (3,)
    radius: float


class Ground(NamedTuple):
    """Places all over the ground, of which each could be where the agent is."""

    points: np.ndarray  # (rows, columns, 2): rows from north to south (y falls), columns from west to east
    free: np.ndarray  # (rows, columns) bool: not in a wall
    of_posture: bool  # whether there is more to an observation than the place
    there: Callable[[np.ndarray, np.ndarray], np.ndarray]  # (obs (D,), places (K, 2)) -> obs (K, D) as if there


class Scene(NamedTuple):
    """What is seen of one world. Lengths are its own, z is up.

    Either `shapes` are posed and `marks` show the goal, or there is but a `picture` of each moment.
    """

    shapes: list[Shape]
    pose: Callable[[Any, np.ndarray], tuple[np.ndarray, np.ndarray]]  # (state, obs (D,)) -> (K, 3), (K, 4)
    marks: Callable[[np.ndarray], list[Mark]]  # goal (G,) -> spheres
    centre: np.ndarray  # (3,) of all that happens
    radius: float
    rate: float  # steps a second, at speed 1
    patience: int  # steps that an episode has in training
    floor: float = 0.0  # height of the ground
    ground: Ground | None = None
    wall: Callable[[np.ndarray], bool] = lambda _: False  # whether a place (2,) on the ground is within one
    follows: bool = False  # whether the goal moves with the world, and is not to be set
    above: bool = False  # whether it is first looked at from above
    picture: Picture | None = None


def of(env: core.Env) -> Scene:
    """The scene of an environment: of its bodies, of a point in a maze, of a picture, or of bare places."""
    if env.task is not None:
        return _bodies(env)
    if env.maze is not None and env.to_cells is not None:
        return _point(env, env.maze, env.to_cells)
    if env.cells is not None:
        return _pictures(env, GRID_RATE, lambda _, obs, goal: _board(env.cells, obs, goal))
    if env.film is not None:
        return _pictures(env, env.film.rate, _filmed(env.film))
    return places(env, _drawn(env)[1])


def aimed(scene: Scene, goal: np.ndarray, mark: int, place: np.ndarray, axes: list[int]) -> np.ndarray:
    """The goal (G,) nearest to this one whose mark is at a place (3,), as far as some axes go.

    g + J⁺ (p − m(g)), with the Jacobian J of the mark's position m by the goal: exact where m is affine, as it
    is where a goal is, or holds, a position.
    """
    goal = np.asarray(goal, float)
    now = scene.marks(goal)[mark].position
    slopes = np.stack([scene.marks(goal + step)[mark].position - now for step in np.eye(len(goal))], axis=1)
    return (goal + np.linalg.pinv(slopes[axes]) @ (np.asarray(place, float) - now)[axes]).astype(np.float32)


def movable(scene: Scene, goal: np.ndarray, mark: int) -> tuple[bool, bool, bool]:
    """Along which axes a mark moves with the goal."""
    now = scene.marks(goal)[mark].position
    moved = [scene.marks(goal + step)[mark].position != now for step in np.eye(len(goal))]
    x, y, z = np.any(moved, axis=0).tolist()
    return x, y, z


# Kinds of scenes -------------------------------------------------------------------------------------------


def _bodies(env: core.Env) -> Scene:
    from goalward.envs.mujoco import pieces

    task = env.task
    found, pose_bodies = pieces.pieces(task.model), pieces.poser(task.model)
    bodies = [piece.body for piece in found]

    def pose(state: Any, obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        del obs
        places, turns = pose_bodies(np.asarray(state.physics.qpos))
        return places[bodies], turns[bodies]

    shapes = [Shape(one.vertices, one.faces, one.colour, moves=one.body != 0) for one in found]
    marks = _as_marks(task.markers)
    start, goals = _drawn(env)
    places, turns = pose_bodies(np.asarray(start.qpos[0]))
    corners = [_turned(turns[one.body], one.vertices) + places[one.body] for one in found]
    low, high = _extent(goals, marks, corners)
    centre, radius = _middle(low, high)
    wall = _wall(env.maze, env.to_cells) if env.maze and env.to_cells else lambda _: False
    rate = 1 / (task.model.opt.timestep * task.substeps)
    ground = _movable_ground(env, low, high, wall)
    floor = pieces.floor(task.model)
    if floor is None:
        floor = min((float(points[:, 2].min()) for points in corners), default=0.0)
    follows, above, length = env.follow is not None, env.maze is not None, env.spec.episode_length
    return Scene(shapes, pose, marks, centre, radius, rate, length, floor, ground, wall, follows, above)


def _point(env: core.Env, maze: Maze, to_cells: Callable[[np.ndarray], np.ndarray]) -> Scene:
    """A maze as it is drawn on paper: columns along x, rows down, a cell wide one."""
    zero = to_cells(np.zeros(2))
    scale = to_cells(np.ones(2)) - zero  # of observed positions, in cells

    def where(observed: np.ndarray, height: float) -> np.ndarray:
        row, column = to_cells(np.asarray(observed[:2], float))
        return np.array([column, -row, height])

    def observed(places: np.ndarray) -> np.ndarray:
        return ((np.stack([-places[..., 1], places[..., 0]], axis=-1) - zero) / scale).astype(np.float32)

    def there(obs: np.ndarray, places: np.ndarray) -> np.ndarray:
        still = np.zeros((len(places), len(obs)), np.float32)  # where observations have velocities
        still[:, :2] = observed(places)
        return still

    ball = trimesh.creation.icosphere(3, POINT_RADIUS)
    walls = trimesh.util.concatenate(
        [
            trimesh.creation.box((1, 1, WALL_HEIGHT)).apply_translation((column, -row, WALL_HEIGHT / 2))
            for row, column in np.argwhere(maze.walls)
        ]
    )
    shapes = [Shape(*_triangles(walls), WALL, moves=False), Shape(*_triangles(ball), POINT)]
    upright = np.tile([1.0, 0.0, 0.0, 0.0], (2, 1))
    cell = float(
        env.spec.distance(jnp.asarray(observed(np.zeros(2))), jnp.asarray(observed(np.array([1.0, 0.0]))))
    )
    threshold = env.spec.threshold / cell

    def wall(place: np.ndarray) -> bool:
        return _in_walls(maze, np.array([-place[1], place[0]]))

    rows, columns = maze.walls.shape
    centre = np.array([(columns - 1) / 2, -(rows - 1) / 2, 0.0])
    half = np.array([columns, rows]) / 2
    points = _grid(centre[:2] - half, centre[:2] + half)
    free = ~np.apply_along_axis(wall, -1, points)

    def pose(state: Any, obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        del state
        return np.stack([np.zeros(3), where(obs, POINT_RADIUS)]), upright

    def marks(goal: np.ndarray) -> list[Mark]:
        return [Mark(where(goal, POINT_RADIUS), threshold)]

    ground, radius, length = Ground(points, free, False, there), max(rows, columns) / 2, env.spec.episode_length
    return Scene(shapes, pose, marks, centre, radius, MAZE_RATE, length, 0.0, ground, wall, above=True)


def places(env: core.Env, goals: np.ndarray) -> Scene:
    """Achieved and commanded goal as points, of the first three numbers: of what has nothing else to show.

    `goals` (K, G) are some that may be, in which the page is at home.
    """

    def where(goal: np.ndarray) -> np.ndarray:
        found = np.asarray(goal, float)[:3]
        return np.pad(found, (0, 3 - len(found)))

    def pose(state: Any, obs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        del state
        return where(np.asarray(env.spec.achieved(jnp.asarray(obs))))[None], np.array([[1.0, 0.0, 0.0, 0.0]])

    marks = _as_marks(lambda goal: [Mark(where(goal), float(env.spec.threshold))])
    centre, radius = _middle(*_extent(goals, marks, []))
    ball = trimesh.creation.icosphere(3, radius / 25)
    shapes, length = [Shape(*_triangles(ball), POINT)], env.spec.episode_length
    return Scene(shapes, pose, marks, centre, radius, PLAIN_RATE, length)


def _pictures(env: core.Env, rate: float, picture: Picture) -> Scene:
    nothing, length = (np.zeros((0, 3)), np.zeros((0, 4))), env.spec.episode_length
    return Scene([], lambda *_: nothing, lambda _: [], np.zeros(3), 1.0, rate, length, picture=picture)


def _filmed(film: core.Film) -> Picture:
    """Pictures as the environment makes them, one after the other."""
    from goalward.envs.mujoco.render import graphics_for_others

    latest: list[Any] = []
    frames = film.frames(latest[-1] for _ in count())

    def picture(state: Any, obs: np.ndarray, goal: np.ndarray) -> np.ndarray:
        del obs, goal
        is_first = not latest
        latest[:] = [state]
        with graphics_for_others() if is_first else nullcontext():  # which are asked for but once
            return next(frames)

    return picture


def _board(cells: Any, obs: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """A grid of boxes: red outlines where they are to lie; pixels (height, width, 3) uint8."""
    now, wanted = (np.asarray(cells(jnp.asarray(part))) for part in (obs, goal))
    rows, columns = now.shape
    board = np.full((rows * TILE, columns * TILE, 3), PAPER, np.uint8)
    board[::TILE], board[:, ::TILE] = LINE, LINE
    layers = ((has_box(wanted), 2, TARGET), (has_box(wanted), 5, PAPER), (has_box(now), 8, BOX))
    for chosen, margin, colour in (*layers, (now >= AGENT, 14, ROBOT), (now >= CARRYING, 19, BOX)):
        for row, column in np.argwhere(chosen):
            top, left = row * TILE, column * TILE
            board[top + margin : top + TILE - margin, left + margin : left + TILE - margin] = colour
    return board


# Their parts -----------------------------------------------------------------------------------------------


def _drawn(env: core.Env) -> tuple[Any, np.ndarray]:
    """Starts and goals of some episodes."""
    start, goal = core.draw_starts(env, jax.random.split(prng.key(0), LOOKED_AT))
    return start, np.asarray(goal)


def _as_marks(markers: Callable[[np.ndarray], list[Any]]) -> Callable[[np.ndarray], list[Mark]]:
    return lambda goal: [Mark(np.asarray(one.position, float), float(one.radius)) for one in markers(goal)]


def _extent(
    goals: np.ndarray, marks: Callable[[np.ndarray], list[Mark]], corners: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner (3,) of the box around goals (K, G), and what stands there at first."""
    goals = goals[np.isfinite(goals).all(axis=1)]
    points = np.concatenate([*(np.array([one.position for one in marks(goal)]) for goal in goals), *corners])
    return points.min(axis=0), points.max(axis=0)


def _middle(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, float]:
    """Centre (3,) and radius of the sphere around a box."""
    return (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 1e-3)


def _movable_ground(
    env: core.Env, low: np.ndarray, high: np.ndarray, wall: Callable[[np.ndarray], bool]
) -> Ground | None:
    """Where the observation says the agent's place by numbers that can be moved along two axes."""
    if len(env.spec.shifts) != 2:
        return None
    axes = [list(axis) for axis in env.spec.shifts]

    def there(obs: np.ndarray, places: np.ndarray) -> np.ndarray:
        moved = np.tile(np.asarray(obs, np.float32), (len(places), 1))
        for axis, elements in enumerate(axes):
            moved[:, elements] += (places[:, axis] - obs[elements[0]])[:, None]
        return moved

    points = _grid(low[:2], high[:2])
    return Ground(points, ~np.apply_along_axis(wall, -1, points), True, there)


def _grid(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The middles of pixels of a picture of the ground between corners (2,), (rows, columns, 2).

    There are at most `PIXELS` along a side.
    """
    shares = (high - low) / max(float((high - low).max()), 1e-6)
    columns, rows = np.maximum(1, np.round(shares * PIXELS)).astype(int).tolist()
    x = low[0] + (np.arange(columns) + 0.5) * ((high[0] - low[0]) / columns)
    y = high[1] - (np.arange(rows) + 0.5) * ((high[1] - low[1]) / rows)
    return np.stack(np.meshgrid(x, y), axis=-1)


def _wall(maze: Maze, to_cells: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], bool]:
    return lambda place: _in_walls(maze, to_cells(np.asarray(place, float)))


def _in_walls(maze: Maze, cell: np.ndarray) -> bool:
    """Whether a place, in cells, is in a wall, or outside of the maze."""
    row, column = np.round(cell).astype(int).tolist()
    rows, columns = maze.walls.shape
    return not (0 <= row < rows and 0 <= column < columns) or bool(maze.walls[row, column])


def _triangles(mesh: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces)


def _turned(quaternion: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (V, 3) turned by a quaternion (4,), w first."""
    return points @ trimesh.transformations.quaternion_matrix(quaternion)[:3, :3].T
