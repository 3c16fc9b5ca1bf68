"""Pictures of tasks: what is in them, which graphics draw them, and the files they become."""

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
import toy
from PIL import Image

from goalward import envs, training
from goalward.envs.maze import parse
from goalward.envs.mujoco import engine
from goalward.envs.mujoco import render as pictures
from goalward.envs.mujoco.task import Marker, Start, Task, reach_spec
from goalward.errors import MachineError, UserError
from goalward.pictures import render
from goalward.rollout import starter

BALL = (0.1, 0.7, 0.2, 1.0)
WIDTH, HEIGHT = 160, 120


def make_task(maze: str | None = None, arm: bool = False, **changes) -> Task:
    """A green ball that slides along x and y, in reach of a goal; or an arm of one hinge."""
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[5, 5, 0.1], rgba=[0.5, 0.5, 0.5, 1])
    spec.worldbody.add_light(pos=[0, 0, 5])
    layout = parse(maze) if maze else None
    for r, c in zip(*np.nonzero(layout.walls), strict=True) if layout else ():
        name = f"wall_{r}_{c}"
        spec.worldbody.add_geom(
            name=name, type=mujoco.mjtGeom.mjGEOM_BOX, pos=[r, c, 0.2], size=[0.5, 0.5, 0.2]
        )
    body = spec.worldbody.add_body(pos=[0, 0, 0.2])
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.2, 0, 0], pos=[0.3 * arm, 0, 0], rgba=BALL)
    kind = mujoco.mjtJoint.mjJNT_HINGE if arm else mujoco.mjtJoint.mjJNT_SLIDE
    for axis in [[0, 0, 1]] if arm else [[1, 0, 0], [0, 1, 0]]:
        joint = body.add_joint(name=f"joint{axis}", type=kind, axis=axis)
        motor = spec.add_actuator(target=joint.name, trntype=mujoco.mjtTrn.mjTRN_JOINT, gainprm=[1] + 9 * [0])
        motor.ctrlrange, motor.ctrllimited = [-1, 1], True
    model = spec.compile()
    size = int(model.nq)

    def reset(key):
        goal = jax.random.uniform(key, (2,), minval=-1.0)
        return Start(jnp.zeros(size), jnp.zeros(size)), goal

    task = Task(
        name="slider",
        model=model,
        substeps=5,
        spec=reach_spec(model, 4, slice(0, 2), 30, 0.3),
        reset=reset,
        observe=lambda physics: jnp.concatenate([physics.qpos, physics.qvel]),
        markers=lambda goal: [Marker(np.array([*goal, 0.2]), 0.3)],
        maze=layout,
    )
    return task._replace(**changes)


def make_env(**changes):
    return engine.make(make_task(**changes))


class FakeCanvas(pictures.Canvas):
    """A canvas without graphics: a picture is grey, and as bright as the number of things in the scene."""

    def __init__(self, model, width, height, context):
        self.shape, self.context = (height, width, 3), context
        context.log.append("open")

    def draw(self, scene):
        return np.full(self.shape, scene.ngeom, np.uint8)

    def close(self):
        self.context.log.append("close")


class FakeContext:
    def __init__(self, log):
        self.log = log

    def free(self):
        self.log.append("free")


@pytest.fixture
def fake(monkeypatch):
    """Graphics that always work; gives what happened to them."""
    log = []
    monkeypatch.setattr(pictures, "Canvas", FakeCanvas)
    monkeypatch.setattr(pictures, "new_context", lambda backend, width, height: FakeContext(log))
    return log


@pytest.fixture(scope="session")
def graphics():
    try:
        with pictures.renderer(make_task().model, 16, 16):
            pass
    except MachineError as error:
        pytest.skip(str(error))


def draw(task, qpos, goals, **options):
    qpos, goals = np.asarray(qpos, np.float32), np.asarray(goals, np.float32)
    return list(pictures.frames(task, qpos, goals, width=WIDTH, height=HEIGHT, **options))


def middle(frame, channel):
    """(row, column) of the pixels in which one colour is more than the others together, and their number."""
    values = frame.astype(int)
    rows, columns = np.nonzero(values[..., channel] > 0.6 * values.sum(axis=-1))
    return (rows.mean(), columns.mean(), len(rows)) if len(rows) else (np.nan, np.nan, 0)


# What is drawn, with graphics


