"""The command line. Each command imports what it needs when it runs, so that `--help` is quick."""

import difflib
import io
import json
import os
import select
import signal
import socket
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, cast

import tyro

import goalward
from goalward import presets
from goalward.config import Settings, TrainConfig, check_together, from_dict, merge
from goalward.errors import DivergedError, MachineError, UserError
from goalward.limits import INT32, check_number

if TYPE_CHECKING:
    from goalward.profile import Profiler

HELP_WIDTH = 80  # of the list of commands, in columns
# What a shell may set for other programs, and would change numbers, types or pictures: commands do not heed it.
UNHEEDED = (
    "MPLBACKEND",
    *(
        f"JAX_{name}"
        for name in (
            "CHECK_TRACER_LEAKS", "DEBUG_INFS", "DEBUG_KEY_REUSE", "DEBUG_NANS", "DEFAULT_MATMUL_PRECISION",
            "DEFAULT_PRNG_IMPL", "DISABLE_JIT", "ENABLE_CUSTOM_PRNG", "ENABLE_X64", "EXPLICIT_X64_DTYPES",
            "HIGH_DYNAMIC_RANGE_GUMBEL", "LEGACY_PRNG_KEY", "NO_EXECUTION", "NO_TRACING",
            "NUMPY_DTYPE_PROMOTION",
            "NUMPY_RANK_PROMOTION", "RANDOM_SEED_OFFSET", "SOFTMAX_CUSTOM_JVP", "THREEFRY_PARTITIONABLE",
            "TRANSFER_GUARD",
        )
    ),
)  # fmt: skip
DESCRIPTION = "Train agents to reach any commanded goal, by contrastive RL with very deep networks."


@dataclass(frozen=True)
class Train:
    """Train an agent to reach any goal of an environment, or go on with a run."""

    config: Path | None = None
    """File of settings, JSON or TOML. Flags win over it, it wins over the preset."""
    preset: Literal["laptop", "paper"] = "laptop"
    """Settings to start from: for a laptop's processor and the environment's kind, or those of the paper."""
    out: Path | None = None
    """Run directory; by default a new one under runs/."""
    resume: Path | None = None
    """Go on with the run in this directory; with --epochs or --total-env-steps, up to a new end."""
    profile: bool = False
    """Trace one iteration and one evaluation, and print at the end where their time goes."""
    json: bool = False
    """Print the last evaluation as JSON, and nothing else on standard output."""
    settings: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=lambda: TrainConfig(""))


@dataclass(frozen=True)
class Plan:
    """Say what a run will cost in memory and time, from ten seconds of measurement."""

    config: Path | None = None
    """File of settings, JSON or TOML. Flags win over it, it wins over the preset."""
    preset: Literal["laptop", "paper"] = "laptop"
    """Settings to start from: for a laptop's processor and the environment's kind, or those of the paper."""
    json: bool = False
    """Print JSON."""
    settings: tyro.conf.OmitArgPrefixes[TrainConfig] = field(default_factory=lambda: TrainConfig(""))


@dataclass(frozen=True)
class Eval:
    """Evaluate a run's policy: success, time at goal, distance, in all and by goal."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    env: str | None = None
    """Environment to evaluate on; by default the run's own."""
    episodes: int | None = None
    """Number of episodes; by default as in training."""
    best: bool = False
    """Take the best checkpoint, not the latest."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Envs:
    """List the environments and their settings, or draw them."""

    pictures: Path | None = None
    """Draw the start of an episode of each environment into this folder."""
    force: bool = False
    """Replace a picture that is there already."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class CheckEnv:
    """Try random actions: are promises kept, and how often is a goal reached?"""

    env: tyro.conf.Positional[str]
    """Environment; `goalward envs` lists them."""
    env_settings: Settings = field(default_factory=dict)
    """Its settings, as NAME=VALUE …"""
    worlds: int = 32
    """Worlds that run side by side, two episodes each."""
    seed: int = 0
    """Seed of starts, goals and actions."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Render:
    """Show a run's policy: a video and, in a maze, a picture of the paths."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    out: Path | None = None
    """File of the video, .gif or .mp4; by default episodes.gif in the run directory."""
    episodes: int = 4
    """Number of episodes, one after the other."""
    view: Literal["auto", "top", "side"] = "auto"
    """Look from above, or from the side along with what walks; by default from above on mazes."""
    best: bool = False
    """Take the best checkpoint, not the latest."""
    width: int = 480
    """Width in pixels, even."""
    height: int = 360
    """Height in pixels, even."""
    every: int | None = None
    """Steps from one frame to the next; by default real time, or faster where a GIF would be too long."""
    force: bool = False
    """Replace a file of --out's name that is there already."""
    json: bool = False
    """Print the names of the files as JSON."""


