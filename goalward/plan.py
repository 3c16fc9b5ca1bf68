"""What a run will cost, before it is started: memory, arithmetic and, from a short measurement, time."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
from jax.extend import core
from jaxtyping import Array, PRNGKeyArray

from goalward import agents, attention, machine, offline, reach, replay, training
from goalward.agents.core import architectures
from goalward.config import (
    ActorConfig,
    DiscreteCRLConfig,
    GCBCConfig,
    SRLConfig,
    TDConfig,
    TrainConfig,
)
from goalward.errors import UserError
from goalward.trunks import Architecture
from goalward.types import EnvSpec

# Of the memory that is free, what a run may take: the rest is for checkpoints being written, and for others.
USABLE = 0.9
# How long updates are measured.
MEASURED_SECONDS = 1.0
# What a process of a run takes besides its arrays, in bytes: libraries, and programs being compiled. A run of
# no size took 0.8 GB, as did one of depth 16 and width 256 on one core.
PROCESS = 900_000_000
# How the state is made that is measured with, and thrown away: as in a run, it would take a quarter of a plan.
QUICKLY_COMPILED = {"xla_backend_optimization_level": 0}


class Memory(NamedTuple):
    """Bytes."""

    weights: int
    optimiser: int
    replay: int
    worlds: int
    activations: int  # and gradients: all that an update needs besides; 0 where not known
    free: int  # on the device, or of the machine

    def needed(self) -> int:
        """All of a run."""
        return self.weights + self.optimiser + self.replay + self.worlds + self.activations


class Speed(NamedTuple):
    """Seconds, measured."""

    compile: float  # collection and update programs
    update: float  # one update, sampling included
    collect: float  # one iteration's rows of all worlds, inserted


@dataclass(frozen=True)
class Plan:
    """Cost of a run."""

    parameters: dict[str, int]
    buffer_rows: int  # of the replay, for each world; of a dataset all
    memory: Memory
    update_flops: int
    speed: Speed
    env_steps: int  # in the whole run, prefill included
    updates: int  # likewise
    updates_per_second: float  # over an iteration, collection included
    env_steps_per_second: float  # likewise
    gflops_per_second: float  # within updates
    seconds: float  # of the whole run, evaluations included

    def asdict(self) -> dict[str, Any]:
        """Nested names and values, for JSON."""
        return {**asdict(self), "memory": self.memory._asdict(), "speed": self.speed._asdict()}


def plan(config: TrainConfig) -> Plan:
    """Measure a few seconds of a run and say what all of it will take.

    Raises `UserError`, with sizes that would do, for a run that does not fit into memory.
    """
    experiment = training.build(config)
    config = experiment.config
    memory = state_memory(experiment)
    check_fits(memory, config)
    speed, activations = measure(experiment)
    memory = memory._replace(activations=activations)
    check_fits(memory, config)
    shapes = training.shapes(experiment)
    update = partial(training.update, experiment)
    flops = matmul_flops(update, shapes.agent, ring_shapes(experiment), shapes.key)
    collected = 0.0 if config.is_offline else speed.collect
    iteration = collected + config.updates_per_iteration * speed.update
    iterations, rows = config.iterations, config.steps_per_round
    prefill = config.prefill_rounds * speed.collect
    evaluation = speed.collect / rows * config.eval_episodes * experiment.eval_env.spec.episode_length
    evaluations = config.epochs + 2  # of random actions, of the untrained policy, and one an epoch
    return Plan(
        parameters=parameters(shapes.agent),
        buffer_rows=ring_size(config)[1],
        memory=memory,
        update_flops=flops,
        speed=speed,
        env_steps=config.steps_at(config.epochs),
        updates=iterations * config.updates_per_iteration,
        updates_per_second=config.updates_per_iteration / iteration,
        env_steps_per_second=0.0 if config.is_offline else rows / iteration,
        gflops_per_second=flops / speed.update / 1e9,
        seconds=speed.compile + prefill + iterations * iteration + evaluations * evaluation,
    )


def most_memory(experiment: training.Experiment) -> Memory:
    """As `state_memory`, with an upper estimate of activations; nothing is computed, compiled or allocated."""
    memory, config = state_memory(experiment), experiment.config
    worlds, rows = ring_size(config)
    collected = 0 if config.is_offline else memory.replay // rows * config.steps_per_iteration
    # Of a collector and a learner XLA keeps what both need at a time; `weights` are those of both.
    spec, relabel = experiment.env.spec, experiment.agent.relabel
    others = sum(most_activations(half, 0, spec) for half in agents.halves(config)[1:])
    activations = most_activations(agents.halves(config)[0], memory.weights, spec) + others
    if relabel.per_episode > 1:  # where each row's episode begins, and what that is found by
        activations += 5 * 4 * worlds * rows
    if relabel.window is not None:  # what rows achieved is laid out for searches, and copied
        activations += 3 * 4 * worlds * (rows + reach.SLAB) * spec.goal_dim
    return memory._replace(activations=activations + 2 * collected)


def most_activations(config: TrainConfig, weights: int, spec: EnvSpec) -> int:
    """Bytes that an update needs at most besides the state of a run, whose weights take so many.

    Kept activations of the trunks that are differentiated at a time are counted (`trunks.KEPT`); the rest was
    fitted to what XLA reports for many shapes: copies of the weights (gradients among them), arrays of the
    layers of one block, and those of the agent.
    """
    actor, critic = architectures(config.network)
    row, tokens = 4 * config.batch_size, most_tokens(config, spec)

    def kept(arch: Architecture) -> int:
        blocks = arch.depth // arch.block_size
        arrays = blocks * attention.KEPT_ARRAYS if arch.trunk == "attention" else blocks + arch.depth
        return row * tokens * arch.width * (1 + (blocks if arch.remat else arrays))

    block = tokens * max(arch.width * min(arch.depth, arch.block_size) for arch in (actor, critic))
    if config.network.trunk == "attention":  # what each token attends to
        block += tokens**2 * max(attention.heads(arch.width) for arch in (actor, critic))
    acting = 4 * max(config.num_envs, config.eval_episodes) * 8 * tokens * actor.width
    of_agent = _activations_of_agent(config, spec, kept(actor), kept(critic))
    return round(6.5 * weights) + of_agent + 16 * row * block + acting


def _activations_of_agent(config: TrainConfig, spec: EnvSpec, of_actor: int, of_critic: int) -> int:
    """Bytes of the trunks that an agent differentiates at a time, which keep so many each, and of its losses.

    They are both encoders, or the actor and φ, with all pairs of a batch; with them the head of a critic of
    hazards, and arrays of all its bins; critics of choices, each for itself, with a head for each choice; the
    actor and two critics of returns, and the rows of all steps of a return; or the actor alone.
    """
    agent, row = config.agent, 4 * config.batch_size
    encoders, pairs = of_critic + max(of_actor, of_critic), 8 * row * config.batch_size
    if isinstance(agent, TDConfig):
        steps = agent.n_step * agent.chunk
        losses = steps * (spec.obs_dim + spec.goal_dim) + agent.value_bins * (agent.value_loss != "mse")
        return of_actor + 2 * of_critic + 4 * row * losses
    if isinstance(agent, GCBCConfig):
        return of_actor
    if isinstance(agent, SRLConfig):
        return encoders + of_critic + 8 * row * agent.bins + pairs
    if isinstance(agent, DiscreteCRLConfig):
        seen = spec.sight or spec
        heads = 4 * row * agent.repr_dim * spec.action_dim
        most = max(config.num_envs, config.eval_episodes, config.batch_size)
        scored = 4 * most * (agent.repr_dim * spec.action_dim + 3 * (seen.obs_dim + seen.goal_dim))
        return agent.critics * (2 * of_critic + heads + pairs) + scored
    return encoders + pairs


def most_tokens(config: TrainConfig, spec: EnvSpec) -> int:
    """Vectors that a network makes of one input, at most: one, and for attention one for each number."""
    if config.network.trunk != "attention":
        return 1
    seen, agent = spec.sight or spec, config.agent
    actions = agent.chunk * spec.action_dim if isinstance(agent, ActorConfig) else 0
    head = 4 * agent.repr_dim if isinstance(agent, SRLConfig) else 0
    other = seen.goal_dim + actions if isinstance(agent, TDConfig) else max(seen.goal_dim, actions)
    return 1 + max(seen.obs_dim + other, head)


def parameters(agent: Any) -> dict[str, int]:
    """Numbers that are learned, by part of the agent."""
    parts = {name: part for name, part in agent.params._asdict().items() if part is not None}
    return {name: _count(part, lambda leaf: leaf.size) for name, part in parts.items()}


def ring_size(config: TrainConfig) -> tuple[int, int]:
    """Worlds and rows of each in a run's replay."""
    return (1, offline.count(config)) if config.is_offline else (config.num_envs, config.buffer_rows)


