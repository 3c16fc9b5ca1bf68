"""Time of one whole iteration, ours and the textbook's: `python -m benchmarks.iteration [--json]`.

An iteration collects rows in every world, inserts them into a full replay, draws K batches and takes K updates.
Prints the seconds of its parts, each compiled alone, and of the whole as one compiled program, at the paper's
sizes. What the textbook does otherwise, `benchmarks.textbook` says. The parts need not add up to the whole.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro
from jaxtyping import Array, Key, PRNGKeyArray
from rich.console import Console
from rich.table import Table

from benchmarks import textbook
from benchmarks.timing import best_seconds
from goalward import config, replay, train
from goalward.rollout import collector
from goalward.types import Batch, Metrics


@dataclass(frozen=True)
class Args:
    """Sizes to measure."""

    env: str = "point_u4_maze"
    depth: int = 4
    width: int = 256
    batch_size: int = 512
    num_envs: int = 512
    steps: int = 62
    """Steps in every world."""
    updates: int = 800
    buffer_rows: int = 10_000
    """Rows of the replay for each world; it is full before anything is measured."""
    window: int = 1000
    """Rows of one world within which the textbook draws goals."""
    repeats: int = 2
    """Runs of each program after one to warm up; the shortest counts."""
    json: bool = False


class Method(NamedTuple):
    """One way to do an iteration, as a whole and in parts."""

    collect: Callable[[Any, Any, PRNGKeyArray], Any]  # (agent, worlds, key) -> (worlds, chunk)
    insert: Callable[[Any, Any], Any]  # (replay, chunk) -> replay
    sample: Callable[[Any, PRNGKeyArray], Batch]  # (replay, key) -> leaves (K, B, …)
    update: Callable[[Any, Batch, PRNGKeyArray], Any]  # (agent, batch, key) -> (agent, metrics)
    iteration: Callable[[train.Run], tuple[train.Run, Metrics]]


def build(args: Args) -> train.Experiment:
    """Build the paper's experiment at these sizes."""
    sizes = {
        "env": args.env, "num_envs": args.num_envs, "batch_size": args.batch_size,
        "steps_per_iteration": args.steps, "updates_per_iteration": args.updates,
        "buffer_rows": args.buffer_rows, "prefill_rows": args.buffer_rows,
        "network": {"depth": args.depth, "width": args.width},
    }  # fmt: skip
    return train.build(config.from_dict(config.merge(config.PRESETS["paper"], sizes), "benchmarks.iteration"))


