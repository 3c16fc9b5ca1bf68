"""Training: from a configuration to reports, one compiled program per iteration."""

import math
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key, PRNGKeyArray

from goalward import agents, checkpoint, contract, envs, files, offline, practice, prng, replay, runs
from goalward.config import TrainConfig, check_together
from goalward.envs import core
from goalward.errors import DivergedError, UserError
from goalward.evaluation import Episodes, Evaluation, episode_runner, most_episodes, summarise
from goalward.limits import check_number
from goalward.profile import Profiler, Untraced
from goalward.rollout import Act, Pending, collector, compiled, nothing_pending, starter
from goalward.types import Batch, EnvSpec, Metrics, Trajectory

# Keys of evaluations, and of what else looks on, are streams of their own: training draws none of them.
EVALUATION_STREAM, NORMS_STREAM, CHANCE_STREAM = 0x6576616C, 0x6E6F726D, 0x6C75636B
RESTART_STREAM = 0x616E6577  # of episodes in place of those that a resume cannot go on with
EXPLOIT_STREAM = 0x62657374  # for agents that draw where they are evaluated
PRACTICE_STREAM = 0x70726163  # goals to practise: with none, training draws what it would without the setting


class Experiment(NamedTuple):
    """What a configuration names, built: nothing in it changes during a run."""

    config: TrainConfig
    env: core.Env
    eval_env: core.Env
    agent: agents.Agent


class Run(NamedTuple):
    """Everything a resume needs, as arrays."""

    agent: Any
    replay: replay.Replay  # () in files and before the start, where a dataset fills it
    worlds: core.Worlds  # () where nothing is collected
    pending: Pending | tuple[()]  # of the chunks of actions that the worlds are in
    key: PRNGKeyArray
    env_steps: Array  # int32, over all worlds
    updates: Array  # int32


def build(config: TrainConfig) -> Experiment:
    """Build environments and agent. Raises `UserError` for names and sizes that cannot be."""
    if not isinstance(config, TrainConfig):
        raise UserError(f'config is {config!r}; it must be a TrainConfig, such as TrainConfig("point_u_maze")')
    check_together(config)
    env = envs.make(config.env, config.env_settings)
    eval_env = envs.make(config.eval_env or config.env, config.env_settings)
    check_alike(env, eval_env, "eval_env")
    if config.random_shift and not env.spec.shifts:
        raise UserError(
            f"random_shift is {config.random_shift}, but in {env.name} nothing may be shifted; leave it at 0"
        )
    check_number("eval_episodes", config.eval_episodes, 1, most_episodes(eval_env.spec))
    if config.buffer_gb is not None:
        config = with_rows(config, env.spec)
    return Experiment(config, env, eval_env, agents.make(config, env.spec))


def check_alike(env: core.Env, other: core.Env, role: str) -> None:
    """Raise `UserError` if an agent of `env` cannot act in `other`, for its sizes, its walls or its cells."""
    for size in ("obs_dim", "action_dim", "goal_dim"):
        ours, theirs = getattr(env.spec, size), getattr(other.spec, size)
        if ours != theirs:
            raise UserError(f"{role} {other.name} has {size} {theirs}, {env.name} has {ours}; name one like it")
    shapes = [_shape_of_cells(one) for one in (env, other)]
    if env.spec.discrete != other.spec.discrete or shapes[0] != shapes[1]:
        raise UserError(
            f"{role} {other.name} has other actions or another grid than {env.name}; name one like it"
        )
    if env.maze and other.maze and not np.array_equal(env.maze.walls, other.maze.walls):
        raise UserError(f"{role} {other.name} has another maze than {env.name}; name one like it")


def _shape_of_cells(env: core.Env) -> tuple[int, ...] | None:
    """Of a grid."""
    if env.cells is None:
        return None
    return jax.eval_shape(env.cells, jax.ShapeDtypeStruct((env.spec.obs_dim,), jnp.float32)).shape


def with_rows(config: TrainConfig, spec: EnvSpec) -> TrainConfig:
    """The same settings, with the rows that fit into `buffer_gb`."""
    rows = int((config.buffer_gb or 0.0) * 1e9 / (config.num_envs * row_bytes(spec)))
    try:
        sized = replace(config, buffer_rows=rows, buffer_gb=None)
        check_together(sized)
    except UserError as error:
        size = f"buffer_gb {config.buffer_gb} holds {rows} rows for each of {config.num_envs} worlds"
        raise UserError(f"{size}, too few: {error}; raise --buffer-gb or lower --num-envs") from error
    return sized


