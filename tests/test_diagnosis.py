"""The diagnosis: each fault is found where it is the only one, and not where it is not."""

import json

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest
from faulty import CHOICES, env, seen

from goalward import contract, diagnosis
from goalward.diagnosis import columns, elements, goals, growth, recording, running
from goalward.envs import core, shapes
from goalward.envs.mujoco import TASKS, engine, joints
from goalward.envs.mujoco.task import Physics, Start, Task, reach_spec
from goalward.findings import NOTE, PROBLEM, WARNING, listed, note
from goalward.types import Sight, Trajectory


def found(record, rules=diagnosis.RULES):
    """What rules find: (severity, rule, elements), in the order of their names."""
    each = [finding for rule in rules for finding in rule(record)]
    return sorted((f.severity, f.rule, f.numbers.get("elements", f.numbers.get("element"))) for f in each)


@pytest.fixture(scope="module")
def sound():
    return seen(env())


def again(record, *, goal=None, **changes):
    """The same rows where goals, or parts of `EnvSpec`, are others."""
    spec = record.spec._replace(**changes)
    rows = {}
    for name in ("random", "held"):
        row = Trajectory(*getattr(record, name)[:5])
        rows[name] = recording._rows(spec, row._replace(goal=goal(row.goal)) if goal else row)
    reads = recording._reads(spec, record.random.obs)
    sources = recording._sources(reads, rows["random"].obs, record.random.obs)
    ranges = columns.ranges(*(row.obs for row in rows.values()))
    return record._replace(spec=spec, reads=reads, sources=sources, ranges=ranges, **rows)


def test_nothing_is_found_where_nothing_is_wrong(sound):
    assert found(sound) == []


# --- elements ---


def test_what_winds_up_jumps_or_follows_is_told_by_element():
    def extra(state):
        wrapped = jnp.arctan2(jnp.sin(state.turned), jnp.cos(state.turned))
        circle = jnp.stack([jnp.cos(state.turned), jnp.sin(state.turned)])
        return jnp.concatenate([jnp.stack([state.turned, wrapped, 1.0 - 2.0 * state.place[1]]), circle])

    record = seen(env(extra))
    assert found(record) == [(NOTE, "copies", [4]), (WARNING, "grows", [2]), (WARNING, "jumps", 3)]
    (told,) = growth.growth(record)
    assert told.numbers["last_quarter"][0] > 1.3 * told.numbers["second_quarter"][0]
    assert elements.copies(record)[0].numbers["originals"] == [1]
    assert found(record._replace(spec=record.spec._replace(shifts=((2,),)))) == [
        (NOTE, "copies", [4]),
        (WARNING, "jumps", 3),
    ]


def test_large_and_rounded_numbers_and_what_they_drown_are_told_by_element():
    def extra(state):
        return jnp.stack([5e3 * jnp.sin(3 * state.turned), 1e6 + jnp.cos(state.turned), 50 * state.last[1]])

    record = seen(env(extra))
    expected = [
        (NOTE, "scales", [3, 4]),
        (WARNING, "huge", [2, 3]),
        (WARNING, "rounded", [3]),
        (WARNING, "scales", [0, 1]),
    ]
    assert found(record) == expected
    assert elements.scales(record)[0].numbers["largest"] == 3
    # A hundred times as large as the rest is learned beside it.
    larger = record.ranges._replace(deviation=np.array([0.6, 0.6, 60.0, 1.0, 1.0]), mean=np.zeros(5))
    assert elements.scales(record._replace(ranges=larger)) == []
    # Elements that goals ask to go far are heard once they do.
    asked = again(record, goal=lambda goal: 2e5 * goal)
    assert elements.scales(asked)[0].severity == NOTE


