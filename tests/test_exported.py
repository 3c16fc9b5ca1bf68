"""Policies that were taken out: NumPy and ONNX Runtime compute what JAX does; files are as written."""

import json
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
import pytest
import safetensors.numpy
import toy
from scipy import stats

from goalward import agents, exported, onnx_model, policy, prng, runtime, shipped, training
from goalward.cli import main
from goalward.config import from_dict
from goalward.errors import MachineError, UserError
from goalward.lowering import Constants, lower
from goalward.runtime import graph, tensors

PLAIN = {"stem_bias": False}
CASES = [
    *[(name, {"normalise_inputs": True}, {}) for name in agents.NAMES if name != "discrete_crl"],
    ("discrete_crl", {"critics": 2}, {}),
    ("crl", {}, {"trunk": "hyperspherical", **PLAIN}),
    ("crl", {}, {"trunk": "attention", "block_size": 4, "depth": 4, **PLAIN}),
    *[("crl", {"energy": energy, "repr_dim": 16}, {"activation": activation})
      for energy, activation in (("mrn", "gelu"), ("cosine", "elu"), ("dot", "relu"), ("sq_l2", "tanh"))],
    ("crl", {}, {"residual": False, "layer_norm": False, "residual_scale": "one"}),
    ("td3", {"value_loss": "two_hot"}, {"precision": "bfloat16"}),
    ("crl", {}, {"depth": 1}),
]  # fmt: skip


def settings(name, agent, network):
    env = "boxes_4x4_2" if name == "discrete_crl" else "point_u_maze"
    return toy.config(env=env, env_settings={}, agent={"name": name, **agent}, network=network)