def row_bytes(spec: EnvSpec) -> int:
    """Bytes that one row of one world takes in the replay."""
    ring = jax.eval_shape(lambda: replay.init(blank_row(spec, 1), 1))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((ring.rows, ring.last)))


def blank_row(spec: EnvSpec, worlds: int) -> Trajectory:
    """Zeros in the place of a row of some worlds."""
    obs, action, goal = (jnp.zeros((worlds, size)) for size in (spec.obs_dim, spec.action_dim, spec.goal_dim))
    return Trajectory(obs, action, goal, jnp.zeros(worlds, bool), jnp.zeros(worlds, bool))


def blank(experiment: Experiment) -> Run:
    """The state before any world has started; pure JAX, a function of the seed alone."""
    config, env, agent = experiment.config, experiment.env, experiment.agent
    agent_key, worlds_key, run_key = jax.random.split(prng.key(config.seed), 3)
    zero = jnp.zeros((), jnp.int32)
    if config.is_offline:
        return Run(agent.init(agent_key), (), (), (), run_key, zero, zero)  # type: ignore[arg-type]
    worlds = core.blank(env, jax.random.split(worlds_key, config.num_envs))
    sizes = (env.spec.obs_dim, env.spec.action_dim)
    obs, action = (jnp.zeros((config.num_envs, size)) for size in sizes)
    row = Trajectory(obs, action, worlds.goal, worlds.steps == 0, worlds.terminated)
    rows, pending = replay.init(row, config.buffer_rows), nothing_pending(env, config.num_envs, agent.chunk)
    return Run(agent.init(agent_key), rows, worlds, pending, run_key, zero, zero)


def shapes(experiment: Experiment) -> Run:
    """Shapes and types of a run's arrays; nothing is computed or allocated."""
    return jax.eval_shape(partial(blank, experiment))


def init(experiment: Experiment, compiler_options: dict[str, Any] | None = None) -> Run:
    """The state before the first step; a function of the seed alone, and of options that JAX compiles with.

    What a dataset holds is not in it.
    """
    run = jax.jit(partial(blank, experiment), compiler_options=compiler_options)()
    if experiment.config.is_offline:
        return run
    start = compiled(experiment.env, starter(experiment.env))
    return run._replace(worlds=start(run.worlds.key))


Gather = Callable[[Run], tuple[Run, PRNGKeyArray]]


def gatherer(experiment: Experiment) -> Gather:
    """Make the function that collects an iteration's experience into the replay.

    It also gives a key for what follows. Pure JAX, unless the environment has an engine.
    """
    config, env, agent = experiment.config, experiment.env, experiment.agent
    if config.is_offline:
        return gather_nothing
    collect = collector(env, agent.act, config.resample_goals, config.steps_per_goal, agent.chunk)
    insert = jax.jit(replay.insert, donate_argnums=0) if env.engine else replay.insert
    practise = jax.jit(partial(practice.command, env.spec, config.practised_goals))

    def gather(run: Run) -> tuple[Run, PRNGKeyArray]:
        key, collect_key, next_key = jax.random.split(run.key, 3)
        if config.practised_goals:
            goal = practise(run.replay, run.worlds.goal, jax.random.fold_in(run.key, PRACTICE_STREAM))
            run = run._replace(worlds=run.worlds._replace(goal=goal))
        with jax.named_scope("collect"):
            keys = jax.random.split(collect_key, config.steps_per_iteration)
            worlds, pending, collected = collect(run.agent, run.worlds, run.pending, keys)
        with jax.named_scope("insert"):
            rows = insert(run.replay, collected)
        env_steps = run.env_steps + config.num_envs * config.steps_per_iteration
        run = run._replace(replay=rows, worlds=worlds, pending=pending, key=key, env_steps=env_steps)
        return run, next_key

    return gather


def gather_nothing(run: Run) -> tuple[Run, PRNGKeyArray]:
    """Collect nothing, where a dataset is learned from; the key is split as for a collection."""
    key, _, next_key = jax.random.split(run.key, 3)
    return run._replace(key=key), next_key


