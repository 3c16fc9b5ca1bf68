"""Memory that a run gains with each epoch: `python -m benchmarks.memory [ENV …] [--epochs N] [--json]`.

Trains at toy size, so that an epoch is little but its evaluation, its checkpoint and its row of the logs, and
prints by how many MB an epoch the process grew over the second half of the epochs, when all is compiled.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil
import tyro

from goalward import config, presets, training

SIZES = {
    "env_settings": {"episode_length": 20},
    "num_envs": 4, "steps_per_iteration": 10, "updates_per_iteration": 2, "batch_size": 8,
    "buffer_rows": 60, "prefill_rows": 20, "eval_episodes": 4,
    "network": {"depth": 4, "width": 16},
}  # fmt: skip


@dataclass(frozen=True)
class Args:
    """What to measure."""

    envs: tyro.conf.Positional[tuple[str, ...]] = ("point_u_maze", "ant_u_maze")
    epochs: int = 200
    json: bool = False


def settings(env: str, epochs: int) -> config.TrainConfig:
    """A run of small epochs."""
    # Two rounds fill the replay, then each epoch has one.
    sizes = SIZES | {
        "env": env,
        "epochs": epochs,
        "total_env_steps": 40 * (epochs + 2),
    }
    return config.from_dict(config.merge(presets.load("paper"), sizes), "benchmarks.memory")


def measure(env: str, epochs: int) -> float:
    """MB of resident memory gained an epoch, over the second half of the epochs."""
    process, used = psutil.Process(), []
    with tempfile.TemporaryDirectory() as folder:
        for report in training.train(settings(env, epochs), Path(folder) / "run"):
            if report.evaluation is not None:
                used.append(process.memory_info().rss / 1e6)
    half = len(used) // 2
    return (used[-1] - used[half]) / (len(used) - 1 - half)


def main(args: Args) -> None:
    """Measure and print."""
    found = {env: measure(env, args.epochs) for env in args.envs}
    if args.json:
        print(json.dumps(found))
        return
    for env, grown in found.items():
        print(f"{env}: {grown:.4f} MB an epoch")


if __name__ == "__main__":
    main(tyro.cli(Args))