@pytest.mark.parametrize(("name", "agent", "network"), CASES)
def test_numpy_and_onnx_runtime_compute_what_jax_does(name, agent, network, tmp_path):
    experiment = training.build(settings(name, agent, network))
    experiment, state = exported._in_32_bits(experiment, experiment.agent.init(prng.key(1)))
    spec, constants = experiment.env.spec, Constants()
    sizes = {"obs": spec.obs_dim, "goal": spec.goal_dim}
    functions = {"policy": partial(agents.decide, experiment.agent, state)}
    if name not in ("gcbc", "gcsl"):
        functions["value"] = partial(experiment.agent.value, state)
    for output, function in functions.items():
        its = lower(function, sizes, constants)
        run = graph.compiled(graph.from_json(json.loads(json.dumps(graph.to_json(its)))), constants.arrays)
        onnx_model.write(tmp_path / "x.onnx", its, constants.arrays, sizes, output, "told")
        session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
        generator = np.random.default_rng(0)
        obs, goal = (generator.standard_normal((5, size), np.float32) for size in sizes.values())
        expected = np.asarray(jax.jit(function)(obs, goal))
        for rows in (1, 5):
            given = {"obs": obs[:rows], "goal": goal[:rows]}
            for found in (run(*given.values()), session.run([output], given)[0]):
                assert (found.shape, found.dtype) == (expected[:rows].shape, np.float32)
                np.testing.assert_allclose(found, expected[:rows], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "run"
    toy.run(directory, toy.config(agent={"chunk": 2}))
    return directory


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "policy"
    done = exported.export(run, out)
    assert max(done.differences.values()) < 1e-5
    assert {path.name for path in done.files} == {path.name for path in out.iterdir()}
    return out


def test_an_exported_policy_acts_as_the_run_does(run, folder):
    ours, theirs = runtime.load(folder), policy.load_policy(run)
    assert ours.chunk == theirs.chunk > 1
    generator = np.random.default_rng(0)
    for _ in range(2 * ours.chunk + 1):
        obs, goal = generator.standard_normal((2, 2))
        np.testing.assert_allclose(ours.act(obs, goal), theirs.act(obs, goal), atol=1e-5)
    experiment, state = policy.load_experiment(run)
    obs, goal = generator.standard_normal((2, 7, 2)).astype(np.float32)
    expected = experiment.agent.value(state.agent, jnp.asarray(obs), jnp.asarray(goal))
    np.testing.assert_allclose(ours.value(obs, goal), expected, rtol=1e-5)
    assert ours.value(obs[0], goal[0]).shape == ()
    with pytest.raises(UserError, match=r"obs has shape \(3,\)"):
        ours.value(np.zeros(3), np.zeros(2))


def test_it_runs_where_jax_is_not_loaded(folder):
    code = f"""
import sys
import goalward.runtime
policy = goalward.runtime.load({str(folder)!r})
print(policy.act([0.5, 0.5], [1.0, 1.0]).shape, policy.card.env)
assert not {{"jax", "onnx", "equinox", "matplotlib", "mujoco", "gymnasium"}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(2,) point_u_maze\n"


def test_the_card_tells_the_task_its_figures_and_its_use(folder):
    text = (folder / shipped.CARD).read_text()
    for words in ("# A policy for point_u_maze", "crl, depth 2", "320 environment steps", "policy.reset()"):
        assert words in text
    assert from_dict(json.loads((folder / runtime.CONFIG).read_text()), "it") == toy.config(agent={"chunk": 2})


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def alter(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def other_format(path):
    path.write_text(path.read_text().replace('"format": 1', '"format": 2'))


def other_card(path):
    path.write_text(path.read_text().replace('"goal_dim": 2', '"goal_dim": 3'))


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        (runtime.WEIGHTS, cut, "cut or altered"),
        (runtime.WEIGHTS, alter, "cut or altered"),
        (runtime.GRAPHS, alter, "cut or altered"),
        (runtime.GRAPHS, lambda path: path.unlink(), "cannot be read"),
        (runtime.MANIFEST, cut, "cannot be read"),
        (runtime.MANIFEST, other_card, "not as it was written"),
        (runtime.MANIFEST, other_format, "is of format 2; this version reads 1"),
        (runtime.MANIFEST, lambda path: path.unlink(), "is no exported policy"),
        (runtime.MANIFEST, lambda path: path.write_text("[]"), "is of format None"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused_by_name(folder, tmp_path, name, damage, told):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    damage(tmp_path / name)
    with pytest.raises(UserError, match=told) as error:
        runtime.load(tmp_path)
    assert name in str(error.value)


def test_choices_are_drawn_as_their_logits_say():
    card = runtime.Card("x", "discrete_crl", 1, 1, 3, 1, "sample", 0, 0, "0")
    logits = np.log(np.array([0.2, 0.5, 0.3], np.float32))
    functions = {"policy": lambda obs, goal: np.tile(logits, (len(obs), 1))}
    rows = np.zeros((20_000, 1))
    drawn = runtime.Exported(card, functions, 0).act(rows, rows)
    assert (drawn.sum(axis=1) == 1).all()
    assert stats.chisquare(drawn.sum(axis=0), 20_000 * np.exp(logits)).pvalue > 1e-3
    best = runtime.Exported(card._replace(choice="greedy"), functions, 0).act(rows[:5], rows[:5])
    np.testing.assert_array_equal(best, np.eye(3)[[1] * 5])
    with pytest.raises(UserError, match="no value was exported"):
        runtime.Exported(card, functions, 0).value([0.0], [0.0])


def test_arrays_are_written_as_others_read_them_and_read_as_others_write(tmp_path):
    path = tmp_path / "x.safetensors"
    arrays = {
        "scalar": np.array(3.5, np.float32), "flags": np.array([True, False, True]),
        "none": np.zeros((0, 3), np.float32),
        "matrix": np.arange(12, dtype=np.float32).reshape(3, 4).T, "number": np.array([7], np.int64),
    }  # fmt: skip
    tensors.write(path, arrays)
    for found in (safetensors.numpy.load_file(path), tensors.read(path.read_bytes(), path)):
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
    safetensors.numpy.save_file({"a": np.ones(3, np.float32)}, path, metadata={"by": "others"})
    np.testing.assert_array_equal(tensors.read(path.read_bytes(), path)["a"], np.ones(3, np.float32))
    whole = path.read_bytes()
    for content in (b"", whole[:20], whole[:-1], b"\xff" * 64):
        with pytest.raises(UserError, match="is no file of safetensors"):
            tensors.read(content, path)


def test_a_value_that_cannot_be_exported_is_left_out_and_told(folder, monkeypatch, capsys):
    experiment = training.build(toy.config(agent={"energy": "iqe", "repr_dim": 16}))
    state = experiment.agent.init(prng.key(0))
    sizes = {"obs": 2, "goal": 2}
    only, _, _ = exported._graphs(experiment, state, sizes, Constants(), value=False)
    assert list(only) == ["policy"]
    graphs, differences, left_out = exported._graphs(experiment, state, sizes, Constants(), value=True)
    assert list(graphs) == list(differences) == ["policy"]
    assert "sort, an operation of JAX" in left_out["value"]
    done = exported.Exported([folder / runtime.WEIGHTS], differences, left_out)
    monkeypatch.setattr(exported, "export", lambda *_, **__: done)
    main(["export", "run", "--out", "out"])
    said = capsys.readouterr().out
    assert "policy: NumPy differs from JAX by" in said
    assert "value is left out: sort" in said


def test_what_export_lacks_is_told(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "there").mkdir()
    for words, told in (
        ([str(run), "--out", str(tmp_path / "there")], "--force replaces the files in it"),
        ([str(run), "--out", str(run), "--force"], "is a run, which the export would damage"),
        ([str(tmp_path / "none"), "--out", str(tmp_path / "new")], "is not a run directory"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["export", *words])
        assert end.value.code == 2
        assert told in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MachineError, match=r"goalward\[export\]"):
        exported.export(run, tmp_path / "new")
    assert not (tmp_path / "new").exists()
