"""Files of trajectories: what is written is read, and what cannot be learned from is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest

from goalward import data, minari_data
from goalward.errors import UserError

SIZES = {"obs_dim": 3, "action_dim": 2, "goal_dim": 1}


def trajectories(lengths, seed=0, **changes):
    """Rows of trajectories of so many rows each; an observation is (trajectory, row of it, noise)."""
    random, number = np.random.default_rng(seed), sum(lengths)
    which = np.repeat(np.arange(len(lengths)), lengths)
    within = np.concatenate([np.arange(length) for length in lengths])
    last = within == np.repeat(lengths, lengths) - 1
    rows = data.Rows(
        np.stack([which, within, random.standard_normal(number)], axis=1).astype(np.float32),
        random.uniform(-1, 1, (number, 2)).astype(np.float32),
        last,
        last & (random.random(number) < 0.5),
        random.standard_normal((number, 1)).astype(np.float32),
    )
    return rows._replace(**changes)


def assert_equal(rows, others):
    for name, one, other in zip(data.Rows._fields, rows, others, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


def naive_of_ring(rows, inserted):
    """Walk through each world's rows in order, and cut where an episode begins."""
    capacity, worlds = rows["first"].shape
    found = []
    for world in range(worlds):
        episode = []
        for time in range(max(0, inserted - capacity), inserted):
            slot = time % capacity
            if rows["first"][slot, world] and episode:
                found.append(episode)
                episode = []
            episode.append({name: leaf[slot, world] for name, leaf in rows.items()})
        found.append(episode)
    return [episode for episode in found if len(episode) > 1]


@pytest.mark.parametrize("inserted", [7, 12, 31])
def test_what_a_ring_holds_is_laid_out_by_world_and_time(inserted):
    random, capacity, worlds = np.random.default_rng(inserted), 12, 5
    rows = {
        "obs": random.standard_normal((capacity, worlds, 3)),
        "action": random.standard_normal((capacity, worlds, 2)),
        "goal": random.standard_normal((capacity, worlds, 1)),
        "first": random.random((capacity, worlds)) < 0.4,
        "terminated": np.zeros((capacity, worlds), bool),
    }
    for time in range(inserted - 1):  # an episode that failed is over
        slot, after = time % capacity, (time + 1) % capacity
        rows["terminated"][slot] = rows["first"][after] & (random.random(worlds) < 0.5)
    expected = naive_of_ring(rows, inserted)
    found = data.of_ring(rows, inserted)
    assert found.episodes == len(expected) > worlds / 2
    flat = [row for episode in expected for row in episode]
    for name, leaf in (("obs", found.obs), ("action", found.action), ("goal", found.goal)):
        np.testing.assert_array_equal(leaf, [row[name] for row in flat])
    ends = np.cumsum([len(episode) for episode in expected]) - 1
    np.testing.assert_array_equal(np.flatnonzero(found.last), ends)
    np.testing.assert_array_equal(found.failed[ends], [episode[-1]["terminated"] for episode in expected])
    assert not found.failed[~found.last].any()


def test_a_file_holds_what_was_written_and_equal_rows_give_equal_bytes(tmp_path):
    rows = trajectories([3, 2, 6])
    for name in ("a.npz", "b.npz"):
        data.write(tmp_path / name, rows, {"env": "x"})
    assert_equal(data.read(tmp_path / "a.npz"), rows)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert data.count(tmp_path / "a.npz") == 11
    with np.load(tmp_path / "a.npz") as found:
        assert json.loads(str(found[data.ABOUT])) == {"env": "x"}
        assert {found[name].dtype for name in ("observations", "actions", "terminals")} == {
            np.dtype(np.float32)
        }


def test_pairs_of_rows_are_transitions_as_ogbench_counts_them(tmp_path):
    """Its loader keeps every row but the last of each trajectory, with the row after it: K of K + 1."""
    data.write(tmp_path / "a.npz", trajectories([3, 2, 6]), {})
    with np.load(tmp_path / "a.npz") as found:
        keep = (1.0 - found["terminals"]).astype(bool)
        after = found["observations"][np.concatenate([[False], keep[:-1]])]
        before = found["observations"][keep]
    assert len(before) == len(after) == 11 - 3
    np.testing.assert_array_equal(after[:, :2] - before[:, :2], [[0, 1]] * 8)


def test_several_files_are_one_behind_the_other_and_know_what_all_know(tmp_path):
    parts = [trajectories([3, 2], 1), trajectories([4], 2), trajectories([2, 2], 3, goal=None)]
    for name, rows in zip(("b", "a", "c"), parts, strict=True):
        data.write(tmp_path / f"{name}.npz", rows, {})
    (tmp_path / "notes.txt").write_text("none of ours")
    paths = data.paths(str(tmp_path))
    assert [path.name for path in paths] == ["a.npz", "b.npz", "c.npz"]
    joined = data.join([data.read(path) for path in paths])
    assert joined.goal is None
    assert (len(joined.last), joined.episodes) == (13, 5)
    np.testing.assert_array_equal(joined.obs[:4], parts[1].obs)
    hashes = {data.sha256(paths), data.sha256(paths[:2]), data.sha256(paths[::-1]), data.sha256(paths[:1])}
    assert len(hashes) == 4


def test_the_first_rows_are_cut_from_a_copy():
    rows = trajectories([3, 4])
    cut = data.first_rows(rows, 5)
    assert np.flatnonzero(cut.last).tolist() == [2, 4]
    assert np.flatnonzero(rows.last).tolist() == [2, 6]
    assert_equal(data.first_rows(rows, 99), rows)
    assert_equal(data.without_single(data.first_rows(rows, 4)), data.first_rows(rows, 3))


