"""A fuzzer of commands: whatever is typed, or found in files, ends in one message and a known exit code.

Commands run in this process, up to where checks are over and work would begin. A failure prints its seed and
case: `GOALWARD_FUZZ_SEED` repeats it, `GOALWARD_FUZZ_CASES` asks for more.
"""

import io
import json
import os
import random
import shutil
import traceback
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import toy

from goalward import checkpoint, contract, plan, policy, training
from goalward.cli import main
from goalward.config import AGENTS, to_dict
from goalward.lab import quickstart
from goalward.pictures import figures, render

SEED = int(os.environ.get("GOALWARD_FUZZ_SEED", "11"))
CASES = int(os.environ.get("GOALWARD_FUZZ_CASES", "150"))

NUMBERS = [
    "0", "-1", "1", "2", "3", "7", "1e9", "1.5", "-0.0", "1e-50", "1e38", "1e400", "nan", "inf", "-inf",
    "0.99999999", "2147483647", "2147483648", "4294967295",
    "4294967296", "1000000000", "9" * 30, "9" * 400, "9" * 5000,
    "0x10", "1_000", "٣", "true", "null",
]  # fmt: skip
TEXTS = [
    "", " ", "x", "point_u_maze", "ant", "point_u4_maze_gen_1f2f", "point_u4_maze_gen_" + "9" * 5000 + "f",
    "None", "point_u_maze_eval", "s3:x/r", "gs:x", "http:a", "[red]a[/]", "[1]", "run\udcff", "ä", "🦘",
    "a\nb", "--", "-x", "../up", "/dev/null", "/proc/x", "a" * 300, "{}", "%s", "$HOME", "a.pgf", "a.png",
    "a.mp4", "a.gif", "NaN",
]  # fmt: skip
ENV_SETTINGS = [
    "episode_length",
    "cell_size",
    "step_size",
    "goal_threshold",
    "start_noise",
    "drag",
    "inertia",
    "x",
]
ATOMS = [
    None,
    True,
    False,
    0,
    -1,
    1.5,
    2**31,
    2**63,
    10**30,
    1e308,
    "",
    "x",
    "\ud800",
    "²",
    [],
    [1],
    {},
    {"a": 1},
]


class Begun(SystemExit):
    """Work would begin here."""


