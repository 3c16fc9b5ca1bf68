"""Training from Python: `goalward.train`, by the same steps as the command."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from goalward import data, envs, offline, plan, progress, runs, tracking, training
from goalward.compilation import use_compilation_cache
from goalward.config import TrainConfig, agent_name, from_dict, merge, nested, placed, to_dict
from goalward.errors import UserError
from goalward.profile import Profiler
from goalward.saved import SavedRun, load_run
from goalward.settings import LAPTOP, absolute, combine, extended, other_settings

SOURCE = "train"  # what messages call the settings that a program gives

# Told of each evaluation; whether it is enough.
Callback = Callable[[training.Report], bool | None]


class Prepared(NamedTuple):
    """A run that can be begun."""

    config: TrainConfig
    dataset: offline.Dataset | None  # what it learns from, if it collects nothing


def train(
    env: str | TrainConfig | None = None,
    *,
    out: str | Path | None = None,
    preset: str = LAPTOP,
    agent: str = "",
    resume: bool = False,
    env_file: str | Path | None = None,
    callback: Callback | None = None,
    track: str | None = None,
    quiet: bool = False,
    **settings: Any,
) -> SavedRun:
    """Train an agent to the end of its run, or with `resume` go on with the run in `out`.

    `env` is an environment by name, whose `preset` is started from, or a whole configuration. `settings` win
    over both, by the names of files of settings: `depth=16`, or `network={"depth": 16}`. A `callback` is called
    with each `training.Report` that holds an evaluation; when it returns True, the run is saved and ends. So it
    does at a first Ctrl-C, which is raised then. `out` is a new folder under runs/ by default. `track` is
    "wandb" or "mlflow". Raises `UserError`, `MachineError` and `DivergedError`.
    """
    tracking.check(track)
    if callback is not None and not callable(callback):
        raise UserError(f"callback is {callback!r:.80}; it must be a function of a report")
    use_compilation_cache()
    if resume:
        config, directory = _resumed(env, out, preset, agent, env_file, settings)
    else:
        if env_file is not None:
            raise UserError(
                "env_file says where the environment of a run is that goes on; name the file as env"
            )
        config, directory = _new(env, preset, agent, settings), None if out is None else Path(out)
    prepared = prepare(config, new=not resume)
    directory = directory or runs.default_directory(config)
    with _first_interrupt() as interrupted:
        follow(
            prepared, directory, resume=resume, should_stop=interrupted, changed_env=env_file is not None,
            callback=callback, track=track, quiet=quiet,
        )  # fmt: skip
    if interrupted():
        raise KeyboardInterrupt(f"{directory} is saved; train(out={str(directory)!r}, resume=True) goes on")
    return load_run(directory, env_file=env_file)


def _new(env: Any, preset: str, agent: str, settings: Mapping[str, Any]) -> TrainConfig:
    """The settings of a new run."""
    given = _given(settings)
    if isinstance(env, TrainConfig):
        if preset != LAPTOP or agent:
            raise UserError("a TrainConfig names its agent and has no preset; leave out agent and preset")
        config = from_dict(merge(to_dict(env), given), SOURCE)
    elif isinstance(env, str) and env:
        config = combine(given | {"env": envs.asked(env)}, SOURCE, preset=preset, agent=agent)
    else:
        raise UserError(
            f"env is {env!r:.80}; name an environment, such as 'point_u_maze', or give a TrainConfig"
        )
    return placed(absolute(config))


def _resumed(
    env: Any, out: str | Path | None, preset: str, agent: str, env_file: str | Path | None,
    settings: Mapping[str, Any],
) -> tuple[TrainConfig, Path]:  # fmt: skip
    """The settings of a run that goes on, and its directory."""
    if out is None:
        raise UserError("out is missing: name the directory of the run to resume")
    directory = Path(out)
    old = envs.located(runs.load_config(directory), env_file)
    known = to_dict(env) if isinstance(env, TrainConfig) else to_dict(old)
    named = {"env": envs.asked(env)} if isinstance(env, str) else {}
    new = from_dict(merge(known, _given(settings) | named), SOURCE)
    if preset != LAPTOP or agent not in ("", agent_name(old.agent)):
        raise other_settings(old, directory)
    return extended(old, new, directory), directory


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a program, nested, with paths as texts; environments that it names may be loaded."""
    given = nested(settings)
    for name in ("dataset", "eval_env"):
        if isinstance(given.get(name), os.PathLike):
            given[name] = os.fspath(given[name])
    if isinstance(given.get("eval_env"), str):
        given["eval_env"] = envs.asked(given["eval_env"])
    return given


def prepare(config: TrainConfig, *, new: bool) -> Prepared:
    """Look whether a run can be, and read what it learns from; that is said on standard error.

    Raises `UserError` for settings that do not go together, for too little memory and for a dataset that does
    not fit.
    """
    experiment = training.build(config)
    plan.check_fits(plan.state_memory(experiment), experiment.config)
    if not config.is_offline:
        return Prepared(config, None)
    dataset = offline.load(experiment.config, experiment.env.spec, experiment.agent)
    sys.stderr.write(f"dataset {config.dataset}: {data.told(dataset.rows)}\n")
    for note in offline.notes(experiment.config) if new else ():
        sys.stderr.write(f"{note}\n")
    return Prepared(config, dataset)


def follow(
    prepared: Prepared,
    directory: Path,
    *,
    resume: bool,
    should_stop: Callable[[], bool],
    changed_env: bool = False,
    profiler: Profiler | None = None,
    callback: Callback | None = None,
    track: str | None = None,
    quiet: bool = False,
) -> dict[str, Any] | None:
    """Train, show it, and tell a callback and a tracker; the row of the last evaluation, if it came to one."""
    enough = threading.Event()
    note = training.other_threads(directory) if resume else None
    if note:
        sys.stderr.write(f"{note}\n")
    reports = training.train(
        prepared.config, directory, resume=resume, dataset=prepared.dataset, profiler=profiler,
        should_stop=lambda: enough.is_set() or should_stop(), changed_env=changed_env,
    )  # fmt: skip
    with ExitStack() as stack:  # whatever happens, the directory is let go
        stack.enter_context(closing(reports))
        if track:
            reports = stack.enter_context(closing(tracking.tracked(reports, directory, track)))
        if callback:
            reports = stack.enter_context(closing(_called(reports, callback, enough)))
        return progress.show(reports, prepared.config, directory, quiet=quiet)


def _called(
    reports: Iterator[training.Report], callback: Callback, enough: threading.Event
) -> Generator[training.Report, None, None]:
    """The same reports, each evaluation told to a callback after it was shown."""
    for report in reports:
        yield report
        if report.evaluation is not None and callback(report):
            enough.set()


@contextmanager
def _first_interrupt() -> Iterator[Callable[[], bool]]:
    """Take the first Ctrl-C as a wish to stop; a second one does what it did before."""
    before, wish = signal.getsignal(signal.SIGINT), threading.Event()
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: False  # whoever runs there hears of it, or nobody
        return

    def stop(*_: Any) -> None:
        wish.set()
        signal.signal(signal.SIGINT, before)
        sys.stderr.write("stopping after this iteration; once more to stop at once\n")

    signal.signal(signal.SIGINT, stop)
    try:
        yield wish.is_set
    finally:
        signal.signal(signal.SIGINT, before)
