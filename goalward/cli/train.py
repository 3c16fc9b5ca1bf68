"""The command `train`."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from goalward.cli.messages import tell_saved
from goalward.cli.process import heedless_output, stop_signals
from goalward.cli.settings import AgentName, check_env, check_flags, from_typed
from goalward.config import TrainConfig, agent_name, placed
from goalward.settings import Preset, absolute, extended, other_settings

if TYPE_CHECKING:
    from goalward.profile import Profiler


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
    track: Literal["wandb", "mlflow"] | None = None
    """Tell each evaluation to Weights & Biases or MLflow too, on the server that their own variables name."""
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
        from goalward import library, runs, tracking
        from goalward.profile import Profiler

        tracking.check(args.track)
        settings = config(args)
        prepared = library.prepare(settings, new=args.resume is None)
        directory = args.resume or args.out or runs.default_directory(settings)
        profiler = Profiler(runs.profile(directory)) if args.profile else None
        last = library.follow(
            prepared, directory, resume=args.resume is not None, should_stop=should_stop, profiler=profiler,
            changed_env=args.env_file is not None, track=args.track, quiet=args.json,
        )  # fmt: skip
        if profiler:
            _tell_profile(profiler, directory, quiet=args.json)
        if should_stop():
            tell_saved(directory)
    if args.json:
        evaluation = last or (runs.read_metrics(directory) or [{}])[-1]
        print(json.dumps({"run": str(directory), **evaluation}))


def config(args: Args) -> TrainConfig:
    """The settings to train with: as typed, or those of the run to resume, up to a new end."""
    if args.resume is None:
        check_env(args.settings, "train")
        return placed(absolute(args.settings))
    old = _resumed(args)
    if args.config or args.out or args.preset != Args.preset or args.agent not in ("", agent_name(old.agent)):
        raise other_settings(old, args.resume)
    return extended(old, args.settings, args.resume)


def _resumed(args: Args) -> TrainConfig:
    """The settings of the run to resume, with the file of its environment where --env-file says."""
    from goalward import runs

    settings = runs.load_config(args.resume or Path())
    if args.env_file is None:
        return settings
    from goalward import envs

    return envs.located(settings, args.env_file)


def _tell_profile(profiler: "Profiler", directory: Path, *, quiet: bool) -> None:
    from goalward import progress, runs

    profile = profiler.result()
    if profile is None:
        print("nothing was traced: that takes three iterations and two evaluations", file=sys.stderr)
        return
    runs.save_profile(directory, profile._asdict())
    if not quiet:
        progress.print_profile(profile, profiler.folder)