def with_(array, where, value):
    array = array.copy()
    array[where] = value
    return array


ROWS = trajectories([3, 4])


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (ROWS._replace(obs=ROWS.obs[:, :2]), "observations have 2 numbers in each of 7 rows, maze's have 3"),
        (ROWS._replace(obs=np.zeros((7, 4, 4))), r"observations have the shape \(7, 4, 4\)"),
        (ROWS._replace(action=np.zeros((7, 3))), "actions have 3 numbers in each of 7 rows, maze's have 2"),
        (ROWS._replace(goal=np.zeros((7, 2))), "commanded_goals have 2 numbers"),
        (ROWS._replace(obs=with_(ROWS.obs, (5, 1), np.nan)), "observations hold NaN or Inf in row 5"),
        (ROWS._replace(action=with_(ROWS.action, (4, 0), 1.5)), "actions in row 4 are not numbers in −1 … 1"),
        (ROWS._replace(failed=~ROWS.last), "failures may be 1 in the last row"),
        (data.without_single(trajectories([1, 1])), "no trajectory of two rows"),
    ],
)
def test_what_cannot_be_learned_from_is_named(rows, told):
    data.check(ROWS, SIZES, discrete=False, name="x.npz", env="maze")
    with pytest.raises(UserError, match=rf"x\.npz.*{told}"):
        data.check(rows, SIZES, discrete=False, name="x.npz", env="maze")


def test_choices_are_one_hot():
    choices = np.eye(2, dtype=np.float32)[[0, 1, 1, 0, 0, 1, 0]]
    data.check(ROWS._replace(action=choices), SIZES, discrete=True, name="x", env="grid")
    for bad in (with_(choices, 2, 0.5), with_(choices, 2, 1.0), with_(choices, 2, 0.0)):
        with pytest.raises(UserError, match="actions in row 2 are not one of the choices"):
            data.check(ROWS._replace(action=bad), SIZES, discrete=True, name="x", env="grid")


def test_there_may_be_no_goals():
    found = data.named(ROWS)
    assert data.make(found | {data.GOALS: None}).goal is None
    assert data.make({name: found[name] for name in found if name != data.GOALS}).goal is None


def test_what_is_no_dataset_is_named(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"nothing of the kind")
    for look in (data.read, data.count):
        with pytest.raises(UserError, match=r"x\.npz cannot be read as a dataset"):
            look(path)
    np.savez(path, observations=np.zeros((3, 2)), actions=np.zeros((3, 1)))
    with pytest.raises(UserError, match="it needs observations, actions, terminals"):
        data.read(path)
    np.savez(path, observations=np.zeros((3, 2)), actions=np.zeros((2, 1)), terminals=np.zeros(3))
    with pytest.raises(UserError, match="different numbers of rows"):
        data.read(path)
    np.savez(path, observations=np.array([None] * 3), actions=np.zeros((3, 1)), terminals=np.zeros(3))
    with pytest.raises(UserError, match="cannot be read"):
        data.read(path)  # an object could be a program
    np.savez(path, observations=np.zeros((3, 2)), actions=np.zeros((3, 1)), terminals=np.array(["0", "0", "1"]))
    with pytest.raises(UserError, match="terminals holds no numbers, but <U1"):
        data.read(path)
    with pytest.raises(UserError, match="does not exist"):
        data.paths(str(tmp_path / "gone"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="neither a run nor a file"):
        data.paths(str(tmp_path / "empty"))


def test_a_file_is_replaced_only_by_force(tmp_path):
    path = tmp_path / "x.npz"
    data.write(path, ROWS, {})
    before = path.read_bytes()
    with pytest.raises(UserError, match="exists"):
        data.write(path, trajectories([2]), {})
    assert path.read_bytes() == before
    data.write(path, trajectories([2]), {}, force=True)
    assert data.count(path) == 2
    with pytest.raises(UserError, match=r"ends in \.npz"):
        data.write(tmp_path / "x.hdf5", ROWS, {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.npz"]


# Minari ------------------------------------------------------------------------------------------------------


def test_without_minari_the_extra_is_named(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(minari_data, "import_module", absent)
    for call in (lambda: minari_data.read("a/b-v0"), lambda: minari_data.count("a/b-v0")):
        with pytest.raises(UserError, match=r"install the extra minari: pip install 'goalward\[minari\]'"):
            call()


@pytest.mark.system
def test_a_dataset_of_minari_is_what_was_written(tmp_path, monkeypatch):
    pytest.importorskip("minari")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    minari_data.write(
        "point/test-v0", ROWS, "a test", lambda obs: obs[:, :1], lambda at, goal: at[:, 0] > goal[:, 0]
    )
    rows, digest = minari_data.read("point/test-v0")
    assert_equal(rows, ROWS._replace(action=np.where(ROWS.last[:, None], 0.0, ROWS.action)))
    assert minari_data.count("point/test-v0") == len(ROWS.last)
    assert minari_data.read("point/test-v0")[1] == digest
    with pytest.raises(UserError, match="choose another name"):
        minari_data.write("point/test-v0", ROWS, "", lambda obs: obs[:, :1], lambda at, goal: at[:, 0] > 0)
    with pytest.raises(UserError, match="has no dataset 'point/none-v0'"):
        minari_data.read("point/none-v0")
    assert Path(tmp_path).is_dir()
