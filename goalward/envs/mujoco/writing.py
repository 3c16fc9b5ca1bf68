"""The file of a task, written from a robot's XML: a start for a person to change."""

import itertools
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import mujoco
import numpy as np

from goalward.envs.mujoco.goals import BANK, Aim, Part, aim_at, joint_part, quoted, read, split
from goalward.envs.mujoco.postures import FREE, HINGE, SLIDE, Joint, joints, unmoved
from goalward.errors import UserError

STEP = 0.04  # s, about, of a step of the environment
WIDTH = 112  # characters of a line, where that can be had


def load(path: Path) -> mujoco.MjModel:
    """Read a robot's file, MJCF or URDF. Raises `UserError`, with MuJoCo's words, where it is none."""
    if not path.is_file():
        raise UserError(f"{path} is no file; name the XML of a robot")
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise UserError(
            f"{path} cannot be read as a model of MuJoCo: {' '.join(str(error).split())}"
        ) from error


def check(path: Path, model: mujoco.MjModel) -> None:
    """Raise `UserError`, naming it, for what of a model cannot be driven."""
    if not model.nu:
        raise UserError(
            f"{path} has no actuators, so that nothing can be done in it; add an <actuator> section"
        )
    for i in range(model.nu):
        low, high = model.actuator_ctrlrange[i]
        if not model.actuator_ctrllimited[i] or low >= high:
            name = model.actuator(i).name or f"number {i}"
            raise UserError(
                f"{path}: the actuator {name} has no range, so that an action in [−1, 1] does not say what "
                'it is to do; give it one, such as ctrlrange="-1 1"'
            )


def write(path: Path, goal: str, out: Path, when: str = "") -> str:
    """The text of a task file. `goal`: such as body:torso.xy; `when`: an end of episodes, as body:torso.z<0.3.

    Raises `UserError` for a file that is no robot's, and for what a goal cannot be.
    """
    model = load(path)
    check(path, model)
    aim = aim_at(path, model, goal)
    parts = _observed(model, aim)
    at = sum(part.size for part in parts[: parts.index(aim.part)])
    ends, ends_field = _ends(path, model, when) if when else ("", "")
    reads = sorted({part.field for part in parts if part.field} | ({ends_field} if ends_field else set()))
    constant = tuple(_constant(model, parts, aim))
    return _text(path, model, out, aim, parts, at, ends, reads, constant)


def _ends(path: Path, model: mujoco.MjModel, when: str) -> tuple[str, str]:
    """The expression that ends an episode, and the field of `Physics` it reads."""
    sign = next((sign for sign in "<>" if sign in when), "")
    thing, _, number = when.partition(sign) if sign else (when, "", "")
    try:
        limit = float(number)
    except ValueError:
        raise UserError(
            f"--terminate-when is {when!r}; write a thing and its limit, as body:torso.z<0.3"
        ) from None
    kind, name, axes = split(path, model, thing.strip())
    part = read(model, kind, name, axes)
    if part.size != 1:
        raise UserError(f"--terminate-when is {when!r}, of {part.size} numbers; name one, as body:torso.z<0.3")
    return f"{part.code}[0] {sign} {limit:g}", part.field


# The observation and the text ------------------------------------------------------------------------------


def _observed(model: mujoco.MjModel, aim: Aim) -> list[Part]:
    """All joints and their velocities, and the goal's thing where it is none of them."""

    def kind(joint: Joint) -> tuple[int, int]:
        """Joints of one kind that follow each other are one part."""
        is_alone = joint.kind not in (HINGE, SLIDE) or joint.winds or joint_part(joint) == aim.part
        return joint.kind, joint.at if is_alone else -1

    parts = []
    for (_, is_alone), group in itertools.groupby(joints(model), kind):
        members = list(group)
        parts += _alone(members[0], aim) if is_alone >= 0 else [_together(members)]
    parts.append(_velocities(model))
    return parts if aim.part in parts else [*parts, aim.part]


def _constant(model: mujoco.MjModel, parts: list[Part], aim: Aim) -> Iterator[int]:
    """Elements of the observation that random actions leave as they are, and the noise of starts too.

    What is to be reached is not among them: that it stays is worth a finding.
    """
    still, noisy, first = unmoved(model, _start(model)), set(_noisy(model)), 0
    for part in parts:
        at, elements = part.at, still.positions - noisy
        if part == _velocities(model):
            at, elements = 0, still.velocities
        if at is not None and part != aim.part:
            yield from (first + i for i in range(part.size) if at + i in elements)
        first += part.size


def _noisy(model: mujoco.MjModel) -> list[int]:
    """Elements of `qpos` that differ from episode to episode."""
    return [joint.at for joint in joints(model) if joint.kind in (HINGE, SLIDE)]


def _velocities(model: mujoco.MjModel) -> Part:
    return Part("velocities of all joints, in m/s and rad/s", "physics.qvel", int(model.nv))


def _start(model: mujoco.MjModel) -> np.ndarray:
    """Positions in which episodes start, but for noise."""
    return model.key_qpos[0] if model.nkey else model.qpos0


def _alone(joint: Joint, aim: Aim) -> list[Part]:
    size = aim.part.size
    if joint.kind != FREE or not aim.part.code.startswith(f"physics.qpos[{joint.at}:"):
        return [joint_part(joint)]
    at = joint.at + size
    rest = f"physics.qpos[{at}:{joint.at + 7}]"
    return [
        aim.part,
        Part(f"the rest of the position in m and quaternion of joint {joint.name}", rest, 7 - size, at=at),
    ]


