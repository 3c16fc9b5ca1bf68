"""Two agents, one replay: a collector acts in training, a learner is evaluated (arXiv 2503.14858, Fig. 8).

Both take every update on the same batch. What the collector does, and so all that the learner is given, is
what an ordinary run of the collector's settings does: learners of several depths can be compared on equal data.
"""

from typing import Any, NamedTuple

import jax
from jaxtyping import Array, PRNGKeyArray

from goalward.agents.core import Agent
from goalward.types import Batch, Metrics

# The learner's keys are a stream of their own: the collector has those that it has in an ordinary run.
LEARNER_STREAM = 0x6C65726E


class Pair(NamedTuple):
    """The state of both agents, or what else each of them has."""

    collector: Any
    learner: Any

    @property
    def params(self) -> "Pair":
        """What each of them has learned."""
        return Pair(self.collector.params, self.learner.params)


def make(collector: Agent, learner: Agent) -> Agent:
    """Build the agent that acts as `collector` in training, and is `learner` to all that looks at it."""

    def init(key: PRNGKeyArray) -> Pair:
        return Pair(collector.init(key), learner.init(_of_learner(key)))

    def act(state: Pair, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        return collector.act(state.collector, obs, goal, key)

    def act_greedily(state: Pair, obs: Array, goal: Array) -> Array:
        return learner.act_greedily(state.learner, obs, goal)

    def embed(state: Pair, obs: Array, goal: Array) -> Array:
        return learner.embed(state.learner, obs, goal)

    def value(state: Pair, obs: Array, goal: Array) -> Array:
        return learner.value(state.learner, obs, goal)

    def update(state: Pair, batch: Batch, key: PRNGKeyArray) -> tuple[Pair, Metrics]:
        collecting, of_collector = collector.update(state.collector, batch, key)
        learning, metrics = learner.update(state.learner, batch, _of_learner(key))
        named = {f"collector_{name}": value for name, value in of_collector.items()}
        return Pair(collecting, learning), metrics | named

    def block_norms(state: Pair, batch: Batch, key: PRNGKeyArray) -> Metrics:
        return learner.block_norms(state.learner, batch, _of_learner(key))

    return Agent(init, act, act_greedily, embed, value, update, block_norms, learner.relabel, learner.chunk)


def _of_learner(key: PRNGKeyArray) -> PRNGKeyArray:
    return jax.random.fold_in(key, LEARNER_STREAM)