def test_frames_are_one_a_state_of_the_size_wanted(graphics):
    frames = draw(make_task(), np.zeros((3, 2)), np.ones((3, 2)))
    assert [(frame.shape, frame.dtype) for frame in frames] == [((HEIGHT, WIDTH, 3), np.uint8)] * 3
    np.testing.assert_array_equal(frames[0], frames[2])


def test_a_picture_may_be_larger_than_the_model_says(graphics):
    task = make_task()
    assert task.model.vis.global_.offwidth < 1000
    (frame,) = pictures.frames(task, np.zeros((1, 2)), np.ones((1, 2)), width=1000, height=64)
    assert frame.shape == (64, 1000, 3)


def test_goal_and_body_are_where_they_must_be_from_above(graphics):
    # From above, y goes to the right and x goes down.
    task = make_task("u_maze")
    left, right, below = draw(task, [[1, 3], [1, 1], [1, 1]], [[1, 1], [1, 3], [3, 1]])
    goals = [middle(frame, 0) for frame in (left, right, below)]
    bodies = [middle(frame, 1) for frame in (left, right, below)]
    assert all(found[2] > 20 for found in goals + bodies)
    assert goals[0][1] < WIDTH / 2 - 10 < WIDTH / 2 + 10 < goals[1][1]
    assert bodies[1][1] < WIDTH / 2 - 10 < WIDTH / 2 + 10 < bodies[0][1]
    np.testing.assert_allclose(goals[0][1] + goals[1][1], WIDTH - 1, atol=2)
    assert goals[0][0] < HEIGHT / 2 < goals[2][0]
    np.testing.assert_allclose(goals[2][1], goals[0][1], atol=2)


def test_a_camera_from_the_side_has_body_and_goal_in_its_picture_however_far(graphics):
    for goal in ([0.5, 0.0], [-3.0, 2.0], [12.0, -2.0]):
        (frame,) = draw(make_task(), [[5.0, 5.0]], [goal], camera="side")
        assert middle(frame, 0)[2] > 0
        assert middle(frame, 1)[2] > 0