@pytest.mark.parametrize(
    ("path", "grows"),
    [
        (lambda steps, noise: 10.0 * noise, False),  # stays where it is
        (lambda steps, noise: 0.1 * steps, True),  # a constant speed
        (lambda steps, noise: np.cumsum(noise, axis=0), True),  # a random walk
        (lambda steps, noise: 0.01 * steps, False),  # less than a turn in all
        (lambda steps, noise: 20.0 * np.tanh(steps / 10.0) + noise, False),  # comes to an end
    ],
)
def test_growth_is_told_from_what_stays_in_bounds(sound, path, grows):
    steps, worlds = 400, 64
    noise = np.random.default_rng(0).standard_normal((steps, worlds))
    obs = np.broadcast_to(path(np.arange(steps)[:, None], noise), (steps, worlds))[..., None]
    first = np.zeros((steps, worlds), bool)
    first[0] = True
    rows = sound.random._replace(obs=obs, first=first, terminated=first & False)
    record = sound._replace(random=rows, held=rows, sources=np.zeros((1, 2), bool))
    assert [f.numbers["elements"] for f in growth.growth(record)] == [[0]] * grows
    ended = first & False
    ended[-1] = True
    fallen = rows._replace(terminated=ended)
    assert growth.growth(record._replace(random=fallen, held=fallen)) == []


# --- goals ---


def only_x(obs):
    return jnp.concatenate([obs[..., :1], 0.0 * obs[..., :1]], axis=-1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"threshold": 0.3}, [(NOTE, "at the start", None)]),
        ({"threshold": 1.2}, [(NOTE, "coarse threshold", None), (WARNING, "at the start", None)]),
        ({"threshold": 9.0}, [(WARNING, "at the start", None), (WARNING, "coarse threshold", None)]),
        ({"threshold": 1e-4}, [(NOTE, "far goals", None), (WARNING, "fine threshold", None)]),
        ({"goal": lambda goal: 4.0 + goal}, [(NOTE, "far goals", None)]),
        ({"goal": lambda goal: 1e4 * goal, "threshold": 1.0}, [(WARNING, "far goals", None)]),
        (
            {"goal": lambda goal: goal * np.float32([1, 0]), "achieved": only_x, "threshold": 0.01},
            [(WARNING, "unread", [1])],
        ),
        ({"goal": lambda goal: goal * np.float32([1, 1e-4])}, []),  # the one element is of no account
        (
            {"goal": lambda goal: goal * np.float32([3e3, 1])},
            [(WARNING, "far goals", None), (WARNING, "goal scales", [1])],
        ),
    ],
)  # fmt: skip
def test_goals_that_cannot_be_told_apart_reached_or_missed_are_told(sound, changes, expected):
    assert found(again(sound, **changes)) == expected


def test_a_fine_threshold_is_none_on_a_grid(sound):
    def on_grid(rows):
        place = np.round(rows.achieved / 0.2) * np.float32(0.2)
        return rows._replace(achieved=place, distance=rows.distance * 0)

    record = again(sound, threshold=1e-4)
    assert goals.fine(record)
    assert goals.fine(record._replace(random=on_grid(record.random))) == []


def test_what_networks_are_given_is_looked_at_where_it_is_apart():
    """As of a `GoalEnv`: behind what is observed, rows hold what was achieved, which networks do not see."""

    def extra(state):
        angle = jnp.stack([jnp.cos(state.turned), jnp.sin(state.turned)])
        return jnp.concatenate([angle, 1.0 - 2.0 * state.place, 5.0 * state.turned[None]])

    record = seen(env(extra))
    assert found(record) == [(NOTE, "copies", [4, 5]), (WARNING, "grows", [6])]

    def given(first, last):
        return again(record, sight=Sight(lambda obs: obs[..., first:last], None, last - first, 2))

    assert found(given(2, 6)) == []
    assert given(2, 6).sources.tolist() == [[False] * 2, [False] * 2, [True, False], [False, True]]
    assert found(given(2, 4)) == [(WARNING, "unseen", [0, 1])]
    assert found(given(4, 7)) == [(WARNING, "grows", [2])]
    large = record.ranges._replace(deviation=np.array([1e3, 1e3, 0.6, 0.6]), mean=np.zeros(4))
    assert found(given(2, 6)._replace(ranges=large), [elements.scales]) == [(WARNING, "scales", [2, 3])]


# --- actions, episodes, physics, time ---


