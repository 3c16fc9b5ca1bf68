"""Learning methods by name."""

from dataclasses import replace

from goalward.agents import crl, pair
from goalward.agents.core import Agent
from goalward.config import TrainConfig
from goalward.networks import check_depth
from goalward.types import EnvSpec


def make(config: TrainConfig, spec: EnvSpec) -> Agent:
    """Build the agent that `config.agent` names for an environment, with its collector where it has one.

    Raises `UserError` for an invalid depth.
    """
    if config.collector_depth is None:
        return {"crl": lambda: crl.make(config.crl, config.network, spec)}[config.agent]()
    check_depth(config.collector_depth, config.network.block_size, "collector_depth")
    collector, learner = halves(config)
    return pair.make(make(collector, spec), make(learner, spec))


def halves(config: TrainConfig) -> list[TrainConfig]:
    """The settings of the collector and of the learner, each for itself; of an agent that is both, its own."""
    if config.collector_depth is None:
        return [config]
    learner = replace(config, collector_depth=None)
    network = replace(config.network, depth=config.collector_depth, actor_depth=None, critic_depth=None)
    return [replace(learner, network=network), learner]
