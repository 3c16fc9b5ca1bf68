"""Files of tasks that are written from a robot's XML: they work at once, and say what a model lacks."""

from importlib.util import find_spec
from pathlib import Path

import jax
import jax.numpy as jnp
import mujoco
import numpy as np
import pytest

from goalward import contract, envs, prng, rollout
from goalward.cli import main
from goalward.envs.mujoco import postures

ASSETS = Path(str(find_spec("gymnasium").origin)).parent / "envs" / "mujoco" / "assets"
ARM = """
<mujoco><worldbody><site name="mark" pos="0 0 1"/>
<body name="arm"><joint name="turn" axis="0 0 1"/><geom type="capsule" fromto="0 0 0 .3 0 0" size=".02"/>
<body name="slider" pos=".3 0 0"><joint name="out" type="slide" axis="1 0 0" range="0 .2"/>
<geom size=".03"/><site name="tip" pos=".05 0 0"/></body></body>
<body name="ball" pos="0 0 .5"><joint name="swing" type="ball"/><geom size=".05" pos=".1 .03 0"/></body>
</worldbody>
<actuator><motor name="m" joint="turn" ctrlrange="-1 1"/><position joint="out" ctrlrange="0 .2"/></actuator>
<sensor><touch name="press" site="tip"/><jointpos name="angle" joint="turn"/></sensor>
<keyframe><key name="home" qpos="0.5 0.1 1 0 0 0"/></keyframe></mujoco>
"""


@pytest.fixture
def new_task(tmp_path, capsys):
    """Write a task for a robot; the name of its environment, or what was said of it."""
    (tmp_path / "arm.xml").write_text(ARM)

    def new_task(goal, *words, robot="arm.xml", code=0):
        out = tmp_path / "mine.py"
        line = ["new-task", str(tmp_path / robot), "--goal", goal, "--out", str(out), "--force", *words]
        if code:
            with pytest.raises(SystemExit) as end:
                main(line)
            assert end.value.code == code
            return capsys.readouterr().err
        main(line)
        assert f"train {out}" in capsys.readouterr().out
        return f"{out}:make"

    return new_task


@pytest.mark.parametrize(
    ("goal", "size"),
    [("site:tip", 2), ("body:slider.xy", 2), ("joint:turn", 2), ("joint:out", 1), ("sensor:angle", 1)],
)
def test_a_task_works_at_once(new_task, goal, size):
    env = envs.make(new_task(goal), {"episode_length": 12})
    assert env.spec.goal_dim == size
    findings = contract.check(
        env._replace(constant=(6, 11)), worlds=6
    )  # nothing turns the ball about the vertical
    assert findings.problems == []
    worlds = rollout.starter(env)(jax.random.split(prng.key(0), 200))
    goals = np.asarray(worlds.goal)
    spread = np.linalg.norm(goals.std(axis=0))
    assert 0.05 * spread < env.spec.threshold < 0.5 * spread  # neither at hand nor out of reach


HELD = """<mujoco><worldbody>
<body name="hand" mocap="true" pos=".3 0 .5"><geom size=".04" contype="0" conaffinity="0"/></body>
<body name="arm" pos="0 0 .5"><joint name="turn" axis="0 1 0" range="-90 90"/>
<geom type="capsule" size=".03" fromto="0 0 0 .3 0 0"/><site name="tip" pos=".3 0 0"/></body>
<body name="held" pos=".3 .5 .5"><freejoint name="free"/><geom size=".05"/></body>
</worldbody><equality><weld body1="hand" body2="held"/></equality>
<actuator><motor joint="turn" ctrlrange="-1 1" gear="5"/></actuator></mujoco>"""


def test_what_a_mocap_target_holds_stays_and_is_no_goal_unasked(new_task, tmp_path):
    (tmp_path / "held.xml").write_text(HELD)
    env = envs.make(new_task("site:tip", robot="held.xml"), {"episode_length": 12})
    assert contract.check(env, worlds=6).problems == []
    env = envs.make(new_task("body:held", robot="held.xml"), {"episode_length": 12})
    [problem] = contract.check(env, worlds=6).problems
    assert "never change" in problem
    assert "is where it is in all postures" in new_task("body:hand", robot="held.xml", code=2)


