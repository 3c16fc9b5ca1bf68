"""The viewer without a browser: who is let in, what is shown, and a world that obeys."""

import re
import shutil
import socket
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
import toy
import trimesh

from goalward import cast, envs, shipped, viewer
from goalward.cli import main, view
from goalward.envs.mujoco import pieces
from goalward.errors import MachineError, UserError
from goalward.lab import folder, study
from goalward.viewer import guard, player, scene, stage
from goalward.viewer.stage import Event
from goalward.world import World

SHOWN = ("ant", "ant_u_maze", "arm_push_easy", "cheetah", "humanoid", "reacher", "point_u_maze", "boxes_5x5_3")
COOKIE = "goalward-1f"


# Who is let in ---------------------------------------------------------------------------------------------


def asked(path="/", host="localhost:8080", **headers):
    told = {"Host": host, **{name.capitalize(): value for name, value in headers.items()}}
    return guard.answer(path, told, "secret", COOKIE)


def test_whoever_has_the_token_is_let_in_and_keeps_it_as_a_cookie():
    first = asked("/?token=secret")
    assert first.status == HTTPStatus.SEE_OTHER
    assert first.headers["Location"] == "/"
    assert {"HttpOnly", "SameSite=Lax"} <= set(first.headers["Set-Cookie"].split("; "))
    cookie = first.headers["Set-Cookie"].split(";")[0]
    for host in ("localhost:8080", "localhost", "127.0.0.1:9", "[::1]:80", "LOCALHOST:1"):
        assert asked(cookie=cookie, host=host) is None
        assert (
            asked(cookie=f'prefs={{"a": 1}}; bare; é={"ÿ"};{cookie}', host=host) is None
        )  # others' are anything
        assert asked(cookie=cookie, host=host, origin=f"http://{host}") is None


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"path": "/?token=guess"},
        {"path": "/?token="},
        {"path": "//[?token=guess"},
        {"path": "/?token=\udcff&token=%ff"},
        {"cookie": "goalward-1f=\udcff"},
        {"cookie": "goalward-1f=guess"},
        {"cookie": "goalward-1f="},
        {"cookie": 'goalward-1f="; other=secret'},
        {"cookie": "other=secret"},
        {"cookie": "goalward-1f=secret", "host": "evil.example"},
        {"cookie": "goalward-1f=secret", "host": "localhost.evil.example:8080"},
        {"cookie": "goalward-1f=secret", "host": ""},
        {"cookie": "goalward-1f=secret", "origin": "https://evil.example"},
        {"cookie": "goalward-1f=secret", "origin": "http://localhost:1"},
        {"cookie": "goalward-1f=secret", "origin": "null"},
        {"path": "/?token=secret", "host": "evil.example"},
        {"path": "/?token=secret", "origin": "http://evil.example"},
    ],
)
def test_others_are_refused(given):
    found = asked(**given)
    assert found.status == HTTPStatus.FORBIDDEN
    assert "secret" not in found.text + str(found.headers)


def test_a_server_that_cannot_be_guarded_is_not_used():
    with pytest.raises(MachineError, match="cannot be guarded"), guard.guarded("secret", COOKIE):
        pass


