"""Learning methods by the type of their settings."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from goalward.agents import crl, pair
from goalward.agents.core import Agent
from goalward.config import CRLConfig, TrainConfig
from goalward.networks import check_depth
from goalward.types import EnvSpec

# (settings of the agent, networks, environment) -> agent
_MAKE: dict[type, Callable[[Any, Any, EnvSpec], Agent]] = {CRLConfig: crl.make}


def make(config: TrainConfig, spec: EnvSpec) -> Agent:
    """Build the agent whose settings `config.agent` is for an environment, with its collector where it has one.

    Raises `UserError` for an invalid depth.
    """
    if config.collector_depth is None:
        return _MAKE[type(config.agent)](config.agent, config.network, spec)
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
