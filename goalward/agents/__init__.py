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
    depth, network = config.collector_depth, config.network
    check_depth(depth, network.block_size, "collector_depth")
    learner = replace(config, collector_depth=None)
    collector = replace(learner, network=replace(network, depth=depth, actor_depth=None, critic_depth=None))
    return pair.make(make(collector, spec), make(learner, spec))