def test_tokens_are_long_and_never_the_same():
    tokens = {guard.new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert min(map(len, tokens)) >= 32


# What is shown ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHOWN)
def test_everything_that_is_shown_has_a_place(name):
    env = envs.make(name)
    shown, world = scene.of(env), World(env)
    world.reset(seed=3)
    if shown.picture is not None:
        picture = shown.picture(world.state, world.obs, world.goal)
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        return
    places, turns = shown.pose(world.state, world.obs)
    assert places.shape == (len(shown.shapes), 3)
    np.testing.assert_allclose(np.linalg.norm(turns, axis=1), 1, atol=1e-6)
    assert all(shape.faces.max() < len(shape.vertices) for shape in shown.shapes)
    for mark in shown.marks(world.goal):
        assert np.linalg.norm(mark.position - shown.centre) <= 1.01 * shown.radius
    moving = [i for i, shape in enumerate(shown.shapes) if shape.moves]
    for _ in range(5):
        world.step(np.ones(env.spec.action_dim))
    assert np.abs(shown.pose(world.state, world.obs)[0][moving] - places[moving]).max() > 1e-4


@pytest.mark.parametrize("name", [name for name in SHOWN if not name.startswith("boxes")])
def test_a_mark_goes_where_it_is_put(name):
    env = envs.make(name)
    shown, world = scene.of(env), World(env)
    world.reset(seed=0)
    for i, mark in enumerate(shown.marks(world.goal)):
        axes = [axis for axis, can in enumerate(scene.movable(shown, world.goal, i)) if can]
        wanted = mark.position + 0.1 * shown.radius * np.array([1.0, -2.0, 0.5])
        goal = scene.aimed(shown, world.goal, i, wanted, axes)
        assert goal.dtype == np.float32
        np.testing.assert_allclose(shown.marks(goal)[i].position[axes], wanted[axes], atol=1e-5)


@pytest.mark.parametrize("name", ["ant_u_maze", "arm_push_easy", "cheetah", "humanoid", "reacher"])
def test_triangles_are_where_mujoco_has_its_shapes(name):
    """Against the boxes that MuJoCo keeps around its geoms."""
    model = envs.make(name).task.model
    for geom in range(model.ngeom):
        mesh = pieces._mesh(model, geom)
        if mesh is None:
            assert int(model.geom_type[geom]) == int(mujoco.mjtGeom.mjGEOM_PLANE)
            continue
        centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        np.testing.assert_allclose(
            mesh.bounds, [centre - half, centre + half], rtol=0.02, atol=0.02 * half.max()
        )
        assert mesh.volume > 0  # its faces look outward


def test_heights_of_a_field_are_triangles():
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><asset><hfield name="h" nrow="2" ncol="3" size="2 1 3 0.1" elevation="0 0 0 0 1 0"/></asset>'
        '<worldbody><geom type="hfield" hfield="h"/><geom type="ellipsoid" size=".1 .2 .3" pos="0 0 9"/>'
        '<geom size="1" group="3"/></worldbody></mujoco>'
    )
    [piece] = pieces.pieces(model)  # of one colour; the third is of a group that is not shown
    mesh = trimesh.Trimesh(piece.vertices, piece.faces, process=False)
    np.testing.assert_allclose(mesh.bounds, [[-2, -1, 0], [2, 1, 9.3]], atol=1e-3)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    for x, y, z in pieces._mesh(model, 0).vertices:
        above = np.array([0.999 * x, 0.999 * y, 5.0])  # edges do not count
        down, hit = np.array([0.0, 0.0, -1.0]), np.zeros(1, np.int32)
        assert 5 - mujoco.mj_ray(model, data, above, down, None, 1, -1, hit) == pytest.approx(z, abs=0.1)
    assert pieces.floor(model) is None


@pytest.mark.parametrize("name", ["point_u_maze", "ant_u_maze", "ant"])
def test_the_ground_is_where_the_agent_could_be(name):
    env = envs.make(name)
    shown, world = scene.of(env), World(env)
    world.reset(seed=0)
    ground = shown.ground
    places = ground.points[ground.free]
    obs = ground.there(world.obs, places)
    assert obs.shape == (len(places), env.spec.obs_dim)
    achieved = np.asarray(env.spec.achieved(jnp.asarray(obs)))
    for goal, place in zip(achieved[::97], places[::97], strict=True):
        np.testing.assert_allclose(shown.marks(goal)[0].position[:2], place, atol=1e-4)
    assert (ground.points[0, 0, 1] > ground.points[-1, 0, 1]) & (
        ground.points[0, 0, 0] < ground.points[0, -1, 0]
    )
    if env.maze is not None:
        assert ground.free.mean() == pytest.approx((~env.maze.walls).mean(), abs=0.05)
        assert not shown.wall(shown.marks(world.goal)[0].position[:2])
        assert shown.wall(shown.centre[:2] + 10 * shown.radius)


def test_what_cannot_be_drawn_is_shown_as_points():
    """The rooms of the examples command their own goals, and have no `render`."""
    env = envs.make(envs.asked(str(Path(__file__).parents[1] / "examples/rooms.py")))
    world = World(env)
    world.reset(seed=0)
    with pytest.raises(UserError, match="cannot be drawn"):
        scene.of(env).picture(world.state, world.obs, world.goal)
    goals = cast.some_goals(world)
    shown = scene.places(env, goals)
    assert shown.radius > 1
    for goal in goals:
        assert np.linalg.norm(shown.marks(goal)[0].position - shown.centre) <= 1.01 * shown.radius
    world.close()


