"""The Franka Panda arm with its hand, from boxes and capsules: no mesh and no file is needed.

Frames, masses, inertias, joint limits and gains are those of the Panda of MuJoCo Menagerie
(franka_emika_panda/panda.xml), whose frames and limits are those of Franka's data sheet. Shapes of links are
our own. Joint damping, what collides (hand and fingers), the stroke of the fingers and the strength of their
drive are those of the tasks of scaling-crl and JaxGCRL.
Lengths in m, angles in rad, masses in kg, forces in N and N m.
"""

from typing import NamedTuple

import mujoco
import numpy as np

from goalward.envs.mujoco import models

JOINTS = tuple(f"joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("finger_joint1", "finger_joint2")  # left and right
END_EFFECTOR = "end_effector"  # site midway between the fingertips
FINGERTIPS = ("left_fingertip", "right_fingertip")  # sites near the fingers' ends
ARMATURE, DAMPING = 0.1, 5.0  # of every joint; Menagerie's damping is 1

# Farthest that a finger slides out of the middle, as in the tasks of scaling-crl: a cube of 0.06 fits in
# however it is turned, and an open hand is told from one that grasps. On the real hand it is 0.04.
FINGER_RANGE = 0.08
# Of the drive that both fingers share: what the two drives of those tasks come to, ten times Menagerie's. With
# Menagerie's, a cube of 0.2 kg is held by 1.5 N on each side and slips out.
FINGER_GAIN, FINGER_DAMPING, FINGER_FORCE = 1000.0, 100.0, 1000.0
FINGER_ORIGIN = 0.0584  # along the hand
FINGERTIP = (0.0, 0.005, 0.07)  # in the frame of a finger, 5 mm before its end; Franka's tool point is at 0.045
FINGER_CENTRE, FINGER_HALF = (0.0, 0.0055, 0.035), (0.015, 0.005, 0.04)  # of a finger's box
HAND_Z, HAND_HALF_LENGTH, HAND_RADIUS = 0.035, 0.06, 0.04  # of the hand's capsule, which lies along its y

WHITE, GREY, DARK = (0.93, 0.94, 0.95, 1.0), (0.70, 0.72, 0.75, 1.0), (0.20, 0.21, 0.23, 1.0)
# Quarter turns about x that take the axis of one joint to that of the next.
STRAIGHT, BACK, FORTH = (1.0, 0.0, 0.0, 0.0), (1.0, -1.0, 0.0, 0.0), (1.0, 1.0, 0.0, 0.0)


class Link(NamedTuple):
    """A link that turns about the z axis of its frame, and the drive that turns it to a commanded angle."""

    position: tuple[float, ...]  # (3,) of its frame, in that of the link before
    turn: tuple[float, ...]  # (4,) likewise, a quaternion
    mass: float
    centre: tuple[float, ...]  # (3,) of mass
    inertia: tuple[float, ...]  # (6,) xx, yy, zz, xy, xz, yz
    limits: tuple[float, float]
    gain: float  # torque for an error of 1 rad; a tenth of it, for 1 rad/s, damps
    torque: float  # strongest


LINKS = (
    Link(
        (0.0, 0.0, 0.333), STRAIGHT, 4.970684, (0.003875, 0.002081, -0.04762),
        (0.70337, 0.70661, 0.009117, -0.000139, 0.006772, 0.019169), (-2.8973, 2.8973), 4500.0, 87.0,
    ),
    Link(
        (0.0, 0.0, 0.0), BACK, 0.646926, (-0.003141, -0.02872, 0.003495),
        (0.007962, 0.02811, 0.025995, -0.003925, 0.010254, 0.000704), (-1.7628, 1.7628), 4500.0, 87.0,
    ),
    Link(
        (0.0, -0.316, 0.0), FORTH, 3.228604, (0.027518, 0.039252, -0.066502),
        (0.037242, 0.036155, 0.01083, -0.004761, -0.011396, -0.012805), (-2.8973, 2.8973), 3500.0, 87.0,
    ),
    Link(
        (0.0825, 0.0, 0.0), FORTH, 3.587895, (-0.05317, 0.104419, 0.027454),
        (0.025853, 0.019552, 0.028323, 0.007796, -0.001332, 0.008641), (-3.0718, -0.0698), 3500.0, 87.0,
    ),
    Link(
        (-0.0825, 0.384, 0.0), BACK, 1.225946, (-0.011953, 0.041065, -0.038437),
        (0.035549, 0.029474, 0.008627, -0.002117, -0.004037, 0.000229), (-2.8973, 2.8973), 2000.0, 12.0,
    ),
    Link(
        (0.0, 0.0, 0.0), FORTH, 1.666555, (0.060149, -0.014117, -0.010517),
        (0.001964, 0.004354, 0.005433, 0.000109, -0.001158, 0.000341), (-0.0175, 3.7525), 2000.0, 12.0,
    ),
    Link(
        (0.088, 0.0, 0.0), FORTH, 0.735522, (0.010517, -0.004252, 0.061597),
        (0.012516, 0.010027, 0.004815, -0.000428, -0.001196, -0.000741), (-2.8973, 2.8973), 2000.0, 12.0,
    ),
)  # fmt: skip


class Limb(NamedTuple):
    """A capsule to look at, in the frame of its link; it weighs nothing."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    radius: float
    colour: tuple[float, ...] = WHITE


BASE_LIMBS = (
    Limb((-0.10, 0.0, 0.045), (0.0, 0.0, 0.045), 0.065),
    Limb((0.0, 0.0, 0.05), (0.0, 0.0, 0.12), 0.068),
    Limb((-0.14, 0.0, 0.05), (-0.12, 0.0, 0.05), 0.045, DARK),
)
# Along each joint's axis, and from there to the next joint.
LINK_LIMBS = (
    (Limb((0.0, 0.0, -0.16), (0.0, 0.0, -0.04), 0.062),),
    (Limb((0.0, 0.0, -0.06), (0.0, 0.0, 0.06), 0.062), Limb((0.0, 0.0, 0.0), (0.0, -0.14, 0.0), 0.058)),
    (Limb((0.0, 0.0, -0.13), (0.0, 0.0, -0.08), 0.062), Limb((0.0, 0.0, -0.08), (0.0825, 0.0, 0.0), 0.05)),
    (
        Limb((0.0, 0.0, -0.055), (0.0, 0.0, 0.055), 0.06, GREY),
        Limb((0.0, 0.0, 0.0), (-0.0825, 0.09, 0.0), 0.052),
    ),
    (
        Limb((0.0, 0.0, -0.27), (0.0, 0.0, -0.21), 0.06),
        Limb((0.0, 0.01, -0.21), (0.0, 0.07, -0.13), 0.045),
        Limb((0.0, 0.07, -0.13), (0.0, 0.03, -0.01), 0.04, GREY),
    ),
    (Limb((0.0, 0.0, -0.05), (0.0, 0.0, 0.03), 0.053), Limb((0.0, 0.0, 0.0), (0.088, 0.0, 0.0), 0.045)),
    (Limb((0.0, 0.0, -0.05), (0.0, 0.0, 0.05), 0.046), Limb((0.0, 0.0, 0.06), (0.0, 0.0, 0.085), 0.04, GREY)),
)


def add_arm(spec: mujoco.MjSpec, conaffinity: int) -> None:
    """Put the arm on the origin of a model, looking along +x at angles 0.

    Actuators: the angles of joints 1 to 7, then the mean of both fingers' ways out of the middle.
    Hand and fingers collide with geoms whose contype shares a bit with `conaffinity`, and not with each other;
    the rest of the arm collides with nothing. The velocity of the end-effector, (3,), is added to the sensors.
    """
    spec.compiler.degree = False
    body = spec.worldbody.add_body(name="link0")
    _add_limbs(body, BASE_LIMBS)
    for number, (link, limbs) in enumerate(zip(LINKS, LINK_LIMBS, strict=True), start=1):
        body = _add_link(spec, body, number, link)
        _add_limbs(body, limbs)
    _add_hand(spec, body, conaffinity)


def _add_limbs(body: mujoco.MjsBody, limbs: tuple[Limb, ...]) -> None:
    for limb in limbs:
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[*limb.start, *limb.end],
            size=[limb.radius, 0.0, 0.0],
            rgba=limb.colour,
            mass=0.0,
            contype=0,
            conaffinity=0,
        )


def _add_link(spec: mujoco.MjSpec, parent: mujoco.MjsBody, number: int, link: Link) -> mujoco.MjsBody:
    body = parent.add_body(
        name=f"link{number}",
        pos=link.position,
        quat=link.turn,
        mass=link.mass,
        ipos=link.centre,
        fullinertia=link.inertia,
        explicitinertial=True,
    )
    name = JOINTS[number - 1]
    body.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=[0, 0, 1],
        range=link.limits,
        armature=ARMATURE,
        damping=[DAMPING, 0.0, 0.0],  # linear in the velocity
    )
    drive = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
    _set_drive(drive, link.limits, link.gain, link.gain / 10.0, link.torque)
    return body


def _add_hand(spec: mujoco.MjSpec, flange: mujoco.MjsBody, conaffinity: int) -> None:
    hand = flange.add_body(
        name="hand",
        pos=[0, 0, 0.107],
        quat=[0.9238795, 0, 0, -0.3826834],
        mass=0.73,
        ipos=[-0.01, 0, 0.03],
        inertia=[0.001, 0.0025, 0.0017],
        explicitinertial=True,
    )
    hand.add_geom(
        name="hand",
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[0.0, -HAND_HALF_LENGTH, HAND_Z, 0.0, HAND_HALF_LENGTH, HAND_Z],
        size=[HAND_RADIUS, 0.0, 0.0],
        rgba=WHITE,
        contype=0,
        conaffinity=conaffinity,
    )
    hand.add_site(name=END_EFFECTOR, pos=[0, 0, FINGER_ORIGIN + FINGERTIP[2]], size=[0.004] * 3, group=4)
    models.add_sensor(spec, "framelinvel", mujoco.mjtObj.mjOBJ_SITE, END_EFFECTOR)
    tendon = spec.add_tendon(name="fingers")
    for side, (joint, tip) in enumerate(zip(FINGER_JOINTS, FINGERTIPS, strict=True)):
        _add_finger(hand, joint, tip, side, conaffinity)
        tendon.wrap_joint(joint, 0.5)
    spec.add_equality(
        type=mujoco.mjtEq.mjEQ_JOINT,
        objtype=mujoco.mjtObj.mjOBJ_JOINT,
        name1=FINGER_JOINTS[0],
        name2=FINGER_JOINTS[1],
        solref=[0.005, 1],
        solimp=[0.95, 0.99, 0.001, 0.5, 2],
    )
    drive = spec.add_actuator(name="fingers", target="fingers", trntype=mujoco.mjtTrn.mjTRN_TENDON)
    _set_drive(drive, (0.0, FINGER_RANGE), FINGER_GAIN, FINGER_DAMPING, FINGER_FORCE)


def _add_finger(hand: mujoco.MjsBody, joint: str, tip: str, side: int, conaffinity: int) -> None:
    finger = hand.add_body(
        name=tip.replace("tip", ""),
        pos=[0, 0, FINGER_ORIGIN],
        quat=[0, 0, 0, 1] if side else [1, 0, 0, 0],
        mass=0.015,
        inertia=[2.375e-6, 2.375e-6, 7.5e-7],
        explicitinertial=True,
    )
    finger.add_joint(
        name=joint,
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0, 1, 0],
        range=[0, FINGER_RANGE],
        armature=ARMATURE,
        damping=[DAMPING, 0.0, 0.0],  # linear in the velocity
    )
    finger.add_geom(
        name=tip.replace("tip", ""),
        type=mujoco.mjtGeom.mjGEOM_BOX,
        pos=FINGER_CENTRE,
        size=FINGER_HALF,
        rgba=DARK,
        contype=0,
        conaffinity=conaffinity,
    )
    finger.add_site(name=tip, pos=FINGERTIP, size=[0.004] * 3, group=4)


def _set_drive(
    drive: mujoco.MjsActuator, limits: tuple[float, float], gain: float, damping: float, force: float
) -> None:
    """Force = gain · (commanded − length) − damping · velocity, within ± force."""
    drive.gaintype, drive.biastype = mujoco.mjtGain.mjGAIN_FIXED, mujoco.mjtBias.mjBIAS_AFFINE
    drive.gainprm, drive.biasprm = np.zeros(10), np.zeros(10)
    drive.gainprm[0] = gain
    drive.biasprm[:3] = 0.0, -gain, -damping
    drive.ctrlrange = limits
    drive.forcerange = -force, force
