"""Time of one whole iteration, ours and the textbook's: `python -m benchmarks.iteration [--json]`.

An iteration collects rows in every world, inserts them into a full replay, draws K batches and takes K updates,
at the paper's sizes. Prints its seconds, and those of collecting, inserting and drawing done alone. Both
collect in the same way; what else the textbook does otherwise, `benchmarks.textbook` says.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro
from jaxtyping import PRNGKeyArray
from rich.console import Console
from rich.table import Table

from benchmarks import textbook
from benchmarks.timing import best_seconds, seconds
from goalward import config, presets, replay, training
from goalward.rollout import collector, compiled
from goalward.types import Batch, Trajectory


@dataclass(frozen=True)
class Args:
    """Sizes to measure."""

    env: str = "ant_u4_maze"
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
    json: bool = False


class Method(NamedTuple):
    """One way to do an iteration; `rows` is what it keeps its experience in."""

    act: Callable[..., Any]  # (agent, obs, goal, key) -> action
    insert: Callable[[Any, Trajectory], Any]  # (rows, chunk) -> rows
    sample: Callable[[Any, PRNGKeyArray], Batch]  # (rows, key) -> leaves (K, B, …)
    learn: Callable[[Any, Any, PRNGKeyArray], Any]  # (agent, rows, key) -> agent


def build(args: Args) -> training.Experiment:
    """Build the paper's experiment at these sizes."""
    sizes = {
        "env": args.env, "num_envs": args.num_envs, "batch_size": args.batch_size,
        "total_env_steps": 2_000_000_000,
        "steps_per_iteration": args.steps, "updates_per_iteration": args.updates,
        "buffer_rows": args.buffer_rows, "prefill_rows": args.buffer_rows,
        "network": {"depth": args.depth, "width": args.width},
    }  # fmt: skip
    return training.build(config.from_dict(config.merge(presets.load("paper"), sizes), "benchmarks.iteration"))


def ours(experiment: training.Experiment, run: training.Run) -> Method:
    """What `goalward.training` does."""

    def sample(experience: replay.Replay, key: PRNGKeyArray) -> Batch:
        keys = training.update_keys(experiment, key)
        experience = replay.index(experience, experiment.env.spec, experiment.agent.relabel)
        return jax.lax.map(lambda key: training.sample(experiment, experience, key), keys)

    def learn(agent: Any, experience: replay.Replay, key: PRNGKeyArray) -> Any:
        return training.learn(experiment, run._replace(agent=agent, replay=experience), key)[0].agent

    run = run._replace(agent=None, replay=None)  # type: ignore[arg-type]  # what is left are counters and worlds
    return Method(experiment.agent.act, replay.insert, sample, learn)


def plain(experiment: training.Experiment, window: int) -> Method:
    """What the textbook does; its agent is a `textbook.State`, its rows are in the order of time."""
    spec, sizes, crl = experiment.env.spec, experiment.config, experiment.config.agent
    settings = textbook.Settings(
        sizes.batch_size, sizes.updates_per_iteration, window, spec.action_dim, spec.achieved,
        crl.discount, crl.target_entropy, crl.logsumexp_penalty,
    )  # fmt: skip

    def act(state: textbook.State, *inputs: Any) -> Any:
        return textbook.act(state.actor, *inputs)[0]

    def learn(state: textbook.State, rows: Trajectory, key: PRNGKeyArray) -> Any:
        return textbook.learn(settings, state, rows, key)[0]

    return Method(act, textbook.insert, partial(textbook.sample, settings), learn)


def filled(experiment: training.Experiment) -> training.Run:
    """A run whose replay is full: of one chunk of experience, again and again."""
    run = training.init(experiment)
    collect = compiled(experiment.env, collector(experiment.env, experiment.agent.act, True))
    keys = jax.random.split(jax.random.key(0), experiment.config.steps_per_iteration)
    worlds, _, rows = collect(run.agent, run.worlds, (), keys)
    insert = jax.jit(replay.insert, donate_argnums=0)
    experience = run.replay
    for _ in range(-(-experiment.config.buffer_rows // experiment.config.steps_per_iteration)):
        experience = insert(experience, rows)
    return run._replace(worlds=worlds, replay=experience)


def in_order(experience: replay.Replay) -> Trajectory:
    """The rows of a full ring, oldest first."""
    oldest = experience.inserted % experience.last.shape[0]
    return jax.tree.map(lambda leaf: jnp.roll(leaf, -oldest, axis=0), experience.rows)


def measure_method(
    experiment: training.Experiment, method: Method, agent: Any, rows: Any, worlds: Any
) -> dict[str, float]:
    """Seconds of an iteration and of its parts; `agent` and `rows` are used up."""
    env = experiment.env
    collect = compiled(env, collector(env, method.act, experiment.config.resample_goals))
    keys = jax.random.split(jax.random.key(1), experiment.config.steps_per_iteration)
    insert, sample = jax.jit(method.insert, donate_argnums=0), jax.jit(method.sample)
    key = jax.random.key(2)
    _, _, chunk = collect(agent, worlds, (), keys)
    rows = jax.block_until_ready(insert(rows, chunk))
    learn = jax.jit(method.learn, donate_argnums=0).lower(agent, rows, key).compile()
    found = {
        "collect_s": best_seconds(lambda: collect(agent, worlds, (), keys), 2),
        "sample_s": best_seconds(lambda: sample(rows, key), 1),
    }
    begun = time.perf_counter()
    rows = jax.block_until_ready(insert(rows, chunk))
    found["insert_s"] = time.perf_counter() - begun

    def iteration() -> Any:
        new_worlds, _, chunk = collect(agent, worlds, (), keys)
        return new_worlds, learn(agent, insert(rows, chunk), key)

    return found | {"iteration_s": seconds(iteration)}


def measure(args: Args) -> dict[str, Any]:
    """Seconds of both methods, and how many times as long the textbook's iteration takes."""
    experiment = build(args)
    run = filled(experiment)
    rows = jax.jit(in_order)(run.replay)
    state = jax.jit(textbook.from_goalward)(run.agent)
    mine = measure_method(experiment, ours(experiment, run), run.agent, run.replay, run.worlds)
    book = measure_method(experiment, plain(experiment, args.window), state, rows, run.worlds)
    return {"ours": mine, "textbook": book, "ratio": book["iteration_s"] / mine["iteration_s"]}


def main(args: Args) -> None:
    """Measure and print."""
    figures = measure(args)
    if args.json:
        print(json.dumps(figures))
        return
    table = Table(title=f"{args.env}: {args.updates} updates, depth {args.depth}, batch {args.batch_size}")
    for heading in ("part", "ours, s", "textbook, s", "ratio"):
        table.add_column(heading, justify="right")
    for part, spent in figures["ours"].items():
        other = figures["textbook"][part]
        table.add_row(part.removesuffix("_s"), f"{spent:.3g}", f"{other:.3g}", f"{other / spent:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Args))