def test_a_picture_of_gymnasium_is_of_the_moment():
    pytest.importorskip("imageio", reason="the extra gym is not installed")
    env = envs.make("gym:Reacher-v5", {"goal": [8, 9], "threshold": 0.02})
    shown, world = scene.of(env), World(env)
    world.reset(seed=0)
    try:
        before = shown.picture(world.state, world.obs, world.goal)
    except UserError:
        pytest.skip("there are no graphics here")
    for _ in range(10):
        world.step(np.ones(2))
    assert (shown.picture(world.state, world.obs, world.goal) != before).any()
    world.close()


def test_bright_is_near_and_walls_are_clear():
    free = np.array([[True, False], [True, True]])
    image = player.painted(np.array([-3.0, -1.0, -2.0]), free)
    assert image[0, 1, 3] == 0
    assert image[1, 0, :3].sum() > image[1, 1, :3].sum() > image[0, 0, :3].sum()
    assert player.painted(np.zeros(3), free).shape == (2, 2, 4)


# What people do --------------------------------------------------------------------------------------------


class Page:
    """A page without a browser: keeps what it was told to show, and hands out what the test lets people do."""

    def __init__(self):
        self.waiting, self.shown, self.tour = [], {}, SimpleNamespace(value=True)

    def events(self):
        waiting, self.waiting = self.waiting, []
        return iter(waiting)

    def show(self, state, obs, goal):
        self.shown["obs"] = obs
        self.frames = getattr(self, "frames", 0) + 1


def note_down(name):
    def told(self, *given):
        self.shown[name.removeprefix("show_").removeprefix("offer_")] = given

    return told


for name in vars(player.Page):
    if name.startswith(("show_", "offer_")):
        setattr(Page, name, note_down(name))


class Agent:
    """Goes straight for the goal, or away from it."""

    def __init__(self, name, names, sign=1.0):
        self.name, self.names, self.sign, self.loaded, self.gone = name, names, sign, [], set()
        self.resets = 0

    def checkpoints(self):
        return list(self.names)

    def begin(self):
        self.resets += 1

    def load(self, checkpoint):
        if checkpoint in self.gone:
            raise UserError("it is gone")
        self.loaded.append(checkpoint)
        act = lambda obs, goal: np.clip(4 * self.sign * (goal - obs[:2]), -1, 1)  # noqa: E731
        return player.Acts(act, self.begin, lambda obs, goal: -np.linalg.norm(obs[:, :2] - goal, axis=1))


@pytest.fixture
def played():
    env = envs.make("point_u_maze")
    world, page = World(env), Page()
    world.reset(seed=0)
    agents = [Agent("to", ["early", "late"]), Agent("away", ["only"], -1.0)]
    shown = scene.of(env)
    its = player.Player(world, shown, page, agents, cast.drawing(env, 0))
    return SimpleNamespace(world=world, page=page, agents=agents, player=its, scene=shown, now=0.0)


def play(played, seconds, events=()):
    """Let so many seconds pass, 1 ms at each look at the clock; events (when, event) happen meanwhile."""
    waiting, begun = list(events), played.now

    def tick():
        played.now += 0.001
        while waiting and waiting[0][0] <= played.now - begun:
            played.page.waiting.append(waiting.pop(0)[1])
        return played.now

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(player.time, "sleep", lambda _: None)
        played.player.play(lambda: played.now - begun >= seconds, tick)


def straight_down(x, y):
    return Event("click", ((x, y, 9.0), (0.0, 0.0, -1.0)))


def test_a_click_is_a_goal_which_the_agent_reaches(played):
    start = played.scene.pose(played.world.state, played.world.obs)[0][1]
    play(played, 8, [(0.5, straight_down(start[0] + 1, start[1]))])
    place = played.scene.marks(played.world.goal)[0].position
    np.testing.assert_allclose(place[:2], [start[0] + 1, start[1]], atol=1e-5)
    assert played.world.success
    np.testing.assert_array_equal(played.page.shown["goal"][0], played.world.goal)
    assert played.page.shown["words"][0].reached
    assert played.page.tour.value is False


