"""All settings of a run, as frozen dataclasses. Imports no JAX, so that `--help` is quick."""

from goalward.config.actor_critic import ActorConfig, ActorCriticConfig, AgentConfig, EntropyConfig
from goalward.config.agents import AGENTS, agent_name, check_agent, named_agent, owners
from goalward.config.chrono import ChronoConfig
from goalward.config.crl import CRLConfig
from goalward.config.dataset import placed, preset_for
from goalward.config.discrete_crl import DiscreteCRLConfig
from goalward.config.imitation import GCBCConfig, GCSLConfig
from goalward.config.naming import full_name, leaves, nested
from goalward.config.network import NetworkConfig
from goalward.config.sac import SACConfig
from goalward.config.srl import SRLConfig
from goalward.config.td import TDConfig
from goalward.config.td3 import TD3Config
from goalward.config.together import check_together
from goalward.config.train import TrainConfig, from_dict, to_dict
from goalward.config.values import merge
from goalward.config.words import Settings

__all__ = [
    "AGENTS",
    "ActorConfig",
    "ActorCriticConfig",
    "AgentConfig",
    "CRLConfig",
    "ChronoConfig",
    "DiscreteCRLConfig",
    "EntropyConfig",
    "GCBCConfig",
    "GCSLConfig",
    "NetworkConfig",
    "SACConfig",
    "SRLConfig",
    "Settings",
    "TD3Config",
    "TDConfig",
    "TrainConfig",
    "agent_name",
    "check_agent",
    "check_together",
    "from_dict",
    "full_name",
    "leaves",
    "merge",
    "named_agent",
    "nested",
    "owners",
    "placed",
    "preset_for",
    "to_dict",
]
