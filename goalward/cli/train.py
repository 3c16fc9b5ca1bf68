"""The command `train`."""

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from goalward.cli.process import heedless_output, stop_signals
from goalward.cli.settings import AgentName, Preset, check_env, check_flags, from_typed, located
from goalward.config import TrainConfig, agent_name, check_together, placed
from goalward.errors import UserError
from goalward.limits import INT32, check_number

if TYPE_CHECKING:
    from goalward.offline import Dataset
    from goalward.profile import Profiler
    from goalward.training import Experiment


@dataclass(frozen=True)
class Args:
    """Train an agent to reach any goal of an environment, or go on with a run."""

    config: Path | None = None
    """File of settings, JSON or TOML. Flags win over it, it wins over the preset."""
    preset: Preset = "laptop"
    """Settings to start from: for a laptop's processor and the environment's kind, or those of the paper."""
    agent: AgentName = ""
    """Learning method, as `goalward agents` lists them; by default that of the file or the preset."""
    out: Path | None = None
    """Run directory; by default a new one under runs/."""
    resume: Path | None = None
    """Go on with the run in this directory; with --epochs or --total-env-steps (of a dataset,
    --total-updates), up to a new end."""
    env_file: Path | None = None
    """File of the environment of a run or of --config, if a person's own: where, or to take it as it is."""
    profile: bool = False
    """Trace one iteration and one evaluation, and print at the end where their time goes."""
    json: bool = False
    """Print the last evaluation as JSON, and nothing else on standard output."""
    settings: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=lambda: TrainConfig(""))


def defaults(typed: Args) -> Args:
    """The settings that flags change: those of the run to resume, or the preset's and the file's over them."""
    if typed.resume is not None:
        settings = _resumed(typed)
        check_flags(typed.settings, settings)
    else:
        settings = from_typed(typed)
    return Args(
        resume=typed.resume, env_file=typed.env_file, agent=agent_name(settings.agent), settings=settings
    )


def run(args: Args) -> None:
    """Start or resume a run, and show it until it ends or is stopped."""
    with heedless_output(), stop_signals() as should_stop:
        from goalward import machine, plan, progress, runs, training
        from goalward.profile import Profiler

        settings = config(args)
        experiment = training.build(settings)
        plan.check_fits(plan.state_memory(experiment), experiment.config)
        dataset = _dataset(experiment, new=args.resume is None)
        directory = args.resume or args.out or runs.default_directory(settings)
        note = training.other_threads(directory) if args.resume else None
        if note:
            print(note, file=sys.stderr)
        profiler = Profiler(runs.profile(directory)) if args.profile else None
        reports = training.train(
            settings, directory, resume=args.resume is not None, dataset=dataset,
            should_stop=should_stop, profiler=profiler, changed_env=args.env_file is not None,
        )  # fmt: skip
        last = progress.show(reports, settings, directory, quiet=args.json)
        if profiler:
            _tell_profile(profiler, directory, quiet=args.json)
        if should_stop():
            print(
                f"stopped and saved; go on with: {machine.command('train', '--resume', directory)}",
                file=sys.stderr,
            )
    if args.json:
        evaluation = last or (runs.read_metrics(directory) or [{}])[-1]
        print(json.dumps({"run": str(directory), **evaluation}))


def _dataset(experiment: "Experiment", *, new: bool) -> "Dataset | None":
    """What the run learns from, if it collects nothing; said on standard error, with a note if it is new."""
    from goalward import data, offline

    settings = experiment.config
    if not settings.is_offline:
        return None
    dataset = offline.load(settings, experiment.env.spec, experiment.agent)
    print(f"dataset {settings.dataset}: {data.told(dataset.rows)}", file=sys.stderr)
    note = offline.note(settings) if new else None
    if note:
        print(note, file=sys.stderr)
    return dataset


def config(args: Args) -> TrainConfig:
    """The settings to train with: as typed, or those of the run to resume, up to a new end."""
    if args.resume is None:
        check_env(args.settings, "train")
        return placed(located(args.settings))
    return _extended(_resumed(args), args)


def _resumed(args: Args) -> TrainConfig:
    """The settings of the run to resume, with the file of its environment where --env-file says."""
    from goalward import runs

    settings = runs.load_config(args.resume or Path())
    if args.env_file is None:
        return settings
    from goalward import envs

    return envs.located(settings, args.env_file)


def _extended(old: TrainConfig, args: Args) -> TrainConfig:
    """The settings of a resumed run: its own, but for its end. The length of an epoch stays."""
    new = args.settings
    end = {"total_updates": old.total_updates} if old.is_offline else {"total_env_steps": old.total_env_steps}
    [name], same_end = end, replace(new, epochs=old.epochs, **end)
    flag = f"--{name.replace('_', '-')}"
    is_same = args.agent in ("", agent_name(old.agent)) and same_end == old
    if args.config or args.out or args.preset != Args.preset or not is_same:
        raise UserError(
            f"--resume goes on with the settings in {args.resume}; only --epochs and {flag} may change"
        )
    check_together(old)
    epochs, total = new.epochs, new.total
    if epochs == old.epochs and total != old.total:
        epochs = old.epoch_at(max(0, total // old.round_size - old.prefill_rounds))
        if epochs < 1:
            raise UserError(f"{name} is {total}; one epoch of this run ends at {old.total_at(1)}")
    check_number("epochs", epochs, 1, old.epoch_at(INT32 // old.round_size - old.prefill_rounds))
    extended = replace(new, epochs=epochs, **{name: old.total_at(epochs)})
    if new.epochs != old.epochs and total not in (old.total, extended.total):
        unit = name.removeprefix("total_").replace("_", " ")
        raise UserError(
            f"{epochs} epochs of this run end at {extended.total} {unit}, not {total}; "
            f"give one of --epochs and {flag}"
        )
    return extended


def _tell_profile(profiler: "Profiler", directory: Path, *, quiet: bool) -> None:
    from goalward import progress, runs

    profile = profiler.result()
    if profile is None:
        print("nothing was traced: that takes three iterations and two evaluations", file=sys.stderr)
        return
    runs.save_profile(directory, profile._asdict())
    if not quiet:
        progress.print_profile(profile, profiler.folder)