def test_a_click_on_a_wall_changes_nothing_but_the_note(played):
    before = played.world.goal
    play(played, 1, [(0.0, straight_down(0.0, 0.0)), (0.0, Event("click", ((0, 0, 9), (1.0, 0.0, 0.0))))])
    np.testing.assert_array_equal(played.world.goal, before)
    played.player.heed(straight_down(0.0, 0.0))
    played.player._tell()
    assert "wall" in played.page.shown["words"][0].note


def test_pausing_stepping_and_speed(played):
    play(played, 1.001)
    steps = played.world.steps
    assert steps in (10, 11)
    play(played, 1, [(0, Event("pause"))])
    assert played.world.steps - steps <= 1
    steps = played.world.steps
    play(played, 1, [(0, Event("step")), (0.2, Event("step"))])
    assert played.world.steps == steps + 2
    play(played, 1.001, [(0, Event("pause")), (0, Event("speed", 4.0))])
    assert played.world.steps - steps - 2 in (39, 40, 41)
    play(played, 0.01, [(0, Event("reset"))])
    assert played.world.steps <= 1


def test_what_is_typed_beside_a_slider_is_held_to_its_ends(played):
    for typed, speed in ((0.0, 0.1), (-3.0, 0.1), (1e9, 4.0), (2.0, 2.0)):
        played.player.heed(Event("speed", typed))
        assert played.player._speed == speed
    for typed, loaded in ((-7, "early"), (99, "late")):
        played.player.heed(Event("checkpoint", typed))
        assert played.agents[0].loaded[-1] == loaded
    played.player.heed(Event("run", 99))
    assert played.agents[1].loaded == ["only"]


def test_goals_by_drag_by_number_and_at_random(played):
    before = played.world.goal
    played.player.heed(Event("number", (1, 0.25)))
    np.testing.assert_allclose(played.world.goal, [before[0], 0.25])
    place = played.scene.marks(before)[0].position
    played.player.heed(Event("drag", (0, tuple(place))))
    np.testing.assert_allclose(played.world.goal, before, atol=1e-5)
    drawn = set()
    for _ in range(20):
        played.player.heed(Event("another"))
        drawn.add(tuple(played.world.goal.tolist()))
    assert len(drawn) > 1


def test_a_tour_goes_on_when_a_goal_was_reached(played):
    place = played.scene.pose(played.world.state, played.world.obs)[0][1]
    play(played, 0.1, [(0, straight_down(*place[:2])), (0.05, Event("tour", True))])
    first = played.world.goal
    play(played, 1.2)
    np.testing.assert_array_equal(played.world.goal, first)  # it stays a while
    play(played, 1.0)
    second = played.world.goal
    assert not np.array_equal(second, first)


def test_a_tour_gives_up_a_goal_that_is_not_reached(played):
    played.player.heed(Event("run", 1))  # which goes the wrong way
    goals = {tuple(played.world.goal.tolist())}
    for _ in range(3):
        play(played, played.scene.patience / played.scene.rate / 4 + 0.1, [(0, Event("speed", 4.0))])
        goals.add(tuple(played.world.goal.tolist()))
    assert len(goals) > 1


def test_agents_and_checkpoints_are_chosen(played):
    assert played.page.shown["runs"] == (["to", "away"],)
    to, away = played.agents
    assert to.loaded == ["late"]
    played.player.heed(Event("checkpoint", 0))
    assert to.loaded[-1] == "early"
    assert played.page.shown["choices"] == (["early", "late"], 0)
    played.player.heed(Event("run", 1))
    assert away.loaded == ["only"]
    played.player.heed(Event("run", 0))
    assert to.loaded[-1] == "late"


def test_who_looks_at_the_last_checkpoint_follows_a_run_that_learns(played):
    to = played.agents[0]
    to.names.append("later")
    to.gone.add("later")  # for a moment, as while it is written
    play(played, 2.1)
    assert to.loaded == ["late"]
    assert "gone" in played.player._note
    to.gone.clear()
    play(played, 2.1)
    assert to.loaded == ["late", "later"]
    played.player.heed(Event("checkpoint", 1))
    to.names[:] = ["late", "later", "last"]  # the first was removed: the same one has another number
    play(played, 2.1)
    assert to.loaded[2:] == ["late"]
    assert played.page.shown["choices"] == (["late", "later", "last"], 0)


