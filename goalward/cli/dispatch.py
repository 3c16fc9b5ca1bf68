"""The table of commands, and the way from what is typed to one of them."""

import difflib
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import tyro

import goalward
from goalward.cli import (
    agents,
    check_env,
    curves,
    dataset,
    digest,
    doctor,
    envs,
    eval,
    export,
    new_task,
    plan,
    process,
    quickstart,
    render,
    report,
    status,
    sweep,
    train,
    view,
)
from goalward.cli.settings import ANY_AGENT
from goalward.errors import UserError

HELP_WIDTH = 80  # of the list of commands, in columns
DESCRIPTION = "Train agents to reach any commanded goal, by contrastive RL with very deep networks."


class Command(NamedTuple):
    """One command."""

    args: type
    """Dataclass of what may be typed after the name. The first line of its docstring tells what it is for."""
    run: Callable[[Any], None]
    defaults: Callable[[Any], Any] | None = None
    """What the flags change, given what was typed; None where the defaults are the dataclass's own. Such a
    command has the `settings` of a run."""
    starts_jax: bool = True
    """Whether JAX takes its devices before `run`: not where others will use them, such as runs beside it."""


COMMANDS: dict[str, Command] = {
    "train": Command(train.Args, train.run, train.defaults),
    "plan": Command(plan.Args, plan.run, plan.defaults),
    "eval": Command(eval.Args, eval.run),
    "dataset": Command(dataset.Args, dataset.run),
    "envs": Command(envs.Args, envs.run),
    "agents": Command(agents.Args, agents.run, starts_jax=False),
    "check-env": Command(check_env.Args, check_env.run),
    "new-task": Command(new_task.Args, new_task.run),
    "render": Command(render.Args, render.run),
    "view": Command(view.Args, view.run, starts_jax=False),
    "export": Command(export.Args, export.run),
    "curves": Command(curves.Args, curves.run),
    "digest": Command(digest.Args, digest.run),
    "sweep": Command(sweep.Args, sweep.run, starts_jax=False),
    "status": Command(status.Args, status.run, starts_jax=False),
    "report": Command(report.Args, report.run, starts_jax=False),
    "quickstart": Command(quickstart.Args, quickstart.run),
    "doctor": Command(doctor.Args, doctor.run, starts_jax=False),
}


def run(words: list[str]) -> None:
    """Run the command that the words tell. Raises `UserError` for one that there is not."""
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return
    if words[0] == "--version":
        print(f"goalward {goalward.__version__}")
        return
    name, rest = words[0], words[1:]
    _check_words(words)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"unknown command {name!r}; {hint}the commands are {', '.join(COMMANDS)}")
    args = parse(name, rest)
    if COMMANDS[name].starts_jax:
        process.start_jax()
    COMMANDS[name].run(args)


def parse(name: str, words: list[str]) -> Any:
    """What the words after a command's name say, over the defaults.

    Some of the words may decide what these are, so they are read first, by the same grammar, in which the
    settings of all agents are.
    """
    command, prog = COMMANDS[name], f"goalward {name}"
    if command.defaults is None:
        # Settings have a --no-… for each switch, as presets and files may have it on; other switches are off.
        return tyro.cli(command.args, args=words, prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    known = [word for word in words if word not in ("-h", "--help")]  # help shows the defaults, found below
    typed = tyro.cli(command.args, args=known, prog=prog, default=command.args(settings=ANY_AGENT))
    return tyro.cli(command.args, args=words, prog=prog, default=command.defaults(typed))


def _help() -> str:
    wrap = partial(textwrap.fill, width=HELP_WIDTH, subsequent_indent=" " * 14)
    told = {name: (command.args.__doc__ or "").splitlines()[0] for name, command in COMMANDS.items()}
    commands = [wrap(f"  {name:<12}{line}") for name, line in told.items()]
    more = "`goalward COMMAND --help` tells more, `goalward --version` the version."
    description = textwrap.fill(DESCRIPTION, HELP_WIDTH)
    return "\n".join(["usage: goalward COMMAND …", "", description, "", *commands, "", more])


def _check_words(words: list[str]) -> None:
    """Raise `UserError` for bytes that are no text: most libraries cannot take them as a name."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            told = f"{word!a} holds bytes that are no text here; use names in UTF-8, or set PYTHONUTF8=1"
            raise UserError(told) from None
