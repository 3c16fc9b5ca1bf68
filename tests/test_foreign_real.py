"""Environments of others, as their packages have them: they keep the contract, and are trained on."""

from typing import Any, NamedTuple

import pytest
import toy

from goalward import contract, envs
from goalward.errors import UserError

pytestmark = [pytest.mark.system, pytest.mark.filterwarnings("ignore")]  # packages warn of their own versions
PLACES = {
    "exclude_current_positions_from_observation": False
}  # of Gymnasium's robots, which hide where they are
CHOOSES = {"name": "discrete_crl"}
PUT_BACK = "a state that is taken out and put back does not go on in the same way"


class Real(NamedTuple):
    """An environment, and what it is told."""

    name: str
    settings: dict[str, Any]
    keeps: bool = True  # whether its state can be taken out
    agent: dict[str, Any] = {"name": "crl"}  # noqa: RUF012


REAL = [
    Real("gym:CartPole-v1", {"goal": [0], "threshold": 0.1}, agent=CHOOSES),
    Real("gym:Reacher-v5", {"goal": [0, 1, 2, 3], "threshold": 0.3}),
    Real("gym:Swimmer-v5", {"goal": [0, 1], "threshold": 0.05, "kwargs": PLACES}),
    Real("gym:Hopper-v5", {"goal": [0], "threshold": 0.05, "kwargs": PLACES}),
    Real("gym:Ant-v5", {"goal": [0, 1], "threshold": 0.1, "kwargs": PLACES}),
    Real("gym:ogbench:pointmaze-medium-v0", {"goal": [0, 1], "kwargs": {"terminate_at_goal": False}}),
    Real("gym:ogbench:antmaze-medium-v0", {"goal": [0, 1], "kwargs": {"terminate_at_goal": False}}),
    Real("gym:ogbench:cube-single-v0", {"goal": [19, 20, 21], "threshold": 0.4}, keeps=False),
    Real("gym:gymnasium_robotics:PointMaze_UMaze-v3", {}),
]
each = pytest.mark.parametrize("real", REAL, ids=[real.name for real in REAL])


@each
def test_an_environment_of_others_keeps_the_contract(real):
    env = envs.make(real.name, real.settings | {"episode_length": 12, "processes": 1})
    assert env.engine is not None
    assert env.engine.keeps == real.keeps
    still = env._replace(constant=tuple(range(env.spec.obs_dim)))  # in 12 steps not everything moves
    findings = contract.check(still, worlds=4)
    assert set(findings.problems) <= (set() if real.keeps else {PUT_BACK})
    assert findings.faults == 0


@each
def test_an_environment_of_others_is_trained_on(real, tmp_path):
    settings = real.settings | {"episode_length": 12, "processes": 2}
    changes = {
        "env": real.name, "env_settings": settings, "agent": real.agent,
        "epochs": 1, "total_env_steps": toy.total(1) - toy.STEPS, "buffer_rows": 40, "steps_per_goal": None,
    }  # fmt: skip
    reports = toy.run(tmp_path, toy.config(**changes))
    assert reports[-1].iteration == 2
    assert reports[-1].faults == 0


@pytest.mark.parametrize("name", ["FetchReach-v4", "HandReach-v3"])
def test_what_a_package_cannot_make_on_this_mujoco_is_one_message(name):
    with pytest.raises(UserError, match=rf"gym:gymnasium_robotics:{name} cannot be made: .*AssertionError"):
        envs.make(f"gym:gymnasium_robotics:{name}")