@dataclass(frozen=True)
class Curves:
    """Draw learning curves of runs, and print their first and last evaluations."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories."""
    out: Path = Path("curves.png")
    """Picture to write, such as .png, .pdf or .svg."""
    force: bool = False
    """Replace a picture that is there already."""
    json: bool = False
    """Print all evaluations as JSON, in place of the table."""


@dataclass(frozen=True)
class Digest:
    """Print a hash of all arrays of a run's latest checkpoint, to compare runs by."""

    run: tyro.conf.Positional[Path]
    """Run directory."""
    json: bool = False
    """Print JSON."""


@dataclass(frozen=True)
class Quickstart:
    """Learn a U-shaped maze from scratch in at most 3 minutes, and draw the result."""

    out: Path = Path("runs/quickstart")
    """Run directory; an earlier quickstart in it is replaced."""
    seed: int = 0
    """Seed of everything random."""
    json: bool = False
    """Print the summary as JSON, and nothing else on standard output."""


def main(argv: list[str] | None = None) -> None:
    """Run one command. Exits with 2 for bad input and 1 for a fault of the machine, with one message."""
    if argv is None:
        _own_process()
    words = sys.argv[1:] if argv is None else argv
    with _one_message():
        if not words or words[0] in ("-h", "--help"):
            print(_help())
            return
        if words[0] == "--version":
            print(f"goalward {goalward.__version__}")
            return
        name, rest = words[0], words[1:]
        _check_words(words)
        if name not in _COMMANDS:
            near = difflib.get_close_matches(name, _COMMANDS, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise UserError(f"unknown command {name!r}; {hint}the commands are {', '.join(_COMMANDS)}")
        kind, run = _COMMANDS[name]
        args = parse(kind, rest, f"goalward {name}")
        start_jax()
        run(args)


def _check_words(words: list[str]) -> None:
    """Raise `UserError` for bytes that are no text: most libraries cannot take them as a name."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            told = f"{word!a} holds bytes that are no text here; use names in UTF-8, or set PYTHONUTF8=1"
            raise UserError(told) from None


def _own_process() -> None:
    """Drop variables that are for other programs, and let output take any text. Not for a caller's process."""
    for name in UNHEEDED:
        os.environ.pop(name, None)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # neither closed nor replaced
            stream.reconfigure(errors="backslashreplace")


def start_jax() -> None:
    """Load JAX and find its devices. Raises `MachineError`, with the variables that may be why."""
    try:
        import jax

        jax.devices()
    except Exception as error:  # whatever it meets: for a GPU that is not there an AssertionError
        found = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("JAX_")]
        remedy = (
            f"of its variables are set: {', '.join(found)}; unset what is wrong" if found else "reinstall it"
        )
        told = " ".join(str(error).split()) or type(error).__name__
        raise MachineError(f"JAX does not start ({told}); {remedy}") from error
    use_compilation_cache()


def use_compilation_cache() -> None:
    """Keep compiled programs on disk for the next run, in the user's cache folder or where JAX is told to.

    `JAX_COMPILATION_CACHE_DIR` names another folder, `JAX_ENABLE_COMPILATION_CACHE=false` turns it off.
    """
    import jax
    from platformdirs import user_cache_path

    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    folder = user_cache_path("goalward") / "jax"
    if not folder.is_absolute():  # a user without a home: "~" stands for itself
        return
    with suppress(OSError):  # no such folder can be made: programs are compiled each time
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))


