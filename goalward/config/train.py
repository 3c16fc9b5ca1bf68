"""Settings of a run, and how many steps and iterations they make."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tyro.conf import Positional

from goalward.config.agents import AGENTS, DEFAULT, AnyAgent, agent_name
from goalward.config.network import NetworkConfig
from goalward.config.values import check, parse
from goalward.config.words import Settings
from goalward.limits import INT32, SEEDS

OFFLINE_UPDATES = 20_000
_WHOLE = (1, INT32)
_RANGES = {
    "collector_depth": _WHOLE, "seed": SEEDS, "total_env_steps": _WHOLE, "epochs": _WHOLE, "num_envs": _WHOLE,
    "steps_per_iteration": _WHOLE, "updates_per_iteration": (1, 1_000_000), "steps_per_goal": _WHOLE,
    "batch_size": (2, 65_536), "buffer_rows": (3, INT32), "prefill_rows": (3, INT32),
    "buffer_gb": (0.0, 1e6), "random_shift": (0.0, 1e4), "practised_goals": (0.0, 1.0),
    "eval_episodes": (1, 1_000_000), "keep_last": _WHOLE, "dataset_rows": (2, INT32), "total_updates": _WHOLE,
}  # fmt: skip


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
    practised_goals: float = 0.0
    """Chance that a world, before each iteration of training, is commanded a place that was reached before, in
    place of the environment's goal; places are drawn evenly, however often they were reached."""
    collector_depth: int | None = None
    """Depth of another agent, which fills the replay in place of the one that is evaluated; both learn from it.
    It does as a run of that depth and the same seed does. By default an agent collects for itself."""
    dataset: str | None = None
    """Learn from trajectories alone, without acting: a file of `goalward dataset` or of OGBench, a folder of
    such files, a run directory, for what its replay holds, or minari:NAME (docs/data.md)."""
    dataset_rows: int | None = None
    """Use the first rows of the dataset alone, so many; by default all of them."""
    total_updates: int | None = None
    """Updates of the whole run, where it learns from a dataset; by default 20,000. They come in rounds of
    updates-per-iteration, as many as fit."""
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
    unit: how to walk is then learned for all places at once. In mazes it blurs the walls by as much."""
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
    network: NetworkConfig = field(default_factory=NetworkConfig)
    agent: AnyAgent = field(default_factory=AGENTS[DEFAULT])

    def __post_init__(self):
        check(self, _RANGES)

    @property
    def steps_per_round(self) -> int:
        """Environment steps, over all worlds, between two rounds of updates."""
        return self.num_envs * self.steps_per_iteration

    @property
    def is_offline(self) -> bool:
        """Whether it learns from a dataset, and collects nothing."""
        return self.dataset is not None

    @property
    def prefill_rounds(self) -> int:
        """Rounds of collection before learning starts."""
        return 0 if self.is_offline else -(-self.prefill_rows // self.steps_per_iteration)

    @property
    def total(self) -> int:
        """How long the run is: in environment steps, or in updates where nothing is collected."""
        if not self.is_offline:
            return self.total_env_steps
        return OFFLINE_UPDATES if self.total_updates is None else self.total_updates

    @property
    def round_size(self) -> int:
        """How much of the total a round is."""
        return self.updates_per_iteration if self.is_offline else self.steps_per_round

    @property
    def iterations(self) -> int:
        """Iterations of the whole run: the rounds that fit into its total, after the prefill's."""
        return self.total // self.round_size - self.prefill_rounds

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

    def total_at(self, epoch: int) -> int:
        """How much of the total is done at the end of an epoch, prefill included."""
        return (self.prefill_rounds + self.iterations_at(epoch)) * self.round_size

    def steps_at(self, epoch: int) -> int:
        """Environment steps at the end of an epoch, prefill included; none where nothing is collected."""
        return 0 if self.is_offline else self.total_at(epoch)


def from_dict(values: Mapping[str, Any], source: str) -> TrainConfig:
    """Build a configuration from nested names and values, as in config.json.

    Raises `UserError`, naming `source`, for a name that is unknown or missing and a value of a wrong type.
    """
    return parse(TrainConfig, values, source)


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """Nested names and values of a configuration, as `from_dict` takes them: plain data, as for JSON."""
    values = asdict(config)
    return {**values, "agent": {"name": agent_name(config.agent), **values["agent"]}}