def begin(*args, **kwargs):
    raise Begun(0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run, made before all that takes long is cut off where it would begin."""
    run = toy.trained(tmp_path_factory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.Session, "begin", begin)
        patch.setattr(training, "epoch", begin)
        for module, name in (
            (plan, "measure"), (contract, "_look"), (policy, "evaluator"), (render, "evaluator"),
            (quickstart, "train"), (figures, "learning_curve"),
        ):  # fmt: skip
            patch.setattr(module, name, begin)
        yield run


def number_or_text(draw):
    kind = draw.random()
    return str(draw.randrange(1, 9)) if kind < 0.3 else draw.choice(NUMBERS if kind < 0.7 else TEXTS)


def flag(draw, names):
    name, value = draw.choice(names), number_or_text(draw)
    if name == "--env-settings":
        return [name, f"{draw.choice(ENV_SETTINGS)}={value}"]
    form = draw.random()
    return [f"{name}={value}"] if form < 0.6 else [name, value] if form < 0.9 else [name]


def flags_of(kind):
    """Flags of `goalward train`, or of a smaller command."""
    small = {
        "eval": ["--env", "--episodes", "--best", "--json"],
        "render": ["--out", "--episodes", "--view", "--best", "--width", "--height", "--every"],
        "check-env": ["--env-settings", "--worlds", "--steps", "--seed"],
        "curves": ["--out", "--json"],
        "digest": ["--json"],
        "envs": ["--json"],
        "quickstart": ["--out", "--seed"],
    }
    if kind in small:
        return small[kind]
    settings = {
        **to_dict(toy.config()),
        **to_dict(toy.config())["network"],
        **{name: None for kind in AGENTS.values() for name in kind.__dataclass_fields__},
    }
    names = [name for name in settings if name not in ("env", "network")]
    names += ["config", "preset", "json"] + (["out", "resume", "profile"] if kind == "train" else [])
    return ["--" + name.replace("_", "-") for name in names]


def typed(draw, run, folder):
    """A command with wild flags; the first word after it is right half of the time."""
    kind = draw.choice(
        ["train"] * 5 + ["plan"] * 2 + ["eval", "render", "check-env", "curves", "digest", "quickstart"]
    )
    place = {"train": "point_u_maze", "plan": "point_u_maze", "check-env": "point_u_maze"}.get(kind, str(run))
    words = [] if kind == "quickstart" else [place if draw.random() < 0.7 else number_or_text(draw)]
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        words += flag(draw, flags_of(kind))
    return [kind, *words]


def wild(draw, value, depth=0):
    """A value of JSON with some of its parts replaced, removed or doubled."""
    if draw.random() < 0.15:
        return draw.choice(ATOMS)
    if isinstance(value, dict) and depth < 3:
        changed = dict(value)
        for name in draw.sample(list(value), min(len(value), draw.choice([1, 1, 2]))):
            if draw.random() < 0.15:
                del changed[name]
            else:
                changed[name] = wild(draw, value[name], depth + 1)
        if draw.random() < 0.1:
            changed[draw.choice(TEXTS)] = draw.choice(ATOMS)
        return changed
    if type(value) in (int, float) and draw.random() < 0.7:
        return draw.choice([0, 1, 2, 3, 4, 60, 10**6, 2**31 - 1, 2**31, 0.5, 1e-9, 1e30, 2 * value, value + 1])
    return draw.choice(ATOMS)


def broken(draw, text):
    """A text with a piece of it gone, doubled, or something put in."""
    at, length = draw.randrange(len(text) + 1), draw.choice([1, 3, 50])
    put = draw.choice(
        ["", "\0", "\ufeff", "{", "[" * 100_000, "9" * 5000, "1e999", "\n", "null\n", text[at : at + length]]
    )
    return text[:at] + put + text[at + draw.choice([0, length]) :]


def from_file(draw, run, folder):
    """A command with a wild file of settings."""
    path = folder / draw.choice(["a.json", "a.toml", "a", "a.TOML", "ä.json"])
    if path.suffix.lower() == ".toml":
        text = "".join(
            f"{n} = {draw.choice(NUMBERS + TEXTS)!r}\n".replace("'", '"')
            for n in draw.sample(list(toy.SETTINGS), 3)
        )
    else:
        text = json.dumps(wild(draw, toy.SETTINGS))
    text = broken(draw, text) if draw.random() < 0.4 else text
    path.write_text(text, encoding=draw.choice(["utf-8"] * 5 + ["utf-16"]), errors="replace")
    return [draw.choice(["train", "plan"]), *draw.choice([[], ["point_u_maze"]]), "--config", str(path)]


def sign(path):
    """Make a checkpoint's manifest agree with its files."""
    (path / "manifest.json").write_text(json.dumps(checkpoint._hashes(path)))


def damaged(draw, run, folder):
    """A command on a damaged copy of a run."""
    path = Path(shutil.copytree(run, folder / "run"))
    newest = toy.latest(path).path
    files = [path / name for name in ("config.json", "metrics.jsonl", "meta.json", "metrics.csv")]
    files += [newest / name for name in ("state.json", "manifest.json")]
    files += draw.sample([file for file in newest.rglob("*") if file.is_file()], 2)
    target = draw.choice(files)
    how = draw.choice(["text", "text", "json", "json", "json", "gone", "folder", "empty", "twin"])
    if how == "json" and target.suffix in (".json", ".jsonl"):
        rows = [
            wild(draw, json.loads(row))
            for row in ([target.read_text()] if target.suffix == ".json" else target.read_text().splitlines())
        ]
        target.write_text("\n".join(map(json.dumps, rows)) + "\n")
    elif how == "gone":
        shutil.rmtree(target.parent) if target.parent == newest else target.unlink()
    elif how == "folder":
        target.unlink()
        target.mkdir()
    elif how == "twin":
        shutil.copytree(newest, newest.with_name(draw.choice(["00000007", "²", "99999999999", "x", "-1"])))
    else:
        target.write_bytes(
            b"" if how == "empty" else broken(draw, target.read_text("latin-1")).encode("utf-8", "replace")
        )
    if newest.is_dir() and target != newest / "manifest.json" and draw.random() < 0.7:
        sign(newest)
    command = draw.choice(["train", "train", "eval", "digest", "curves", "render", "quickstart"])
    flags = {"train": [["--resume"], ["--epochs", "3", "--resume"]], "quickstart": [["--out"]]}
    return [command, *draw.choice(flags.get(command, [[]])), str(path)]


def fault(words):
    """What is wrong with how a command ends; None if nothing is."""
    # As a process shows text that no terminal can: escaped.
    shown = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", write_through=True)
    try:
        with warnings.catch_warnings(), redirect_stdout(shown), redirect_stderr(shown):
            warnings.simplefilter("error")
            main(words)
    except SystemExit as end:
        if end.code not in (0, 1, 2):
            return f"exit code {end.code}"
    except BaseException:
        return traceback.format_exc()
    said = shown.buffer.getvalue().decode()
    return said if "Traceback" in said else None


@pytest.mark.system
@pytest.mark.parametrize("case", [typed, from_file, damaged], ids=lambda case: case.__name__)
def test_nothing_ends_in_a_traceback(run, tmp_path, monkeypatch, case):
    before, faults = toy.contents(run), []
    for number in range(CASES):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        words = case(random.Random(f"{SEED} {number} {case.__name__}"), run, folder)
        found = fault(words)
        if found is not None:
            shown = " ".join(word if len(word) < 100 else word[:50] + "…" for word in words)
            faults.append(f"seed {SEED}, case {number}: goalward {shown}\n{found[-1500:]}")
        shutil.rmtree(folder)
        assert toy.contents(run) == before, f"case {number} changed a run: {words}"
    assert not faults, (
        f"{len(faults)} of {CASES} cases:\n\n" + "\n".join(faults).encode("ascii", "backslashreplace").decode()
    )