def test_what_cannot_be_loaded_changes_nothing(played):
    to, away = played.agents
    away.gone.add("only")
    played.player.heed(Event("run", 1))
    assert (away.loaded, to.loaded) == ([], ["late"])
    assert played.page.shown["run"] == (0,)
    assert played.page.shown["choices"] == (["early", "late"], 1)
    played.player._tell()
    words = played.page.shown["words"][0]
    assert (words.title, words.note) == ("to", "it is gone")


@pytest.mark.parametrize("error", [UserError("no"), MachineError("no"), FileNotFoundError(2, "no")])
def test_a_step_that_fails_stops_the_world_and_is_told(played, error, monkeypatch):
    def fail(action):
        raise error

    monkeypatch.setattr(played.world, "step", fail)
    play(played, 1)
    assert "no" in played.page.shown["words"][0].note
    assert not played.player._playing


def test_what_is_refused_does_not_stay_on_the_page(played):
    before = played.world.goal
    for event in (
        Event("drag", (0, (0.0, 0.0, 0.0))),
        Event("number", (0, 50.0)),
        Event("number", (0, np.nan)),
    ):
        played.player.heed(event)
        np.testing.assert_array_equal(played.world.goal, before)
        np.testing.assert_array_equal(played.page.shown["goal"][0], before)


def test_a_new_goal_is_heeded_within_a_chunk(played):
    resets = played.agents[0].resets
    played.player.heed(straight_down(1.0, -1.0))
    assert played.agents[0].resets == resets + 1


def test_of_many_drags_the_last_counts():
    events = [Event("drag", (0, i)) for i in range(9)] + [Event("pause"), Event("drag", (1, 5)), Event("pause")]
    events += [Event("speed", 1.0), Event("drag", (0, 9)), Event("speed", 2.0)]
    assert player.latest(events) == [
        Event("pause"), Event("drag", (1, 5)), Event("pause"), Event("drag", (0, 9)), Event("speed", 2.0),
    ]  # fmt: skip


def test_what_stands_still_is_not_drawn_again(played):
    play(played, 0.2, [(0, Event("pause"))])
    frames = played.page.frames
    play(played, 1)
    assert played.page.frames == frames
    play(played, 0.2, [(0, Event("step"))])
    assert played.page.frames == frames + 1


def test_the_carpet_is_of_the_goal_and_the_agent_at_hand(played):
    play(played, 1.1, [(0, Event("carpet", True))])
    [first] = played.page.shown["carpet"]
    assert first.shape == (*played.scene.ground.free.shape, 4)
    played.page.shown.pop("carpet")
    play(played, 1.1)
    assert "carpet" not in played.page.shown  # it would be the same
    play(played, 1.1, [(0, straight_down(1.0, -1.0))])
    assert not np.array_equal(played.page.shown["carpet"][0], first)
    load = played.agents[1].load
    played.agents[1].load = lambda name: load(name)._replace(value=None)
    play(played, 1.1, [(0, Event("run", 1))])
    assert played.page.shown["carpet"] == (None,)
    played.player.heed(Event("carpet", True))
    assert "distances" in played.player._note
    played.player.heed(Event("carpet", False))
    assert played.page.shown["carpet"] == (None,)


def test_a_goal_that_moves_is_shown_where_it_is_and_cannot_be_set(played):
    played.player._scene = played.scene._replace(follows=True)
    before = played.world.goal
    played.player.heed(straight_down(1.0, -1.0))
    np.testing.assert_array_equal(played.world.goal, before)
    assert "moves with the world" in played.player._note
    played.page.shown.clear()
    play(played, 0.3)
    assert "goal" in played.page.shown


def test_touched_is_the_mark_that_is_nearest(played):
    marks = [scene.Mark(np.array([0.0, 0, 1]), 0.1), scene.Mark(np.array([2.0, 0, 0]), 0.1)]
    shown = played.scene._replace(centre=np.zeros(3), radius=2.0)
    for x, expected in ((0.4, 0), (1.8, 1)):
        found, place = stage.touched(shown, marks, ((x, 0.3, 5.0), (0.0, 0.0, -1.0)))
        assert found == expected
        np.testing.assert_allclose(place, [x, 0.3, marks[found].position[2]])
    for ray in (((0, 0, 5), (0, 0, 1.0)), ((0, 0, 5), (1.0, 0, 0)), ((0, 0, 5), (1.0, 0, -1e-3))):
        assert stage.touched(shown, marks, ray) is None