def sample(experiment: Experiment, experience: replay.Replay, key: PRNGKeyArray) -> Batch:
    """Draw a batch from the replay, with the goals that the agent trains on."""
    config, spec = experiment.config, experiment.env.spec
    with jax.named_scope("sample"):
        draw = partial(replay.sample, experience, spec, experiment.agent.relabel, config.batch_size)
        if not config.random_shift:
            return draw(key)
        draw_key, shift_key = jax.random.split(key)
        return replay.shift(draw(draw_key), spec.shifts, spec.achieved, config.random_shift, shift_key)


def update(
    experiment: Experiment, agent: Any, experience: replay.Replay, key: PRNGKeyArray
) -> tuple[Any, Metrics]:
    """Take one update on a fresh sample of the replay."""
    sample_key, update_key = jax.random.split(key)
    return experiment.agent.update(agent, sample(experiment, experience, sample_key), update_key)


def learn(experiment: Experiment, run: Run, key: PRNGKeyArray) -> tuple[Run, Metrics]:
    """Take `updates_per_iteration` updates from the replay; metrics of each, leaves (K,).

    An update whose metrics are not finite is not taken, nor is any after it: the agent that is returned is
    the one that update was tried on.
    """
    updates = run.updates + experiment.config.updates_per_iteration
    with jax.named_scope("sample"):
        experience = replay.index(run.replay, experiment.env.spec, experiment.agent.relabel)

    def step(carry: tuple[Any, Array], key: PRNGKeyArray) -> tuple[tuple[Any, Array], Metrics]:
        agent, healthy = carry
        updated, metrics = update(experiment, agent, experience, key)
        healthy &= jnp.all(jnp.stack([jnp.isfinite(value) for value in metrics.values()]))
        with jax.named_scope("optimiser"):
            agent = jax.tree.map(partial(jnp.where, healthy), updated, agent)
        return (agent, healthy), metrics

    (agent, _), metrics = jax.lax.scan(step, (run.agent, jnp.array(True)), update_keys(experiment, key))
    return run._replace(agent=agent, updates=updates), metrics


def update_keys(experiment: Experiment, key: PRNGKeyArray) -> Key[Array, " K"]:
    """The keys of an iteration's updates."""
    return jax.random.split(key, experiment.config.updates_per_iteration)


def iteration(experiment: Experiment, gather: Gather, run: Run) -> tuple[Run, Metrics]:
    """Collect, insert, learn: one program, compiled once and run until the end."""
    return learn(experiment, *gather(run))


def inspect(metrics: Metrics) -> tuple[Metrics, Array]:
    """Means over updates of metrics (K,); the index of the first update with a NaN or Inf, else K."""
    bad = ~jnp.all(jnp.stack([jnp.isfinite(leaf) for leaf in metrics.values()]), axis=0)
    first_bad = jnp.where(jnp.any(bad), jnp.argmax(bad), bad.shape[0])
    return jax.tree.map(jnp.mean, metrics), first_bad


def evaluator(
    experiment: Experiment, *, record: bool = False, explore: bool = False
) -> Callable[[Any, Key[Array, " M"]], tuple[Episodes, Any]]:
    """Make the function of (agent, keys (M,)) that runs one episode per key, as evaluations do.

    With `record` it also gives states and observations after each step, leaves (K, M, …). To `explore`, it acts
    as in training.
    """
    env, agent = experiment.eval_env, experiment.agent
    act = _by_step(experiment, agent.act) if explore else exploiter(experiment)
    return compiled(env, episode_runner(env, act, record=record, chunk=agent.chunk))


def exploiter(experiment: Experiment) -> Act:
    """Make the function of (agent, obs (N, D), goal (N, G), number of the step) by which evaluations act."""
    return _by_step(experiment, experiment.agent.exploit)


def _by_step(experiment: Experiment, choose: Act) -> Act:
    """`choose`, a function of a key, as one of the number of the step."""
    root = jax.random.fold_in(prng.key(experiment.config.seed), EXPLOIT_STREAM)

    def act(agent: Any, obs: Array, goal: Array, t: Array) -> Array:
        return choose(agent, obs, goal, jax.random.fold_in(root, t))

    return act


