"""The agents by name: the settings of each, and how they are written."""

from collections.abc import Mapping
from typing import Annotated, Any

from goalward.config.actor_critic import AgentConfig
from goalward.config.chrono import ChronoConfig
from goalward.config.crl import CRLConfig
from goalward.config.discrete_crl import DiscreteCRLConfig
from goalward.config.imitation import GCBCConfig, GCSLConfig
from goalward.config.sac import SACConfig
from goalward.config.srl import SRLConfig
from goalward.config.td3 import TD3Config
from goalward.config.values import OneOf
from goalward.errors import UserError

AGENTS: dict[str, type[AgentConfig]] = {
    "crl": CRLConfig, "srl": SRLConfig, "chrono": ChronoConfig, "discrete_crl": DiscreteCRLConfig,
    "sac": SACConfig, "td3": TD3Config, "gcbc": GCBCConfig, "gcsl": GCSLConfig,
}  # fmt: skip
DEFAULT = "crl"
# Settings of one of the agents; a file tells by their entry `name` of which.
AnyAgent = Annotated[AgentConfig, OneOf(AGENTS, DEFAULT)]


def agent_name(config: AgentConfig) -> str:
    """The name of the agent that some settings are of."""
    return {kind: name for name, kind in AGENTS.items()}[type(config)]


def named_agent(values: Mapping[str, Any]) -> str | None:
    """The agent that a file of settings names; None where it names none, or something that is no name."""
    given = values.get("agent")
    name = given.get("name") if isinstance(given, Mapping) else given
    return name if isinstance(name, str) else None


def owners(setting: str) -> list[str]:
    """The agents that have a setting."""
    return [name for name, kind in AGENTS.items() if setting in kind.__dataclass_fields__]


def check_agent(name: str) -> None:
    """Raise `UserError` where there is no such agent."""
    if name not in list(AGENTS):  # a program may give anything
        raise UserError(f"agent is {name!r}; it must be one of {', '.join(AGENTS)}")