# Who acts --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return toy.trained(tmp_path_factory)


def test_a_run_acts_at_each_of_its_checkpoints(trained):
    env, [choice] = cast.choose([("run", trained)])
    assert choice.name == "run"
    names = choice.checkpoints()
    assert all(name.endswith(" environment steps") for name in names)
    world = World(env)
    world.reset(seed=0)
    early, late = choice.load(names[0]), choice.load(names[-1])
    assert early.act(world.obs, world.goal).shape == (2,)
    assert late.value(np.tile(world.obs, (3, 1)), np.tile(world.goal, (3, 1))).shape == (3,)
    assert not np.array_equal(early.act(world.obs, world.goal), late.act(world.obs, world.goal))


def test_a_run_that_vanishes_or_is_damaged_is_told(trained, tmp_path):
    run = toy.copy(trained, tmp_path / "run")
    _, [choice] = cast.choose([("run", run)])
    *_, last = sorted((run / "checkpoints").iterdir())
    names = choice.checkpoints()
    (last / "state.json").unlink()
    assert choice.checkpoints() == names[:-1]
    shutil.rmtree(run)
    with pytest.raises(UserError, match="has no checkpoint; wait"):
        choice.checkpoints()
    with pytest.raises(UserError, match=f"the checkpoint after {names[0]} is gone"):
        choice.load(names[0])


def test_agents_of_other_environments_are_refused(trained):
    with pytest.raises(UserError, match="the environment of reacher, reacher has obs_dim 10"):
        cast.choose([("run", trained), ("reacher", shipped.folder("reacher"))])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name what to watch"),
        (
            ["nothing"],
            "is neither a run, as `goalward train` makes, nor a sweep",
        ),
        (["reacher", "--port", "70000"], "port"),
        (["reacher", "--seed", "-1"], "seed"),
    ],
)
def test_mistakes_are_told(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["view", *words])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_without_the_extra_it_is_named(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "viser", None)
    with pytest.raises(MachineError, match=r"pip install \"goalward\[view\]\""):
        viewer.library()
    with pytest.raises(SystemExit) as caught:
        main(["view", "reacher"])
    assert caught.value.code == 1
    assert "the extra `view`" in capsys.readouterr().err


def test_one_argument_may_stand_for_a_sweep(trained, tmp_path, monkeypatch):
    assert view.expanded(str(trained)) == [("run", trained)]
    assert view.expanded("reacher") == [("reacher", shipped.folder("reacher"))]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reacher").mkdir()  # what is here goes before what the package has
    with pytest.raises(UserError, match="neither a run"):
        view.expanded("reacher")


def test_of_a_sweep_all_runs_with_a_checkpoint_are_shown(trained, tmp_path):
    two = study.plain("point_u_maze", ["seed=0,1"])
    folder.save(tmp_path, two, {}, 1)
    for name in ("seed=0", "seed=1"):
        toy.copy(trained, folder.run_directory(tmp_path, name))
    for place in (folder.run_directory(tmp_path, "seed=1") / "checkpoints").iterdir():
        place.rename(place.with_name(f".partial-{place.name}"))  # its first is being written
    assert view.expanded(str(tmp_path)) == [("seed=0", folder.run_directory(tmp_path, "seed=0"))]


def test_agents_of_equal_names_are_told_apart(tmp_path):
    named = [("run", tmp_path / "a/run"), ("run", tmp_path / "b/run"), ("other", tmp_path / "other")]
    assert [name for name, _ in view.told_apart(named)] == ["a/run", "b/run", "other"]


def test_the_address_is_not_among_the_words_of_a_program(monkeypatch):
    opened = []
    monkeypatch.setattr(view.webbrowser, "open", opened.append)
    path = view.open_browser("http://127.0.0.1:1/?token=secret")
    assert "url=http://127.0.0.1:1/?token=secret" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    assert opened == [path.as_uri()]
    path.unlink()


