"""An agent whose networks are given something else than what rows hold: a one-hot code, a view through a lens.

Rows, goals and distances stay as they are; what is given is computed from them where it is needed.
"""

from dataclasses import dataclass

from jaxtyping import Array, PRNGKeyArray

from goalward.agents.core import Agent, AgentState
from goalward.replay import Relabel
from goalward.types import Batch, Metrics, Sight


@dataclass(frozen=True)
class Seeing:
    """Another agent, of the sizes of what it is given, behind a `Sight`."""

    agent: Agent
    sight: Sight

    @property
    def relabel(self) -> Relabel:
        """What the agent asks for."""
        return self.agent.relabel

    @property
    def chunk(self) -> int:
        """Actions that are decided on at once."""
        return self.agent.chunk

    def init(self, key: PRNGKeyArray) -> AgentState:
        """Give the agent's state."""
        return self.agent.init(key)

    def act(self, state: AgentState, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Explore."""
        return self.agent.act(state, *self.seen(obs, goal), key)

    def exploit(self, state: AgentState, obs: Array, goal: Array, key: PRNGKeyArray) -> Array:
        """Act as in evaluations."""
        return self.agent.exploit(state, *self.seen(obs, goal), key)

    def embed(self, state: AgentState, obs: Array, goal: Array) -> Array:
        """Give φ(s, π(s, g))."""
        return self.agent.embed(state, *self.seen(obs, goal))

    def value(self, state: AgentState, obs: Array, goal: Array) -> Array:
        """Say how near the goal is."""
        return self.agent.value(state, *self.seen(obs, goal))

    def action_value(self, state: AgentState, obs: Array, action: Array, goal: Array) -> Array:
        """Say how near the goal is, of an action."""
        obs, goal = self.seen(obs, goal)
        return self.agent.action_value(state, obs, action, goal)

    def update(self, state: AgentState, batch: Batch, key: PRNGKeyArray) -> tuple[AgentState, Metrics]:
        """Take one step of the agent."""
        return self.agent.update(state, self._batch(batch), key)

    def block_norms(self, state: AgentState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Look at the agent's networks."""
        return self.agent.block_norms(state, self._batch(batch), key)

    def seen(self, obs: Array, goal: Array) -> tuple[Array, Array]:
        """What the networks are given."""
        return self.sight.obs(obs), self.sight.see_goal(goal)

    def _batch(self, batch: Batch) -> Batch:
        obs, goal = self.seen(batch.obs, batch.goal)
        if batch.next is not None:
            batch = batch._replace(next=batch.next._replace(obs=self.sight.obs(batch.next.obs)))
        return batch._replace(obs=obs, goal=goal, commanded=self.sight.see_goal(batch.commanded))