def test_a_goal_lets_through_what_is_behind_it(graphics):
    clear, hidden = draw(make_task(), np.zeros((2, 2)), [[0.0, 1.0], [0.0, 0.0]], camera="top")
    assert middle(clear, 1)[2] > 20
    seen = hidden[HEIGHT // 2, WIDTH // 2].astype(int)
    alone = clear[int(middle(clear, 0)[0]), int(middle(clear, 0)[1])].astype(int)
    assert seen[0] > seen[1] + 20
    assert seen[1] > alone[1]  # green shines through


def test_paths_are_drawn_in_their_colours(graphics):
    task = make_task("u_maze")
    steps = np.linspace(0, 1, 50)[:, None]
    right, down = np.hstack([0 * steps + 1, 1 + 2 * steps]), np.hstack([1 + 2 * steps, 0 * steps + 1])
    qpos = np.stack([right, down], axis=1).astype(np.float32)
    colours = np.array([[1.0, 0, 0, 1], [0, 0, 1, 1]])
    goals = np.array([[1.0, 3.0], [3.0, 1.0]])
    picture = pictures.paths(task, qpos, goals, colours, width=WIDTH, height=HEIGHT)
    red, blue = middle(picture, 0), middle(picture, 2)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert red[2] > 20
    assert blue[2] > 20
    assert red[0] < HEIGHT / 2 < blue[0]
    assert blue[1] < WIDTH / 2 < red[1]


def test_two_renderers_may_be_open_at_once(graphics):
    one, two = make_task(), make_task("u_maze")
    alone = [draw(task, [[1.0, 1.0]], [[1.0, 2.0]])[0] for task in (one, two)]
    state = (np.ones((2, 2)), np.array([[1.0, 2.0]] * 2))
    both = zip(*(pictures.frames(task, *state, width=WIDTH, height=HEIGHT) for task in (one, two)), strict=True)
    for frames in both:
        for frame, expected in zip(frames, alone, strict=True):
            np.testing.assert_array_equal(frame, expected)


# What is in a scene, without graphics


def last_geom(scene):
    return scene.geoms[scene.ngeom - 1]


def test_a_marker_is_a_sphere_in_the_scene_where_the_task_says():
    task = make_task()
    scene = pictures.Stage(task, "side", 4 / 3).show(np.zeros(2), task.markers(np.array([1.0, -2.0])))
    geom = last_geom(scene)
    assert geom.type == mujoco.mjtGeom.mjGEOM_SPHERE
    np.testing.assert_allclose(geom.pos, [1.0, -2.0, 0.2], rtol=1e-6)
    np.testing.assert_allclose(geom.size, 0.3, rtol=1e-6)
    np.testing.assert_allclose(geom.rgba, pictures.GOAL_COLOUR, rtol=1e-6)


def test_a_goal_too_small_to_be_seen_is_drawn_larger():
    stage = pictures.Stage(make_task(), "side", 4 / 3)
    scene = stage.show(np.zeros(2), [Marker(np.array([30.0, 0.0, 0.0]), 1e-3)])
    assert last_geom(scene).size[0] > 0.1


def test_a_camera_from_the_side_follows_what_walks_and_stands_still_for_an_arm():
    def camera_at(task, qpos):
        stage = pictures.Stage(task, "auto", 4 / 3)
        return np.array([stage.show(np.array(q), []).camera[0].pos.copy() for q in qpos])

    at = camera_at(make_task(), [[0.0, 0.0], [3.0, 1.0]])
    np.testing.assert_allclose(at[1] - at[0], [3.0, 1.0, 0.0], atol=1e-5)
    at = camera_at(make_task(arm=True), [[0.0], [2.0]])
    np.testing.assert_array_equal(at[0], at[1])


def test_the_whole_maze_is_in_the_picture_from_above():
    for name in ("u_maze", "u5_maze", "hardest_maze"):
        for aspect in (0.5, 1.0, 2.0):
            task = make_task(name)
            eyes = (
                pictures.Stage(task, "auto", aspect).show(np.zeros(2), []).camera
            )  # the picture is from between
            camera = eyes[0]
            np.testing.assert_allclose(camera.forward, [0, 0, -1], atol=1e-6)
            rows, columns = task.maze.walls.shape
            near = camera.frustum_near
            high = camera.frustum_top / near * (camera.pos[2] - 0.4)  # at the top of the walls
            assert rows / 2 <= high <= 2 * max(rows / 2, columns / 2 / aspect)
            assert columns / 2 <= high * aspect
            middle = (eyes[0].pos + eyes[1].pos)[:2] / 2
            np.testing.assert_allclose(middle, [(rows - 1) / 2, (columns - 1) / 2], atol=1e-5)


def test_the_smallest_sphere_around_two():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = (pictures.Sphere(rng.normal(size=3), float(rng.uniform(0.1, 3))) for _ in range(2))
        both = pictures._around(a, b)
        gaps = [both.radius - np.linalg.norm(one.centre - both.centre) - one.radius for one in (a, b)]
        assert min(gaps) == pytest.approx(0, abs=1e-9)
        assert all(gap >= -1e-9 for gap in gaps)


def test_the_model_of_the_physics_keeps_its_looks():
    task = make_task()
    before = task.model.geom_rgba.copy(), task.model.geom_size.copy(), task.model.light_diffuse.copy()
    pictures.Stage(task, "auto", 1.0)
    after = task.model.geom_rgba, task.model.geom_size, task.model.light_diffuse
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)


def test_frames_close_their_canvas_even_when_not_all_are_taken(fake):
    task = make_task()
    assert [frame.shape for frame in draw(task, np.zeros((2, 2)), np.zeros((2, 2)))] == [(HEIGHT, WIDTH, 3)] * 2
    assert fake == ["open", "close"]
    some = pictures.frames(task, np.zeros((2, 2)), np.zeros((2, 2)), width=WIDTH, height=HEIGHT)
    next(some)
    some.close()
    assert fake == ["open", "close"] * 2


# Which graphics


