"""What a goal is of, as KIND:NAME: the part of an observation to be reached, and where goals are drawn."""

import json
from pathlib import Path
from typing import NamedTuple

import mujoco
import numpy as np

from goalward.envs.mujoco.postures import FREE, HINGE, SLIDE, Joint, joints, places
from goalward.errors import UserError

AXES = "xyz"
KINDS = {"body": "nbody", "site": "nsite", "joint": "njnt", "sensor": "nsensor"}  # and how many there are
OBJECTS = {kind: getattr(mujoco.mjtObj, f"mjOBJ_{kind.upper()}") for kind in KINDS}
BANK = "places"  # of random postures, in the code of a task
ROAM = 3.0  # how far goals of what can walk lie, in sizes of the robot
STILL = 1e-6  # what varies less does not move
SHARE = 0.08  # of what goals cover, for a threshold


class Part(NamedTuple):
    """A part of the observation."""

    what: str  # told to people
    code: str  # an expression of `physics`
    size: int
    field: str = ""  # of `Physics`, that has to be asked for
    at: int | None = None  # its first element of qpos, where it is a slice of that


class Aim(NamedTuple):
    """What a goal is of."""

    what: str  # told to people
    part: Part  # of the observation, as long as a goal
    draw: str  # an expression of `key` that gives a goal
    place: str  # an expression of `goal` that gives a point in space; none where there is none
    threshold: float
    unit: str


def split(path: Path, model: mujoco.MjModel, text: str) -> tuple[str, str, list[int]]:
    """Kind, name and axes, if any are told, of a text such as body:torso.xy.

    Raises `UserError`, with the names there are.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in KINDS:
        raise UserError(
            f"{text!r} is not of the form KIND:NAME, as in body:torso.xy; KIND is {', '.join(KINDS)}"
        )
    name, _, axes = rest, "", ""
    if _find(model, kind, name) < 0:
        name, _, axes = rest.rpartition(".")
    if _find(model, kind, name) < 0:
        names = [mujoco.mj_id2name(model, OBJECTS[kind], i) for i in range(getattr(model, KINDS[kind]))]
        known = ", ".join(name for name in names if name and name != "world") or "none that has a name"
        raise UserError(f"{path} has no {kind} {rest.partition('.')[0]!r}; there are {known}")
    if (axes and kind not in ("body", "site")) or not set(axes) <= set(AXES) or len(set(axes)) < len(axes):
        raise UserError(f"{text!r} has the axes {axes!r}; a body or site may have some of x, y, z, each once")
    return kind, name, [AXES.index(axis) for axis in axes]


def _find(model: mujoco.MjModel, kind: str, name: str) -> int:
    return mujoco.mj_name2id(model, OBJECTS[kind], name)


def read(model: mujoco.MjModel, kind: str, name: str, axes: list[int]) -> Part:
    """The part of an observation that is a thing's position, angle or measurement."""
    index = _find(model, kind, name)
    axes = axes or list(range(3))
    told = "".join(AXES[axis] for axis in axes)
    if kind == "joint":
        joint = joints(model)[index]
        return joint_part(joint)
    if kind == "sensor":
        at, size = int(model.sensor_adr[index]), int(model.sensor_dim[index])
        return Part(f"sensor {name}", f"physics.sensordata[{at}:{at + size}]", size, "sensordata")
    roots = [joint for joint in joints(model) if joint.kind == FREE and joint.body == index]
    if kind == "body" and roots:
        first = roots[0].at
        at = first + axes[0] if _follow(axes) else None
        return Part(f"{told} of body {name}, in m", f"physics.qpos[{_picked(axes, first)}]", len(axes), at=at)
    field = {"body": "xpos", "site": "site_xpos"}[kind]
    return Part(
        f"{told} of {kind} {name}, in m", f"physics.{field}[{index}][{_picked(axes, 0)}]", len(axes), field
    )


def quoted(name: str) -> str:
    """A name as code, in double quotes."""
    return json.dumps(name, ensure_ascii=False)


def _picked(axes: list[int], first: int) -> str:
    """Some elements, as a slice where they follow each other."""
    if _follow(axes):
        return f"{first + axes[0]}:{first + axes[-1] + 1}"
    return f"jnp.array({[first + axis for axis in axes]})"


def _follow(axes: list[int]) -> bool:
    """Whether elements follow each other."""
    return axes == list(range(axes[0], axes[0] + len(axes)))


def joint_part(joint: Joint) -> Part:
    """The part of an observation that is a joint's position."""
    here = f"physics.qpos[{joint.at}:{joint.at + joint.size}]"
    if joint.winds:
        code = f"jnp.concatenate([jnp.cos({here}), jnp.sin({here})])"
        return Part(f"cosine and sine of joint {joint.name}", code, 2)
    if joint.kind == FREE:
        return Part(f"position in m and quaternion of joint {joint.name}", here, 7, at=joint.at)
    unit = {HINGE: "angle of joint {} in rad", SLIDE: "position of joint {} in m"}
    what = unit.get(joint.kind, "quaternion of joint {}").format(joint.name)
    return Part(what, here, joint.size, at=joint.at)


def aim_at(path: Path, model: mujoco.MjModel, text: str) -> Aim:
    """What a text such as body:torso.xy says. Raises `UserError` for what cannot be reached."""
    kind, name, axes = split(path, model, text)
    index, what = _find(model, kind, name), f"{kind} {name}"
    if kind in ("body", "site"):
        return _in_place(path, model, kind, name, axes)
    part = read(model, kind, name, axes)
    if kind == "joint":
        return _at_joint(path, joints(model)[index], part)
    covered = places(model, lambda data: data.sensor(index).data)
    draw = f"{BANK}(model, lambda data: data.sensor({quoted(name)}).data)"
    return Aim(what, part, draw, "", _threshold(path, what, covered), "the unit of the sensor")


