"""The command `sweep`."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from goalward.cli.process import heedless_output, start_jax, stop_signals
from goalward.errors import MachineError, UserError
from goalward.limits import INT32, check_number

if TYPE_CHECKING:
    from goalward.lab.axes import Trial
    from goalward.lab.launchers.core import Launcher
    from goalward.lab.study import Study
    from goalward.lab.sweep import Ended, Resources

SCALE = "laptop"  # by default
MOST_RETRIES = 1_000
Words = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True)
class Args:
    """Run what is missing of a study; stop it at any time, and call it again."""

    study: tyro.conf.Positional[str]
    """Study of the package (an unknown one lists them), file of one (.toml), or with --axis an environment."""
    scale: str | None = None
    """Scale of the study, such as smoke, laptop, gpu or paper; by default laptop."""
    axis: Words = ()
    """Setting to vary, such as depth=4,8 or seed=0..4, in place of a study; may be given several times."""
    only: Words = ()
    """Restrict an axis to some of its points, such as depth=4,8; may be given several times."""
    out: Path | None = None
    """Folder of the sweep; by default runs/STUDY-SCALE."""
    jobs: int | None = None
    """Runs side by side. Here they share the cores equally; by default one a GPU, or else one a core."""
    retries: int = 2
    """How often a run that fails is tried again."""
    on: Literal["local", "ray", "slurm"] = "local"
    """Where runs run: as processes of this machine, tasks of Ray, or jobs of Slurm."""
    cores: int | None = None
    """Cores of each run on Ray or Slurm, by default 1."""
    gpus: float = 0.0
    """GPUs of each run on Ray or Slurm; on Ray it may be a share of one."""
    address: str | None = None
    """Ray cluster, as HOST:PORT; by default that of RAY_ADDRESS, or else a new one of this machine."""
    slurm: Words = ()
    """Option of sbatch for the jobs, such as partition=gpu or time=60 (minutes); may be given several times."""
    dry_run: bool = False
    """Only say what the runs will cost in memory and time, from a short measurement of each setting."""


def run(args: Args) -> None:
    """Run what is missing of a study, and show it. Exits with 1 where runs failed."""
    _check(args)
    stopping = "stopping: jobs stay in the queue" if args.on == "slurm" else "stopping: runs save their state"
    with heedless_output(), stop_signals(stopping) as should_stop:
        start_jax("cpu")  # other devices are for the runs
        from goalward.lab import display, sweep
        from goalward.lab import folder as folders

        study = _study(args)
        only = folders.restriction(study, args.only)
        trials, folder = folders.chosen(study, only), args.out or folders.default(study)
        if args.dry_run:
            _say_costs(args, trials, should_stop)
            return
        with folders.hold(folder):
            folders.check(folder, study, trials)
            looks = f", which looks at runs of {study.of}" if study.of != study.name else ""
            number = display.counted(len(trials), "run")
            print(f"{study.name}{looks}: {number} at scale {study.scale}, in {folder}")
            launcher, needs, room = _places(args, folder, folders.missing(folder, trials))
            cores = max((given.cores for given in needs.values()), default=1)
            threads = folders.threads(folder) or cores
            if needs and threads != cores:
                print(f"note: {_keeps(folder, threads)}; each has {cores} of the cores now", file=sys.stderr)
            needs = {name: given._replace(cores=threads) for name, given in needs.items()}
            folders.save(folder, study, only, threads)
            metric = folders.metric(study)
            with display.live(metric) as view:
                ended = sweep.run(
                    trials, folder, launcher, needs, view,
                    room=room, retries=args.retries, metric=metric, should_stop=should_stop,
                )  # fmt: skip
        _tell(args, folder, ended, launcher.stays)


def _check(args: Args) -> None:
    """Raise `UserError` for numbers that are none, and for what is of another place than where runs run."""
    check_number("retries", args.retries, 0, MOST_RETRIES)
    here = args.on == "local"
    of_others = {"cores": here, "gpus": here, "address": args.on != "ray", "slurm": args.on != "slurm"}
    for name, is_of_others in of_others.items():
        if is_of_others and getattr(args, name) != getattr(Args, name):
            places = {"address": "ray", "slurm": "slurm"}.get(name, "ray or slurm")
            raise UserError(f"--{name} is for --on {places}, and runs run on {args.on}; leave it out")
    if here:
        from goalward.lab.launchers import local

        local.slots(args.jobs, local.cores())
        return
    if args.dry_run:
        raise UserError(f"--dry-run measures on this machine; leave out --on {args.on}")
    check_number("jobs", args.jobs or 1, 1, INT32)
    check_number("cores", 1 if args.cores is None else args.cores, 1, INT32)
    check_number("gpus", args.gpus, 0, INT32)
    if args.on == "slurm" and args.gpus % 1:
        raise UserError(f"gpus is {args.gpus:g}; a job of Slurm has whole ones")


def _say_costs(args: Args, trials: "Sequence[Trial]", should_stop: Callable[[], bool]) -> None:
    """Print what runs will cost on this machine."""
    from goalward.lab import costs, display
    from goalward.lab.launchers import local

    slots = local.slots(args.jobs, local.cores(), local.gpus())
    needs, room = costs.needs(trials, slots)
    with display.measuring() as tell:
        found = costs.measure(trials, local.launcher(slots), needs, tell, should_stop)
    display.print_costs(found, len(trials), slots, room)


def _places(
    args: Args, folder: Path, missing: "Sequence[Trial]"
) -> "tuple[Launcher, dict[str, Resources], int | None]":
    """Where runs run, what each of those missing is given, and bytes for all that run side by side, or None."""
    from goalward.lab import costs
    from goalward.lab import folder as folders
    from goalward.lab.launchers import local, ray, slurm

    if args.on == "local" or not missing:
        slots = local.slots(args.jobs, local.cores(), local.gpus())
        return local.launcher(slots), *costs.needs(missing, slots)
    threads = folders.threads(folder)
    if None not in (threads, args.cores) and threads != args.cores:
        raise UserError(
            f"--cores is {args.cores}, but {_keeps(folder, threads)}; leave it out, or choose another --out"
        )
    needs = costs.asked(missing, threads or args.cores or 1, args.gpus)
    if args.on == "ray":
        return ray.launcher(args.address, args.jobs), needs, None
    name = f"goalward-{folder.resolve().name}"
    return slurm.launcher(folders.slurm(folder), name, args.slurm, args.jobs), needs, None


def _keeps(folder: Path, threads: int | None) -> str:
    return f"runs in {folder} keep the number of threads that the first ones had, {threads}, for equal bits"


def _study(args: Args) -> "Study":
    from goalward import envs
    from goalward.lab import study

    if not args.axis:
        if args.study in envs.names():
            remedy = "name what to vary too, as in --axis depth=4,8 --axis seed=0..2"
            raise UserError(f"{args.study} is an environment; {remedy}")
        return study.load(args.study, args.scale or SCALE)
    if args.scale is not None:
        raise UserError(f"--scale is {args.scale!r}, but --axis makes a study that has no scales; leave it out")
    return study.plain(args.study, args.axis)


def _tell(args: Args, folder: Path, ended: "Ended", stays: str | None) -> None:
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
        left = f"{len(ended.left)} of {display.counted(ended.number, 'run')} left"
        print(f"{stays or 'stopped and saved'}, {left}; {again}", file=sys.stderr)
    else:
        print(f"{display.counted(ended.number, 'run')} done, in {folder}")


def _words(args: Args) -> list[str]:
    """What was typed after the command's name, as far as it is not what there is by default."""
    words = [args.study]
    for flag in fields(args):
        value = getattr(args, flag.name)
        if flag.name != "study" and value != flag.default:
            for item in value if isinstance(value, tuple) else [value]:
                words += [f"--{flag.name}", str(item)]
    return words