def refuse(monkeypatch, *refused):
    """All contexts are fake, and some refuse; gives what was tried, with what the C library would read."""
    tried, log = [], []

    def new_context(backend, width, height):
        tried.append((backend, os.environ["MUJOCO_GL"]))
        if backend in refused:
            os.environ["PYOPENGL_PLATFORM"] = backend
            raise AttributeError(f"no {backend}\nhere")
        return FakeContext(log)

    monkeypatch.setattr(pictures, "Canvas", FakeCanvas)
    monkeypatch.setattr(pictures, "new_context", new_context)
    monkeypatch.setattr(pictures.platform, "system", lambda: "Linux")
    for name in ("MUJOCO_GL", "PYOPENGL_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    return tried


def open_one():
    with pictures.renderer(make_task().model, 16, 16) as canvas:
        return canvas


def test_egl_is_tried_before_osmesa(monkeypatch):
    tried = refuse(monkeypatch)
    open_one()
    assert tried == [("egl", "egl")]
    tried = refuse(monkeypatch, "egl")
    open_one()
    assert tried == [("egl", "egl"), ("osmesa", "osmesa")]
    assert "MUJOCO_GL" not in os.environ
    assert "PYOPENGL_PLATFORM" not in os.environ


def test_a_context_that_cannot_be_drawn_in_is_freed_and_the_next_is_tried(monkeypatch):
    tried = refuse(monkeypatch)
    log = []

    def canvas(model, width, height, context):
        if len(tried) == 1:
            log.append(context)
            raise mujoco.FatalError("OpenGL 1.5 required")
        return FakeCanvas(model, width, height, context)

    monkeypatch.setattr(pictures, "Canvas", canvas)
    open_one()
    assert [backend for backend, _ in tried] == ["egl", "osmesa"]
    assert log[0].log[0] == "free"


def test_without_graphics_one_message_says_what_was_tried_and_what_helps(monkeypatch):
    refuse(monkeypatch, "egl", "osmesa")
    with pytest.raises(MachineError) as caught:
        open_one()
    message = str(caught.value)
    assert "\n" not in message
    for part in ("egl said: no egl here", "osmesa said: no osmesa here", "libegl1", "libosmesa6"):
        assert part in message
    with pytest.raises(MachineError):
        draw(make_task(), np.zeros((1, 2)), np.zeros((1, 2)))


@pytest.mark.parametrize(("value", "backend"), [("osmesa", "osmesa"), (" EGL", "egl"), ("glfw", "glfw")])
def test_what_the_user_says_is_tried_and_nothing_else(monkeypatch, value, backend):
    tried = refuse(monkeypatch, backend)
    monkeypatch.setenv("MUJOCO_GL", value)
    with pytest.raises(MachineError, match=f"{backend} said"):
        open_one()
    assert tried == [(backend, backend)]
    assert os.environ["MUJOCO_GL"] == value


def test_graphics_that_are_turned_off_are_not_tried(monkeypatch):
    tried = refuse(monkeypatch)
    monkeypatch.setenv("MUJOCO_GL", "off")
    with pytest.raises(MachineError, match="MUJOCO_GL=off; unset it"):
        open_one()
    assert not tried


def test_an_error_in_the_middle_of_a_picture_is_not_a_matter_of_graphics(monkeypatch):
    tried = refuse(monkeypatch)
    with pytest.raises(ZeroDivisionError), pictures.renderer(make_task().model, 16, 16):
        raise ZeroDivisionError
    assert len(tried) == 1


DRAW = """
import sys, numpy as np
from goalward.envs.mujoco import render as pictures
sys.path.insert(0, "tests")
from test_render import make_task, draw
frames = [draw(make_task(), [[0.0, 0.0]], [[1.0, 0.0]])[0] for _ in range(2)]
print(*(name for name in ("mujoco.egl", "mujoco.osmesa") if name in sys.modules))
np.save(sys.argv[1], frames)
"""


def drawn_by(path, **environment):
    """Pictures drawn in a process of its own, and the graphics that it used; none where it could not."""
    clean = {
        name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")
    }
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(path)], capture_output=True, text=True, env=clean | environment
    )
    if "MachineError" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return np.load(path).astype(int), done.stdout.strip()


def test_where_egl_fails_osmesa_draws_the_same(tmp_path):
    """PyOpenGL has chosen its platform for good by the time EGL finds that it has no such device."""
    with_egl, used = drawn_by(tmp_path / "egl.npy")
    if used != "mujoco.egl":
        pytest.skip("EGL does not work here")
    without, used = drawn_by(tmp_path / "osmesa.npy", MUJOCO_EGL_DEVICE_ID="99")
    assert used == "mujoco.osmesa"
    np.testing.assert_array_equal(without[0], without[1])
    assert np.abs(with_egl - without).mean() < 1


def test_importing_asks_for_no_graphics():
    code = "import sys, goalward.envs.mujoco.render, goalward.pictures.render; print('OpenGL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# Files


def noise(number, shape=(48, 64, 3)):
    return list(np.random.default_rng(0).integers(0, 256, (number, *shape), np.uint8))


def read_gif(path):
    """Frames, and how long each is shown in ms."""
    with Image.open(path) as image:
        frames, times = [], []
        for i in range(image.n_frames):
            image.seek(i)
            frames.append(np.asarray(image.convert("RGB")))
            times.append(image.info["duration"])
    return frames, times