def test_lines_of_a_task_can_be_read(tmp_path):
    (tmp_path / "an_arm_whose_name_says_much_of_where_it_was_built.xml").write_text(ARM)
    out = tmp_path / "a_task_whose_name_says_what_goes_where_and_why.py"
    robot = "an_arm_whose_name_says_much_of_where_it_was_built.xml"
    main(["new-task", str(tmp_path / robot), "--goal", "site:tip", "--out", str(out)])
    text = out.read_text()
    assert max(map(len, text.splitlines())) <= 112
    assert f'    return Task(\n        "{out.stem}", model' in text
    assert envs.make(f"{out}:make").spec.goal_dim == 2


def test_what_is_observed_is_where_the_file_says(new_task, tmp_path):
    """Against MuJoCo's own numbers, element by element."""
    env = envs.make(new_task("site:tip"))
    assert env.engine is not None
    worlds = rollout.starter(env)(jax.random.split(prng.key(0), 4))
    model = mujoco.MjModel.from_xml_path(str(tmp_path / "arm.xml"))
    data = mujoco.MjData(model)
    observed = np.asarray(jax.vmap(env.observe)(worlds.state))
    for obs, qpos in zip(observed, np.asarray(worlds.state.physics.qpos, np.float64), strict=True):
        data.qpos[:] = qpos
        mujoco.mj_forward(model, data)
        expected = [
            np.cos(qpos[0]),
            np.sin(qpos[0]),
            qpos[1],
            *qpos[2:6],
            *np.zeros(5),
            *data.site("tip").xpos[:2],
        ]
        np.testing.assert_allclose(obs, expected, atol=1e-5)
    text = (tmp_path / "mine.py").read_text()
    assert "0 to 1  cosine and sine of joint turn" in text
    assert "12 to 13  xy of site tip, in m, which is to be reached" in text
    assert "keyframe home" in text


def test_goals_are_reached_by_some_posture_and_starts_are_near_the_keyframe(new_task):
    env = envs.make(new_task("site:tip"), {"start_noise": 0.05})
    starts, goals = jax.jit(jax.vmap(env.reset))(jax.random.split(prng.key(1), 100))
    away = np.linalg.norm(np.asarray(goals)[:, :2], axis=1)
    assert ((away > 0.349) & (away < 0.551)).all()  # 0.35 m, and up to 0.2 m more
    moved = np.abs(np.asarray(starts.qpos) - [0.5, 0.1, 1, 0, 0, 0])
    assert (moved[:, :2] <= 0.0501).all()
    assert (moved[:, 2:] == 0).all()


@pytest.mark.parametrize(
    ("robot", "goal", "words"),
    [
        ("ant.xml", "body:torso.xy", ("--terminate-when", "body:torso.z<0.3")),
        ("half_cheetah.xml", "body:torso", ()),  # which moves along x alone
        ("reacher.xml", "body:fingertip.xy", ()),
    ],
)
def test_robots_of_gymnasium_get_tasks(new_task, tmp_path, robot, goal, words):
    (tmp_path / robot).write_text((ASSETS / robot).read_text())
    env = envs.make(new_task(goal, *words, robot=robot), {"episode_length": 10})
    assert env.spec.goal_dim == (1 if robot == "half_cheetah.xml" else 2)
    assert contract.check(env, worlds=4).problems == []
    assert env.constant == (
        (7, 8) if robot == "reacher.xml" else ()
    )  # velocities of a target that stands still


def test_a_goal_along_a_way_that_does_not_exist_is_told(new_task, tmp_path):
    (tmp_path / "half_cheetah.xml").write_text((ASSETS / "half_cheetah.xml").read_text())
    (tmp_path / "ant.xml").write_text((ASSETS / "ant.xml").read_text())
    assert "may be of these: .x\n" in new_task("body:torso.xy", robot="half_cheetah.xml", code=2)
    assert "may be of these: .x or .y or .xy" in new_task("body:torso.xz", robot="ant.xml", code=2)