def chance_level(experiment: Experiment) -> Callable[[Key[Array, " M"]], dict[str, float]]:
    """Make the function of keys (M,) that says what chance achieves in the episodes of an evaluation.

    It gives means of an evaluation by their names, each with `random_` before it. The actions are the random
    ones of `contract.check`; they depend on the run's seed alone.
    """
    env = experiment.eval_env
    random_act = contract.random_act(env)

    def act(key: PRNGKeyArray, obs: Array, goal: Array, t: Array) -> Array:
        return random_act(None, obs, goal, jax.random.fold_in(key, t // contract.HELD))

    run = compiled(env, episode_runner(env, act))
    root = jax.random.fold_in(prng.key(experiment.config.seed), CHANCE_STREAM)

    def chance(keys: Key[Array, " M"]) -> dict[str, float]:
        episodes, _ = run(root, keys)
        means = summarise(episodes, env.spec.episode_length)._asdict()
        return {f"random_{name}": value for name, value in means.items() if isinstance(value, float)}

    return chance


def evaluation_keys(config: TrainConfig, episodes: int | None = None) -> Key[Array, " M"]:
    """The fixed keys of a run's evaluations, (M,): they depend on the seed, not on how training went."""
    root = jax.random.fold_in(prng.key(config.seed), EVALUATION_STREAM)
    return jax.random.split(root, episodes or config.eval_episodes)


def block_norms(experiment: Experiment, run: Run) -> Metrics:
    """Norms by residual block on a batch of the replay, leaves (blocks,); the run's own key is not used."""
    root = jax.random.fold_in(prng.key(experiment.config.seed), NORMS_STREAM)
    sample_key, key = jax.random.split(jax.random.fold_in(root, run.updates))
    return experiment.agent.block_norms(run.agent, sample(experiment, run.replay, sample_key), key)


class Report(NamedTuple):
    """What `train` yields after each iteration."""

    epoch: int  # epochs finished
    iteration: int  # iterations finished
    env_steps: int
    updates: int
    seconds: float  # of training, over all sessions of the run
    faults: int  # how often the physics of a world broke down, since the start of the run
    metrics: dict[str, float]  # means over the iteration's updates
    evaluation: Evaluation | None  # at the end of an epoch
    block_norms: dict[str, list[float]]  # likewise, if the configuration asks for them
    chance: dict[str, float]  # what random actions achieve in the episodes of the evaluation; none if not known

    def row(self) -> dict[str, Any]:
        """Flat names and values, for tables."""
        head = {name: getattr(self, name) for name in Report._fields[:6]}
        evaluation = self.evaluation._asdict() | self.chance if self.evaluation else {}
        return head | self.metrics | evaluation | self.block_norms


class Programs(NamedTuple):
    """The compiled programs of an experiment; `Run`s given to the first two are used up."""

    gather: Callable[[Run], tuple[Run, PRNGKeyArray]]
    iteration: Callable[[Run], tuple[Run, Metrics]]
    inspect: Callable[[Metrics], tuple[Metrics, Array]]
    evaluate: Callable[[Any, Array], tuple[Episodes, Any]]
    chance: Callable[[Array], dict[str, float]]
    block_norms: Callable[[Run], Metrics]


def compile_programs(experiment: Experiment, profiler: Profiler | None = None) -> Programs:
    """Make the programs; each compiles at its first call.

    A `profiler` traces a third iteration and a second evaluation, when memory is warm. With an engine
    an iteration is a loop around it and then one program that learns.
    """
    trace = profiler or Untraced()
    gather = gatherer(experiment)
    if experiment.env.engine and not experiment.config.is_offline:
        first_half = trace.clock("collect", gather, 2)
        second_half = trace.program("iteration", jax.jit(partial(learn, experiment), donate_argnums=0), 2)

        def whole(run: Run) -> tuple[Run, Metrics]:
            return second_half(*first_half(run))
    else:
        program = jax.jit(partial(iteration, experiment, gather), donate_argnums=0)
        whole = trace.program("iteration", program, 2)
    evaluate = evaluator(experiment)
    evaluate = (trace.clock if experiment.eval_env.engine else trace.program)("evaluate", evaluate, 1)
    norms = jax.jit(partial(block_norms, experiment))
    gather = compiled(experiment.env, gather, donate_argnums=0)
    return Programs(gather, whole, jax.jit(inspect), evaluate, chance_level(experiment), norms)


def train(
    config: TrainConfig,
    directory: str | Path,
    *,
    resume: bool = False,
    dataset: offline.Dataset | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    profiler: Profiler | None = None,
    changed_env: bool = False,
) -> Generator[Report, None, None]:
    """Train in a run directory and yield a report after each iteration, the first one before any.

    With `resume` the run there goes on from its latest checkpoint, bit for bit, under `config`; without it the
    directory must be new. Ends after `config.epochs` epochs, or with a checkpoint once `should_stop()` is true.
    A `dataset` is that of `config`, already read. A `profiler` traces one iteration and one evaluation. With
    `changed_env` a run goes on though an environment's own file is another than it was.
    Raises `UserError`, `MachineError`, and `DivergedError` when a loss or parameter is NaN or Inf.
    """
    directory, experiment = Path(directory), build(config)
    if config.is_offline and dataset is None:
        dataset = offline.load(config, experiment.env.spec, experiment.agent)
    if resume:
        runs.load_config(directory)
        held = runs.lock(directory)
    else:
        made_of = env_versions(experiment) | ({"dataset_sha256": dataset.sha256} if dataset else {})
        held = runs.new(directory, config, str(jax.devices()[0]), made_of)
    with held, closing(Session(experiment, directory, profiler, dataset, changed_env)) as session:
        if resume:
            session.set_end(config)
        if session.run is None:
            yield session.begin()
        while session.epoch < config.epochs:
            for report in epoch(session):
                yield report
                if should_stop():
                    session.save()
                    return


def other_threads(directory: Path) -> str | None:
    """A note if a run that is to go on was made with another number of threads than this process has."""
    saved = checkpoint.list_saved(runs.checkpoints(directory))
    before, now = saved[-1].state.get("threads") if saved else None, runs.threads()
    if type(before) is not int or before == now or jax.default_backend() != "cpu":
        return None
    return (
        f"note: the run so far had {before} threads, this process has {now}: the result is as good, but bits "
        f"may differ; set PJRT_NPROC={before} for equal ones"
    )


def epoch(session: "Session") -> Iterator[Report]:
    """Iterate up to the next evaluation, whose report comes last."""
    while True:
        key = jnp.copy(session.run.key)
        session.run, metrics = session.programs.iteration(session.run)
        means = session.check(metrics, key)
        if session.ends_epoch():
            yield session.finish_epoch(means)
            return
        yield session.report(means)


def env_versions(experiment: Experiment) -> dict[str, int | str]:
    """Versions of a run's environments and what their own files are, by their names in `runs.Meta`."""
    told: dict[str, int | str] = {}
    for name, env in (("env", experiment.env), ("eval_env", experiment.eval_env)):
        told[f"{name}_version"] = env.version
        if env.source:
            told[f"{name}_source"] = env.source
    return told


def other_version(experiment: Experiment, meta: runs.Meta) -> str | None:
    """How an environment of a run differs from what it is now; None if both are the same."""
    for name, env in (("env", experiment.env), ("eval_env", experiment.eval_env)):
        if getattr(meta, f"{name}_version") != env.version:
            return (
                f"was made with version {getattr(meta, f'{name}_version')} of {env.name}, which is now version "
                f"{env.version}: the same actions lead to other rows"
            )
    return None


def other_source(experiment: Experiment, meta: runs.Meta) -> str | None:
    """Which environment's own file, or model, is another than when a run was made; None if none is."""
    for name, env in (("env", experiment.env), ("eval_env", experiment.eval_env)):
        if (getattr(meta, f"{name}_source") or "") != env.source:
            return f"was made when the file of {env.name}, or its model, was another than it is now"
    return None


def restore(experiment: Experiment, saved: checkpoint.Saved, meta: runs.Meta) -> Run:
    """The state of a run in one of its own checkpoints. Raises `UserError` for what is damaged or another's."""
    checkpoint.check_run(saved, meta.id)
    run = checkpoint.restore(saved, shapes(experiment))
    found = int(run.updates) // experiment.config.updates_per_iteration
    if found != saved.iteration:
        raise UserError(
            f"checkpoint {saved.path} holds iteration {found}, not the one of its name; remove that folder"
        )
    return run


def restart(experiment: Experiment, run: Run) -> Run:
    """The state from which a run goes on where the episodes it was in cannot be: all worlds start new ones."""
    env, config = experiment.env, experiment.config
    root = jax.random.fold_in(prng.key(config.seed), RESTART_STREAM)
    keys = jax.random.split(jax.random.fold_in(root, run.updates), config.num_envs)
    pending = nothing_pending(env, config.num_envs, experiment.agent.chunk)
    return run._replace(worlds=starter(env)(keys), pending=pending)


def _number(saved: checkpoint.Saved, name: str) -> float:
    """A number of a checkpoint's state, at least 0. Raises `UserError` if it is none."""
    value: Any = saved.state.get(name)
    if type(value) not in (int, float) or not 0 <= value < files.HUGE:
        raise UserError(
            f"checkpoint {saved.path} is damaged: {name} in its state is {value!r:.40}; "
            f"remove the folder {saved.path} to fall back to the checkpoint before it"
        )
    return value


class Session:
    """A run in memory and its directory on disk, from a start or resume to the next stop."""

    def __init__(
        self,
        experiment: Experiment,
        directory: Path,
        profiler: Profiler | None = None,
        dataset: offline.Dataset | None = None,
        changed_env: bool = False,
    ):
        self.experiment, self.directory, self._dataset = experiment, directory, dataset
        self.programs = compile_programs(experiment, profiler)
        self.run: Run = None  # type: ignore[assignment]  # until `begin`, for a run without checkpoint
        self._folder = runs.checkpoints(directory)
        self._seconds, self._since = 0.0, time.monotonic()
        self._score: float | None = None
        self._saved_iteration = -1
        self._meta = runs.load_meta(directory)
        self._check_versions(changed_env)
        row = None
        if checkpoint.list_saved(self._folder):
            saved = checkpoint.latest(self._folder)
            self._restore(saved)
            row = saved.state.get("row")
        elif runs.read_metrics(directory):
            raise UserError(
                f"{directory} has rows in its logs, but no checkpoint any more; put the checkpoints back, "
                "or train anew in another directory"
            )
        self._recorder = runs.recorder(directory, self._saved_iteration, row)
        recorded = runs.read_metrics(directory)[:1]  # of a run that is resumed
        self._chance = {
            name: value for row in recorded for name, value in row.items() if name.startswith("random_")
        }

    def _restore(self, saved: checkpoint.Saved) -> None:
        self.run = self._with_data(restore(self.experiment, saved, self._meta))
        engine = self.experiment.env.engine
        if self._dataset is None and engine and not engine.keeps:
            self.run = restart(self.experiment, self.run)
        self._seconds = _number(saved, "seconds")
        self._score = None if saved.state.get("score") is None else _number(saved, "score")
        self._saved_iteration = saved.iteration

    def _check_versions(self, changed_env: bool) -> None:
        """Refuse to go on where that cannot give what an uninterrupted run would."""
        other = other_version(self.experiment, self._meta)
        if other:
            raise UserError(
                f"{self.directory} {other}, so it cannot go on. Train anew, or resume it with the goalward "
                f"that made it ({self._meta.goalward or 'unknown'}; meta.json names its commit too)"
            )
        changed = other_source(self.experiment, self._meta)
        if changed and not changed_env:
            raise UserError(
                f"{self.directory} {changed}. Put it back as it was, or go on with it as it is: "
                "--env-file and its path"
            )
        if self._dataset:
            offline.check_same(self._dataset, self.experiment.config, self._meta)

    def _with_data(self, run: Run) -> Run:
        """The same with the replay that a dataset fills, if there is one."""
        if self._dataset is None:
            return run
        return run._replace(replay=offline.ring(self._dataset.rows, self.experiment.env.spec))

    def _kept(self) -> Run:
        """What of the run is written to checkpoints."""
        return self.run if self._dataset is None else self.run._replace(replay=())

    @property
    def iteration(self) -> int:
        """Iterations finished."""
        return int(self.run.updates) // self.experiment.config.updates_per_iteration

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.experiment.config.epoch_at(self.iteration)

    def ends_epoch(self) -> bool:
        """Whether an epoch ends with the last iteration."""
        return self.iteration == self.experiment.config.iterations_at(self.epoch)

    def begin(self) -> Report:
        """Start from the seed: fill the replay, evaluate random actions and the untrained policy."""
        config = self.experiment.config
        self.run = self._with_data(init(self.experiment))
        for _ in range(config.prefill_rounds):
            self.run, _ = self.programs.gather(self.run)
        self._chance = self.programs.chance(evaluation_keys(config))
        return self.finish_epoch({})

    def set_end(self, config: TrainConfig) -> None:
        """Keep the end that a resume was told, for the next one. Raises `UserError` for one that is past.

        What is done is counted by the epochs that it was done in: those up to another end may be longer.
        """
        if self.run is not None and self.iteration > config.iterations:
            done = runs.load_config(self.directory).epoch_at(self.iteration)
            begun = " and the next has begun" if done == config.epochs else ""
            raise UserError(f"epochs is {config.epochs}, but {done} are done{begun}; give more to go on")
        runs.save_config(self.directory, config)

    def check(self, metrics: Metrics, key: PRNGKeyArray) -> dict[str, float]:
        """Means of an iteration's metrics. Raises `DivergedError`, with a reproducer saved, at a NaN or Inf.

        `key` is the run's from before the iteration.
        """
        means, first_bad = self.programs.inspect(metrics)
        updates, bad = self.experiment.config.updates_per_iteration, int(first_bad)
        if bad == updates:
            return {name: float(mean) for name, mean in means.items()}
        values = {name: float(leaf[bad]) for name, leaf in metrics.items()}
        seen = [f"{name} = {value}" for name, value in values.items() if not math.isfinite(value)]
        folder = runs.failure(self.directory)
        update_key = update_keys(self.experiment, jax.random.split(key, 3)[2])[bad]
        tree = {"agent": self.run.agent, "replay": self._kept().replay, "key": update_key}
        checkpoint.save(folder, self.iteration, tree, {"run": self._meta.id, "update": bad, "seen": seen})
        number = int(self.run.updates) - updates + bad + 1
        raise DivergedError(
            f"update {number} gave {', '.join(seen)}. The state before it is in {folder}; "
            f"`goalward.training.reproduce({str(self.directory)!r})` repeats it. "
            "A smaller learning rate, or --layer-norm, often helps"
        )

    def report(self, metrics: dict[str, float], evaluation: Evaluation | None = None) -> Report:
        """Where the run stands."""
        seconds = self._seconds + time.monotonic() - self._since
        counts = (int(self.run.env_steps), int(self.run.updates))
        norms: dict[str, list[float]] = {}
        if evaluation and self.experiment.config.block_norms:
            norms = {name: norm.tolist() for name, norm in self.programs.block_norms(self.run).items()}
        engine, worlds = self.experiment.env.engine, self.run.worlds
        faults = int(jnp.sum(engine.faults(worlds.state))) if engine and worlds else 0
        chance = self._chance if evaluation else {}
        return Report(self.epoch, self.iteration, *counts, seconds, faults, metrics, evaluation, norms, chance)

    def finish_epoch(self, metrics: dict[str, float]) -> Report:
        """Evaluate, save, and record: a log that cannot be written costs no checkpoint, which has the row."""
        keys = evaluation_keys(self.experiment.config)
        episodes, _ = self.programs.evaluate(self.run.agent, keys)
        evaluation = summarise(episodes, self.experiment.eval_env.spec.episode_length)
        report = self.report(metrics, evaluation)
        self._score = evaluation.time_at_goal_fraction
        self.save(report.row())
        self._recorder.write(report.row())
        return report

    def save(self, row: dict[str, Any] | None = None) -> None:
        """Write a checkpoint, unless this iteration has one, and remove those no longer kept.

        With it goes `row`, of the evaluation of this iteration.
        """
        if self._saved_iteration == self.iteration:
            return
        seconds = self._seconds + time.monotonic() - self._since
        score = self._score if self.ends_epoch() else None
        counts = {"run": self._meta.id, "epoch": self.epoch, "threads": runs.threads()}
        state = counts | {"seconds": seconds, "score": score, "row": row}
        checkpoint.save(self._folder, self.iteration, self._kept(), state)
        self._saved_iteration = self.iteration
        checkpoint.prune(self._folder, self.experiment.config.keep_last)

    def close(self) -> None:
        """Close what is open."""
        self._recorder.close()


def reproduce(directory: str | Path) -> Metrics:
    """Repeat the update at which a run diverged, from the state before it; its metrics, scalars."""
    directory = Path(directory)
    experiment = build(runs.load_config(directory))
    run = shapes(experiment)
    like = {"agent": run.agent, "replay": run.replay, "key": run.key}
    failed = checkpoint.latest(runs.failure(directory))
    checkpoint.check_run(failed, runs.load_meta(directory).id)
    saved = checkpoint.restore(failed, like)
    experience = saved["replay"]
    if experiment.config.is_offline:
        dataset = offline.load(experiment.config, experiment.env.spec, experiment.agent)
        offline.check_same(dataset, experiment.config, runs.load_meta(directory))
        experience = offline.ring(dataset.rows, experiment.env.spec)
    _, metrics = jax.jit(partial(update, experiment))(saved["agent"], experience, saved["key"])
    return metrics
