"""All settings of a run, as frozen dataclasses. Imports no JAX, so that `--help` is quick."""

import dataclasses
import difflib
import json
import reprlib
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast, get_args, get_origin, get_type_hints

from tyro.conf import Positional
from tyro.constructors import PrimitiveConstructorSpec

from goalward.errors import UserError
from goalward.limits import INT32, SEEDS, check_number, to_float

_AS_JSON = {"True": "true", "False": "false", "None": "null"}  # what Python prints


def _settings_from_words(words: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE words; values are JSON, and text where they are not."""
    settings = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ValueError(
                f"{word!r} is not of the form NAME=VALUE; the environment is named before all of them"
            )
        try:
            settings[name] = json.loads(_AS_JSON.get(text, text))
        except (ValueError, RecursionError):
            settings[name] = text
    return settings


# Settings of an environment on the command line: --env-settings step_size=0.1 inertia=true
Settings = Annotated[
    dict[str, Any],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="NAME=VALUE ...",
        instance_from_str=_settings_from_words,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [f"{name}={json.dumps(item)}" for name, item in value.items()],
    ),
]


@dataclass(frozen=True)
class NetworkConfig:
    """Actor and critic networks."""

    depth: int = 4
    """Dense layers inside residual blocks, for actor and critic; a multiple of block-size. Less than one block
    is a plain stack of so many layers in all, without a skip."""
    actor_depth: int | None = None
    """Depth of the actor alone; by default `depth`."""
    critic_depth: int | None = None
    """Depth of both encoders alone; by default `depth`."""
    width: int = 64
    """Units of each hidden layer, for actor and critic."""
    actor_width: int | None = None
    """Width of the actor alone; by default `width`."""
    critic_width: int | None = None
    """Width of both encoders alone; by default `width`."""
    block_size: int = 4
    """Layers that one skip connection spans."""
    residual: bool = True
    """Add each block's input to its output."""
    residual_scale: Literal["one", "inverse_sqrt_blocks", "inverse_blocks"] = "one"
    """Multiply what each block adds. One is the paper's; from a few hundred layers on, the actor's first
    actions are then at their bounds, which inverse_blocks mends (docs/performance.md)."""
    layer_norm: bool = True
    """Normalise after each Dense layer."""
    activation: Literal["swish", "relu", "gelu", "elu", "tanh"] = "swish"
    """Non-linearity after each normalisation."""
    stem_bias: bool = False
    """Draw the first layer's biases like its weights. At zero, its LayerNorm lets through only the
    direction of an input, not its length, which is much of what a position of two numbers says."""
    remat: bool = False
    """Keep only block inputs and compute the rest again in the backward pass: a fifth of the memory for
    activations, a third more arithmetic."""
    unroll: int = 1
    """Blocks unrolled in each step of the scan over blocks. Time to compile grows with it; 1 was fastest where
    it was measured (docs/performance.md)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the factors of the trunks' matrix products; bfloat16 is for accelerators."""


@dataclass(frozen=True)
class CRLConfig:
    """Contrastive RL (arXiv 2503.14858, §3)."""

    repr_dim: int = 64
    """Dimension of the representations φ(s, a) and ψ(g)."""
    energy: Literal["l2", "sq_l2", "dot", "cosine"] = "l2"
    """f(s, a, g): −‖φ − ψ‖, −‖φ − ψ‖², φᵀψ, or the cosine."""
    objective: Literal["info_nce", "backward_info_nce", "symmetric_info_nce", "binary_nce"] = "info_nce"
    """Contrastive objective of the critic."""
    normalise_inputs: bool = False
    """Give the networks observations and goals shifted and scaled to mean 0 and deviation 1, by what training
    has seen so far. Without it, what is large by its unit drowns the rest."""
    logsumexp_penalty: float = 0.1
    """Weight of mean (logsumexp f)² in the critic's loss."""
    horizon: Literal["truncated_geometric", "clipped_geometric", "uniform"] = "truncated_geometric"
    """Law of the steps between a state and its hindsight goal."""
    discount: float = 0.99
    """γ of that law."""
    actor_random_goals: float = 0.0
    """Share of a batch whose goals are shuffled among its samples before the actor trains on them."""
    actor_commanded_goals: float = 0.0
    """Share of a batch for which the actor trains on the goal that was commanded, reached or not."""
    actor_lr: float = 3e-4
    """Adam's step size for the actor."""
    critic_lr: float = 3e-4
    """Adam's step size for the critic."""
    alpha_lr: float = 3e-4
    """Adam's step size for the temperature α."""
    target_entropy: float = -0.5
    """Entropy that α holds the policy to, per action dimension."""
    log_prob: Literal["exact", "bounded"] = "exact"
    """log π in the actor's loss. Bounded is that of the paper's code, with log(1 − a² + 1e-6) for log(1 − a²):
    its gradient does not pull an action back that is at its bounds (docs/log.md)."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a run, apart from where it is written."""

    env: Positional[str]
    """Environment to train on; `goalward envs` lists them."""
    eval_env: str | None = None
    """Environment to evaluate on, such as point_u4_maze_eval; by default the one trained on."""
    env_settings: Settings = field(default_factory=dict)
    """Settings of both environments, as NAME=VALUE …, in place of the preset's; `goalward envs` lists them."""
    resample_goals: bool = True
    """Draw a new start and goal for each episode; off, every world repeats its first ones."""
    steps_per_goal: int | None = None
    """Command another goal after so many steps of an episode, in training; by default one goal an episode."""
    agent: Literal["crl"] = "crl"
    """Learning method."""
    seed: int = 0
    """Seed of everything random."""
    total_env_steps: int = 1_050_000
    """Environment steps of the whole run, over all worlds and with those that fill the replay before learning
    starts. They come in rounds of num-envs × steps-per-iteration, as many as fit: never more than said here."""
    epochs: int = 20
    """Evaluations, and checkpoints, in the run; an epoch has one round at least."""
    num_envs: int = 64
    """Worlds that run side by side."""
    steps_per_iteration: int = 50
    """Steps in every world between two rounds of updates."""
    updates_per_iteration: int = 80
    """Updates in each round."""
    batch_size: int = 256
    """Samples in an update."""
    random_shift: float = 0.0
    """Move each batch, observations and goals alike, by a random vector of this deviation, in the environment's
    unit. For environments that look the same from everywhere: what is learned here then holds there."""
    buffer_rows: int = 2_000
    """Rows of the replay for each world."""
    buffer_gb: float | None = None
    """Size of the replay in GB, in place of buffer-rows."""
    prefill_rows: int = 400
    """Rows in each world before learning starts."""
    eval_episodes: int = 128
    """Episodes of an evaluation, the same starts and goals every time."""
    block_norms: bool = False
    """At each evaluation, also measure what each residual block adds, and its gradient: the lists `…_norm` in
    metrics.jsonl."""
    keep_last: int = 2
    """Newest checkpoints to keep; the best one is kept besides."""
    network: NetworkConfig = NetworkConfig()
    crl: CRLConfig = CRLConfig()

    def __post_init__(self):
        _check_types(self)
        for part in (self, self.network, self.crl):
            for name, (low, high) in _RANGES.items():
                value = getattr(part, name, None)
                if value is not None:
                    check_number(name, value, low, high)

    @property
    def steps_per_round(self) -> int:
        """Environment steps, over all worlds, between two rounds of updates."""
        return self.num_envs * self.steps_per_iteration

    @property
    def prefill_rounds(self) -> int:
        """Rounds of collection before learning starts."""
        return -(-self.prefill_rows // self.steps_per_iteration)

    @property
    def iterations(self) -> int:
        """Iterations of the whole run: the rounds that fit into its total, after the prefill's."""
        return self.total_env_steps // self.steps_per_round - self.prefill_rounds

    def iterations_at(self, epoch: int) -> int:
        """Iterations at the end of an epoch. Of epochs that cannot all be equal the first are one longer.

        So the ends of a run's epochs stay where they are when epochs are added.
        """
        length, longer = divmod(self.iterations, self.epochs)
        return epoch * length + min(epoch, longer)

    def epoch_at(self, iteration: int) -> int:
        """Epochs that have ended after so many iterations."""
        length, longer = divmod(self.iterations, self.epochs)
        ends = longer * (length + 1)
        return iteration // (length + 1) if iteration < ends else longer + (iteration - ends) // length

    def steps_at(self, epoch: int) -> int:
        """Environment steps at the end of an epoch, prefill included."""
        return (self.prefill_rounds + self.iterations_at(epoch)) * self.steps_per_round


_WHOLE = (1, INT32)
_LR = (1e-12, 1.0)

# Range of each number, both ends included; a number may be None where its default is.
_RANGES: dict[str, tuple[float, float]] = {
    "seed": SEEDS, "total_env_steps": _WHOLE, "epochs": _WHOLE, "num_envs": _WHOLE,
    "steps_per_iteration": _WHOLE, "updates_per_iteration": (1, 1_000_000), "steps_per_goal": _WHOLE,
    "batch_size": (2, 65_536), "buffer_rows": (3, INT32), "prefill_rows": (3, INT32),
    "buffer_gb": (0.0, 1e6), "random_shift": (0.0, 1e4), "eval_episodes": (1, 1_000_000), "keep_last": _WHOLE,
    "depth": _WHOLE, "actor_depth": _WHOLE, "critic_depth": _WHOLE, "width": _WHOLE, "actor_width": _WHOLE,
    "critic_width": _WHOLE, "block_size": _WHOLE, "unroll": (1, 1_000), "repr_dim": _WHOLE,
    "logsumexp_penalty": (0.0, 1e6), "target_entropy": (-1e6, 1e6), "discount": (1e-6, 0.9999999),
    "actor_random_goals": (0.0, 1.0), "actor_commanded_goals": (0.0, 1.0),
    "actor_lr": _LR, "critic_lr": _LR, "alpha_lr": _LR,
}  # fmt: skip


def check_together(config: TrainConfig) -> None:
    """Raise `UserError` for numbers that do not go together, each of which may be in its range."""
    random, commanded = config.crl.actor_random_goals, config.crl.actor_commanded_goals
    if random + commanded > 1:
        raise UserError(
            f"actor_random_goals is {random} and actor_commanded_goals {commanded}; they are shares of one "
            "batch, together at most 1"
        )
    _check_length(config)
    if config.buffer_gb is None:
        _check_buffer(config)


def _check_length(config: TrainConfig) -> None:
    if config.iterations < config.epochs:
        prefill, least = config.prefill_rounds, config.prefill_rounds + config.epochs
        remedies = [f"--epochs {config.iterations}"] if config.iterations > 0 else []
        total = least * config.steps_per_round
        remedies.append(f"--total-env-steps {total}" if total <= INT32 else "smaller num_envs")
        raise UserError(
            f"epochs is {config.epochs}, but total_env_steps {config.total_env_steps} are "
            f"{max(0, config.iterations)} iterations of {config.steps_per_round} (num_envs × "
            f"steps_per_iteration) after {prefill * config.steps_per_round} of prefill; use "
            + " or ".join(remedies)
        )
    most = INT32 // config.iterations  # updates are counted by 32 bits
    if config.updates_per_iteration > most:
        raise UserError(
            f"updates_per_iteration is {config.updates_per_iteration}; for {config.iterations} iterations "
            f"it must lie in 1 … {most:,}"
        )


def _check_buffer(config: TrainConfig) -> None:
    for name in ("steps_per_iteration", "prefill_rows"):
        if getattr(config, name) > config.buffer_rows:
            raise UserError(
                f"{name} is {getattr(config, name)}, more than buffer_rows {config.buffer_rows}; "
                f"raise --buffer-rows or lower --{name.replace('_', '-')}"
            )
    rows = config.num_envs * config.buffer_rows
    if config.batch_size > rows:
        raise UserError(
            f"batch_size is {config.batch_size}, larger than the replay buffer of {rows} rows "
            f"({config.num_envs} worlds × {config.buffer_rows}); lower --batch-size or raise --buffer-rows"
        )


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the entries of `over`, nested mappings merged likewise."""
    merged = dict(base)
    for name, value in over.items():
        old = merged.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[name] = merge(old, value)
        else:
            merged[name] = value
    return merged


def from_dict(values: Mapping[str, Any], source: str) -> TrainConfig:
    """Build a configuration from nested names and values, as in config.json.

    Raises `UserError`, naming `source`, for a name that is unknown or missing and a value of a wrong type.
    """
    return _parse(TrainConfig, values, source, "")


def _parse(kind: Any, value: Any, source: str, path: str) -> Any:
    """`value`, checked against the annotation `kind`."""
    if dataclasses.is_dataclass(kind):
        return _parse_fields(kind, value, source, path)
    where = f"{source}: {path} is {_short(value)}"
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UserError(f"{where}; it must be one of {', '.join(map(repr, get_args(kind)))}")
        return value
    allowed = get_args(kind) if get_origin(kind) is types.UnionType else (get_origin(kind) or kind,)
    if float in allowed and type(value) is int:
        return to_float(value)
    if type(value) not in allowed:
        names = " or ".join("null" if a is types.NoneType else a.__name__ for a in allowed)
        raise UserError(f"{where}; it must be of type {names}")
    return value


def _check_types(config: Any) -> None:
    """Raise `UserError` for a field of another type than it is declared with, as a program may give it."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not dataclasses.is_dataclass(kind):
            _parse(kind, value, type(config).__name__, name)
        elif isinstance(value, cast(type, kind)):
            _check_types(value)
        else:
            raise UserError(f"{name} is {_short(value)}; it must be a {cast(type, kind).__name__}")


def _short(value: Any) -> str:
    """A value as messages show it, however long or deep it is."""
    shown = reprlib.Repr()
    shown.maxlevel, shown.maxstring, shown.maxother = 2, 80, 80
    return shown.repr(value)


def _parse_fields(kind: Any, value: Any, source: str, path: str) -> Any:
    hints = get_type_hints(kind)
    if not isinstance(value, Mapping):
        raise UserError(f"{source}: {path or 'the file'} must hold names and values, not {value!r}")
    prefix = f"{path}." if path else ""
    for name in value:
        if name not in hints:
            known = {leaf.rpartition(".")[2]: leaf for leaf in _names(TrainConfig)}
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {known[near[0]]!r}? The" if near else "the"
            raise UserError(
                f"{source}: unknown setting {prefix + name!r}; {hint} settings here are {', '.join(hints)}"
            )
    required = [f.name for f in dataclasses.fields(kind) if _has_no_default(f) and f.name not in value]
    if required:
        raise UserError(f"{source}: {prefix}{required[0]} is missing")
    return kind(**{name: _parse(hints[name], item, source, prefix + name) for name, item in value.items()})


def _names(kind: Any, prefix: str = "") -> list[str]:
    """All settings of a configuration, those of its parts with a dot."""
    names = []
    for name, hint in get_type_hints(kind).items():
        names += _names(hint, f"{name}.") if dataclasses.is_dataclass(hint) else [prefix + name]
    return names


def _has_no_default(entry: dataclasses.Field) -> bool:
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
