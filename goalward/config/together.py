"""Settings that go together, or do not: each of them may be in its range."""

from goalward.config.actor_critic import ActorCriticConfig, AgentConfig
from goalward.config.agents import agent_name
from goalward.config.chrono import ChronoConfig
from goalward.config.crl import CRLConfig
from goalward.config.dataset import check_dataset, check_updates
from goalward.config.discrete_crl import DiscreteCRLConfig
from goalward.config.imitation import GCBCConfig
from goalward.config.network import NetworkConfig
from goalward.config.sac import SACConfig
from goalward.config.srl import SRLConfig
from goalward.config.td import TDConfig
from goalward.config.train import TrainConfig
from goalward.errors import UserError
from goalward.limits import INT32

# What repr_dim has to be a multiple of, by energy.
_MULTIPLES = {"mrn": 2, "iqe": 8}
# What is no choice with a kind of trunk, and has to stay at this.
_FIXED = {
    "mlp": {},
    "hyperspherical": {"residual": True, "residual_scale": "one", "layer_norm": True, "stem_bias": False},
    "attention": {"residual": True, "layer_norm": True, "stem_bias": False, "block_size": 4},
}

# The network that an agent does without.
_WITHOUT: dict[type[AgentConfig], str] = {GCBCConfig: "critic", DiscreteCRLConfig: "actor"}


def check_together(config: TrainConfig) -> None:
    """Raise `UserError` for numbers that do not go together, each of which may be in its range."""
    _check_trunk(config.network)
    if config.network.trunk == "attention":
        _check_whole_blocks(config)
    if isinstance(config.agent, ActorCriticConfig):
        _check_shares(config.agent)
    if isinstance(config.agent, SACConfig):
        _check_value(config.agent)
    for network in _missing(config):
        _check_has_no(network, config)
    if isinstance(config.agent, DiscreteCRLConfig):
        _check_episodes(config.agent, config)
    if isinstance(config.agent, SRLConfig):
        _check_bins(config.agent)
    if isinstance(config.agent, CRLConfig | DiscreteCRLConfig):
        _check_energy(config.agent)
    check_dataset(config)
    if config.is_offline:
        check_updates(config)
        return
    _check_length(config)
    if config.buffer_gb is None:
        _check_buffer(config)


def _check_trunk(network: NetworkConfig) -> None:
    for name, only in _FIXED[network.trunk].items():
        value = getattr(network, name)
        if value != only:
            flag = "--" + ("no-" if only is False else "") + name.replace("_", "-")
            raise UserError(
                f"{name} is {value}, which is no choice with trunk {network.trunk}; "
                f"use {flag if isinstance(only, bool) else f'{flag} {only}'}"
            )


def _check_whole_blocks(config: TrainConfig) -> None:
    network = config.network
    critic = network.depth if network.critic_depth is None else network.critic_depth
    there = [one for one in ("actor", "critic") if one not in _missing(config)]
    depths = {f"{one}_depth": getattr(network, f"{one}_depth") for one in there}
    if None in depths.values():
        depths["depth"] = network.depth
    for name, depth in (depths | {"collector_depth": config.collector_depth}).items():
        if depth is not None and depth < network.block_size:
            flag = f"--{name.replace('_', '-')} {network.block_size}"
            raise UserError(f"{name} is {depth}, less than a block of trunk attention; use {flag}")
    halved = isinstance(config.agent, SRLConfig) and not isinstance(config.agent, ChronoConfig)
    if halved and critic < 2 * network.block_size:
        raise UserError(
            f"depth of the critic is {critic}, and srl's encoders have half of it, less than a block of trunk "
            f"attention; use --critic-depth {2 * network.block_size}"
        )


def _check_shares(agent: ActorCriticConfig) -> None:
    _check_whole(agent, "actor_random_goals", "actor_commanded_goals")
    _check_whole(
        agent, *(("her_share",) if isinstance(agent, TDConfig) else ()), "current_goals", "random_goals"
    )


def _check_whole(agent: ActorCriticConfig, *names: str) -> None:
    """Raise `UserError` for shares of one batch that are more than all of it."""
    shares = {name: getattr(agent, name) for name in names}
    if sum(shares.values()) > 1 + 1e-9:
        told = ", ".join(f"{name} {share}" for name, share in shares.items())
        raise UserError(f"{told}: they are shares of one batch, together at most 1")


def _check_value(agent: SACConfig) -> None:
    if agent.soft_value and agent.n_step > 1:
        raise UserError(
            f"n_step is {agent.n_step}, but rewards hold no entropy of the decisions in between; "
            "use --no-soft-value with it, or --n-step 1"
        )
    if agent.soft_value and agent.value_loss != "mse":
        raise UserError(
            f"value_loss is {agent.value_loss}, whose bins hold what rewards can sum up to, not an entropy "
            "beside it; use --no-soft-value with it, or --value-loss mse"
        )


def _check_energy(agent: CRLConfig | DiscreteCRLConfig) -> None:
    multiple = _MULTIPLES.get(agent.energy, 1)
    below = agent.repr_dim // multiple * multiple
    if below != agent.repr_dim:
        nearest = [dim for dim in (below, below + multiple) if 0 < dim <= INT32]
        raise UserError(
            f"repr_dim is {agent.repr_dim}, but energy {agent.energy} needs a multiple of {multiple}; "
            f"use --repr-dim {' or '.join(map(str, nearest))}"
        )


def _check_bins(agent: SRLConfig) -> None:
    if agent.bins > agent.window:
        raise UserError(f"bins is {agent.bins}, more than window {agent.window}; use --bins {agent.window}")


def _missing(config: TrainConfig) -> list[str]:
    return [network for kind, network in _WITHOUT.items() if isinstance(config.agent, kind)]


def _check_has_no(network: str, config: TrainConfig) -> None:
    """Raise `UserError` for sizes of a network that the agent does not have."""
    for name in (f"{network}_depth", f"{network}_width"):
        size = getattr(config.network, name)
        if size is not None:
            raise UserError(f"{name} is {size}, but {agent_name(config.agent)} has no {network}; leave it out")


def _check_episodes(agent: DiscreteCRLConfig, config: TrainConfig) -> None:
    if config.batch_size % agent.samples_per_episode or config.batch_size == agent.samples_per_episode:
        raise UserError(
            f"samples_per_episode is {agent.samples_per_episode}, but a batch of {config.batch_size} must be "
            f"of two episodes or more, all alike; use {' or '.join(map(str, _divisors_near(config, agent)))}"
        )


def _divisors_near(config: TrainConfig, agent: DiscreteCRLConfig) -> list[int]:
    """The divisors of the batch next below and next above the samples of an episode."""
    divisors = [number for number in range(1, config.batch_size) if config.batch_size % number == 0]
    below = [number for number in divisors if number < agent.samples_per_episode]
    return [*below[-1:], *[number for number in divisors if number > agent.samples_per_episode][:1]]


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
