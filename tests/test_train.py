"""Training: what it reports and writes, and that a run is a function of its configuration alone."""

import csv
import errno
import json
import math
import os
import shutil
import subprocess
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from goalward import checkpoint, contract, metrics, policy, replay, runs, training
from goalward.errors import DivergedError, MachineError, UserError

EVALUATED = {"success_rate", "final_success", "time_at_goal", "time_at_goal_fraction", "final_distance"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return toy.trained(tmp_path_factory)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Four epochs without a break: directory and reports."""
    directory = tmp_path_factory.mktemp("whole") / "run"
    return directory, toy.run(directory, toy.epochs(4))


@pytest.fixture
def session(tmp_path):
    """A run in memory that has begun."""
    directory = tmp_path / "run"
    experiment = training.build(toy.config())
    with runs.new(directory, toy.config(), "cpu", training.env_versions(experiment)):
        session = training.Session(experiment, directory)
        session.begin()
        yield session
        session.close()


def test_reports_come_once_before_and_once_after_each_iteration(whole):
    _, reports = whole
    assert [report.iteration for report in reports] == list(range(4 * toy.ITERATIONS + 1))
    assert [report.epoch for report in reports] == [i // toy.ITERATIONS for i in range(len(reports))]
    assert [report.updates for report in reports] == [i * toy.UPDATES for i in range(len(reports))]
    # Two chunks of ten rows fill the replay before the first report.
    assert [report.env_steps for report in reports] == [(i + 2) * toy.STEPS for i in range(len(reports))]
    assert all(a.seconds < b.seconds for a, b in pairwise(reports))


def test_evaluations_come_at_the_start_and_at_the_ends_of_epochs_alone(whole):
    _, reports = whole
    evaluated = [report.iteration for report in reports if report.evaluation is not None]
    assert evaluated == [i * toy.ITERATIONS for i in range(5)]
    assert all(report.evaluation.episodes == 4 for report in reports if report.evaluation)


def test_reports_after_an_iteration_hold_finite_metrics(whole):
    _, (first, *others) = whole
    assert first.metrics == {}
    for report in others:
        assert {"critic_loss", "actor_loss", "alpha", "entropy"} <= report.metrics.keys()
        assert all(math.isfinite(value) for value in report.metrics.values())


def test_tables_agree_with_the_reports(whole):
    directory, reports = whole
    expected = [report.row() for report in reports if report.evaluation is not None]
    assert runs.read_metrics(directory) == json.loads(json.dumps(expected))
    with (directory / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(expected)
    for cells, row in zip(table, expected, strict=True):
        scalars = {name: value for name, value in row.items() if name != "by_goal"}
        assert {name: float(cell) for name, cell in cells.items() if cell != ""} == pytest.approx(scalars)


@pytest.mark.parametrize("name", ["s3:x", "gs:x"])
def test_what_looks_like_a_place_on_the_net_is_a_folder_here(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    runs.recorder(Path(name), -1).close()
    assert list((tmp_path / name / "tensorboard").iterdir())


def test_tensorboard_events_agree_with_the_tables(whole):
    directory, _ = whole
    seen = toy.events(directory)
    rows = runs.read_metrics(directory)
    expected = {(row["env_steps"], name): row[name] for row in rows for name in row if name != "by_goal"}
    assert seen == pytest.approx(expected, rel=1e-5)
    assert EVALUATED | {"critic_loss"} <= {name for _, name in seen}


def test_the_directory_holds_the_configuration_and_the_circumstances(whole):
    directory, _ = whole
    assert runs.load_config(directory) == toy.epochs(4)
    meta = json.loads((directory / "meta.json").read_text())
    assert meta["versions"]["jax"] == jax.__version__
    assert {"started", "python", "git_commit", "host", "platform", "cores", "device"} <= meta.keys()


def test_a_run_is_a_function_of_its_configuration(whole, tmp_path):
    toy.run(tmp_path / "again", toy.epochs(4))
    assert toy.digest(tmp_path / "again") == toy.digest(whole[0])
    assert toy.rows(tmp_path / "again") == toy.rows(whole[0])


def test_different_seeds_give_different_runs(trained, tmp_path):
    toy.run(tmp_path / "other", toy.config(seed=1))
    ours, theirs = (toy.latest(directory) for directory in (trained, tmp_path / "other"))
    assert ours.iteration == theirs.iteration
    assert toy.digest(trained) != toy.digest(tmp_path / "other")
    first, second = toy.rows(trained)[-1], toy.rows(tmp_path / "other")[-1]
    assert first["critic_loss"] != second["critic_loss"]
    assert first["final_distance"] != second["final_distance"]


def test_two_epochs_and_a_resume_to_four_are_four_epochs(trained, whole, tmp_path):
    directory = toy.copy(trained, tmp_path / "run")
    reports = toy.run(directory, toy.epochs(4), resume=True)
    assert [report.iteration for report in reports] == list(range(7, 13))
    assert toy.latest(directory).iteration == 12
    assert toy.digest(directory) == toy.digest(whole[0])
    assert toy.rows(directory) == toy.rows(whole[0])


@pytest.mark.parametrize("stop", [0, 2, 4])
def test_a_stop_at_any_report_and_a_resume_are_no_stop(whole, tmp_path, stop):
    calls = []

    def should_stop():
        calls.append(None)
        return len(calls) > stop

    reports = toy.run(tmp_path / "run", toy.epochs(4), should_stop=should_stop)
    assert reports[-1].iteration == stop + 1
    assert toy.latest(tmp_path / "run").iteration == stop + 1
    toy.run(tmp_path / "run", toy.epochs(4), resume=True)
    assert toy.digest(tmp_path / "run") == toy.digest(whole[0])
    assert toy.rows(tmp_path / "run") == toy.rows(whole[0])


def test_seconds_go_on_after_a_resume(trained, tmp_path):
    directory = toy.copy(trained, tmp_path / "run")
    spent = toy.latest(directory).state["seconds"]
    reports = toy.run(directory, toy.epochs(3), resume=True)
    assert all(report.seconds > spent for report in reports)


def test_a_finished_run_has_nothing_to_resume(trained, tmp_path):
    directory = toy.copy(trained, tmp_path / "run")
    assert toy.run(directory, resume=True) == []
    assert toy.digest(directory) == toy.digest(trained)
    assert toy.rows(directory) == toy.rows(trained)


def test_rows_of_lost_work_are_removed_at_a_resume(whole, tmp_path):
    directory = toy.copy(whole[0], tmp_path / "run")
    shutil.rmtree(toy.latest(directory).path)
    at = toy.latest(directory).iteration
    reports = training.train(toy.epochs(4), directory, resume=True)
    next(reports)
    assert [row["iteration"] for row in runs.read_metrics(directory)] == [*range(0, at + 1, 3)]
    for _ in reports:
        pass
    assert toy.rows(directory) == toy.rows(whole[0])
    assert toy.digest(directory) == toy.digest(whole[0])


def test_a_full_disk_under_the_logs_costs_no_checkpoint_and_a_resume_writes_the_row(
    whole, tmp_path, monkeypatch
):
    """However far it came: nothing, half a row, or one log of three."""
    for fails in (1, 2):
        directory, calls, append = tmp_path / str(fails), [], metrics._append

        def full(path, text, calls=calls, append=append, fails=fails):
            calls.append(path)
            if len(calls) == fails:
                append(path, text[:20])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            append(path, text)

        monkeypatch.setattr(metrics, "_append", full)
        with pytest.raises(MachineError, match=r"logs in .* could not be written: .*No space left"):
            toy.run(directory, toy.epochs(4))
        monkeypatch.setattr(metrics, "_append", append)
        saved = toy.latest(directory)
        assert saved.iteration == (0 if fails == 1 else 3)
        toy.run(directory, toy.epochs(4), resume=True)
        assert toy.rows(directory) == toy.rows(whole[0])
        assert toy.digest(directory) == toy.digest(whole[0])
        assert toy.events(directory).keys() == toy.events(whole[0]).keys()


def test_only_the_checkpoints_asked_for_are_kept(whole):
    rows = runs.read_metrics(whole[0])
    best = max(rows, key=lambda row: (row["time_at_goal_fraction"], row["iteration"]))["iteration"]
    saved = checkpoint.list_saved(runs.checkpoints(whole[0]))
    assert [entry.iteration for entry in saved] == sorted({9, 12, best})


def test_an_iteration_is_its_parts_one_by_one(session):
    experiment, config = session.experiment, session.experiment.config
    learn_key = jax.random.split(session.run.key, 3)[2]

    @jax.jit
    def update(agent, rows, key):
        sample_key, update_key = jax.random.split(key)
        relabel, spec = experiment.agent.relabel, experiment.env.spec
        batch = replay.sample(rows, spec, relabel, config.batch_size, sample_key)
        return experiment.agent.update(agent, batch, update_key)

    gathered, _ = session.programs.gather(jax.tree.map(jnp.copy, session.run))
    before = jax.tree.map(jnp.copy, session.run.agent)
    report = next(training.epoch(session))
    agent, each = before, []
    for key in jax.random.split(learn_key, config.updates_per_iteration):
        agent, metrics = update(agent, gathered.replay, key)
        each.append(metrics)
    close = {"rtol": 1e-4, "atol": 1e-5}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), session.run.agent, agent)
    jax.tree.map(np.testing.assert_array_equal, session.run.replay, gathered.replay)
    assert len(each) == toy.UPDATES > 1
    assert report.metrics.keys() == each[0].keys()
    for name, mean in report.metrics.items():
        np.testing.assert_allclose(mean, np.mean([metrics[name] for metrics in each]), **close)
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), agent.params, before.params)
    assert np.mean(jax.tree.leaves(moved)) > 0.9


def test_evaluations_have_the_same_starts_and_goals_each_time(whole, trained):
    goals = [[entry["goal"] for entry in row["by_goal"]] for row in runs.read_metrics(whole[0])]
    counts = [[entry["episodes"] for entry in row["by_goal"]] for row in runs.read_metrics(whole[0])]
    assert all(g == goals[0] for g in goals)
    assert all(c == counts[0] for c in counts)
    last = runs.read_metrics(trained)[-1]
    again = policy.evaluate(trained)
    assert [entry["goal"] for entry in again["by_goal"]] == goals[0]
    told = EVALUATED | {f"random_{name}" for name in EVALUATED}
    assert {name: again[name] for name in told} == pytest.approx({name: last[name] for name in told})


def test_chance_is_what_check_env_finds_and_stays_as_it_was_measured_first(whole, trained, tmp_path):
    """Beside it, old runs go on without."""
    experiment = training.build(toy.config(env_settings={"episode_length": 40}))
    found = contract.check(experiment.env, worlds=256)
    chance = training.chance_level(experiment)(training.evaluation_keys(experiment.config, 512))
    assert 0.1 < found.random_success < 0.9
    assert chance["random_success_rate"] == pytest.approx(found.random_success, abs=0.08)
    assert chance["random_time_at_goal_fraction"] == pytest.approx(found.random_time_at_goal, abs=0.05)
    rows = runs.read_metrics(whole[0])
    assert len({row["random_final_distance"] for row in rows}) == 1
    assert all(f"random_{name}" in row for name in EVALUATED for row in rows)
    old = toy.copy(trained, tmp_path / "old")
    path = old / "metrics.jsonl"
    rows = [{n: row[n] for n in row if "random" not in n} for row in runs.read_metrics(old)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (report,) = (report for report in toy.run(old, toy.epochs(3), resume=True) if report.evaluation)
    assert (report.epoch, report.chance) == (3, {})


def test_block_norms_are_recorded_on_request_and_change_nothing_else(trained, tmp_path):
    directory = tmp_path / "run"
    toy.run(directory, toy.config(block_norms=True, network={"actor_depth": 6}))
    toy.run(tmp_path / "plain", toy.config(network={"actor_depth": 6}))
    assert toy.digest(directory) == toy.digest(tmp_path / "plain")
    blocks = {"actor": 3, "phi": 1, "psi": 1}
    names = {
        f"{net}_{what}_norm": n for net, n in blocks.items() for what in ("branch", "stream", "block_grad")
    }
    rows = runs.read_metrics(directory)
    assert len(rows) == 3
    for row in rows:
        assert {name: len(row[name]) for name in names} == names
        assert all(min(row[name]) > 0 for name in names)
    assert rows[0]["phi_block_grad_norm"] != rows[1]["phi_block_grad_norm"]
    assert not names.keys() & runs.read_metrics(trained)[-1].keys()


def test_evaluation_keys_depend_on_the_seed_alone():
    data = [
        jax.random.key_data(training.evaluation_keys(c))
        for c in (toy.config(), toy.epochs(9), toy.config(seed=1))
    ]
    np.testing.assert_array_equal(data[0], data[1])
    assert not np.any(np.all(data[0] == data[2], axis=-1))
    assert training.evaluation_keys(toy.config(), 7).shape == (7,)
    assert len(np.unique(data[0], axis=0)) == 4


def test_a_number_that_is_not_finite_stops_the_run_and_can_be_reproduced(tmp_path, monkeypatch):
    """A few rows of the replay are NaN: the first update that draws one must be found and kept, no other."""
    begin, started = training.Session.begin, []

    def begin_poisoned(session):
        report = begin(session)
        rows = session.run.replay.rows
        rows = rows._replace(obs=rows.obs.at[19, :1].set(jnp.nan))
        session.run = session.run._replace(replay=session.run.replay._replace(rows=rows))
        started.append(jax.tree.map(jnp.copy, session.run))
        return report

    monkeypatch.setattr(training.Session, "begin", begin_poisoned)
    directory, config = tmp_path / "run", toy.config(updates_per_iteration=12, seed=1)
    with pytest.raises(DivergedError) as caught:
        toy.run(directory, config)
    failure = checkpoint.latest(runs.failure(directory))
    bad = failure.state["update"]
    assert 0 < bad < 11, "another seed, so that there are updates on both sides"
    message = str(caught.value)
    told = (f"update {bad + 1} gave", "critic_loss = nan", "actor_loss = nan", "goalward.training.reproduce")
    assert all(part in message for part in (*told, str(runs.failure(directory)))), message
    assert not np.isfinite(training.reproduce(directory)["critic_loss"])

    experiment = training.build(config)
    run, learn_key = jax.jit(training.gatherer(experiment))(started[0])
    update = jax.jit(partial(training.update, experiment))
    agent = run.agent
    keys = training.update_keys(experiment, learn_key)
    for key in keys[:bad]:
        agent, metrics = update(agent, run.replay, key)
        assert np.isfinite(metrics["critic_loss"])
    saved = checkpoint.restore(failure, {"agent": agent, "replay": run.replay, "key": keys[bad]})
    assert jnp.array_equal(saved["key"], keys[bad])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), saved["agent"], agent)

    assert toy.latest(directory).iteration == 0, "no checkpoint of a diverged state"
    assert len(runs.read_metrics(directory)) == 1


@pytest.mark.parametrize(
    ("values", "first_bad"),
    [([1.0, 2.0, 3.0], 3), ([1.0, np.nan, 3.0], 1), ([np.inf, 2.0, np.nan], 0), ([1.0, 2.0, -np.inf], 2)],
)
def test_the_first_update_that_is_not_finite_is_found(values, first_bad):
    means, found = training.inspect({"a": jnp.ones(3), "b": jnp.array(values)})
    assert int(found) == first_bad
    assert float(means["a"]) == 1


def test_a_run_in_use_is_refused_to_a_second_process(trained, tmp_path):
    directory = toy.copy(trained, tmp_path / "run")
    code = "import sys; from pathlib import Path; from goalward import runs\n"
    code += "with runs.lock(Path(sys.argv[1])): print('held')"
    second = [sys.executable, "-c", code, str(directory)]
    reports = training.train(toy.epochs(3), directory, resume=True)
    next(reports)
    result = subprocess.run(second, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert f"UserError: {directory} is in use by another process" in result.stderr
    with pytest.raises(UserError, match="in use by another process"):
        toy.run(directory, toy.epochs(3), resume=True)
    reports.close()
    assert subprocess.run(second, capture_output=True, text=True, check=True).stdout == "held\n"


@pytest.mark.parametrize(
    "changes", [{"env": "point_x"}, {"eval_env": "nowhere"}, {"network": {"depth": 3}}, {"random_shift": 4.0}]
)
def test_names_and_sizes_that_do_not_exist_leave_no_directory(tmp_path, changes):
    with pytest.raises(UserError):
        toy.run(tmp_path / "run", toy.config(**changes))
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_started_over_another(trained):
    before = toy.contents(trained)
    with pytest.raises(UserError, match=f"--resume {trained}"):
        toy.run(trained)
    assert toy.contents(trained) == before
