"""All settings of a run, as frozen dataclasses. Imports no JAX, so that `--help` is quick."""

from goalward.config.crl import CRLConfig
from goalward.config.network import NetworkConfig
from goalward.config.together import check_together
from goalward.config.train import TrainConfig, from_dict
from goalward.config.values import merge
from goalward.config.words import Settings

__all__ = ["CRLConfig", "NetworkConfig", "Settings", "TrainConfig", "check_together", "from_dict", "merge"]