def test_an_idle_element_of_an_action_and_what_it_never_moves_are_told(sound):
    record = seen(env(move=lambda action: jnp.stack([action[0], jnp.zeros(())])))
    assert found(record) == [(WARNING, "idle action", [1]), (WARNING, "unmoved", 1)]
    (told,) = goals.unmoved(record)
    assert told.numbers["achieved"] == pytest.approx([-1, 1], abs=0.3)
    assert goals.unmoved(record._replace(constant=(1,))) == []
    assert record.effects[1] == 0.0
    assert (sound.effects > 0.1).all()


def test_choices_that_lead_to_the_same_or_to_nothing_are_told():
    """Choice 4 does nothing, 5 what 0 does."""

    def move(action):
        return action @ jnp.concatenate([CHOICES, jnp.zeros((1, 2)), CHOICES[:1]])

    record = seen(env(move=move, action_dim=6, discrete=True))
    same, nothing = running.idle_choices(record)
    assert (same.severity, same.numbers["groups"]) == (NOTE, [[0, 5]])
    assert (nothing.severity, nothing.numbers["elements"]) == (NOTE, [4])
    only_one = record._replace(effects=np.eye(7)[-1] * np.ones((6, 1)))
    assert [f.severity for f in running.idle_choices(only_one)] == [WARNING]
    # A choice that was of no use where it was tried, but is in rows, is not told.
    rare = record.effects.copy()
    rare[3, -1] = 0.0
    rare[3, 4] = rare[4, 3] = 0.0
    assert [f.numbers for f in running.idle_choices(record._replace(effects=rare))] == [
        same.numbers,
        nothing.numbers,
    ]


def test_episodes_that_end_at_once_are_told(sound):
    record = seen(env(terminated=lambda state: jnp.abs(state.turned) > 0.6))
    (told,) = running.short_episodes(record)
    assert (told.severity, told.numbers["limit"]) == (WARNING, 80)
    assert told.numbers["median"] <= contract.HELD
    first, ended = (np.zeros((100, 12), bool) for _ in range(2))
    first[::21], ended[20::21] = True, True
    falling = sound._replace(random=sound.random._replace(first=first, terminated=ended))
    assert running.short_episodes(falling) == []  # a quarter of the time limit
    far = falling._replace(spec=falling.spec._replace(episode_length=1000))
    assert [(f.severity, f.numbers["median"]) for f in running.short_episodes(far)] == [(NOTE, 20)]
    assert running.short_episodes(sound) == []


def test_faults_time_limits_and_slowness_are_told(sound):
    rules = (running.faults, running.time_limit, running.slow)
    assert found(sound._replace(faults=3), rules) == [(WARNING, "faults", None)]
    assert found(sound._replace(steps_per_second=100.0), rules) == [(NOTE, "slow", None)]
    cut = sound._replace(random=type(sound.random)(*(leaf[:60] for leaf in sound.random)))
    assert found(cut, rules) == [(NOTE, "time limit", None)]
    assert running.time_limit(cut)[0].remedy == "--steps 83"


# --- promises ---


def only_problem(built, **options):
    result = diagnosis.diagnose(built, worlds=4, steps=40, **options)
    assert diagnosis.is_broken(result)
    json.dumps(diagnosis.as_json(result), allow_nan=False)
    (problem,) = result.findings
    return problem


def test_a_number_that_is_none_is_told_with_element_step_and_action():
    problem = only_problem(env(lambda state: jnp.stack([state.last[0], jnp.sqrt(0.8 - state.turned)])))
    numbers = problem.numbers
    assert (problem.severity, problem.rule, numbers["elements"]) == (PROBLEM, "finite", [3])
    assert "element 3 is nan at step " in problem.what
    assert numbers["step"] >= 1
    assert numbers["action"][0] > 0


def test_a_number_that_is_none_only_under_long_actions_is_told():
    problem = only_problem(env(lambda state: 1 / jnp.maximum(0.0, 9.0 - state.turned)[None]))
    assert (problem.rule, problem.numbers["elements"]) == ("finite", [2])


