"""Checkpoints: what is saved comes back, what is damaged is told, what is half written does no harm."""

import errno
import gc
import json
import os
import shutil
import subprocess
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import toy

from goalward import checkpoint
from goalward.errors import MachineError, UserError


def tree():
    """Every kind of array that a run has."""
    return {
        "params": (jnp.linspace(-1, 1, 12).reshape(3, 4), jnp.float32(0.1)),
        "counts": jnp.array([2**31 - 1, -(2**31)], jnp.int32),
        "flags": jnp.array([True, False, True]),
        "half": jnp.array([1.5, -2.0], jnp.bfloat16),
        "key": jax.random.key(3),
        "keys": jax.random.split(jax.random.key(4), 5),
        "odd": jnp.array([jnp.nan, jnp.inf, -0.0]),
    }


def save(folder, *iterations, scores=None, value=None):
    for iteration, score in zip(iterations, scores or [None] * len(iterations), strict=True):
        checkpoint.save(folder, iteration, value or {"a": jnp.float32(iteration)}, {"score": score})


def iterations(folder):
    return [saved.iteration for saved in checkpoint.list_saved(folder)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two checkpoints of all kinds of arrays; whoever changes them takes a copy."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    save(folder, 3, 12, value=tree())
    return folder


def test_what_is_saved_comes_back(saved):
    newest = checkpoint.latest(saved)
    assert (newest.iteration, newest.state) == (12, {"score": None})
    back = checkpoint.restore(newest, jax.eval_shape(tree))
    assert jax.tree.structure(back) == jax.tree.structure(tree())
    for ours, theirs in zip(jax.tree.leaves(tree()), jax.tree.leaves(back), strict=True):
        assert theirs.dtype == ours.dtype
        if jnp.issubdtype(ours.dtype, jax.dtypes.prng_key):
            ours, theirs = jax.random.key_data(ours), jax.random.key_data(theirs)
        assert np.asarray(theirs).tobytes() == np.asarray(ours).tobytes()
        assert theirs.shape == ours.shape
    draws = [jax.random.normal(t["key"], (3,)) for t in (tree(), back)]
    np.testing.assert_array_equal(*draws)


@pytest.mark.parametrize("name", ["exp[1]", "a*b?", "{x}", "# %20 \u00fc\n", os.fsdecode(b"\xff")])
def test_the_name_of_a_folder_does_not_matter(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    save(folder, 1, 2, value=tree())
    expected = checkpoint.digest(checkpoint.named_arrays(tree()))
    assert checkpoint.digest_saved(checkpoint.latest(folder)) == expected
    checkpoint.restore(checkpoint.latest(folder), jax.eval_shape(tree))
    checkpoint.prune(folder, 1)
    assert iterations(folder) == [2]


def test_what_cannot_be_read_back_is_no_checkpoint(saved, tmp_path, monkeypatch):
    folder = toy.copy(saved, tmp_path / "copy")
    write = checkpoint._write_arrays
    for change in (
        lambda arrays: {name: np.asarray(array + 1) for name, array in arrays.items()},
        lambda arrays: {},
        lambda arrays: arrays | {"more": np.zeros(1)},
    ):
        monkeypatch.setattr(checkpoint, "_write_arrays", lambda path, arrays, c=change: write(path, c(arrays)))
        with pytest.raises(MachineError, match="does not hold what was just written"):
            save(folder, 15)
    monkeypatch.setattr(checkpoint, "_write_arrays", lambda path, arrays: path.write_bytes(b"PK"))
    with pytest.raises(MachineError, match="cannot be read"):
        save(folder, 15)
    assert toy.contents(folder) == toy.contents(saved)


def test_a_reader_takes_what_is_there_when_its_checkpoint_was_removed(tmp_path):
    save(tmp_path, 1, 2, scores=[0.9, 0.1])
    tries = []

    def use(found):
        tries.append(found.iteration)
        if len(tries) == 1:
            save(tmp_path, 3, scores=[0.2])
            checkpoint.prune(tmp_path, 1)
        return checkpoint.digest_saved(found)

    value = checkpoint.read(tmp_path, checkpoint.latest, use)
    assert tries == [2, 3]
    assert value == checkpoint.digest(checkpoint.named_arrays({"a": jnp.float32(3)}))
    toy.damage(tmp_path / "00000003" / "arrays.npz", "flipped")  # which no second try mends
    with pytest.raises(UserError, match="changed on disk"):
        checkpoint.read(tmp_path, checkpoint.latest, checkpoint.digest_saved)


def test_a_checkpoint_is_removed_in_one_step(tmp_path, monkeypatch):
    save(tmp_path, 1, 2)
    monkeypatch.setattr(checkpoint, "_remove", lambda path: toy.damage(path / "arrays.npz", "missing"))
    checkpoint.prune(tmp_path, 1)
    assert iterations(tmp_path) == [2]


def test_saving_keeps_no_memory(tmp_path):
    value = {str(number): np.ones((4, 4), np.float32) for number in range(50)}
    used = []
    for iteration in range(30):
        checkpoint.save(tmp_path, iteration, value, {"score": None})
        checkpoint.prune(tmp_path, 1)
        if iteration == 10:
            tracemalloc.start()
        if iteration > 10:
            gc.collect()
            used.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert used[-1] - used[3] < 15 * 1000, "less than a kilobyte a call"


def test_the_digest_is_that_of_the_arrays_in_memory(saved):
    expected = checkpoint.digest(checkpoint.named_arrays(tree()))
    assert {checkpoint.digest_saved(entry) for entry in checkpoint.list_saved(saved)} == {expected}


def test_the_digest_depends_on_nothing_but_the_arrays(tmp_path):
    for place, iteration, score in (("one", 1, 0.5), ("two", 70, None)):
        save(tmp_path / place, iteration, scores=[score], value=tree())
    one, two = (checkpoint.latest(tmp_path / place) for place in ("one", "two"))
    assert checkpoint.digest_saved(one) == checkpoint.digest_saved(two)
    arrays = checkpoint.named_arrays(tree())
    backwards = {name: np.array(arrays[name], order="F") for name in reversed(arrays)}
    assert checkpoint.digest(backwards) == checkpoint.digest(arrays)


def test_the_digest_depends_on_every_array():
    arrays = checkpoint.named_arrays(tree())
    digests = {checkpoint.digest(arrays)}
    for name, array in arrays.items():
        changed = array.copy()
        changed.reshape(-1).view(np.uint8)[-1] ^= 1
        digests.add(checkpoint.digest({**arrays, name: changed}))
        digests.add(checkpoint.digest({**arrays, name: array[None]}))
        digests.add(checkpoint.digest({**arrays, name: array.view(f"V{array.itemsize}")}))  # the same bytes
        without = {other: arrays[other] for other in arrays if other != name}
        digests.add(checkpoint.digest(without))
        digests.add(checkpoint.digest({**without, name + "x": array}))
    assert len(digests) == 1 + 5 * len(arrays)


@pytest.mark.parametrize(
    ("scores", "keep", "kept"),
    [
        ([0.1, 0.9, 0.2, 0.3, 0.4], 2, [2, 4, 5]),
        ([0.1, 0.2, 0.3, 0.4, 0.9], 2, [4, 5]),
        ([0.5, 0.5, 0.5, 0.2, None], 1, [3, 5]),
        ([None, None, None, None, None], 3, [3, 4, 5]),
        ([0.0, None, None, None, None], 1, [1, 5]),
        ([0.1, 0.2, 0.3, 0.4, 0.5], 9, [1, 2, 3, 4, 5]),
    ],
)
def test_pruning_keeps_the_newest_and_the_best(tmp_path, scores, keep, kept):
    for iteration, score in enumerate(scores, start=1):
        folder = tmp_path / f"{iteration:08d}"
        folder.mkdir()
        (folder / "state.json").write_text(json.dumps({"score": score}))
    best = checkpoint.best(tmp_path).iteration
    checkpoint.prune(tmp_path, keep)
    assert iterations(tmp_path) == kept
    assert best in kept
    assert scores[best - 1] == max((s for s in scores if s is not None), default=None)


def test_there_is_no_latest_and_no_best_before_the_first_checkpoint(tmp_path):
    for choose in (checkpoint.latest, checkpoint.best):
        with pytest.raises(UserError, match=f"{tmp_path} has no checkpoint yet"):
            choose(tmp_path / "checkpoints")
    checkpoint.prune(tmp_path / "checkpoints", 1)


@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
def test_damage_to_any_file_is_told_with_its_name_and_the_remedy(saved, tmp_path, how):
    files = [str(p.relative_to(saved / "00000012")) for p in (saved / "00000012").rglob("*") if p.is_file()]
    assert set(files) == {"manifest.json", "state.json", "arrays.npz"}
    for number, name in enumerate(files):
        folder = toy.copy(saved, tmp_path / str(number))
        toy.damage(folder / "00000012" / name, how)
        for read in (lambda entry: checkpoint.restore(entry, jax.eval_shape(tree)), checkpoint.digest_saved):
            with pytest.raises(UserError) as caught:
                read(checkpoint.latest(folder))
            message = str(caught.value)
            # A flipped bit in the manifest itself is seen as a change of the file whose line it is in.
            assert name in message or (name, how) == ("manifest.json", "flipped"), (name, message)
            assert f"checkpoint {folder / '00000012'} is damaged" in message
            assert f"remove the folder {folder / '00000012'}" in message
        shutil.rmtree(folder / "00000012")  # the remedy
        checkpoint.restore(checkpoint.latest(folder), jax.eval_shape(tree))


def test_a_file_too_many_is_told(saved, tmp_path):
    folder = toy.copy(saved, tmp_path / "copy")
    (folder / "00000012" / "more").mkdir()
    (folder / "00000012" / "more" / "stranger").write_text("")
    with pytest.raises(UserError, match=r"more/stranger is not listed; remove the folder"):
        checkpoint.restore(checkpoint.latest(folder), jax.eval_shape(tree))


@pytest.mark.parametrize("name", ["00000012.bak", "12 (copy)", "notes", "²", "20", "٠٠٠٠٠٠٢٠"])
def test_folders_of_other_names_are_no_checkpoints(saved, tmp_path, name):
    folder = toy.copy(saved, tmp_path / "copy")
    shutil.copytree(folder / "00000003", folder / name)
    assert iterations(folder) == [3, 12]


def test_what_is_half_written_is_ignored_and_cleared_by_the_next_save(saved, tmp_path):
    folder = toy.copy(saved, tmp_path / "copy")
    half = toy.copy(folder / "00000012", folder / ".partial-00000015")
    (half / "manifest.json").unlink()
    assert iterations(folder) == [3, 12]
    assert checkpoint.latest(folder).iteration == checkpoint.best(folder).iteration == 12
    save(folder, 15)
    assert iterations(folder) == [3, 12, 15]
    assert sorted(path.name for path in folder.iterdir()) == ["00000003", "00000012", "00000015"]
    checkpoint.verify(folder / "00000015")


def test_the_same_iteration_again_takes_the_place_of_the_first(tmp_path):
    for value in (1.0, 2.0):
        save(tmp_path, 7, value={"a": jnp.float32(value)})
    back = checkpoint.restore(checkpoint.latest(tmp_path), {"a": jax.ShapeDtypeStruct((), jnp.float32)})
    assert iterations(tmp_path) == [7]
    assert float(back["a"]) == 2


FULL = os.strerror(errno.ENOSPC)
FAULTS = {
    "full": (OSError(errno.ENOSPC, FULL), MachineError),
    "quota": (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), MachineError),
    "a mistake of ours": (ValueError("shapes do not fit"), ValueError),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("iteration", [12, 15], ids=["again", "new"])
def test_a_save_that_fails_leaves_earlier_checkpoints_alone(saved, tmp_path, monkeypatch, name, iteration):
    fault, raised = FAULTS[name]
    folder = toy.copy(saved, tmp_path / "copy")
    before = toy.contents(folder)

    def write_half(path, arrays):
        path.mkdir()
        (path / "half").write_text("…")
        raise fault

    monkeypatch.setattr(checkpoint, "_write_arrays", write_half)
    with pytest.raises(raised) as caught:
        save(folder, iteration)
    if raised is MachineError:
        assert f"{folder / f'{iteration:08d}'} could not be written" in str(caught.value)
        assert "earlier checkpoints are untouched" in str(caught.value)
    assert toy.contents(folder) == before
    assert iterations(folder) == [3, 12]
    monkeypatch.undo()
    save(folder, iteration)
    checkpoint.verify(folder / f"{iteration:08d}")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few hundred kilobytes."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(tmp_path)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_disk_that_is_really_full_leaves_earlier_checkpoints_alone(small_disk):
    folder = small_disk / "checkpoints"
    save(folder, 1)
    before = toy.contents(folder)
    noise = jax.random.bits(jax.random.key(0), (200_000,))  # 800 kB that no compression shrinks
    with pytest.raises(MachineError, match="Free some space"):
        save(folder, 2, value={"a": noise})
    assert toy.contents(folder) == before
    assert iterations(folder) == [1]
    save(folder, 3)
    assert iterations(folder) == [1, 3]


@pytest.mark.parametrize(
    ("like", "told"),
    [
        ({"a": jnp.zeros(4)}, ["a ", "(3,)", "(4,)"]),
        ({"a": jnp.zeros((3, 1))}, ["a ", "(3,)", "(3, 1)"]),
        ({"a": jnp.zeros(3, jnp.int32)}, ["a ", "float32", "int32"]),
        ({"a": jnp.zeros(3), "b": jnp.zeros(3)}, ["b"]),
        ({"b": jnp.zeros(3)}, ["a"]),
        ({}, ["a"]),
    ],
    ids=["length", "rank", "type", "more", "other", "fewer"],
)
def test_a_checkpoint_that_does_not_fit_says_where(tmp_path, like, told):
    save(tmp_path, 1, value={"a": jnp.zeros(3)})
    with pytest.raises(UserError, match="does not fit the run's config") as caught:
        checkpoint.restore(checkpoint.latest(tmp_path), like)
    assert all(part in str(caught.value) for part in [str(tmp_path), *told]), caught.value
