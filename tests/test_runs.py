"""Run directories: nothing is crossed, nothing is followed out of them, and what changed in them is told."""

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import toy

from goalward import checkpoint, policy, runs, training
from goalward.cli import main
from goalward.errors import UserError
from goalward.lab import quickstart

VERSIONS = {"env_version": 1, "eval_env_version": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return toy.trained(tmp_path_factory)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a toy run in which the best checkpoint is an older one."""
    directory = toy.copy(trained, tmp_path / "run")
    for saved in checkpoint.list_saved(runs.checkpoints(directory)):
        toy.change_state(saved, {"score": 1 / (1 + saved.iteration)})
    return directory


def refuse(directory, *told):
    """A resume is refused with a message that tells `told`, before anything is written."""
    before = toy.contents(directory)
    with pytest.raises(UserError) as caught:
        toy.run(directory, toy.epochs(3), resume=True)
    assert all(part in str(caught.value) for part in told), caught.value
    assert {name: data for name, data in toy.contents(directory).items() if name != ".lock"} == {
        name: data for name, data in before.items() if name != ".lock"
    }


@pytest.mark.parametrize("learned", [False, True])
def test_a_mistake_that_shows_before_anything_is_learned_leaves_nothing_behind(tmp_path, learned):
    directory = tmp_path / "run"

    def begin():
        with runs.new(directory, toy.config(), "cpu", VERSIONS):
            if learned:
                (runs.checkpoints(directory) / "00000001").mkdir(parents=True)
            raise UserError("a mistake")

    with pytest.raises(UserError, match="mistake"):
        begin()
    assert runs.is_run(directory) == learned
    if not learned:
        with runs.new(directory, toy.config(), "cpu", VERSIONS):
            assert runs.is_run(directory)


def test_names_by_default_are_taken_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Now(runs.datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2030, 1, 2, 3, 4, 5)

    monkeypatch.setattr(runs.datetime, "datetime", Now)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: runs.default_directory(toy.config()), range(12)))
    name = "point_u_maze-crl-d2-s0-20300102-030405"
    assert {path.name for path in made} == {name, *(f"{name}-{number}" for number in range(2, 13))}
    assert all(path.is_dir() for path in made)


def test_of_many_who_start_in_one_directory_one_does(tmp_path):
    directory = tmp_path / "run"

    def start(seed):
        try:
            with runs.new(directory, toy.config(seed=seed), "cpu", VERSIONS):
                return seed, runs.load_config(directory).seed, runs.load_meta(directory).id
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(start, range(1, 17)))
    begun = [end for end in ends if isinstance(end, tuple)]
    assert len(begun) == 1
    assert begun[0][1] == begun[0][0] == runs.load_config(directory).seed
    assert begun[0][2] == runs.load_meta(directory).id
    assert all("in use" in end or "exists" in end for end in ends if isinstance(end, str))


def test_a_live_quickstart_is_not_replaced(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(quickstart, "config", lambda seed: toy.epochs(3, seed=seed))
    directory = toy.copy(trained, tmp_path / "quickstart")
    runs.save_config(directory, toy.epochs(3))
    reports = training.train(toy.epochs(3), directory, resume=True)
    next(reports)
    before = toy.contents(directory)
    with pytest.raises(UserError, match=f"{directory} is in use by another process"):
        quickstart.run(directory, 1, quiet=True)
    assert toy.contents(directory) == before
    reports.close()
    quickstart._clear(directory, toy.epochs(3, seed=1))
    assert [path.name for path in directory.iterdir()] == [".lock"]


def load(directory):
    policy.load_experiment(directory)


def load_best(directory):
    policy.load_experiment(directory, best=True)


def print_digest(directory):
    main(["digest", str(directory)])


@pytest.mark.parametrize("command", [load, load_best, print_digest])
def test_readers_beside_a_run_that_prunes_try_again(run, monkeypatch, command):
    """The checkpoint goes between the list and the first look into it."""
    removed, look = [], checkpoint.verify

    def remove_first(path):
        if not removed:
            removed.append(path)
            checkpoint._discard(path)
        look(path)

    monkeypatch.setattr(checkpoint, "verify", remove_first)
    command(run)
    assert len(removed) == 1
    assert not removed[0].exists()


def commit_of(root, monkeypatch):
    monkeypatch.setattr(runs, "__file__", str(root / "runs.py"))
    return runs._git_commit()


def test_the_commit_is_that_of_the_package_or_absent(tmp_path, monkeypatch):
    root, inner = tmp_path / "goalward", tmp_path / "mine" / "goalward"
    for package, name in ((root / "goalward", "goalward"), (inner, "other")):
        package.mkdir(parents=True)
        (package / "runs.py").write_text("")
        (package.parent / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')

    def git(folder, *words):
        names = ["-c", "user.name=a", "-c", "user.email=a@b"]
        line = ["git", "-C", str(folder), *names, *words]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()

    assert commit_of(inner, monkeypatch) is None  # no repository at all
    for folder, tracked in ((root, "."), (inner.parent, "pyproject.toml")):
        git(folder, "init")
        git(folder, "add", tracked)
        git(folder, "commit", "-m", "first")
    commit = git(root, "rev-parse", "HEAD")
    assert commit_of(inner, monkeypatch) is None  # installed below a repository that does not keep it
    git(inner.parent, "add", ".")
    assert commit_of(inner, monkeypatch) is None  # one that keeps a copy
    assert commit_of(root / "goalward", monkeypatch) == commit
    (root / "notes").write_text("")
    monkeypatch.setenv("GIT_DIR", str(inner.parent / ".git"))  # as in a hook of that repository
    assert commit_of(root / "goalward", monkeypatch) == commit
    (root / "goalward" / "runs.py").write_text("# changed")
    assert commit_of(root / "goalward", monkeypatch) == commit + "+"


NAMES = (
    ".lock", "config.json", "meta.json", "metrics.csv", "metrics.csv.tmp", "metrics.jsonl", "metrics.jsonl.tmp",
    "summary.json", "tensorboard", "checkpoints", "failure", "profile", "checkpoints/00000006",
    "checkpoints/00000006/state.json", "tensorboard/more", "profile/iteration",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_link_is_named_and_not_followed(run, tmp_path, name):
    path, target = run / name, tmp_path / "target"
    path.parent.mkdir(exist_ok=True)
    if path.is_dir() or name in ("failure", "profile", "profile/iteration"):
        path.rename(target) if path.exists() else target.mkdir()
    else:
        target.write_bytes(path.read_bytes() if path.exists() else b"precious")
        path.unlink(missing_ok=True)
    before = toy.contents(target) if target.is_dir() else target.read_bytes()
    path.symlink_to(target)
    refuse(run, f"{path} is a link")
    assert path.is_symlink()
    assert (toy.contents(target) if target.is_dir() else target.read_bytes()) == before


@pytest.mark.parametrize(
    "name",
    ["config.json", "meta.json", "metrics.jsonl", "checkpoints", "checkpoints/00000006",
     *(f"checkpoints/00000006/{name}" for name in ("manifest.json", "state.json", "arrays.npz"))],
)  # fmt: skip
def test_a_pipe_makes_no_reader_wait(run, tmp_path, name):
    path = run / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    os.mkfifo(path)
    if name != "metrics.jsonl":
        for read in (policy.load_policy, print_digest if name != "config.json" else policy.load_policy):
            with pytest.raises((UserError, SystemExit)):
                read(run)
    refuse(run, f"{path} is neither a file nor a folder")


def test_pictures_are_not_written_through_links(run, tmp_path):
    (tmp_path / "mine").write_text("precious")
    for name in ("episodes.gif", "episodes_paths.png"):
        (run / name).symlink_to(tmp_path / "mine")
        with pytest.raises(SystemExit):
            main(["render", str(run), "--episodes", "1"])
        (run / name).unlink()
    assert (tmp_path / "mine").read_text() == "precious"


def test_what_a_killed_process_was_writing_is_removed(run):
    for name in ("metrics.csv.tmp", "metrics.jsonl.0123abcd.tmp", "notes.tmp"):
        (run / name).write_text("half")
    toy.run(run, resume=True)
    assert [path.name for path in run.glob("*.tmp")] == ["notes.tmp"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("null", "None is not an evaluation"),
        ("17", "17 is not an evaluation"),
        ("[" * 100_000, "nested too deep"),
        ('{"iteration": 9}', "env_steps is None"),
        ("half {", "Expecting value"),
        ({"success_rate": "high"}, "success_rate is 'high'"),
        ({"seconds": None}, "seconds is None"),
        ({"final_distance": 10**400}, "final_distance is 1000"),
        ({"iteration": 9.5}, "iteration is 9.5"),
        ({"iteration": 3}, "iteration is 3, after 6"),
        ({"env_steps": True}, "env_steps is True"),
        ({"random_success_rate": "x"}, "random_success_rate is 'x', not what it should be"),
        ({"random_final_distance": None}, "random_final_distance is None"),
        ({"by_goal": None}, "by_goal is None"),
    ],
    ids=str,
)
def test_rows_that_are_none_are_refused_with_their_line(run, tmp_path, line, told):
    if isinstance(line, dict):
        last = runs.read_metrics(run)[-1]
        line = json.dumps({name: last[name] + 1 for name in last if name != "by_goal"} | line)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    refuse(run, str(run / "metrics.jsonl"), "line 4", told, "move it and the table beside it away")
    with pytest.raises(SystemExit) as end:
        main(["curves", str(run), "--out", str(tmp_path / "curves.png")])
    assert end.value.code == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"seconds": None}, "seconds in its state is None"),
        ({"seconds": "long"}, "seconds in its state is 'long'"),
        ({"seconds": float("nan")}, "seconds in its state is nan"),
        ({"seconds": 10**400}, "seconds in its state is 1000"),
        ({"score": 10**400}, "score in its state is 1000"),
        ({"score": [1]}, "score in its state is [1]"),
        ({"run": "another"}, "is of another run"),
        ({"run": 7}, "is of another run"),
    ],
    ids=str,
)
def test_a_state_that_is_none_is_refused(run, changes, told):
    toy.change_state(toy.latest(run), changes)
    refuse(run, str(toy.latest(run).path), told)
    assert checkpoint.best(runs.checkpoints(run)) == min(checkpoint.list_saved(runs.checkpoints(run)))


def test_a_checkpoint_of_another_run_is_refused(run, tmp_path, capsys):
    toy.run(tmp_path / "other")
    mine, other = toy.latest(run), toy.latest(tmp_path / "other")
    shutil.rmtree(mine.path)
    toy.copy(other.path, mine.path)
    refuse(run, f"{mine.path} is of another run", runs.load_meta(run).id, runs.load_meta(tmp_path / "other").id)
    with pytest.raises(UserError, match="is of another run"):
        policy.load_policy(run)
    with pytest.raises(SystemExit):
        print_digest(run)
    assert "is of another run" in capsys.readouterr().err


def test_a_damaged_state_is_called_damaged_and_logs_without_checkpoints_do_not_start_anew(run):
    state = toy.latest(run).path / "state.json"
    text = state.read_text()
    for damage in ("", text[:9]):
        state.write_text(damage)
        refuse(run, "state.json is changed on disk")
    shutil.rmtree(runs.checkpoints(run))
    refuse(run, f"{run} has rows in its logs, but no checkpoint any more")


def test_a_table_of_rows_that_are_nowhere_else_is_not_replaced(run):
    (run / "metrics.jsonl").unlink()
    table = (run / "metrics.csv").read_text()
    refuse(run, f"{run / 'metrics.jsonl'} is missing, and metrics.csv")
    assert (run / "metrics.csv").read_text() == table
    (run / "metrics.csv").unlink()
    toy.run(run, resume=True)
    assert [row["iteration"] for row in runs.read_metrics(run)] == [2 * toy.ITERATIONS]


def test_a_checkpoint_under_another_number_is_refused(run):
    mine = toy.latest(run)
    mine.path.rename(mine.path.with_name("00000009"))
    refuse(run, "00000009 holds iteration 6")


def test_a_run_without_what_names_it_is_refused(run):
    path = run / "meta.json"
    meta = path.read_text()
    path.unlink()
    refuse(run, f"{path} is missing; put back the file that the run made")
    path.write_text(json.dumps({**json.loads(meta), "id": None}))
    refuse(run, f"{path} is damaged: id is None")
    path.write_text(json.dumps({"id": 5}))
    refuse(run, f"{path} is damaged: id is 5")
    path.write_text("null")
    refuse(run, f"{path} must hold names and values")


@pytest.mark.parametrize("name", ["env_version", "eval_env_version"])
def test_a_run_of_another_version_of_its_environment_is_told(run, capsys, name):
    meta = json.loads((run / "meta.json").read_text())
    assert (meta["env_version"], meta["eval_env_version"]) == (1, 1)
    meta[name] = 2
    meta["versions"]["goalward"] = "0.0.9"
    (run / "meta.json").write_text(json.dumps(meta))
    told = "was made with version 2 of point_u_maze, which is now version 1"
    refuse(run, str(run), told, "0.0.9")
    policy.load_policy(run)
    out, error = capsys.readouterr()
    assert out == ""
    assert error.count("\n") == 1
    assert error.startswith(f"warning: {run} {told}")
