"""Plans: exact where they can be exact, and refused where a run does not fit."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest
import toy

from goalward import plan, training
from goalward.errors import UserError


@pytest.fixture(scope="module")
def planned():
    return plan.plan(toy.config())


@pytest.mark.parametrize(
    ("function", "shapes", "products"),
    [
        (jnp.matmul, [(3, 5), (5, 7)], 3 * 5 * 7),
        (lambda a, b: jnp.einsum("nij,njk->nik", a, b), [(2, 3, 5), (2, 5, 7)], 2 * 3 * 5 * 7),
        (lambda a: jax.lax.scan(lambda x, _: (x @ a, None), a, None, length=9)[0], [(4, 4)], 9 * 4**3),
        (lambda a, b: jax.jit(jax.vmap(lambda row: row @ b))(a), [(6, 5), (5, 7)], 6 * 5 * 7),
        (jax.grad(lambda a, b: jnp.sum((a @ b) ** 2), (0, 1)), [(3, 5), (5, 7)], 3 * 3 * 5 * 7),
        (lambda a: a + 1, [(3, 5)], 0),
    ],
    ids=["product", "batched", "scan", "jit and vmap", "gradient", "none"],
)
def test_arithmetic_of_products_is_counted(function, shapes, products):
    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    assert plan.matmul_flops(function, *shapes) == 2 * products


@pytest.mark.parametrize(("depth", "batch"), [(2, 8), (6, 8), (6, 16)])
def test_arithmetic_of_an_update_is_eleven_passes_through_a_trunk(depth, batch):
    """φ, ψ and the actor forward and back (3 each), and φ forward and back to its input (2)."""
    width, small = 64, toy.config(batch_size=batch, network={"depth": 2, "width": 64})
    deep = toy.config(batch_size=batch, network={"depth": 2 + depth, "width": 64})
    flops = []
    for config in (small, deep):
        experiment = training.build(config)
        run = training.shapes(experiment)
        flops.append(
            plan.matmul_flops(lambda *a, e=experiment: training.update(e, *a), run.agent, run.replay, run.key)
        )
    assert flops[1] - flops[0] == 11 * 2 * batch * width**2 * depth


def test_memory_is_that_of_the_arrays():
    experiment = training.build(toy.config())
    memory, run = plan.state_memory(experiment), training.init(experiment)

    def held(tree):
        return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))

    assert memory.weights == held(run.agent.params)
    assert memory.optimiser == held(run.agent.opt)
    assert memory.replay == held(run.replay)
    assert memory.worlds == held(run.worlds)
    assert memory.needed() == held((run.agent, run.replay, run.worlds))
    assert plan.parameters(run.agent)["actor"] == sum(x.size for x in jax.tree.leaves(run.agent.params.actor))


def test_a_plan_adds_up(planned):
    config, speed = toy.config(), planned.speed
    assert min(speed) > 0
    assert planned.memory.activations > 0
    assert planned.updates == toy.UPDATES * toy.ITERATIONS * config.epochs
    iteration = speed.collect + toy.UPDATES * speed.update
    assert planned.updates_per_second == pytest.approx(toy.UPDATES / iteration)
    assert planned.env_steps_per_second == pytest.approx(toy.STEPS / iteration)
    assert planned.gflops_per_second == pytest.approx(planned.update_flops / speed.update / 1e9)
    # Two rounds fill the replay; four evaluations are 4 episodes of 20 steps, a round is 4 worlds of 10.
    rounds = (2 + 4 * 2) * speed.collect
    assert planned.seconds == pytest.approx(speed.compile + rounds + 6 * iteration)


MEMORY = plan.Memory(weights=10**9, optimiser=2 * 10**9, replay=6 * 10**9, worlds=0, activations=10**9, free=0)


@pytest.mark.parametrize(
    ("free", "remedies"),
    [
        (10, ["--buffer-rows 500 or --remat or a smaller --num-envs"]),
        (4.2, ["use --remat or a smaller --depth, --width or --batch-size"]),
        (5, ["use --remat or a smaller --num-envs"]),
    ],
)
def test_a_run_that_does_not_fit_is_told_what_would(free, remedies):
    free = round(free * 1e9)
    config = toy.config(buffer_rows=600, prefill_rows=100)
    with pytest.raises(UserError) as caught:
        plan.check_fits(MEMORY._replace(free=free), config)
    message = str(caught.value)
    told = [
        "needs 10.00 GB",
        f"{free / 1e9:.2f} GB that are free",
        "replay 6.00 GB (4 worlds × 600 rows)",
        *remedies,
    ]
    assert all(part in message for part in told), message


def test_a_run_that_fits_is_not_refused_and_the_remedy_does_fit():
    config = toy.config(buffer_rows=600, prefill_rows=100)
    plan.check_fits(MEMORY._replace(free=round(10e9 / plan.USABLE) + 1), config)
    plan.check_fits(MEMORY._replace(free=10**10, replay=5 * 10**9), config)


def test_free_memory_is_some_of_what_the_machine_has():
    assert 10**7 < plan.free_memory() < 10**14


SHAPES = [
    ({"depth": 4, "width": 512, "block_size": 4}, 64),
    ({"depth": 16, "width": 64, "block_size": 4, "remat": True}, 256),
    ({"depth": 64, "width": 64, "block_size": 4}, 64),
    ({"depth": 16, "width": 256, "block_size": 2}, 1024),
    ({"depth": 16, "width": 64, "block_size": 4, "layer_norm": False}, 256),
    ({"actor_depth": 2, "critic_depth": 32, "width": 128, "block_size": 2}, 256),
    ({"depth": 1, "width": 64, "block_size": 4}, 512),
    ({"optimiser": "muon", "depth": 16, "width": 256, "block_size": 4}, 256),
    ({"trunk": "hyperspherical", "depth": 16, "width": 256, "block_size": 2}, 1024),
    ({"trunk": "hyperspherical", "depth": 16, "width": 64, "block_size": 4, "remat": True}, 256),
    ({"trunk": "attention", "depth": 16, "width": 64, "block_size": 4}, 256),
    ({"trunk": "attention", "depth": 16, "width": 128, "block_size": 4, "remat": True}, 256),
    ({"trunk": "attention", "depth": 4, "width": 256, "block_size": 4}, 512),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "agent", "sizes", "width"),
    [
        ("boxes_5x5_3", {"critics": 8}, {"batch_size": 1024}, 32),
        ("boxes_4x4_3", {"samples_per_episode": 4}, {"num_envs": 64, "buffer_rows": 20_000}, 16),
        ("boxes_20x20_5", {}, {"batch_size": 1024}, 16),
        ("boxes_5x5_3", {}, {"batch_size": 256}, 256),
    ],
)
def test_the_estimate_holds_for_choices(env, agent, sizes, width):
    network = {"depth": 4, "block_size": 4, "width": width}
    agent, sizes = {"name": "discrete_crl"} | agent, {"buffer_rows": 300, "total_env_steps": 6_400} | sizes
    needed, estimated = needs(toy.config(env=env, network=network, agent=agent, steps_per_goal=None, **sizes))
    assert needed <= estimated <= 3 * needed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "network", "batch"),
    [
        ({"name": "srl", "bins": 1000, "window": 1000}, {"depth": 4, "width": 64, "block_size": 4}, 256),
        ({"name": "srl", "bins": 64}, {"depth": 32, "width": 128, "block_size": 4}, 256),
        ({"name": "chrono", "bins": 1000, "window": 1000}, {"depth": 16, "width": 64, "block_size": 4}, 512),
        ({"name": "chrono", "bins": 64}, {"depth": 4, "width": 256, "block_size": 4}, 256),
        (
            {"name": "chrono", "bins": 64, "repr_dim": 8},
            {"trunk": "attention", "stem_bias": False, "depth": 4, "width": 32, "block_size": 4},
            128,
        ),
    ],
)
def test_the_estimate_holds_for_critics_of_hazards(agent, network, batch):
    needed, estimated = needs(toy.config(batch_size=batch, buffer_rows=300, network=network, agent=agent))
    assert needed <= estimated <= 3 * needed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "network", "batch"),
    [
        ({"name": "sac"}, {"depth": 4, "width": 256, "block_size": 4}, 256),
        ({"name": "td3", "policy_delay": 1}, {"depth": 32, "width": 64, "block_size": 4}, 512),
        ({"name": "td3", "value_loss": "hl_gauss"}, {"depth": 1, "width": 64, "block_size": 4}, 1024),
        (
            {"name": "sac", "n_step": 50, "soft_value": False, "actor_average": 0.9},
            {"depth": 4, "width": 16, "block_size": 4},
            512,
        ),
        ({"name": "gcsl"}, {"depth": 16, "width": 64, "block_size": 4}, 512),
    ],
)
def test_the_estimate_holds_for_critics_of_returns_and_for_none(agent, network, batch):
    needed, estimated = needs(toy.config(batch_size=batch, buffer_rows=300, network=network, agent=agent))
    assert needed <= estimated <= 3 * needed


@pytest.mark.slow
def test_the_estimate_holds_for_a_ring_that_is_searched():
    network = {"depth": 1, "width": 16, "block_size": 1}
    agent = {"name": "srl", "bins": 8}
    sizes = {"num_envs": 64, "total_env_steps": 6_400, "buffer_rows": 20_000}
    needed, estimated = needs(toy.config(batch_size=16, network=network, agent=agent, **sizes))
    assert needed <= estimated <= 3 * needed


@pytest.mark.slow
def test_the_estimate_holds_for_a_deep_collector_of_a_shallow_learner():
    network = {"depth": 4, "width": 64, "block_size": 4}
    config = toy.config(batch_size=1024, buffer_rows=300, network=network, collector_depth=64)
    needed, estimated = needs(config)
    assert needed <= estimated <= 3 * needed


def needs(config):
    """Bytes of an iteration besides the state: by XLA, and as estimated."""
    experiment = training.build(config)
    program = jax.jit(partial(training.iteration, experiment, training.gatherer(experiment)), donate_argnums=0)
    needed = program.lower(training.shapes(experiment)).compile().memory_analysis().temp_size_in_bytes
    return needed, plan.most_memory(experiment).activations


@pytest.mark.parametrize(
    ("network", "batch"),
    [pytest.param(*shape, marks=pytest.mark.slow if number > 1 else ()) for number, shape in enumerate(SHAPES)],
)
def test_the_estimate_of_activations_is_above_what_xla_needs_and_not_far(network, batch):
    """Temporary memory depends on shapes, and not on how well XLA is told to optimise."""
    network = {"stem_bias": network.get("trunk", "mlp") == "mlp"} | network
    needed, estimated = needs(toy.config(batch_size=batch, buffer_rows=300, network=network))
    assert needed <= estimated <= 3 * needed
