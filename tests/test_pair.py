"""A collector and a learner: one does as an ordinary run, the other learns from that run's replay alone."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pytest
import toy

from goalward import agents, plan, policy, runs, training
from goalward.agents.pair import LEARNER_STREAM, State
from goalward.cli import main
from goalward.types import Batch

# The collector is that of the toy run.
SHALLOW, DEEP = toy.SETTINGS["network"]["depth"], 4
CHANGES = {"collector_depth": SHALLOW, "network": {"depth": DEEP}}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The ordinary run of the collector's depth."""
    return toy.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    """A run with a collector, made by the command line."""
    directory = tmp_path_factory.mktemp("pair") / "run"
    main(
        [
            "train",
            *toy.words(),
            "--depth",
            str(DEEP),
            "--collector-depth",
            str(SHALLOW),
            "--out",
            str(directory),
        ]
    )
    return directory


def assert_same(one, other, check=np.testing.assert_array_equal):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(check, one, other)


def bits(run):
    """All of a run but its agent, keys as numbers."""
    worlds = run.worlds._replace(key=jax.random.key_data(run.worlds.key))
    return run._replace(agent=None, worlds=worlds, key=jax.random.key_data(run.key))


def test_the_collector_and_all_that_it_collects_are_those_of_an_ordinary_run(trained, paired):
    (_, ordinary), (_, both) = policy.load_experiment(trained), policy.load_experiment(paired)
    assert_same(bits(both), bits(ordinary))
    assert_same(both.agent.collector, ordinary.agent)
    rows, expected = runs.read_metrics(paired), runs.read_metrics(trained)
    assert len(rows) == len(expected) == 3
    learned = {name for name in rows[-1] if name.startswith("collector_")}
    assert "collector_critic_loss" in learned
    for row, of_ordinary in zip(rows[1:], expected[1:], strict=True):
        assert learned <= row.keys() == of_ordinary.keys() | learned
        for name in learned:
            assert row[name] == of_ordinary[name.removeprefix("collector_")]
        assert row["collector_critic_loss"] != row["critic_loss"]


def test_the_learner_is_one_of_its_own_fed_with_the_same_batches():
    """It is what is looked at too; here it has the collector's depth, and is still another agent."""
    tiny = {"depth": 1, "block_size": 1, "width": 4, "layer_norm": False, "activation": "tanh"}
    experiment = training.build(toy.config(collector_depth=1, network=tiny))
    pair, spec = experiment.agent, experiment.env.spec
    alone = agents.make(replace(experiment.config, collector_depth=None), spec)
    sizes = (spec.obs_dim, spec.action_dim, spec.goal_dim, spec.goal_dim)
    batch = Batch(*(jax.random.normal(jax.random.key(i), (8, size)) for i, size in enumerate(sizes)))
    keys = jax.random.key(7), jax.random.key(8)

    @partial(jax.jit, static_argnums=0)
    def live(agent, keys):
        born = agent.init(keys[0])
        state, metrics = agent.update(born, batch, keys[1])
        looks = [f(born, batch.obs, batch.goal) for f in (agent.embed, agent.value)]
        looks.append(agent.exploit(born, batch.obs, batch.goal, keys[1]))
        return state, metrics, looks, agent.block_norms(born, batch, keys[1])

    state, metrics, *looks = live(pair, keys)
    learner, expected, *expected_looks = live(
        alone, tuple(jax.random.fold_in(key, LEARNER_STREAM) for key in keys)
    )
    collector, of_collector, *_ = live(alone, keys)
    named = {f"collector_{name}": value for name, value in of_collector.items()}
    # To rounding: here each program draws the weights that it then updates, and may do both in one go.
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=3e-5)
    assert_same((state, metrics, looks), (State(collector, learner), expected | named, expected_looks), close)
    heads = [part.params.critic.phi.head.weight for part in state]
    assert np.all(heads[0] != heads[1])


def test_a_resume_is_no_stop(paired, tmp_path):
    toy.run(tmp_path / "run", toy.epochs(1, **CHANGES))
    toy.run(tmp_path / "run", toy.epochs(2, **CHANGES), resume=True)
    assert toy.digest(tmp_path / "run") == toy.digest(paired)
    assert toy.rows(tmp_path / "run") == toy.rows(paired)


def test_a_plan_counts_both():
    def costs(**changes):
        experiment = training.build(toy.config(**changes))
        run = training.shapes(experiment)
        flops = plan.matmul_flops(partial(training.update, experiment), run.agent, run.replay, run.key)
        return plan.parameters(run.agent), plan.state_memory(experiment), flops

    parameters, memory, flops = costs(**CHANGES)
    (shallow, of_shallow, by_shallow), (deep, of_deep, by_deep) = costs(), costs(network={"depth": DEEP})
    assert parameters == {"collector": sum(shallow.values()), "learner": sum(deep.values())}
    assert memory.weights == of_shallow.weights + of_deep.weights
    assert memory.optimiser == of_shallow.optimiser + of_deep.optimiser
    assert memory.replay == of_shallow.replay
    assert flops == by_shallow + by_deep
