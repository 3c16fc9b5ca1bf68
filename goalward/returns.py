"""Rewards of a goal, told from what rows achieved and never stored; and the returns of a few steps."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Returns(NamedTuple):
    """Which rewards, of how many steps."""

    steps: int  # n
    discount: float  # γ
    reward: Literal["minus_one_zero", "zero_one"]  # each step: −1 until at the goal and 0 there, or 0 and 1
    stop_at_goal: bool  # whether nothing comes after a goal was reached


def returns(
    asked: Returns, success: Bool[Array, "B n"], left: Int[Array, " B"], failed: Bool[Array, " B"]
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """Give R = Σ_{i=1…m} γ^{i−1} r_i over m = min(n, left) steps, and γᵐ, what the value after them counts.

    `success` says of each of the n rows to come whether it is at the goal; those beyond the episode's `left`
    rows do not count. Nothing is worth anything after a goal that stops, nor after a failure, but that there
    each further step costs what a step away from the goal costs: to fail is no way out.
    """
    step = jnp.arange(1, asked.steps + 1, dtype=jnp.int32)
    taken = jnp.minimum(left, asked.steps)
    within = step[None] <= taken[:, None]
    success = success & within
    stopped = jnp.zeros_like(failed)
    if asked.stop_at_goal:
        earlier = jnp.cumsum(success, axis=1, dtype=jnp.int32) > success.astype(jnp.int32)
        within, stopped = within & ~earlier, jnp.any(success, axis=1)
    away, there = (-1.0, 0.0) if asked.reward == "minus_one_zero" else (0.0, 1.0)
    powers = jnp.asarray(np.float64(asked.discount) ** np.arange(asked.steps + 1), jnp.float32)
    rewards = jnp.where(within, jnp.where(success, there, away), 0.0)
    over = failed & (left <= asked.steps) & ~stopped
    after = powers[taken]
    total = jnp.sum(rewards * powers[None, :-1], axis=1) + jnp.where(
        over, after * away / (1 - asked.discount), 0.0
    )
    return total, jnp.where(over | stopped, 0.0, after)


def bounds(asked: Returns) -> tuple[float, float]:
    """The least and the most that all rewards to come can sum up to."""
    always = 1 / (1 - asked.discount)
    if asked.reward == "minus_one_zero":
        return -always, 0.0
    return 0.0, 1.0 if asked.stop_at_goal else always
