"""What trackers are told of a run, by one of a list; and by the real ones, offline."""

from types import SimpleNamespace

import pytest
import toy

from goalward import metrics, runs, tracking
from goalward.config import leaves, to_dict
from goalward.errors import MachineError
from goalward.tracking import Tracker

EVALUATED = SimpleNamespace(evaluation=())
BETWEEN = SimpleNamespace(evaluation=None)


@pytest.fixture
def run(tmp_path_factory, tmp_path):
    return toy.copy(toy.trained(tmp_path_factory), tmp_path / "run")


def follow(run, name, reports=(EVALUATED, BETWEEN, EVALUATED)):
    """Let a tracker see some reports of a run that is on disk already."""
    return list(tracking.tracked(iter(reports), run, name))


def rows(run):
    """Steps and numbers of all rows."""
    return [(metrics.clock(row), metrics.scalars(row)) for row in runs.read_metrics(run)]


@pytest.fixture
def told(monkeypatch):
    """A tracker that is a list, and fails where one says so."""
    seen, closed, failing = [], [], []

    def write(step, row):
        if failing:
            raise ConnectionError(failing.pop())
        seen.append((step, row))

    def last():
        return seen[-1][0] if seen else -1

    monkeypatch.setitem(tracking.TRACKERS, "wandb", lambda run: Tracker(last, write, closed.append))
    return SimpleNamespace(seen=seen, closed=closed, failing=failing)


def test_each_row_is_told_once_at_a_resume_too(run, told):
    jsonl = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(jsonl[:2]))
    assert follow(run, "wandb") == [EVALUATED, BETWEEN, EVALUATED]
    assert [step for step, _ in told.seen] == [80, 200]
    (run / "metrics.jsonl").write_text("".join(jsonl))
    follow(run, "wandb")
    assert told.seen == rows(run)
    assert told.closed == [True, True]


def test_what_fails_is_told_again_and_ends_no_run(run, told, capsys):
    told.failing.append("no route")
    assert len(follow(run, "wandb")) == 3
    assert told.seen == rows(run)
    assert "warning: wandb was not told (ConnectionError: no route); the next" in capsys.readouterr().err


def test_a_run_that_breaks_off_is_closed_as_such(run, told):
    reports = tracking.tracked(iter([EVALUATED, EVALUATED]), run, "wandb")
    next(reports)
    reports.close()
    assert told.closed == [False]


def test_a_tracker_that_cannot_be_had_ends_the_run_at_once(run, monkeypatch):
    def broken(_):
        raise ValueError("no  such\nserver")

    monkeypatch.setitem(tracking.TRACKERS, "mlflow", broken)
    with pytest.raises(
        MachineError, match=r"mlflow cannot be started \(ValueError: no such server\); .* is saved"
    ):
        follow(run, "mlflow")


@pytest.mark.system
@pytest.mark.filterwarnings("ignore")
def test_mlflow_goes_on_with_the_run_of_a_run(run, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    jsonl = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text(jsonl[0])
    follow(run, "mlflow")
    (run / "metrics.jsonl").write_text("".join(jsonl))
    follow(run, "mlflow")
    client = mlflow.MlflowClient()
    place = client.get_experiment_by_name("goalward").experiment_id
    [found] = client.search_runs([place])
    assert found.info.run_name == "run"
    assert found.info.status == "FINISHED"
    config = leaves(to_dict(runs.load_config(run)))
    assert found.data.params == {".".join(path): str(value) for path, value in config}
    for name in ("success_rate", "env_steps"):
        history = client.get_metric_history(found.info.run_id, name)
        assert [(one.step, one.value) for one in history] == [(step, row[name]) for step, row in rows(run)]


@pytest.mark.system
@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_a_run_offline(run, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    start, logged = wandb.init, []

    def init(**options):
        one = start(**options)
        log = one.log
        monkeypatch.setattr(one, "log", lambda row, step: logged.append((step, row)) or log(row, step=step))
        return one

    monkeypatch.setattr(wandb, "init", init)
    follow(run, "wandb")
    assert wandb.run is None
    assert logged == rows(run)
    wandb.teardown()  # as at the end of a process: its service writes the file only then
    [path] = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert path.stem == f"run-{runs.load_meta(run).id}"
    kept = path.read_bytes()
    assert b'"point_u_maze"' in kept
    assert kept.count(b"random_time_at_goal_fraction") >= len(logged)
