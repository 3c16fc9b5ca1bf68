"""The settings of a run as they are typed: which flags there are, and the defaults that they change."""

from dataclasses import field, fields, make_dataclass
from typing import Annotated, Any, get_type_hints

import tyro

from goalward.cli.process import start_jax
from goalward.config import AGENTS, AgentConfig, TrainConfig, agent_name, owners
from goalward.errors import UserError
from goalward.settings import LAPTOP, combine

AgentName = Annotated[str, tyro.conf.arg(metavar="{" + ",".join(AGENTS) + "}")]
_Words = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]
_Count = Annotated[int, tyro.conf.UseCounterAction]


def _every_agent() -> AgentConfig:
    """The settings of all agents together, each as it is typed, none of them given."""
    found: dict[str, Any] = {}
    for kind in AGENTS.values():
        for name, hint in get_type_hints(kind).items():
            if hint is bool:
                found |= {each: (each, _Count, field(default=0)) for each in (name, f"no_{name}")}
            else:
                found[name] = (name, _Words, field(default=()))
    return make_dataclass("EveryAgent", found.values(), bases=(AgentConfig,), frozen=True)()


# What is read first, to see which agent it is: any flag of any of them.
ANY_AGENT = TrainConfig("", agent=_every_agent())


def from_typed(typed: Any) -> TrainConfig:
    """The settings that flags change: the preset's, for what is typed, and the file's over them.

    `typed` are the arguments of a command, read over `ANY_AGENT`.
    """
    from goalward import runs

    file = typed.config
    given = _ask(typed, runs.current(runs.read_settings(file), file) if file else {})
    flags = {"env": typed.settings.env or None, "dataset": typed.settings.dataset}  # they choose a preset too
    given |= {name: value for name, value in flags.items() if value is not None}
    if typed.preset == LAPTOP and given.get("env"):
        start_jax()  # environments are made with it
    source = str(file or f"preset {typed.preset}")
    config = combine(given, source, preset=typed.preset, agent=typed.agent)
    check_flags(typed.settings, config)
    return config


def check_flags(typed: TrainConfig, config: TrainConfig) -> None:
    """Raise `UserError` for a flag, read over `ANY_AGENT`, of another agent than that of `config`."""
    name = agent_name(config.agent)
    for flag in fields(typed.agent):
        its = owners(flag.name) or owners(flag.name.removeprefix("no_"))
        if getattr(typed.agent, flag.name) and name not in its:
            raise UserError(
                f"--{flag.name.replace('_', '-')} is a setting of {' and '.join(its)}, not of {name}; "
                f"leave it out, or choose --agent {' or '.join(its)}"
            )


def _ask(typed: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What a file gives, with environments where --env-file says; files that were typed may be loaded now."""
    names = [name for name in (typed.settings.env, typed.settings.eval_env) if name and ".py" in name]
    if not names and typed.env_file is None:
        return given
    from goalward import envs

    for name in names:
        envs.asked(name)
    if typed.env_file is None:
        return given
    if "env" not in given:
        raise UserError(
            f"--env-file is {typed.env_file}; it says where the environment of a run or of --config is, and "
            f"there is neither: name {typed.env_file} as the environment"
        )
    return {**given, "env": envs.moved(str(given["env"]), typed.env_file)}


def check_env(config: TrainConfig, command: str) -> None:
    """Raise `UserError` where no environment is named, neither by a word nor in a file."""
    if not config.env:
        raise UserError(
            f"no environment is named; use `goalward {command} ENV`, and `goalward envs` lists them"
        )
