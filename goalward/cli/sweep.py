"""The command `sweep`."""

import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from goalward.cli.process import heedless_output, start_jax, stop_signals
from goalward.errors import MachineError, UserError
from goalward.limits import check_number

if TYPE_CHECKING:
    from goalward.lab.study import Study
    from goalward.lab.sweep import Ended

SCALE = "laptop"  # by default
MOST_RETRIES = 1_000
Words = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True)
class Args:
    """Run all runs of a study, or those that are missing; stop it at any time and call it again."""

    study: tyro.conf.Positional[str]
    """Study of the package, file of one (.toml), or with --axis an environment."""
    scale: str | None = None
    """Scale of the study, such as smoke, laptop or paper; by default laptop."""
    axis: Words = ()
    """Setting to vary, such as depth=4,8 or seed=0..4, in place of a study; may be given several times."""
    only: Words = ()
    """Restrict an axis to some of its points, such as depth=4,8; may be given several times."""
    out: Path | None = None
    """Folder of the sweep; by default runs/STUDY-SCALE."""
    jobs: int | None = None
    """Runs side by side, which share the cores equally; by default one a GPU, or else one a core."""
    retries: int = 2
    """How often a run that fails is tried again."""
    on: Literal["local"] = "local"
    """Where runs run: as processes of this machine."""
    dry_run: bool = False
    """Only say what the runs will cost in memory and time, from a short measurement of each setting."""


def run(args: Args) -> None:
    """Run what is missing of a study, and show it. Exits with 1 where runs failed."""
    with heedless_output(), stop_signals("stopping: runs save their state") as should_stop:
        start_jax("cpu")  # other devices are for the runs
        from goalward.lab import costs, display, sweep
        from goalward.lab import folder as folders
        from goalward.lab.launchers import local

        check_number("retries", args.retries, 0, MOST_RETRIES)
        study = _study(args)
        only = folders.restriction(study, args.only)
        trials, folder = folders.chosen(study, only), args.out or folders.default(study)
        slots = local.slots(args.jobs, local.cores(), local.gpus())
        launcher = local.launcher(slots)
        if args.dry_run:
            needs, room = costs.needs(trials, slots)
            with display.measuring() as tell:
                found = costs.measure(trials, launcher, needs, tell, should_stop)
            display.print_costs(found, len(trials), slots, room)
            return
        with folders.hold(folder):
            folders.check(folder, study, trials)
            needs, room = costs.needs(folders.missing(folder, trials), slots)
            folders.save(folder, study, only)
            metric = folders.metric(study)
            with display.live(metric) as view:
                ended = sweep.run(
                    trials, folder, launcher, needs, view,
                    room=room, retries=args.retries, metric=metric, should_stop=should_stop,
                )  # fmt: skip
        _tell(args, folder, ended)


def _study(args: Args) -> "Study":
    from goalward.lab import study

    if not args.axis:
        return study.load(args.study, args.scale or SCALE)
    if args.scale is not None:
        raise UserError(f"--scale is {args.scale!r}, but --axis makes a study that has no scales; leave it out")
    return study.plain(args.study, args.axis)


def _tell(args: Args, folder: Path, ended: "Ended") -> None:
    """Say how it ended, and how to go on. Raises `MachineError` if runs failed."""
    from goalward import machine
    from goalward.lab import display

    again = f"go on with: {machine.command('sweep', *_words(args))}"
    if ended.failed:
        display.print_failures(folder, ended.failed)
        names = ", ".join(ended.failed)
        told = f"{len(ended.failed)} of {ended.number} runs failed: {names}"
        raise MachineError(f"{told}; mend what their logs say, then {again}")
    if ended.left:
        left = f"{len(ended.left)} of {ended.number} runs are left"
        print(f"stopped and saved, {left}; {again}", file=sys.stderr)
    else:
        print(f"all {ended.number} runs are done, in {folder}")


def _words(args: Args) -> list[str]:
    """What was typed after the command's name, as far as it is not what there is by default."""
    words = [args.study]
    for flag in fields(args):
        value = getattr(args, flag.name)
        if flag.name != "study" and value != flag.default:
            for item in value if isinstance(value, tuple) else [value]:
                words += [f"--{flag.name}", str(item)]
    return words
