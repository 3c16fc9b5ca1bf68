"""Environments that are examples of how to write one's own: they keep the contract, and are trained on."""

from pathlib import Path

import jax
import numpy as np
import pytest
import toy

from goalward import contract, envs, prng
from goalward.cli import main

FOLDER = Path(__file__).parents[1] / "examples"
SMALL = {"episode_length": 12}
EXAMPLES = {"arm/reach.py": SMALL, "rooms.py": SMALL | {"processes": 1}, "boat.py": SMALL}


def make(file, **settings):
    return envs.make(envs.asked(str(FOLDER / file)), EXAMPLES[file] | settings)


def test_all_examples_are_tried():
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.py")}
    assert files == set(EXAMPLES)
    for file in files:
        head = (FOLDER / file).read_text().split('"""')[1]
        assert all(f"goalward {command} examples/{file}" in head for command in ("check-env", "train"))


@pytest.mark.parametrize("file", EXAMPLES)
def test_an_example_keeps_the_contract(file):
    assert contract.check(make(file), worlds=6).problems == []


# Others are trained on by test_own, from files of their own.
TRAINED = [file if file == "rooms.py" else pytest.param(file, marks=pytest.mark.slow) for file in EXAMPLES]


@pytest.mark.parametrize("file", TRAINED)
def test_an_example_is_trained_on(file, tmp_path):
    settings = toy.SETTINGS | {
        "env": envs.asked(str(FOLDER / file)), "env_settings": EXAMPLES[file],
        "epochs": 1, "total_env_steps": toy.total(1) - toy.STEPS, "buffer_rows": 40,
    }  # fmt: skip
    settings.pop("steps_per_goal")
    reports = toy.run(tmp_path / "run", toy.config(**settings))
    assert reports[-1].faults == 0


def test_goals_of_the_arm_lie_above_its_table():
    goals = np.asarray(jax.vmap(make("arm/reach.py").reset)(jax.random.split(prng.key(0), 500))[1])
    assert goals[:, 2].min() > 0.1
    assert goals[:, 2].max() > 0.5


def test_the_arm_is_as_it_was_written_but_for_what_was_changed_by_hand(tmp_path):
    """What `new-task` writes is still what the example shows."""
    main(["new-task", str(FOLDER / "arm/arm.xml"), "--goal", "site:tip", "--out", str(tmp_path / "reach.py")])
    written, shown = ((path / "reach.py").read_text().splitlines() for path in (tmp_path, FOLDER / "arm"))
    gone = [line for line in written if line not in shown and "XML =" not in line]
    assert gone == []
    own = [line for line in shown[shown.index("import jax") :] if line and line not in written]
    assert [line for line in own if "LOWEST" not in line and "hand" not in line] == [
        'XML = Path(__file__).parent / "arm.xml"'
    ]


def test_rooms_say_by_themselves_when_a_goal_is_reached_and_when_an_episode_is_over():
    spec = envs.make(envs.asked(str(FOLDER / "rooms.py")), {"near": 0.3, "minutes": 45, "processes": 1}).spec
    assert spec.threshold == pytest.approx(0.3)
    assert spec.episode_length == 45
