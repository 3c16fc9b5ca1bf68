"""Two agents, one replay: a collector acts in training, a learner is evaluated (arXiv 2503.14858, Fig. 8).

Both take every update on the same batch. What the collector does, and so all that the learner is given, is
what an ordinary run of the collector's settings does: learners of several depths can be compared on equal data.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, PRNGKeyArray

from goalward.agents.core import Agent
from goalward.replay import Relabel
from goalward.types import Batch, Metrics

# The learner's keys are a stream of their own: the collector has those that it has in an ordinary run.
LEARNER_STREAM = 0x6C65726E


class State(NamedTuple):
    """The state of both agents, or what else each of them has."""

    collector: Any
    learner: Any

    @property
    def params(self) -> "State":
        """What each of them has learned."""
        return State(self.collector.params, self.learner.params)


@dataclass(frozen=True)
class Pair:
    """The agent that acts as `collector` in training, and is `learner` to all that looks at it."""

    collector: Agent
    learner: Agent

    @property
    def relabel(self) -> Relabel:
        """Goals for both."""
        return self.learner.relabel

    @property
    def chunk(self) -> int:
        """Actions that both decide on at once."""
        return self.learner.chunk

    def init(self, key: PRNGKeyArray) -> State:
        """Give both states before any update."""
        return State(self.collector.init(key), self.learner.init(_of_learner(key)))

    def act(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Draw actions of the collector."""
        return self.collector.act(state.collector, obs, goal, key)

    def exploit(self, state: State, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Act as the learner does in evaluations."""
        return self.learner.exploit(state.learner, obs, goal, _of_learner(key))

    def embed(self, state: State, obs: Array, goal: Array) -> Array:
        """Give the learner's φ(s, π(s, g))."""
        return self.learner.embed(state.learner, obs, goal)

    def value(self, state: State, obs: Array, goal: Array) -> Array:
        """Give the learner's value."""
        return self.learner.value(state.learner, obs, goal)

    def action_value(self, state: State, obs: Array, action: Array, goal: Array) -> Array:
        """Give the learner's value of an action."""
        return self.learner.action_value(state.learner, obs, action, goal)

    def update(self, state: State, batch: Batch, key: PRNGKeyArray) -> tuple[State, Metrics]:
        """Take one step of both."""
        collecting, of_collector = self.collector.update(state.collector, batch, key)
        learning, metrics = self.learner.update(state.learner, batch, _of_learner(key))
        named = {f"collector_{name}": value for name, value in of_collector.items()}
        return State(collecting, learning), metrics | named

    def block_norms(self, state: State, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Look at the learner's networks."""
        return self.learner.block_norms(state.learner, batch, _of_learner(key))


def _of_learner(key: PRNGKeyArray) -> PRNGKeyArray:
    return jax.random.fold_in(key, LEARNER_STREAM)
