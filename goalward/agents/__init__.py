"""Learning methods: one a file, each a frozen dataclass with the methods of `core.Agent`, in that order."""

import math
from dataclasses import replace
from typing import Any

from jaxtyping import Array

from goalward import prng
from goalward.agents.chrono import Chrono
from goalward.agents.core import Agent, architectures
from goalward.agents.crl import CRL
from goalward.agents.discrete_crl import DiscreteCRL
from goalward.agents.imitation import Imitation
from goalward.agents.pair import Pair
from goalward.agents.sac import SAC
from goalward.agents.seeing import Seeing
from goalward.agents.srl import SRL
from goalward.agents.td3 import TD3
from goalward.config import AGENTS as NAMES
from goalward.config import (
    ChronoConfig,
    CRLConfig,
    DiscreteCRLConfig,
    GCBCConfig,
    GCSLConfig,
    SACConfig,
    SRLConfig,
    TD3Config,
    TrainConfig,
    agent_name,
)
from goalward.errors import UserError
from goalward.trunks import check_depth
from goalward.types import EnvSpec

# Which agent has which settings.
AGENTS: dict[type, Any] = {
    CRLConfig: CRL,
    SRLConfig: SRL,
    ChronoConfig: Chrono,
    DiscreteCRLConfig: DiscreteCRL,
    SACConfig: SAC,
    TD3Config: TD3,
    GCBCConfig: Imitation,
    GCSLConfig: Imitation,
}
CHOOSE = {DiscreteCRLConfig}  # among actions; all others give numbers


def make(config: TrainConfig, spec: EnvSpec) -> Agent:
    """Build the agent that `config.agent` sets up for an environment, with its collector where it has one.

    Raises `UserError` for an invalid depth, and for settings that are of no agent.
    """
    if type(config.agent) not in AGENTS:
        known = " or ".join(kind.__name__ for kind in AGENTS)
        raise UserError(f"agent is a {type(config.agent).__name__}; it must be a {known}")
    _check_actions(config, spec)
    if config.collector_depth is None:
        return _alone(config, spec)
    check_depth(config.collector_depth, config.network.block_size, "collector_depth")
    collector, learner = halves(config)
    return Pair(make(collector, spec), make(learner, spec))


def _check_actions(config: TrainConfig, spec: EnvSpec) -> None:
    """Raise `UserError` where the agent is not one for such actions."""
    if spec.discrete != (type(config.agent) in CHOOSE):
        fitting = [name for name, kind in NAMES.items() if (kind in CHOOSE) == spec.discrete]
        actions = f"one of {spec.action_dim} choices" if spec.discrete else f"{spec.action_dim} numbers"
        raise UserError(
            f"agent is {agent_name(config.agent)}, but an action in {config.env} is {actions}; "
            f"use --agent {' or '.join(fitting)}"
        )
    target = config.agent.target_entropy if isinstance(config.agent, DiscreteCRLConfig) else None
    if target is not None and target >= math.log(spec.action_dim):
        raise UserError(
            f"target_entropy is {target}; with {spec.action_dim} choices it must be less "
            f"than their logarithm, {math.log(spec.action_dim):.3f}"
        )


def _alone(config: TrainConfig, spec: EnvSpec) -> Agent:
    """Build an agent that collects for itself."""
    kind = AGENTS[type(config.agent)]
    of_networks = dict(zip(("actor", "critic"), architectures(config.network), strict=True))
    its = {name: arch for name, arch in of_networks.items() if name in kind.__dataclass_fields__}
    agent = kind(config.agent, _seen(spec), **its)
    return agent if spec.sight is None else Seeing(agent, spec.sight)


def _seen(spec: EnvSpec) -> EnvSpec:
    """The same, of the sizes that networks are given."""
    if spec.sight is None:
        return spec
    given = spec._replace(obs_dim=spec.sight.obs_dim, goal_dim=spec.sight.goal_dim, sight=None)
    return given if spec.sight.goal is None else given._replace(distance=_no_distance)


def _no_distance(achieved: Any, goal: Any) -> Any:
    del achieved, goal
    raise UserError("this agent compares goals, and cannot where networks are given something else for them")


def decide(agent: Agent, state: Any, obs: Array, goal: Array) -> Array:
    """What an evaluated policy's actions are made of, without chance: (N, H·A), or logits of choices (N, A)."""
    if isinstance(agent, Pair):
        return decide(agent.learner, state.learner, obs, goal)
    if isinstance(agent, Seeing):
        return decide(agent.agent, state, *agent.seen(obs, goal))
    if isinstance(agent, DiscreteCRL):
        return agent.logits(state, obs, goal)
    return agent.exploit(state, obs, goal, prng.key(0))  # which draws nothing


def halves(config: TrainConfig) -> list[TrainConfig]:
    """The settings of the collector and of the learner, each for itself; of an agent that is both, its own."""
    if config.collector_depth is None:
        return [config]
    learner = replace(config, collector_depth=None)
    network = replace(config.network, depth=config.collector_depth, actor_depth=None, critic_depth=None)
    return [replace(learner, network=network), learner]