def test_a_browser_is_opened_where_it_is_seen(monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(view.sys, "platform", "linux")
    assert not view.has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert view.has_display()
    monkeypatch.setenv("SSH_CONNECTION", "1 2 3 4")
    assert not view.has_display()
    monkeypatch.setattr(view.sys, "platform", "darwin")
    assert not view.has_display()
    monkeypatch.delenv("SSH_CONNECTION")
    assert view.has_display()


# What the package brings -----------------------------------------------------------------------------------

LEAST = {"ant": 0.02, "arm_reach": 0.8, "point_big_maze": 0.4, "point_u_maze": 0.8, "reacher": 0.9}


def test_policies_of_the_package_are_whole_and_told():
    assert shipped.names() == sorted(LEAST)
    page = (Path(__file__).parents[1] / "docs/view.md").read_text()
    for name in shipped.names():
        card = (shipped.folder(name) / shipped.CARD).read_text()
        rates = re.findall(r"\| (?:success|time at the goal)[^|]*\| ([\d.]+) \| ([\d.]+) \|", card)
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}`")]
        assert all(f" {ours} ({chance}) " in row for ours, chance in rates)
    with pytest.raises(UserError, match="no policy of the package; there are ant, arm_reach"):
        shipped.folder("boat")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if "point" in name else pytest.mark.slow) for name in sorted(LEAST)]
)
def test_a_policy_of_the_package_does_what_its_card_says(name):
    """Of the time at the goal, by eight episodes; the bounds leave room for what other machines round."""
    env, [choice] = cast.choose([(name, shipped.folder(name))])
    world, acts = World(env), choice.load(choice.checkpoints()[-1])
    near = []
    for seed in range(8):
        world.reset(seed=seed)
        acts.reset()
        for _ in range(env.spec.episode_length):
            world.step(acts.act(world.obs, world.goal))
            near.append(world.success and not world.over)
    assert np.mean(near) > LEAST[name]


# The page, without a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served():
    env = envs.make("arm_push_easy")
    world, shown = World(env), scene.of(env)
    world.reset(seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builtins.print", lambda *_, **__: None)
        page = stage.Stage(shown, "a page", world.goal)
    yield page, world
    page.close()


def test_a_page_shows_what_it_is_told(served):
    page, world = served
    page.show(world.state, world.obs, world.goal)
    page.show_goal(world.goal + 0.25)
    np.testing.assert_allclose(page._marks[0][1].position, world.goal[:3] + 0.25, atol=1e-5)
    np.testing.assert_allclose([number.value for number in page._numbers], world.goal + 0.25, atol=1e-4)
    for names, chosen in ((list("abcdefghij"), 9), (["a", "b"], 0), (["a"], 0), (["a", "b", "c"], 2)):
        page.show_choices(names, chosen)
        assert page._checkpoint.visible == (len(names) > 1)
        if len(names) > 1:
            assert (page._checkpoint.value, page._checkpoint.max) == (chosen, len(names) - 1)
    page.offer_runs(["one"])
    page.show_run(0)
    page.offer_runs(["one", "two"])
    page.show_run(1)
    assert page._run.value == 1
    assert list(page.events()) == []  # nothing of this was a person's


def test_a_page_shows_text_as_it_is(served):
    page, _ = served
    note = "<iframe srcdoc=x></iframe> ![a](http://x) *_`\n# b"
    page.show_words(stage.Words("[name](http://y)", 0.5, True, 1.25, note))
    title, distance, time, told = page._words.content.split("\n\n")
    assert re.sub(r"\\(.)", r"\1", title) == "[name](http://y)"
    assert re.sub(r"\\(.)", r"\1", told[1:-1]) == note.replace("\n", " ")
    assert not re.search(r"(?<!\\)[<\[!`#_]", title + told)
    assert (distance, time) == ("**at the goal**, distance 0.5", "1.2 s")


def test_a_page_that_others_ask_for_is_refused_and_shared_with_nobody(served):
    page, _ = served
    assert page.address.startswith("http://127.0.0.1:")
    handlers = page._server._websock_server._incoming_handlers
    assert not any("ShareUrl" in kind.__name__ for kind in handlers)


def test_a_port_that_is_taken_is_told():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(MachineError, match=r"port \d+ cannot be had: .*; name another, or none"):
            stage.check_free(other.getsockname()[1])
    stage.check_free(0)
