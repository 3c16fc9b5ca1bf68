"""What an exported policy says of itself to people, in Markdown."""

from typing import Any

from goalward.config import TrainConfig
from goalward.runtime import Card

TEXT = """# A policy for {env}

It brings `{env}` to any goal that is commanded: {agent}, depth {depth}, width {width}, seed {seed}, after
{env_steps:,} environment steps and {updates:,} updates. `config.json` holds all its settings, which
`goalward train` takes by `--config` to train it again, to other bits where machine or versions are others.

| of {episodes} episodes | this policy | random actions |
|---|---|---|
| success: at the goal at some step | {success:.2f} | {random_success:.2f} |
| time at the goal, of the episode | {time:.2f} | {random_time:.2f} |

## Use

```python
import goalward.runtime  # NumPy; no JAX

policy = goalward.runtime.load("{folder}")
action = policy.act(obs, goal)
```

{inputs}

## Limits

One seed, evaluated in the simulation that it was trained in, on goals of that environment. Of a real robot, of
other goals, masses or frictions nothing is known. Nothing keeps it from unsafe actions.
"""


def told(card: Card, folder: str, config: TrainConfig, evaluation: dict[str, Any], names: list[str]) -> str:
    """The card for people, in Markdown."""
    return TEXT.format(
        env=card.env,
        agent=card.agent,
        depth=config.network.depth,
        width=config.network.width,
        seed=config.seed,
        env_steps=card.env_steps,
        updates=card.updates,
        episodes=evaluation["episodes"],
        success=evaluation["success_rate"],
        random_success=evaluation["random_success_rate"],
        time=evaluation["time_at_goal_fraction"],
        random_time=evaluation["random_time_at_goal_fraction"],
        folder=folder,
        inputs="\n".join(_inputs(card, names)),
    )


def _inputs(card: Card, names: list[str]) -> list[str]:
    lines = [
        f"- `obs` ({card.obs_dim}) and `goal` ({card.goal_dim}), or (N, …) of both, as the environment gives",
        "  them: what brings them to one scale is inside.",
    ]
    if card.choice:
        how = "drawn" if card.choice == "sample" else "the best"
        lines.append(f"- `action` ({card.action_dim}): one choice, one-hot, {how}.")
    else:
        lines.append(f"- `action` ({card.action_dim}): numbers in [−1, 1].")
    if card.chunk > 1:
        lines.append(
            f"- It decides on {card.chunk} actions at once, and gives one a call; `policy.reset()` comes "
            "before an episode."
        )
    models = [name for name in names if name.endswith(".onnx")]
    if models:
        output = "`logits` of choices" if card.choice else "`action`"
        flat = f", {card.chunk} actions one after the other" if card.chunk > 1 else ""
        lines.append(f"- `policy.onnx`: `obs` and `goal` of N rows, to {output}{flat}.")
    if "value.onnx" in models:
        lines.append("- `value.onnx`: how near the goal is, by the critic, more where it is nearer (N).")
    return lines
