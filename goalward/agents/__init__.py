"""Learning methods by name."""

from goalward.agents import crl
from goalward.agents.core import Agent
from goalward.config import TrainConfig
from goalward.types import EnvSpec


def make(config: TrainConfig, spec: EnvSpec) -> Agent:
    """Build the agent that `config.agent` names for an environment."""
    return {"crl": lambda: crl.make(config.crl, config.network, spec)}[config.agent]()