def raising(*_):
    raise ValueError("the gripper is gone\nsee the manual")


@pytest.mark.parametrize(
    ("changes", "rule", "told"),
    [
        ({"step": raising}, "raises", "step raises ValueError at test_diagnosis.py:"),
        ({"observe": raising}, "raises", "observe raises ValueError at test_diagnosis.py:"),
        ({"distance": raising}, "raises", "spec.distance raises ValueError"),
        ({"terminated": lambda state: bool(state.turned > 1)}, "raises", "terminated raises Tracer"),
        ({"terminated": lambda state: state.place > 1}, "sizes", "terminated gives bool of shape (2,)"),
        ({"step": lambda state, action: state._replace(turned=action)}, "sizes", "step gives float32 of shape"),
        ({"step": lambda state, action: state.place}, "sizes", "step gives a state that is built otherwise"),
        ({"step": None}, "sizes", "there is neither a step nor an engine"),
        ({"reset": lambda key: jnp.zeros(2)}, "sizes", "reset gives "),
        ({"observe": lambda state: state.place[None]}, "sizes", "an observation is float32 of shape (1, 2)"),
        ({"observe": lambda state: [1.0, 2.0]}, "sizes", "an observation is list"),
        ({"observe": lambda state: state.place[:1]}, "sizes", "obs_dim is 2, but there are 1"),
        ({"achieved": lambda obs: obs[0]}, "sizes", "spec.achieved makes shape (3, 2) of (2, 3, 2)"),
        ({"distance": lambda a, b: jnp.max(jnp.abs(a - b))}, "sizes", "spec.distance makes shape () of two of"),
        ({"follow": lambda state, goal: goal[:1]}, "sizes", "goal_dim is 2, but there are 1"),
    ],
)  # fmt: skip
def test_functions_that_raise_or_do_not_fit_are_told_without_a_step(changes, rule, told):
    problems = shapes.broken(env(**changes))
    assert [problem.rule for problem in problems][:1] == [rule]
    assert problems[0].what.startswith(told)
    assert "\n" not in problems[0].what


def numpy_engine(advance):
    """The square, stepped by NumPy."""
    built = env()

    def control(state, action):
        return action

    def blank(worlds):
        start = jax.vmap(built.reset)(jax.random.split(jax.random.key(0), worlds))[0]
        return jax.tree.map(jnp.zeros_like, start)

    faults = core.Engine(control, advance, blank, lambda state: jnp.ones(len(state.turned), jnp.int32))
    return built._replace(step=None, engine=faults)


def stepped(state, control, turn, start):
    place = np.where((turn == core.START)[:, None], start.place, np.clip(state.place + 0.2 * control, -1, 1))
    return state._replace(place=place.astype(np.float32))


def test_actions_are_not_tried_where_no_state_can_be_put_back():
    built = numpy_engine(stepped)
    built = built._replace(
        engine=built.engine._replace(keeps=False, faults=lambda state: jnp.zeros(4, jnp.int32))
    )
    record = seen(built, worlds=4, steps=166)
    assert record.effects is None
    assert found(record, [running.idle_actions, running.idle_choices]) == []


def test_an_engine_that_raises_at_some_step_is_told():
    calls = []

    def breaking(*order):
        calls.append(order)
        return raising() if len(calls) > 30 else stepped(*order)

    problem = only_problem(numpy_engine(breaking))
    assert problem.what.startswith("engine.advance raises ValueError at test_diagnosis.py:")
    assert problem.what.endswith(": the gripper is gone")
    calls.clear()
    narrow = only_problem(numpy_engine(lambda *order: stepped(*order)._replace(turned=np.zeros(1, np.float32))))
    assert narrow.what.startswith("engine.advance gives float32 of shape (1,) for part 1 of the state")


# --- joints of MuJoCo ---