def prefilled(experiment: train.Experiment) -> train.Run:
    """A run whose replay is full of rows of random actions."""

    def act(state: Any, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        del state, goal
        return jax.random.uniform(key, (obs.shape[0], experiment.env.spec.action_dim), minval=-1.0, maxval=1.0)

    gather = train.gatherer(experiment._replace(agent=experiment.agent._replace(act=act)))
    chunks = -(-experiment.config.buffer_rows // experiment.config.steps_per_iteration)

    def fill(run: train.Run) -> train.Run:
        return jax.lax.fori_loop(0, chunks, lambda _, run: gather(run)[0], run)

    return jax.jit(fill, donate_argnums=0)(train.init(experiment))


def chunk_collector(experiment: train.Experiment, act: Callable[..., Array]) -> Callable[..., Any]:
    """Make the function of (agent, worlds, key) that collects a chunk."""
    steps = experiment.config.steps_per_iteration
    collect = collector(experiment.env, act, experiment.config.resample_goals)
    return lambda agent, worlds, key: collect(agent, worlds, jax.random.split(key, steps))


def ours(experiment: train.Experiment) -> Method:
    """What `goalward.train` does."""

    def sample(experience: replay.Replay, key: PRNGKeyArray) -> Batch:
        keys = train.update_keys(experiment, key)
        return jax.lax.map(lambda key: train.sample(experiment, experience, key), keys)

    collect_chunk, update = chunk_collector(experiment, experiment.agent.act), experiment.agent.update
    iteration = partial(train.iteration, experiment, train.gatherer(experiment))
    return Method(collect_chunk, replay.insert, sample, update, iteration)


def plain(experiment: train.Experiment, window: int) -> Method:
    """What the textbook does; its run's agent is a `textbook.State`, its replay are rows, oldest first."""
    spec, sizes, crl = experiment.env.spec, experiment.config, experiment.config.crl
    settings = textbook.Settings(
        sizes.batch_size, sizes.updates_per_iteration, window, spec.action_dim, spec.achieved,
        crl.discount, crl.target_entropy, crl.logsumexp_penalty,
    )  # fmt: skip
    collect_chunk = chunk_collector(experiment, lambda state, *inputs: textbook.act(state.actor, *inputs)[0])

    def iteration(run: train.Run) -> tuple[train.Run, Metrics]:
        key, collect_key, learn_key = jax.random.split(run.key, 3)
        worlds, chunk = collect_chunk(run.agent, run.worlds, collect_key)
        old: Any = run.replay
        rows = textbook.insert(old, chunk)
        state, metrics = textbook.learn(settings, run.agent, rows, learn_key)
        return run._replace(agent=state, replay=rows, worlds=worlds, key=key), metrics

    sample, update = partial(textbook.sample, settings), partial(textbook.update, settings)
    return Method(collect_chunk, textbook.insert, sample, update, iteration)


def as_plain(run: train.Run) -> train.Run:
    """The run of ours, its replay full, as the textbook keeps it."""
    ring = run.replay
    oldest = ring.inserted % ring.last.shape[0]
    rows = jax.tree.map(lambda leaf: jnp.roll(leaf, -oldest, axis=0), ring.rows)
    return run._replace(agent=textbook.from_goalward(run.agent), replay=rows)


def chained(program: Callable[[Any], Any], carry: Any) -> Callable[[], Any]:
    """Calls of a program that uses up what it is given: each takes the result of the one before."""

    def call() -> Any:
        nonlocal carry
        carry = program(carry)
        return carry

    return call


def measure_method(method: Method, run: train.Run, repeats: int) -> dict[str, float]:
    """Seconds of each part and of the whole; `run` is used up."""

    def updates(agent: Any, batches: Batch, keys: Key[Array, " K"]) -> Any:
        return jax.lax.scan(lambda agent, each: method.update(agent, *each), agent, (batches, keys))

    collect_chunk, sample, take_updates = map(jax.jit, (method.collect, method.sample, updates))
    insert, iteration = (jax.jit(f, donate_argnums=0) for f in (method.insert, method.iteration))
    key = jax.random.key(0)
    _, chunk = collect_chunk(run.agent, run.worlds, key)
    batches = sample(run.replay, key)
    keys = jax.random.split(key, batches.obs.shape[0])
    calls = {
        "collect_s": partial(collect_chunk, run.agent, run.worlds, key),
        "insert_s": chained(lambda rows: insert(rows, chunk), jax.tree.map(jnp.copy, run.replay)),
        "sample_s": partial(sample, run.replay, key),
        "updates_s": partial(take_updates, run.agent, batches, keys),
        "iteration_s": chained(lambda run: iteration(run)[0], run),
    }
    return {name: best_seconds(call, repeats) for name, call in calls.items()}


def measure(args: Args) -> dict[str, Any]:
    """Seconds of both methods, and how many times as long the textbook's iteration takes."""
    experiment = build(args)
    mine = measure_method(ours(experiment), prefilled(experiment), args.repeats)
    run = jax.jit(as_plain)(prefilled(experiment))
    book = measure_method(plain(experiment, args.window), run, args.repeats)
    return {"ours": mine, "textbook": book, "ratio": book["iteration_s"] / mine["iteration_s"]}


def main(args: Args) -> None:
    """Measure and print."""
    figures = measure(args)
    if args.json:
        print(json.dumps(figures))
        return
    table = Table(title=f"one iteration of {args.updates} updates, depth {args.depth}, batch {args.batch_size}")
    for heading in ("part", "ours, s", "textbook, s", "ratio"):
        table.add_column(heading, justify="right")
    for part, seconds in figures["ours"].items():
        other = figures["textbook"][part]
        table.add_row(part.removesuffix("_s"), f"{seconds:.3g}", f"{other:.3g}", f"{other / seconds:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args))