def test_a_robot_may_be_of_several_files_and_of_meshes(new_task, tmp_path):
    corners = ("0 0 0", ".1 0 0", "0 .1 0", "0 0 .1")
    faces = ("1 3 2", "1 2 4", "2 3 4", "3 1 4")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "tip.obj").write_text(
        "\n".join([*(f"v {corner}" for corner in corners), *(f"f {face}" for face in faces)])
    )
    (tmp_path / "parts" / "meshes.xml").write_text(
        '<mujoco><asset><mesh name="tip" file="parts/tip.obj"/></asset></mujoco>'
    )
    whole = ARM.replace("<worldbody>", '<include file="parts/meshes.xml"/><worldbody>', 1)
    whole = whole.replace('<geom size=".03"/>', '<geom type="mesh" mesh="tip"/>')
    (tmp_path / "meshed.xml").write_text(whole)
    env = envs.make(new_task("site:tip", robot="meshed.xml"), {"episode_length": 10})
    assert env.task is not None
    assert env.task.model.nmesh == 1
    assert contract.check(env._replace(constant=(6, 11)), worlds=4).problems == []


def test_an_end_of_episodes_is_the_one_that_was_said(new_task, tmp_path):
    (tmp_path / "ant.xml").write_text((ASSETS / "ant.xml").read_text())
    env = envs.make(new_task("body:torso.xy", "--terminate-when", "body:torso.z<0.3", robot="ant.xml"))
    state = jax.tree.map(lambda leaf: jnp.asarray(leaf)[0], env.engine.blank(1))
    low, high = (
        state._replace(physics=state.physics._replace(qpos=jnp.zeros(15).at[2].set(height)))
        for height in (0.29, 0.31)
    )
    assert bool(env.terminated(low))
    assert not bool(env.terminated(high))


@pytest.mark.parametrize(
    ("change", "goal", "told"),
    [
        (("", ""), "site:tipp", "no site 'tipp'; there are mark, tip"),
        (("", ""), "tip", "KIND:NAME"),
        (("", ""), "site:tip.xw", "no site 'tip'|axes 'xw'"),
        (("", ""), "site:mark", "never moves"),
        (("", ""), "joint:swing", "no limits to draw goals from"),
        (("", ""), "body:arm", "is where it is in all postures"),
        ((' ctrlrange="-1 1"', ""), "site:tip", "actuator m has no range"),
        (("<motor", "<moter"), "site:tip", "cannot be read as a model"),
        (("<actuator>", "<actuator><!--"), "site:tip", "cannot be read|no actuators"),
    ],
)
def test_what_a_model_or_a_goal_lacks_is_told(new_task, tmp_path, change, goal, told):
    (tmp_path / "other.xml").write_text(ARM.replace(*change))
    said = new_task(goal, robot="other.xml", code=2)
    assert any(part in said for part in told.split("|")), said
    assert "Traceback" not in said


def test_files_are_not_replaced_unasked(tmp_path, capsys):
    (tmp_path / "arm.xml").write_text(ARM)
    (tmp_path / "mine.py").write_text("mine")
    words = ["new-task", str(tmp_path / "arm.xml"), "--goal", "site:tip", "--out"]
    for out, told in (
        (tmp_path / "mine.py", "--force replaces it"),
        (tmp_path / "mine.txt", "must end in .py"),
    ):
        with pytest.raises(SystemExit) as end:
            main([*words, str(out)])
        assert end.value.code == 2
        assert told in capsys.readouterr().err
    assert (tmp_path / "mine.py").read_text() == "mine"


def test_random_postures_keep_limits():
    drawn = postures.random_postures(mujoco.MjModel.from_xml_string(ARM), 500, np.random.default_rng(0))
    assert drawn[:, 0].min() < -3
    assert drawn[:, 0].max() > 3
    assert 0 <= drawn[:, 1].min() < 0.01
    assert 0.19 < drawn[:, 1].max() <= 0.2
    np.testing.assert_array_equal(drawn[:, 2:], np.tile([1, 0, 0, 0], (500, 1)))
