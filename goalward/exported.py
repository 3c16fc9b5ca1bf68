"""Take a run's policy out: a folder that needs no JAX, for ONNX and for NumPy."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import goalward
from goalward import agents, files, onnx_model, policy, prng, runs, runtime, training
from goalward.card import told
from goalward.config import DiscreteCRLConfig, TrainConfig, agent_name, to_dict
from goalward.errors import MachineError, UserError
from goalward.lowering import Constants, lower
from goalward.runtime import graph, tensors
from goalward.shipped import CARD

OUTPUTS = {"policy": "action", "value": "value"}
CHECKED = 256  # rows of numbers on which NumPy and JAX are compared
AGREES = 1e-4  # by how much they may differ, of numbers around 1; 32 bits and other orders of sums make 1e-6
Graphs = dict[str, graph.Graph]


class Exported(NamedTuple):
    """What was written."""

    files: list[Path]
    differences: dict[str, float]  # the largest to JAX, of numbers around 1, by function
    left_out: dict[str, str]  # functions that were not exported, and why


def export(
    run: Path,
    out: Path,
    *,
    best: bool = False,
    env_file: Path | None = None,
    onnx: bool = True,
    value: bool = True,
    force: bool = False,
) -> Exported:
    """Write a run's latest (or best) policy, and its critic's value of what it does, into the folder `out`.

    Raises `UserError` for a run that has none, or a folder that is there already, `MachineError` where ONNX is
    wanted and not installed.
    """
    if onnx:
        onnx_model.library()
    if runs.checkpoints(out).is_dir():  # a run has a config.json too
        raise UserError(f"{out} is a run, which the export would damage; choose another --out")
    if out.exists() and not force:
        raise UserError(f"{out} is there already; --force replaces the files in it")
    experiment, state = policy.load_experiment(run, best=best, env_file=env_file)
    evaluation = policy.figures(experiment, state.agent)
    experiment, agent_state = _in_32_bits(experiment, state.agent)
    card = _card(experiment, state)
    sizes = {"obs": card.obs_dim, "goal": card.goal_dim}
    constants = Constants()
    graphs, differences, left_out = _graphs(experiment, agent_state, sizes, constants, value)
    out.mkdir(parents=True, exist_ok=True)
    (out / runtime.MANIFEST).unlink(missing_ok=True)  # until all is whole, there is nothing to load
    names = _write(out, graphs, constants, experiment.config)
    if onnx:
        names += _write_onnx(out, graphs, constants, card, sizes)
    files.replace(out / CARD, told(card, out.name, experiment.config, evaluation, names))
    names.append(CARD)
    sums = {name: runtime.checksum((out / name).read_bytes()) for name in names}
    manifest = {"format": runtime.FORMAT, "card": card._asdict(), "files": sums}
    files.replace(out / runtime.MANIFEST, runtime.sealed(manifest))
    return Exported([out / name for name in [*names, runtime.MANIFEST]], differences, left_out)


def _in_32_bits(experiment: training.Experiment, state: Any) -> tuple[training.Experiment, Any]:
    """The same networks with products in 32 bits, as where they run elsewhere."""
    network = replace(experiment.config.network, precision="float32")
    agent = agents.make(replace(experiment.config, network=network), experiment.env.spec)
    structure = jax.tree.structure(jax.eval_shape(agent.init, prng.key(0)))
    return experiment._replace(agent=agent), jax.tree.unflatten(structure, jax.tree.leaves(state))


def _card(experiment: training.Experiment, state: training.Run) -> runtime.Card:
    config, spec = experiment.config, experiment.env.spec
    choice = config.agent.evaluation if isinstance(config.agent, DiscreteCRLConfig) else ""
    return runtime.Card(
        env=config.env,
        agent=agent_name(config.agent),
        obs_dim=spec.obs_dim,
        goal_dim=spec.goal_dim,
        action_dim=spec.action_dim,
        chunk=experiment.agent.chunk,
        choice=choice,
        env_steps=int(state.env_steps),
        updates=int(state.updates),
        goalward=goalward.__version__,
    )


def _graphs(
    experiment: training.Experiment, state: Any, sizes: dict[str, int], constants: Constants, value: bool
) -> tuple[Graphs, dict[str, float], dict[str, str]]:
    """The functions of a policy, how they differ from JAX, and why some are left out."""
    agent = experiment.agent
    functions: dict[str, Callable[..., Any]] = {"policy": partial(agents.decide, agent, state)}
    if value:
        functions["value"] = partial(agent.value, state)
    graphs, differences, left_out = {}, {}, {}
    for name, function in functions.items():
        try:
            graphs[name] = lower(function, sizes, constants)
        except UserError as error:
            if name == "policy":
                raise
            left_out[name] = str(error)
            continue
        differences[name] = _difference(name, function, graphs[name], constants, sizes)
    return graphs, differences, left_out


def _difference(
    name: str, function: Callable[..., Any], its: graph.Graph, constants: Constants, sizes: dict[str, int]
) -> float:
    """The largest difference between NumPy and JAX on random numbers. Raises `MachineError` if it is large."""
    generator = np.random.default_rng(0)
    given = [generator.standard_normal((CHECKED, size), np.float32) for size in sizes.values()]
    expected = np.asarray(jax.jit(function)(*given))
    found = graph.compiled(its, constants.arrays)(*given)
    difference = float(np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected))))
    if not difference < AGREES:
        raise MachineError(
            f"the {name} that NumPy computes differs by {difference:.2g} from JAX's; nothing was written"
        )
    return difference


def _write(out: Path, graphs: Graphs, constants: Constants, config: TrainConfig) -> list[str]:
    needed = {name for its in graphs.values() for name in graph.used(its)}
    tensors.write(out / runtime.WEIGHTS, {name: constants.arrays[name] for name in sorted(needed)})
    words = {name: graph.to_json(its) for name, its in graphs.items()}
    files.replace(out / runtime.GRAPHS, json.dumps(words, separators=(",", ":")) + "\n")
    files.replace(out / runtime.CONFIG, json.dumps(to_dict(config), indent=2) + "\n")
    return [runtime.WEIGHTS, runtime.GRAPHS, runtime.CONFIG]


def _write_onnx(
    out: Path, graphs: Graphs, constants: Constants, card: runtime.Card, sizes: dict[str, int]
) -> list[str]:
    names = []
    for name, its in graphs.items():
        output = "logits" if card.choice and name == "policy" else OUTPUTS[name]
        told = f"{name} of {card.agent} on {card.env}, by goalward {card.goalward}"
        onnx_model.write(out / f"{name}.onnx", its, constants.arrays, sizes, output, told)
        names.append(f"{name}.onnx")
    return names