@pytest.mark.parametrize(("fps", "ms"), [(20.0, 50), (12.5, 80), (100 / 7, 70), (500.0, 20)])
def test_a_gif_holds_all_pictures_for_the_right_time(tmp_path, fps, ms):
    frames = noise(5)
    pictures.video(tmp_path / "a.gif", iter(frames), fps)
    read, times = read_gif(tmp_path / "a.gif")
    assert times == [ms] * 5
    for frame, original in zip(read, frames, strict=True):
        assert frame.shape == original.shape
        assert np.abs(frame.astype(int) - original).mean() < 40  # noise in 255 colours


def test_a_gif_of_few_colours_is_exact_and_what_stands_still_takes_its_time(tmp_path):
    frame = np.kron(
        np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
    )
    frames = [frame, frame[::-1], frame[::-1], frame[:, ::-1]]
    pictures.video(tmp_path / "a.gif", frames, 10.0)
    read, times = read_gif(tmp_path / "a.gif")
    assert sum(times) == 400
    for found, original in zip(read, [frames[0], frames[1], frames[3]], strict=True):
        np.testing.assert_array_equal(found, original)


@pytest.mark.parametrize("name", ["a.avi", "a", "gif"])
def test_other_names_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"must end in \.gif or \.mp4"):
        pictures.video(tmp_path / name, noise(1), 10.0)


def test_a_video_without_pictures_is_refused(tmp_path):
    with pytest.raises(UserError, match="no pictures"):
        pictures.video(tmp_path / "a.gif", [], 10.0)
    assert not (tmp_path / "a.gif").exists()


def test_mp4_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r"pip install imageio-ffmpeg"):
        pictures.video(tmp_path / "a.mp4", noise(2), 10.0)


def test_an_mp4_holds_all_pictures_for_the_right_time(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="the extra `video` is not installed")
    path = tmp_path / "a.mp4"
    frame = np.kron(noise(1, (6, 8, 3))[0], np.ones((16, 16, 1), np.uint8))
    pictures.video(path, (np.roll(frame, 4 * i, axis=1) for i in range(12)), 12.5)
    read = ffmpeg.read_frames(str(path))
    meta = next(read)
    first = np.frombuffer(next(read), np.uint8).reshape(96, 128, 3)
    read.close()
    assert meta["size"] == (128, 96)
    assert "yuv420p" in meta["pix_fmt"]  # which every player can show
    assert meta["fps"] == 12.5
    assert ffmpeg.count_frames_and_secs(str(path))[0] == 12
    assert np.abs(first.astype(int) - frame).mean() < 12


def test_ffmpeg_is_given_a_path_that_it_cannot_take_for_a_place_on_the_net(tmp_path, monkeypatch):
    stand_in = tmp_path / "ffmpeg"
    stand_in.write_text('#!/bin/sh\ncat > /dev/null; for last; do :; done; echo "$last" | tee said > "$last"\n')
    stand_in.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(
        sys.modules, "imageio_ffmpeg", types.SimpleNamespace(get_ffmpeg_exe=lambda: str(stand_in))
    )
    pictures.video(Path("http:a.mp4"), noise(2), 10.0)
    said = Path("said").read_text()
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}/http:a\.\w+\.tmp\.mp4\n", said)
    assert Path("http:a.mp4").read_text() == said
    assert not Path(said.strip()).exists()


def test_what_ffmpeg_says_is_told(tmp_path):
    pytest.importorskip("imageio_ffmpeg", reason="the extra `video` is not installed")
    with pytest.raises(MachineError, match=r"ffmpeg could not write .*No such file"):
        pictures.video(tmp_path / "missing" / "a.mp4", noise(3), 10.0)


# Runs


@pytest.mark.parametrize(
    ("step", "steps", "name", "every", "pace"),
    [
        (0.05, 100, "a.gif", None, (1, 20.0)),
        (0.05, 1000, "a.gif", None, (7, 12.5)),  # 3.5 times as fast as it was
        (0.02, 100, "a.gif", None, (1, 50.0)),
        (0.01, 150, "a.gif", None, (2, 50.0)),
        (0.05, 1000, "a.mp4", None, (1, 20.0)),
        (0.02, 1000, "a.mp4", None, (2, 25.0)),
        (0.05, 1000, "a.gif", 3, (3, 12.5)),
    ],
)
def test_the_pace_is_real_time_unless_a_gif_would_be_too_long(step, steps, name, every, pace):
    got = render.pace_of(step, steps, Path(name), every)
    assert got == pytest.approx(pace)
    if name == "a.gif" and every is None:
        assert len(range(0, steps, got.every)) <= render.MOST_FRAMES


