"""The command `new-task`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from goalward.errors import UserError


@dataclass(frozen=True)
class Args:
    """Write the file of a task for a robot of your own, from its XML."""

    robot: tyro.conf.Positional[Path]
    """The robot, as MuJoCo reads it: MJCF or URDF."""
    goal: str
    """What is to be brought to a goal, as KIND:NAME: body:torso.xy, site:tip, joint:elbow or sensor:touch."""
    out: Path
    """The file to write, such as my_task.py."""
    terminate_when: str = ""
    """What ends an episode as a failure, such as body:torso.z<0.3; by default nothing does."""
    force: bool = False
    """Replace a file that is there already."""


def run(args: Args) -> None:
    """Write a task's file, see that it works, and say what to do with it."""
    from goalward import envs, files, machine
    from goalward.envs.mujoco import writing

    if args.out.suffix != ".py":
        raise UserError(f"--out is {args.out}; it must end in .py")
    if args.out.exists() and not args.force:
        raise UserError(f"{args.out} is there already; --force replaces it")
    text = writing.write(args.robot, args.goal, args.out, args.terminate_when)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    files.replace(args.out, text)
    spec = envs.make(envs.asked(str(args.out))).spec
    told = {"observation": spec.obs_dim, "goal": spec.goal_dim, "action": spec.action_dim}
    print(f"{args.out}: numbers of {', '.join(f'{name}: {size}' for name, size in told.items())}")
    print(f"look it over:  {machine.command('check-env', args.out)}")
    print(f"train on it:   {machine.command('train', args.out)}")