def arm(observe, limited):
    """A task with an arm on a hinge; a second arm is limited."""
    spec = mujoco.MjSpec()
    spec.option.timestep = 0.01
    for name, has_limits in (("spin", limited), ("swing", True)):
        body = spec.worldbody.add_body(name=name)
        capsule = mujoco.mjtGeom.mjGEOM_CAPSULE
        body.add_geom(type=capsule, fromto=[0, 0, 0, 0.2, 0, 0], size=[0.02, 0, 0], contype=0, conaffinity=0)
        limits = [-2.0, 2.0] if has_limits else [0.0, 0.0]
        body.add_joint(name=name, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], range=limits,
                       limited=int(has_limits), damping=[0.05, 0, 0])  # fmt: skip
        motor = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        motor.ctrlrange, motor.gear[0] = [-1, 1], 0.2
    model = spec.compile()

    def reset(key):
        one, other = jax.random.split(key)
        angles = jax.random.uniform(one, (2,), minval=-0.1, maxval=0.1)
        return Start(angles, jnp.zeros(2)), jax.random.uniform(other, (1,), minval=0.3, maxval=1.0)

    size = observe(Physics(jnp.zeros(2), jnp.zeros(2))).shape[0]
    goal = reach_spec(model, size, slice(0, 1), 70, 0.1)
    return Task("arm", model, 5, goal, reset, observe, lambda goal: [])


def raw(physics):
    return jnp.concatenate([physics.qpos[1:], 2.0 * physics.qpos[:1], physics.qvel])


def test_an_unlimited_hinge_that_turns_on_and_on_is_told_by_name():
    result = diagnosis.diagnose(engine.make(arm(raw, limited=False)), worlds=8, steps=140)
    (told,) = (finding for finding in result.findings if finding.severity != NOTE)
    assert (told.severity, told.rule, told.numbers["joint"]) == (WARNING, "winds up", "spin")
    assert "cosine" in told.remedy
    assert told.numbers["element"] == 1
    assert told.numbers["most_turns"] > 2
    assert result.measured.steps_per_second > 0


def test_elements_are_named_by_joints():
    physics = Physics(jnp.array([0.3, 0.4]), jnp.array([0.1, 0.2]))
    names = joints.element_names(arm(raw, limited=False), physics)
    assert names == {0: "position of joint swing", 2: "velocity of joint spin", 3: "velocity of joint swing"}


def test_only_angles_of_unlimited_hinges_wind_up():
    physics = Physics(jnp.array([0.3, 0.4]), jnp.array([0.1, 0.2]))
    (told,) = joints.wound_up(arm(raw, limited=False), physics).items()
    assert told == (1, joints.Winding("spin", pytest.approx(4 * np.pi, rel=1e-5)))
    assert joints.wound_up(arm(raw, limited=True), physics) == {}

    def circle(physics):
        return jnp.concatenate([physics.qpos[1:], jnp.cos(physics.qpos[:1]), jnp.sin(physics.qpos[:1])])

    far = physics._replace(qpos=jnp.array([1000.0, 0.4]))
    assert joints.wound_up(arm(circle, limited=False), far) == {}


@pytest.mark.parametrize(("name", "told"), [("reacher", {}), ("pusher_easy", {}), ("cheetah", {2: "rooty"})])
def test_joints_of_ours_that_are_observed_by_cosines_are_not_accused(name, told):
    built = engine.make(TASKS[name].build(name, TASKS[name].settings))
    physics = jax.tree.map(lambda leaf: leaf[0], built.engine.blank(1).physics)
    assert {element: one.joint for element, one in joints.wound_up(built.task, physics).items()} == told


# --- what is told ---


def test_long_lists_are_cut_and_numbers_are_plain():
    assert listed(["a"]) == "a"
    assert listed(list("abc")) == "a, b and c"
    assert listed([str(i) for i in range(9)]) == "0, 1, 2, 3, 4, 5 and 3 more"
    numbers = note("x", "y", a=np.float32(1 / 3), b=np.array([1, 2]), c={"d": np.inf}, e=[np.int64(3)]).numbers
    assert json.loads(json.dumps(numbers, allow_nan=False)) == {
        "a": 0.3333,
        "b": [1, 2],
        "c": {"d": "inf"},
        "e": [3],
    }