def _together(members: list[Joint]) -> Part:
    first, last = members[0], members[-1]
    what = "angles of joints {} in rad" if first.kind == HINGE else "positions of joints {} in m"
    names = ", ".join(joint.name for joint in members)
    return Part(what.format(names), f"physics.qpos[{first.at}:{last.at + 1}]", len(members), at=first.at)


def _text(
    path: Path, model: mujoco.MjModel, out: Path, aim: Aim, parts: list[Part], at: int, ends: str,
    reads: list[str], constant: tuple[int, ...],
) -> str:  # fmt: skip
    layout, first = [], 0
    for part in parts:
        last = first + part.size - 1
        where = f"{first}" if part.size == 1 else f"{first} to {last}"
        told = part.what + (", which is to be reached" if part is aim.part else "")
        layout += textwrap.wrap(f"{where:>9}  {told}", 108, initial_indent="  ", subsequent_indent=" " * 13)
        first += part.size
    file = os.path.relpath(path.resolve(), out.resolve().parent)
    substeps = max(1, round(STEP / model.opt.timestep))
    start, noisy = _start(model), _noisy(model)
    is_bank = aim.draw.startswith(BANK)
    draw = "goals[jax.random.randint(key, (), 0, len(goals))]" if is_bank else aim.draw
    imported = ["Marker", "Physics", "Start", "Task", *(["places"] if is_bank else []), "reach_spec"]
    names = ", ".join(model.actuator(i).name or f"number {i}" for i in range(model.nu))
    head = [
        f'"""Bring {aim.what} of {path.name} to a goal.',
        "",
        f"Observation ({first}), by element:",
        *layout,
    ]
    head += textwrap.wrap(f"Action ({model.nu}), of −1 to 1, over each actuator's range: {names}.", 110)
    lines = [
        *head,
        '"""', "",
        "from pathlib import Path", "",
        "import jax", "import jax.numpy as jnp", "import mujoco", "import numpy as np", "",
        f"from goalward.task import {', '.join(imported)}", "",
        f'XML = Path(__file__).parent / "{file}"',
        f"SUBSTEPS = {substeps}  # of {model.opt.timestep:g} s, in a step",
        *_wrapped("START = np.array(", start.tolist(), f")  # qpos{_of_key(model)}"),
        *_wrapped("NOISY = np.array(", noisy, ", int)  # elements of it that differ from episode to episode"),
        "", "",
        f"def make(episode_length: int = 250, threshold: float = {aim.threshold:g}, start_noise: float = 0.1):",
        f'    """Bring {aim.what} to a goal; thresholds in {aim.unit}, noise in m and rad."""',
        "    model = mujoco.MjModel.from_xml_path(str(XML))",
        *(["    # Where random postures bring it.", f"    goals = jnp.asarray({aim.draw})"] if is_bank else []),
        "",
        *(["    def turned(angle):", "        return jnp.stack([jnp.cos(angle), jnp.sin(angle)])", ""]
          if "turned(" in draw else []),
        "    def reset(key):",
        "        noise_key, key = jax.random.split(key)",
        "        noise = start_noise * jax.random.uniform(noise_key, NOISY.shape, minval=-1.0)",
        "        qpos = jnp.asarray(START, jnp.float32).at[NOISY].add(noise)",
        "        wanted = " + draw,
        "        return Start(qpos, jnp.zeros(model.nv)), wanted", "",
        "    def observe(physics: Physics):",
        "        parts = [",
        *(f"            {part.code}," for part in parts),
        "        ]",
        "        return jnp.concatenate(parts)", "",
        *(["    def terminated(physics: Physics):", f"        return {ends}", ""] if ends else []),
        "    def markers(goal):",
        f"        return [Marker({aim.place}, threshold)]" if aim.place else
        "        return []  # nothing in space shows it",
        "",
        f"    goal = slice({at}, {at + aim.part.size})  # of the observation",
        f"    spec = reach_spec(model, {first}, goal, episode_length, threshold)",
        *_call("    return Task(", [
            f'"{out.stem}", model, SUBSTEPS, spec, reset, observe, markers' + (", terminated" if ends else ""),
            *([f"reads=({', '.join(map(quoted, reads))},)"] if reads else []),
            *([f"constant={constant}"] if constant else []),
        ]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _of_key(model: mujoco.MjModel) -> str:
    return f" of the keyframe {model.key(0).name}".rstrip() if model.nkey else ""


def _call(begin: str, arguments: list[str]) -> list[str]:
    """A call on one line, or with its arguments on lines of their own."""
    line = f"{begin}{', '.join(arguments)})"
    if len(line) <= WIDTH:
        return [line]
    indent = " " * (len(begin) - len(begin.lstrip()))
    return [begin, *(f"{indent}    {one}," for one in arguments), f"{indent})"]


def _wrapped(begin: str, values: list, end: str) -> list[str]:
    """A list of numbers over as many lines as it takes."""
    text = ", ".join(f"{value:g}" for value in values)
    line = f"{begin}[{text}]{end}"
    if len(line) <= WIDTH:
        return [line]
    rows = textwrap.wrap(text, 104)
    return [f"{begin}[", *(f"    {row}" for row in rows), f"]{end}"]
