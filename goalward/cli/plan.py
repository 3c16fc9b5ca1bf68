"""The command `plan`."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from goalward.cli.settings import AgentName, check_env, from_typed
from goalward.config import TrainConfig, agent_name
from goalward.settings import Preset, absolute


@dataclass(frozen=True)
class Args:
    """Say what a run will cost in memory and time, from ten seconds of measurement."""

    config: Path | None = None
    """File of settings, JSON or TOML. Flags win over it, it wins over the preset."""
    preset: Preset = "laptop"
    """Settings to start from: for a laptop's processor and the environment's kind, or those of the paper."""
    agent: AgentName = ""
    """Learning method, as `goalward agents` lists them; by default that of the file or the preset."""
    env_file: Path | None = None
    """File of the environment of --config, where that is a person's own: where it is now."""
    json: bool = False
    """Print JSON."""
    settings: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=lambda: TrainConfig(""))


def defaults(typed: Args) -> Args:
    """The settings that flags change: the preset's, and the file's over them."""
    settings = from_typed(typed)
    return Args(agent=agent_name(settings.agent), settings=settings)


def run(args: Args) -> None:
    """Print what a run will cost, or why it cannot be."""
    check_env(args.settings, "plan")
    from goalward import plan, progress

    with progress.busy("compiling and measuring: some ten seconds, more for deep networks"):
        planned = plan.plan(absolute(args.settings))
    if args.json:
        print(json.dumps(planned.asdict()))
    else:
        progress.print_plan(planned, args.settings)