def _help() -> str:
    wrap = partial(textwrap.fill, width=HELP_WIDTH, subsequent_indent=" " * 14)
    told = {name: (kind.__doc__ or "").splitlines()[0] for name, (kind, _) in _COMMANDS.items()}
    commands = [wrap(f"  {name:<12}{line}") for name, line in told.items()]
    more = "`goalward COMMAND --help` tells more, `goalward --version` the version."
    description = textwrap.fill(DESCRIPTION, HELP_WIDTH)
    return "\n".join(["usage: goalward COMMAND …", "", description, "", *commands, "", more])


def parse(kind: type, words: list[str], prog: str) -> Any:
    """What the words say, over the settings they start from.

    The environment, the preset and the file decide what these are, so they are read first, by the same grammar.
    """
    if kind not in (Train, Plan):
        # Settings have a --no-… for each switch, as presets and files may have it on; other switches are off.
        return tyro.cli(kind, args=words, prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    known = [word for word in words if word not in ("-h", "--help")]  # help shows the defaults, found below
    first = tyro.cli(kind, args=known, prog=prog, default=kind(settings=TrainConfig("")))
    return tyro.cli(kind, args=words, prog=prog, default=_defaults(first))


def _defaults(first: Train | Plan) -> Train | Plan:
    """The preset's settings for the environment, and the file's over them; or those of the run to resume."""
    from goalward import runs

    if isinstance(first, Train) and first.resume is not None:
        return Train(resume=first.resume, settings=runs.load_config(first.resume))
    given = runs.current(runs.read_settings(first.config), first.config) if first.config else {}
    values = merge({"env": ""}, _preset(first.preset, first.settings.env or given.get("env")))
    source = str(first.config or f"preset {first.preset}")
    return type(first)(settings=from_dict(merge(values, given), source))


def _preset(name: str, env: Any) -> dict[str, Any]:
    """The settings of a preset. The laptop's is the environment's own; where none is named, it is empty."""
    if name != "laptop":
        return presets.load(name)
    if not env or not isinstance(env, str):  # what is no name is refused with the other settings
        return {}
    start_jax()  # environments are made with it
    from goalward import envs

    return presets.load(envs.preset(env))


def run_train(args: Train) -> None:
    """Start or resume a run, and show it until it ends or is stopped."""
    with _heedless_output(), _stop_signals() as should_stop:
        from goalward import machine, plan, progress, runs, train
        from goalward.profile import Profiler

        config = _config(args)
        experiment = train.build(config)
        plan.check_fits(plan.state_memory(experiment), experiment.config)
        directory = args.resume or args.out or runs.default_directory(config)
        note = train.other_threads(directory) if args.resume else None
        if note:
            print(note, file=sys.stderr)
        profiler = Profiler(runs.profile(directory)) if args.profile else None
        reports = train.train(
            config, directory, resume=args.resume is not None, should_stop=should_stop, profiler=profiler
        )
        last = progress.show(reports, config, directory, quiet=args.json)
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


def _tell_profile(profiler: "Profiler", directory: Path, *, quiet: bool) -> None:
    from goalward import progress, runs

    profile = profiler.result()
    if profile is None:
        print("nothing was traced: that takes three iterations and two evaluations", file=sys.stderr)
        return
    runs.save_profile(directory, profile._asdict())
    if not quiet:
        progress.print_profile(profile, profiler.folder)


def _config(args: Train) -> TrainConfig:
    from goalward import runs

    if args.resume is None:
        _check_env(args.settings, "train")
        return args.settings
    return _extended(runs.load_config(args.resume), args)


def _check_env(config: TrainConfig, command: str) -> None:
    if not config.env:
        raise UserError(
            f"no environment is named; use `goalward {command} ENV`, and `goalward envs` lists them"
        )


def _extended(old: TrainConfig, args: Train) -> TrainConfig:
    """The settings of a resumed run: its own, but for its end. The length of an epoch stays."""
    new = args.settings
    same_end = replace(new, epochs=old.epochs, total_env_steps=old.total_env_steps)
    if args.config or args.out or args.preset != Train.preset or same_end != old:
        raise UserError(
            f"--resume goes on with the settings in {args.resume}; "
            "only --epochs and --total-env-steps may change"
        )
    check_together(old)
    epochs, total = new.epochs, new.total_env_steps
    if epochs == old.epochs and total != old.total_env_steps:
        epochs = old.epoch_at(max(0, total // old.steps_per_round - old.prefill_rounds))
        if epochs < 1:
            raise UserError(f"total_env_steps is {total}; one epoch of this run ends at {old.steps_at(1)}")
    check_number("epochs", epochs, 1, old.epoch_at(INT32 // old.steps_per_round - old.prefill_rounds))
    extended = replace(new, epochs=epochs, total_env_steps=old.steps_at(epochs))
    if new.epochs != old.epochs and total not in (old.total_env_steps, extended.total_env_steps):
        raise UserError(
            f"{epochs} epochs of this run end at {extended.total_env_steps} env steps, not {total}; "
            "give one of --epochs and --total-env-steps"
        )
    return extended


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Catch the first Ctrl-C or SIGTERM as a wish to stop; a second one ends the process at once.

    Python calls its handlers between two of its own instructions, and an iteration may be one for minutes. So a
    thread reads what the signals themselves leave in a socket, and the handlers do nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals go to the main thread, and to whoever runs there
        return
    names = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # else started with nohup
        names.append(signal.SIGHUP)
    wish = threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    handlers = {name: signal.signal(name, lambda *_: None) for name in names}
    watcher = threading.Thread(target=_watch, args=(reader, names, wish), daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield wish.is_set
    finally:
        signal.set_wakeup_fd(before)
        for name, old in handlers.items():
            signal.signal(name, old)
        writer.close()  # ends the watcher
        watcher.join()
        reader.close()


def _watch(reader: socket.socket, names: list[signal.Signals], wish: threading.Event) -> None:
    """Set `wish` at the first of the signals `names`; end the process at the second, whatever it is doing."""
    while data := reader.recv(1):
        if data[0] not in names:
            continue
        if wish.is_set():
            _tell_now("interrupted\n")
            # An orderly exit would take down threads of XLA in the middle of their work.
            os._exit(128 + data[0])
        wish.set()
        _tell_now("\nstopping after this iteration; once more to stop at once\n")


def _tell_now(message: str) -> None:
    """Write to standard error if it takes it at once: past Python's locks, which another thread may hold."""
    with suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, message.encode())


class _Heedless:
    """A stream that goes on when nobody reads it any more or its disk is full: what is written then is lost."""

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or lose, a text."""
        with self._losing():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand what is written to the system."""
        with self._losing():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # what is still in buffers goes there too
            os.close(nowhere)


@contextmanager
def _heedless_output() -> Iterator[None]:
    """Go on when output cannot be written: `| tee` ends at a Ctrl-C before training has saved."""
    with ExitStack() as stack:
        for redirect, stream in ((redirect_stdout, sys.stdout), (redirect_stderr, sys.stderr)):
            if stream is not None:  # closed before the start
                stack.enter_context(redirect(cast(TextIO, _Heedless(stream))))
        yield


def run_plan(args: Plan) -> None:
    """Print what a run will cost, or why it cannot be."""
    _check_env(args.settings, "plan")
    from goalward import plan, progress

    with progress.busy("compiling and measuring: some ten seconds, more for deep networks"):
        planned = plan.plan(args.settings)
    if args.json:
        print(json.dumps(planned.asdict()))
    else:
        progress.print_plan(planned, args.settings)


def run_eval(args: Eval) -> None:
    """Evaluate a run's policy and print the figures."""
    from goalward import policy, progress

    evaluation = policy.evaluate(args.run, env=args.env, episodes=args.episodes, best=args.best)
    if args.json:
        print(json.dumps(evaluation))
    else:
        progress.print_evaluation(evaluation, str(args.run))


def run_envs(args: Envs) -> None:
    """List the environments, or draw them."""
    from goalward import envs, progress

    if args.pictures is not None:
        from goalward.pictures.render import gallery

        _tell_files(gallery(envs.names(), args.pictures, force=args.force), as_json=args.json)
        return
    rows = envs.describe()
    if args.json:
        print(json.dumps(rows))
    else:
        progress.print_envs(rows)


def run_check_env(args: CheckEnv) -> None:
    """Look for broken promises of an environment; exits with 1 if there are any."""
    from goalward import contract, envs, progress

    findings = contract.check(envs.make(args.env, args.env_settings), worlds=args.worlds, seed=args.seed)
    if args.json:
        print(json.dumps(findings._asdict()))
    else:
        progress.print_findings(findings, args.env)
    if findings.problems:
        sys.exit(1)


def run_render(args: Render) -> None:
    """Write a run's video and name the files."""
    from goalward.pictures.render import render

    files = render(
        args.run, args.out, episodes=args.episodes, view=args.view, best=args.best,
        width=args.width, height=args.height, every=args.every, force=args.force,
    )  # fmt: skip
    _tell_files(files, as_json=args.json)


def _tell_files(paths: list[Path], *, as_json: bool) -> None:
    names = [str(path) for path in paths]
    print(json.dumps(names) if as_json else "\n".join(names))


def run_curves(args: Curves) -> None:
    """Draw the curves and print the table."""
    from goalward.pictures import curves

    loaded = curves.load(args.runs)
    curves.draw(loaded, args.out, force=args.force)
    if args.json:
        pairs = zip(args.runs, loaded, strict=True)
        print(json.dumps([{"run": str(path), "evaluations": curve.rows} for path, curve in pairs]))
    else:
        print(curves.table(loaded))
    print(f"drawn: {args.out}", file=sys.stderr)  # the table may go to a file


def run_digest(args: Digest) -> None:
    """Print the hash of a run's latest checkpoint."""
    from goalward import checkpoint, runs

    runs.load_config(args.run)
    run = runs.load_meta(args.run).id

    def digest(saved: checkpoint.Saved) -> dict[str, Any]:
        checkpoint.check_run(saved, run)
        value = checkpoint.digest_saved(saved)
        return {"iteration": saved.iteration, "digest": value, "threads": saved.state.get("threads")}

    found = checkpoint.read(runs.checkpoints(args.run), checkpoint.latest, digest)
    print(json.dumps(found) if args.json else found["digest"])
    if not args.json:  # what a comparison has to know
        print(f"iteration {found['iteration']}, {found['threads']} threads", file=sys.stderr)


def run_quickstart(args: Quickstart) -> None:
    """Train, draw and sum up the quickstart."""
    with _heedless_output(), _stop_signals() as should_stop:
        from goalward.lab import quickstart

        summary = quickstart.run(args.out, args.seed, quiet=args.json, should_stop=should_stop)
    if args.json:
        print(json.dumps(summary))


_COMMANDS: dict[str, tuple[type, Callable[[Any], None]]] = {
    "train": (Train, run_train),
    "plan": (Plan, run_plan),
    "eval": (Eval, run_eval),
    "envs": (Envs, run_envs),
    "check-env": (CheckEnv, run_check_env),
    "render": (Render, run_render),
    "curves": (Curves, run_curves),
    "digest": (Digest, run_digest),
    "quickstart": (Quickstart, run_quickstart),
}


@contextmanager
def _one_message() -> Iterator[None]:
    """Turn what can go wrong into one message on standard error and an exit code."""
    try:
        yield
    except UserError as error:
        _exit(2, f"error: {error}")
    except (MachineError, DivergedError) as error:
        _exit(1, f"error: {error}")
    except KeyboardInterrupt:
        _exit(130, "interrupted")
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has gone; nobody is left to tell
        sys.exit(1)
    except (OSError, MemoryError) as error:
        _exit(1, f"error: the machine refused: {error}")
    except RuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):  # how JAX says that there is no memory
            raise
        _exit(1, f"error: the machine refused: {' '.join(str(error).split())}")


def _exit(code: int, message: str) -> None:
    with suppress(OSError):  # nobody is left to tell
        print(message, file=sys.stderr)
    sys.exit(code)
