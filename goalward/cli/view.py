"""The command `view`."""

import os
import sys
import tempfile
import webbrowser
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import tyro

from goalward.cli.process import heedless_output, start_jax, stop_signals
from goalward.errors import UserError
from goalward.limits import SEEDS, check_number

PORTS = (0, 65535)


@dataclass(frozen=True)
class Args:
    """Watch agents in the browser and click where they shall go."""

    runs: tyro.conf.Positional[tuple[str, ...]]
    """Run directories, sweeps, folders that `goalward export` wrote, or policies of the package by name;
    of several, a slider chooses who acts."""
    port: int = 0
    """Port on this machine; 0: any that is free."""
    browser: bool = True
    """Open the page in a browser, where there is a display; --no-browser leaves that to you."""
    seed: int = 0
    """Of the episodes that are shown."""
    env_file: Path | None = None
    """File of the runs' environment, a person's own: where it is, if it was not named before."""


def run(args: Args) -> None:
    """Serve the page until Ctrl-C."""
    check_number("port", args.port, *PORTS)
    check_number("seed", args.seed, *SEEDS)
    if not args.runs:
        from goalward import shipped

        raise UserError(f"name what to watch: a run, or of the package {', '.join(shipped.names())}")
    named = told_apart([one for name in args.runs for one in expanded(name)])
    with heedless_output(), stop_signals("closing the page") as should_stop, ExitStack() as stack:
        from goalward import viewer

        viewer.library()
        start_jax("cpu")  # one world needs no more, and a run may be learning on another device
        from goalward import cast, world
        from goalward.viewer import player, scene, stage

        env, choices = cast.choose(named, args.env_file)
        one = stack.enter_context(closing(world.World(env)))
        one.reset(seed=args.seed)
        shown = scene.of(env)
        if shown.picture is not None:
            try:
                shown.picture(one.state, one.obs, one.goal)
            except UserError as error:
                print(f"note: {error}; its goals are shown as points", file=sys.stderr)
                shown = scene.places(env, cast.some_goals(one))
                one.reset(seed=args.seed)
        title = f"Goalward · {Path(env.name).stem}"  # of a person's own file, the name alone
        page = stack.enter_context(closing(stage.Stage(shown, title, one.goal, args.port)))
        playing = player.Player(one, shown, page, choices, cast.drawing(env, args.seed))
        print(f"{env.name}: open {page.address}  (Ctrl-C ends)", flush=True)
        if args.browser and has_display():
            stack.callback(open_browser(page.address).unlink, missing_ok=True)
        playing.play(should_stop)


def expanded(name: str) -> list[tuple[str, Path]]:
    """Names and folders of the agents that one argument stands for. Raises `UserError` where there are none."""
    from goalward import checkpoint, runs, runtime, shipped
    from goalward.lab import folder

    path = Path(name)
    if shipped.is_one(name):
        return [(name, shipped.folder(name))]
    if path.is_dir() and folder.is_sweep(path):
        trials = [trial.name for trial in folder.load(path).trials(path)]
        found = [(trial, folder.run_directory(path, trial)) for trial in trials]
        found = [(trial, run) for trial, run in found if checkpoint.list_saved(runs.checkpoints(run))]
        if not found:
            raise UserError(f"{path} has no run with a checkpoint yet; wait for its first")
        return found
    if runs.is_run(path) or (path / runtime.MANIFEST).is_file():
        return [(path.resolve().name, path)]
    raise UserError(
        f"{name} is neither a run, as `goalward train` makes, nor a sweep, nor an exported policy; the package "
        f"has {', '.join(shipped.names())}"
    )


def told_apart(named: Sequence[tuple[str, Path]]) -> list[tuple[str, Path]]:
    """The same agents, those of equal names with the folder that they are in."""
    often = Counter(name for name, _ in named)
    longer = [f"{path.resolve().parent.name}/{name}" for name, path in named]
    return [(two if often[name] > 1 else name, path) for (name, path), two in zip(named, longer, strict=True)]


def open_browser(address: str) -> Path:
    """Open a page by a file of ours that leads to it, which is to be removed.

    Others on this machine see what programs are started with, and must not see the address.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".html", delete=False, encoding="utf-8") as file:
        file.write(f'<meta http-equiv="refresh" content="0; url={address}">')
    webbrowser.open(Path(file.name).as_uri())
    return Path(file.name)


def has_display() -> bool:
    """Whether a browser that is started here is seen by who started it."""
    if "SSH_CONNECTION" in os.environ:
        return False
    windows = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or bool(windows)