def ring_shapes(experiment: training.Experiment) -> replay.Replay:
    """Shapes and types of a run's replay; of a dataset no more is read than its size."""
    worlds, rows = ring_size(experiment.config)
    return jax.eval_shape(lambda: replay.init(training.blank_row(experiment.env.spec, worlds), rows))


def state_memory(experiment: training.Experiment) -> Memory:
    """What the state of a run takes; nothing is computed or allocated."""
    run = training.shapes(experiment)
    weights = _count(run.agent.params, _nbytes)
    return Memory(
        weights=weights,
        optimiser=_count(run.agent, _nbytes) - weights,
        replay=_count(ring_shapes(experiment), _nbytes),
        worlds=_count((run.worlds, run.pending), _nbytes),
        activations=0,
        free=free_memory(),
    )


def _nbytes(leaf: jax.ShapeDtypeStruct) -> int:
    return leaf.size * leaf.dtype.itemsize


def _count(tree: Any, size: Callable[[Any], int]) -> int:
    return sum(size(leaf) for leaf in jax.tree.leaves(tree))


def free_memory() -> int:
    """Bytes that are free where arrays live: on the first device, or for this process on the machine."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return machine.free_memory()


def check_fits(memory: Memory, config: TrainConfig) -> None:
    """Raise `UserError`, with what would help, for a run that needs more memory than may be used."""
    usable = round(USABLE * memory.free)
    if memory.needed() <= usable:
        return
    rest, (worlds, held) = usable - (memory.needed() - memory.replay), ring_size(config)
    rows = int(rest / memory.replay * held)
    remedies = []
    if config.is_offline and rows >= replay.MIN_ROWS:
        remedies.append(f"--dataset-rows {rows}")
    elif rows >= max(config.prefill_rows, config.steps_per_iteration, replay.MIN_ROWS):
        remedies.append(f"--buffer-rows {rows}")
    if memory.activations and not config.network.remat:
        remedies.append("--remat")
    if rest < 0:
        remedies.append("a smaller --depth, --width or --batch-size")
    elif not config.is_offline:
        remedies.append("a smaller --num-envs")
    activations = f", activations {_gb(memory.activations)}" if memory.activations else ""
    raise UserError(
        f"this run needs {_gb(memory.needed())} of memory and may use {_gb(usable)} of the {_gb(memory.free)} "
        f"that are free: replay {_gb(memory.replay)} ({worlds} world{'s' * (worlds != 1)} × {held} rows), "
        f"weights and optimiser {_gb(memory.weights + memory.optimiser)}{activations}; "
        f"use {' or '.join(remedies)}"
    )


def _gb(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def measure(experiment: training.Experiment) -> tuple[Speed, int]:
    """Time collection and updates on this machine; also the bytes that an update needs besides its state.

    Where a dataset is learned from, a round of collection is timed all the same: evaluations step worlds too.
    """
    acting = as_if_collecting(experiment)
    run = jax.block_until_ready(training.init(acting, compiler_options=QUICKLY_COMPILED))
    held = None
    if experiment.config.is_offline:
        dataset = offline.load(experiment.config, experiment.env.spec, experiment.agent)
        held = offline.ring(dataset.rows, experiment.env.spec)
    begun = time.perf_counter()
    gather = training.compile_programs(acting).gather
    run, _ = jax.block_until_ready(gather(run))
    updates = jax.jit(partial(_updates, experiment), donate_argnums=0)
    updates = updates.lower(run.agent, held or run.replay, run.key, 1).compile()
    compiled = time.perf_counter() - begun
    for _ in range(replay.MIN_ROWS // acting.config.steps_per_iteration):
        run, _ = gather(run)
    collect, (run, _) = _seconds(lambda: gather(run))
    run = run._replace(replay=held or run.replay)
    once, agent = _seconds(lambda: updates(run.agent, run.replay, run.key, 1))
    number = max(1, round(MEASURED_SECONDS / once))
    several, _ = _seconds(lambda: updates(agent, run.replay, run.key, number))
    analysis = updates.memory_analysis()
    return Speed(compiled, several / number, collect), analysis.temp_size_in_bytes if analysis else 0


def as_if_collecting(experiment: training.Experiment) -> training.Experiment:
    """The same with a few worlds to act in, where a dataset is learned from."""
    if not experiment.config.is_offline:
        return experiment
    config = replace(experiment.config, dataset=None, buffer_rows=experiment.config.steps_per_iteration)
    return experiment._replace(config=config)


def _updates(
    experiment: training.Experiment, agent: Any, experience: replay.Replay, key: PRNGKeyArray, number: Array
) -> Any:
    """Take so many updates, a number that the program is told when it runs."""
    experience = replay.index(experience, experiment.env.spec, experiment.agent.relabel)

    def step(i: Array, agent: Any) -> Any:
        return training.update(experiment, agent, experience, jax.random.fold_in(key, i))[0]

    return jax.lax.fori_loop(0, number, step, agent)


def _seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = jax.block_until_ready(call())
    return time.perf_counter() - begun, result


def matmul_flops(function: Callable[..., Any], *args: Any) -> int:
    """Arithmetic of all matrix products of a function, 2 for each multiply and add; `args` may be shapes."""
    return _flops(jax.make_jaxpr(function)(*args).jaxpr)


def _flops(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * prod(shape[axis] for axis in contracted)
        # A while loop's number of rounds is not known; its body counts once.
        rounds = equation.params["length"] if equation.primitive.name == "scan" else 1
        inner = [_flops(each) for each in core.jaxprs_in_params(equation.params)]
        # Of several branches each counts as taken as often as the others.
        total += rounds * sum(inner) // (len(inner) if equation.primitive.name == "cond" else 1)
    return total