def _in_place(path: Path, model: mujoco.MjModel, kind: str, name: str, axes: list[int]) -> Aim:
    """Of a body or site; where no axes are told, of those that it can move along."""
    index, what = _find(model, kind, name), f"{kind} {name}"
    body = index if kind == "body" else int(model.site_bodyid[index])
    if _is_still(model, body):
        raise UserError(f"{path}: {what} never moves: no joint is between it and the world; name another goal")
    ways = _ways(model, body)
    if ways:
        axes = axes or ways
        _check_ways(path, what, axes, ways)
        middle = getattr(at_start(model), kind)(index).xpos
        return _on_ground(model, what, read(model, kind, name, axes), axes, middle)
    covered = places(model, lambda data: getattr(data, kind)(index).xpos)
    axes = axes or [axis for axis in range(3) if covered[:, axis].std() > STILL] or [0]
    threshold = _threshold(path, what, covered[:, axes])
    draw = f"{BANK}(model, lambda data: data.{kind}({quoted(name)}).xpos[{axes}])"
    return Aim(what, read(model, kind, name, axes), draw, _in_space(axes), threshold, "m")


def _at_joint(path: Path, joint: Joint, part: Part) -> Aim:
    if joint.winds:
        draw = "turned(jax.random.uniform(key, minval=-jnp.pi, maxval=jnp.pi))"
        return Aim(f"joint {joint.name}", part, draw, "", 0.1, "the unit circle")
    if joint.kind not in (HINGE, SLIDE) or joint.limits is None:
        raise UserError(
            f"{path}: joint {joint.name} has no limits to draw goals from; give it some, or name a body"
        )
    low, high = joint.limits
    draw = f"jax.random.uniform(key, (1,), minval={low:.6g}, maxval={high:.6g})"
    unit = "rad" if joint.kind == HINGE else "m"
    return Aim(f"joint {joint.name}", part, draw, "", _rounded(SHARE * (high - low)), unit)


def _on_ground(model: mujoco.MjModel, what: str, part: Part, axes: list[int], middle: np.ndarray) -> Aim:
    """Of what can walk away: goals lie around the start, whose place is `middle` (3,)."""
    far = _rounded(ROAM * _size(model))
    draw = f"jax.random.uniform(key, ({len(axes)},), minval=-{far:g}, maxval={far:g})"
    around = [round(float(middle[axis]), 3) for axis in axes]
    if any(around):
        draw = f"jnp.array({around}) + {draw}"
    return Aim(what, part, draw, _in_space(axes), _rounded(SHARE * len(axes) * far), "m")


def _size(model: mujoco.MjModel) -> float:
    """Half the diagonal of the box around all that moves, in m, in the start."""
    data = at_start(model)
    own = [i for i in range(model.ngeom) if not _is_still(model, int(model.geom_bodyid[i]))]
    reach = model.geom_rbound[own][:, None]
    low, high = (data.geom_xpos[own] - reach).min(axis=0), (data.geom_xpos[own] + reach).max(axis=0)
    return float(np.linalg.norm(high - low)) / 2


def at_start(model: mujoco.MjModel) -> mujoco.MjData:
    """The model as an episode starts: in its first keyframe, if there is one."""
    data = mujoco.MjData(model)
    if model.nkey:
        mujoco.mj_resetDataKeyframe(model, data, 0)
    mujoco.mj_forward(model, data)
    return data


def _is_still(model: mujoco.MjModel, body: int) -> bool:
    return int(model.body_weldid[body]) == 0


def _ways(model: mujoco.MjModel, body: int) -> list[int]:
    """Axes of the ground along which a body can go anywhere: by a free joint, or by slides without limits."""
    root, directions = int(model.body_rootid[body]), at_start(model).xaxis
    ways = set()
    for number, joint in enumerate(joints(model)):
        if joint.body == root and joint.kind == FREE:
            ways |= {0, 1}
        elif joint.body == root and joint.kind == SLIDE and joint.limits is None:
            ways |= {axis for axis in (0, 1) if abs(directions[number][axis]) > STILL}
    return sorted(ways)


def _check_ways(path: Path, what: str, axes: list[int], ways: list[int]) -> None:
    """Raise `UserError` for a goal of what can move freely along some axes, if it is of others."""
    if set(axes) <= set(ways):
        return
    free = " and ".join(AXES[axis] for axis in ways)
    either = " or ".join(f".{name}" for name in ([AXES[axis] for axis in ways] + ["xy"] * (len(ways) > 1)))
    raise UserError(f"{path}: a goal of {what}, which can move freely along {free}, may be of these: {either}")


def _in_space(axes: list[int]) -> str:
    if axes == [0, 1, 2]:
        return "goal"
    return f"np.insert(np.zeros({3 - len(axes)}), {_gaps(axes)}, goal)"


def _gaps(axes: list[int]) -> list[int]:
    """Where `np.insert` puts the elements of a goal among the zeros of the other axes."""
    return [axis - i for i, axis in enumerate(axes)]


def _threshold(path: Path, what: str, covered: np.ndarray) -> float:
    spread = float(np.linalg.norm(covered.std(axis=0)))
    if spread < STILL:
        raise UserError(f"{path}: {what} is where it is in all postures of the robot; name another goal")
    return _rounded(2 * SHARE * spread)


def _rounded(value: float) -> float:
    return float(f"{value:.1g}")