def test_an_episode_is_as_long_as_something_moves():
    qpos = np.array([[0.0, 0], [1, 0], [1, 1], [1, 1], [1, 1]])
    assert render.length(qpos) == 3
    assert render.length(qpos[2:]) == 1
    assert render.length(qpos[:2]) == 2


def as_run(monkeypatch, env):
    """Every run directory holds a fresh agent of `env`."""
    config = toy.config(env_settings={})
    experiment = training.Experiment(config, env, env, training.agents.make(config, env.spec))
    run = training.blank(experiment)
    monkeypatch.setattr(render, "load_experiment", lambda directory, best, env_file: (experiment, run))


def test_a_run_becomes_a_video_of_all_its_episodes(monkeypatch, tmp_path, fake):
    as_run(monkeypatch, make_env())
    shown = []

    def frames(task, qpos, goals, **options):
        shown.append((qpos, goals, options))
        return iter(noise(len(qpos)))

    monkeypatch.setattr(pictures, "frames", frames)
    assert render.render(tmp_path, episodes=3, width=64, height=64) == [tmp_path / "episodes.gif"]
    ((qpos, goals, options),) = shown
    assert qpos.shape == goals.shape == (45, 2)
    assert options == {"width": 64, "height": 64, "camera": "auto"}
    keys = training.evaluation_keys(toy.config(), 3)
    np.testing.assert_array_equal(goals[::15], starter(make_env())(keys).goal)
    frames, times = read_gif(tmp_path / "episodes.gif")
    assert len(frames) == 45
    assert times[0] == 20  # a step takes 5 substeps of 2 ms, and a GIF shows something new every 20 ms at best


def test_goals_that_move_are_shown_where_they_were(monkeypatch, tmp_path, fake):
    env = make_env(follow=lambda physics, goal: goal + jnp.array([1.0, 0.0]))
    keys = training.evaluation_keys(toy.config(), 2)
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * 5), starter(env)(keys).state)
    goals = render.commanded(env, keys, states)
    first = np.asarray(starter(env)(keys).goal)
    for k in range(5):
        np.testing.assert_allclose(goals[k], first + np.array([k + 1, 0]), rtol=1e-6)


def test_a_run_in_a_maze_has_a_picture_of_its_paths(monkeypatch, tmp_path, fake):
    as_run(monkeypatch, make_env(maze="u_maze"))
    out = tmp_path / "deep" / "video.gif"
    written = render.render(tmp_path, out, episodes=2, view="side", width=64, height=96, every=10)
    assert written == [out, tmp_path / "deep" / "video_paths.png"]
    with Image.open(written[1]) as image:
        assert image.size == (64, 96)
    assert fake == ["open", "close"] * 2


def test_a_run_of_a_point_is_animated_without_graphics(tmp_path, tmp_path_factory, monkeypatch):
    refuse(monkeypatch, "egl", "osmesa")
    trained = toy.copy(toy.trained(tmp_path_factory), tmp_path / "run")
    written = render.render(trained, episodes=3)
    assert written == [trained / "episodes.gif", trained / "episodes_paths.png"]
    assert len(read_gif(written[0])[0]) > 1
    with pytest.raises(UserError, match=r"animated as a \.gif"):
        render.render(trained, tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"episodes": 0}, "episodes is 0; it must lie in 1 … 100"),
        ({"width": 101}, "width is 101; it must be even"),
        ({"height": 10000}, "height is 10000; it must lie in 64 … 4,096"),
        ({"height": 0}, "height is 0"),
        ({"every": 0}, "every is 0; it must lie in 1 …"),
        ({"view": "below"}, "view is 'below'; it must be one of auto, top, side"),
        ({}, "no run|not a run|is no"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_work(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        render.render(tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_a_gallery_has_a_picture_of_each_environment(tmp_path, monkeypatch, fake):
    make = envs.make
    monkeypatch.setattr(envs, "make", lambda name: make_env() if name == "slider" else make(name))
    written = render.gallery(["slider", "point_u_maze"], tmp_path / "pictures")
    assert written == [tmp_path / "pictures" / "slider.png", tmp_path / "pictures" / "point_u_maze.png"]
    for path in written:
        with Image.open(path) as image:
            assert image.size == (480, 360)
    with pytest.raises(UserError, match="unknown environment"):
        render.gallery(["nothing"], tmp_path)
