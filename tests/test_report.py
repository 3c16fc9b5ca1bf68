"""Reports of sweeps that were made up, file by file: what they say, and that they say it safely."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import toy

from goalward import cli, files, runs
from goalward.config import from_dict
from goalward.lab import drawn, evidence, looks, measured, page, results, study
from goalward.lab import folder as folders
from goalward.lab.blocks import Fold, Listing, Page, Section, Table, Text
from goalward.lab.statistics import Interval
from goalward.pictures import choosing, maps
from goalward.policy import load_experiment

DOCUMENT = {
    "question": "Does <depth> pay & is it | worth *it*?",
    "source": "a <b>bold</b> source",
    "base": {"env": "point_u_maze", "total_env_steps": 1_000_000, "epochs": 4},
    "axes": {"depth": [4, 8, 16], "seed": "0..4"},
    "measures": {
        "score": {"kind": "final", "metric": "time_at_goal_fraction", "last": 2},
        "near": {"kind": "final", "metric": "final_distance", "last": 1},
        "arrival": {"kind": "reached", "metric": "success_rate", "at_least": 0.5},
    },
    "prediction": {
        "text": "Depth 16 is <i>better</i>\nthan depth 4.",
        "success": "better(score(depth=16), score(depth=4)) and reached(arrival(depth=16)) == 1",
        "partly": "iqm(score(depth=16)) > iqm(score(depth=4))",
    },
    "figures": [
        {"kind": "curves", "metric": "time_at_goal_fraction", "by": "depth"},
        {"kind": "line", "measure": "score", "x": "depth", "log": True},
        {"kind": "line", "measure": "arrival", "x": "depth"},
    ],
    "published": [{"what": "an ant, 1000 steps", "axis": "depth", "values": {"4": "12", "64": "285 ± 38"}}],
    "scales": {"laptop": {}},
}  # fmt: skip


def made_up(folder, document=DOCUMENT, without=()):
    """The folder of a sweep whose runs never ran, and are better with depth."""
    found = study.build(document, "made_up", study.Source("x", "", "laptop"))
    folders.save(folder, found, {}, 1)
    for trial in found.trials:
        if trial.name not in without:
            depth, seed = trial.config.network.depth, trial.config.seed
            add_run(folder, trial, depth / 20 + seed / 100)
    return found


def add_run(folder, trial, score, evaluations=4):
    directory = folders.run_directory(folder, trial.name)
    with runs.new(directory, trial.config, "cpu:0", {"env_version": 1, "eval_env_version": 1}):
        rows = [row(trial.config, score, i, evaluations) for i in range(evaluations + 1)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    return directory


def row(config, score, i, evaluations):
    share = i / evaluations
    reached = score * share
    return {
        "epoch": i, "iteration": round(config.iterations * share), "env_steps": 1000 + 1000 * i,
        "updates": 100 * i, "seconds": 60.0 * i,
        "success_rate": min(1.0, 2 * reached), "final_success": reached, "time_at_goal": 200 * reached,
        "time_at_goal_fraction": reached, "final_distance": 4 - reached,
        "random_time_at_goal_fraction": 0.0125,
    }  # fmt: skip


def report(capsys, *words):
    """Standard output of the command; the exit code where it fails."""
    cli.main(["report", *map(str, words)])
    return capsys.readouterr().out


def failure(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        report(capsys, *words)
    assert ended.value.code == 2
    return capsys.readouterr().err


class Seen(HTMLParser):
    """Tags, the values of attributes that load something, and all text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loaded, self.open, self.text = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loaded += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    folder = tmp_path_factory.mktemp("complete") / "sweep <&>"
    folder.mkdir()
    made_up(folder)
    return folder


def test_a_page_says_what_was_asked_predicted_measured_and_how(complete, capsys):
    told = report(capsys, complete)
    assert "All 15 runs are done." in told
    assert "The prediction holds." in told
    text = (complete / "report.html").read_text(encoding="utf-8")
    seen = Seen(text)
    assert not seen.open
    assert seen.tags.count("h1") == 1
    assert seen.tags.count("figure") == seen.tags.count("figcaption") == 3
    for expected in (
        DOCUMENT["question"], "a <b>bold</b> source", "Depth 16 is <i>better</i> than depth 4.",
        "It holds if all of these hold:", "holds: better(score(depth=16), score(depth=4)) better(",
        "score(depth=4)) by 0.525 [0.505, 0.542] holds: reached(",
        "holds: reached(arrival(depth=16)) == 1 reached(arrival(depth=16)) = 1.000",
        "depth 16 against 8", "depth 16 against 4", "285 ± 38", "random actions", "0.013",
        "an ant, 1000 steps", "here: IQM of score, a share of the episode",
        "goalward sweep made_up.toml --scale laptop --out",
        "--depth 16", "--seed 4", "depth=16,seed=4", "jax", "threads of XLA",
    ):  # fmt: skip
        assert expected in " ".join(seen.text.replace("\\\n", "").split()), expected
    assert "<i>" not in text
    assert "<b>" not in text
    assert "script" not in seen.tags
    assert len(seen.loaded) == 3
    assert all(value.startswith("data:image/svg+xml;base64,") for value in seen.loaded)
    assert not re.search(r"url\(|@import", text)


def test_whether_a_part_of_a_claim_holds_is_told_apart_from_its_statistics(tmp_path, capsys):
    """What is negated is not called true for the value of the statistic within."""
    success = "not better(score(depth=16), score(depth=4)) or iqm(near(depth=4)) < 1"
    prediction = {"text": "x", "success": success, "partly": "better(score(depth=16), score(depth=8))"}
    made_up(tmp_path, DOCUMENT | {"prediction": prediction}, without=["depth=8,seed=0"])
    report(capsys, tmp_path, "--out", tmp_path / "page.md")
    assert """It holds if one of these holds:

```text
does not hold: not better(score(depth=16), score(depth=4))
    better(score(depth=16), score(depth=4)) by 0.525 [0.505, 0.542]
does not hold: iqm(near(depth=4)) < 1
    iqm(near(depth=4)) = 3.780
```

It holds in part if:

```text
not decided: better(score(depth=16), score(depth=8))
```
""" in (tmp_path / "page.md").read_text(encoding="utf-8")


def test_of_equal_runs_there_are_equal_pages(complete, tmp_path, capsys):
    for name in ("a.html", "a.md"):
        files = []
        for _ in range(2):
            report(capsys, complete, "--out", tmp_path / name, "--force")
            files.append({path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()})
        assert files[0] == files[1]


def test_markdown_has_short_lines_and_pictures_beside_it(complete, tmp_path, capsys):
    report(capsys, complete, "--out", tmp_path / "new" / "my page.md")
    text = (tmp_path / "new" / "my page.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("|", "!["))]
    assert max(map(len, lines)) < 120
    pictures = re.findall(r"!\[.*\]\((.*)\)", text)
    assert len(pictures) == 3
    assert sorted(path.name for path in (tmp_path / "new" / "my page_files").iterdir()) == sorted(
        name.removeprefix("my%20page_files/") for name in pictures
    )
    assert text.startswith("# Does &lt;depth&gt; pay &amp; is it \\| worth \\*it\\*?\n")
    assert "\n**The prediction holds.**\n" in text
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert all(len({line.count("|") for line in table.splitlines()}) == 1 for table in tables)


def test_pictures_of_a_page_that_is_replaced_are_removed(complete, tmp_path, capsys):
    """What is not named as pictures of pages are stays, and so does all beside a page that is new."""
    beside = tmp_path / "page_files"
    beside.mkdir()
    for name in ("2-bars-score.png", "published.png", "mine.png", "2-bars-score.txt"):
        (beside / name).touch()
    report(capsys, complete, "--out", tmp_path / "page.md")
    before = {path.name for path in beside.iterdir()}
    report(capsys, complete, "--out", tmp_path / "page.md", "--force")
    assert len(before) == 7
    assert before - {path.name for path in beside.iterdir()} == {"2-bars-score.png", "published.png"}


def test_what_is_missing_is_told(tmp_path, capsys):
    bad = "depth=16,seed=3"
    found = made_up(tmp_path, without=["depth=4,seed=1", bad, "depth=8,seed=0"])
    by_name = {trial.name: trial for trial in found.trials}
    add_run(tmp_path, by_name["depth=8,seed=0"], 0.5)
    damaged = folders.run_directory(tmp_path, "depth=8,seed=0") / "config.json"
    damaged.write_text(damaged.read_text().replace('"depth": 8', '"depth": 4'))
    (tmp_path / "logs").mkdir()
    folders.log(tmp_path, bad).write_text("one\nerror: <script>alert(1)</script> \x1b[31mred\n")
    folders.add_attempt(tmp_path, bad, folders.Attempt("2026-01-01", "2026-01-01", 1, "host", given_up=True))
    told = report(capsys, tmp_path)
    assert "12 of 15 runs are done." in told
    assert "Not decided: 1 of 5 runs of depth=16 are missing." in told
    seen = Seen((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "error: <script>alert(1)</script> [31mred" in seen.text
    assert "script" not in seen.tags
    assert "Not done: 1 waiting, 1 failed." in seen.text
    assert "network.depth" in seen.text  # of the run that is not the trial's
    assert "Comparisons that wait for runs without score: 3." in seen.text
    assert "4 of 5" in seen.text


def test_a_sweep_that_has_not_begun_has_a_page(tmp_path, capsys):
    found = made_up(tmp_path, without=[trial.name for trial in study.build(
        DOCUMENT, "made_up", study.Source("x", "", "laptop")).trials])  # fmt: skip
    assert "0 of 15 runs are done." in report(capsys, tmp_path)
    seen = Seen((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert all(trial.name in seen.text for trial in found.trials)
    assert seen.tags.count("figure") == 3


def test_one_seed_shows_nothing(tmp_path, capsys):
    made_up(tmp_path, DOCUMENT | {"axes": {"depth": [4, 8], "seed": [0]}, "prediction": {}})
    report(capsys, tmp_path)
    seen = Seen((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "depth 8 against 4no difference shown" in seen.text.replace("\n", "")
    assert "With 1 seed they are rough." in seen.text
    assert "Prediction" not in seen.text


def test_less_distance_is_better(complete, capsys):
    seen = report(capsys, complete, "--json")
    values = json.loads(seen)
    assert values["outcome"] == "success"
    assert values["measures"]["near"]["depth=16,seed=0"] == pytest.approx(4 - 0.8)
    assert values["measures"]["arrival"]["depth=4,seed=0"] == {"when": 400.0, "arrived": False}
    text = Seen((complete / "report.html").read_text(encoding="utf-8")).text
    near = text[text.index("near: ") : text.index("arrival: ")]
    assert near.count("better") == 3
    assert "> 400" in text


def test_a_page_names_the_command_that_makes_it_again(complete, tmp_path, capsys):
    """Only the page in the sweep's own folder is replaced without --force."""
    page = tmp_path / "page.md"
    for words, path, told in (
        ((), complete / "report.html", f"report '{complete}'\n"),
        (("--out", page), page, f"report '{complete}' --out {page}\n"),
        (("--out", page, "--force"), page, f"report '{complete}' --out {page} --force\n"),
    ):
        report(capsys, complete, *words)
        text = path.read_text(encoding="utf-8")
        said = (Seen(text).text if path.suffix == ".html" else text).replace(" \\\n ", "")
        assert f"goalward {told}" in said


def test_data_that_lie_beside_a_sweep_are_named_as_it_is(tmp_path, capsys, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "here/runs").symlink_to(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "here")
    base = {"env": "point_u_maze", "total_updates": 2_000, "epochs": 4, "dataset": "runs/data/runs/seed=0"}
    folder = Path("runs/offline")
    folder.mkdir(parents=True)
    made_up(folder, DOCUMENT | {"base": base})
    report(capsys, folder, "--out", "page.md")
    text = Path("page.md").read_text(encoding="utf-8").replace(" \\\n ", "")
    assert text.count("--dataset runs/data/runs/seed=0 ") == 15
    assert str(tmp_path) not in text


def test_a_sweep_that_began_elsewhere_is_looked_at_with_its_own_data(tmp_path, monkeypatch):
    """Names of datasets are seen from where a sweep began, also by studies that look at its runs."""
    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    own = study.load("offline", "smoke")
    folders.save(there, own, {}, 1)
    monkeypatch.chdir(tmp_path)
    seen = evidence.choose(there, "offline_map")
    assert (seen.name, seen.trials) == ("offline_map", own.trials)
    assert all(trial.config.dataset.startswith(str(there)) for trial in seen.trials)


def test_a_dataset_is_the_same_by_whatever_way_it_is_named(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "data")
    base = {"env": "point_u_maze", "total_updates": 2_000, "epochs": 4}

    def config(name):
        return from_dict(base | {"dataset": str(tmp_path / name)}, "x")

    assert folders.difference(config("link/a.npz"), config("data/a.npz")) is None
    name, *values = folders.difference(config("link/a.npz"), config("data/b.npz"))
    assert (name, values) == ("dataset", [str(tmp_path / "data/a.npz"), str(tmp_path / "data/b.npz")])


@pytest.mark.parametrize("full", ["report.html", "page.md", "page_files/1-curves-time_at_goal_fraction.png"])
def test_a_file_that_cannot_be_written_is_named(complete, tmp_path, capsys, monkeypatch, full):
    def replace(path, content):
        if str(path).endswith(full):
            raise OSError(28, "No space left on device")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    monkeypatch.setattr(files, "replace", replace)
    out = () if full == "report.html" else ("--out", tmp_path / "page.md")
    with pytest.raises(SystemExit) as ended:
        report(capsys, complete, *out)
    assert ended.value.code == 1
    assert f"{full} could not be written: No space left on device" in capsys.readouterr().err


def test_other_studies_of_the_same_runs(tmp_path, capsys):
    found = study.load("depth_point_u4", "smoke")
    folders.save(tmp_path, found, {}, 1)
    for trial in found.trials:
        add_run(tmp_path, trial, 0.5)
    report(capsys, tmp_path, "--study", "depth_point_u4")
    told = failure(capsys, tmp_path, "--study", "width")
    assert "looks at runs of 'width'" in told
    assert "there are the studies depth_point_u4, block_norms, embedding, q_map" in told
    assert "unknown study 'q_mapp'; did you mean 'q_map'?" in failure(capsys, tmp_path, "--study", "q_mapp")


def test_a_prediction_is_called_earlier_than_runs_where_their_sweep_holds_it(complete, tmp_path, capsys):
    report(capsys, complete)
    assert "Written before the runs" in (complete / "report.html").read_text(encoding="utf-8")
    found = study.load("depth_point_u4", "laptop")
    folders.save(tmp_path, found, {}, 1)
    report(capsys, tmp_path, "--study", "q_map")
    assert "Written before the runs" not in (tmp_path / "report.html").read_text(encoding="utf-8")


OF_A_FILE = """
question = "Does depth pay?"
source = "x"
base = { env = "point_u_maze", total_env_steps = 1_000_000, epochs = 4 }
axes = { depth = [4, 16], seed = "0..4" }
measures.score = { kind = "final", metric = "time_at_goal_fraction" }
scales.laptop.prediction = { text = "It does.", success = "better(score(depth=16), score(depth=4))" }
[[figures]]
kind = "bars"
measure = "score"
x = "depth"
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("better(score(depth=16), score(depth=4))", "iqm(score(depth=16)) > 0", "another prediction"),
        ("0..4", "1..4", "no longer has 0"),
        ('kind = "bars"', 'kind = "line"', None),
    ],
    ids=["prediction", "seeds", "figures"],
)
def test_a_prediction_is_not_made_anew_by_a_file_of_the_studys_name(tmp_path, capsys, old, new, told):
    """A sweep's own study, named by its file, may say how results are drawn, and no other claims or runs."""
    file, sweep = tmp_path / "made_up.toml", tmp_path / "sweep"
    sweep.mkdir()
    file.write_text(OF_A_FILE)
    found = study.load(str(file), "laptop")
    folders.save(sweep, found, {}, 1)
    for trial in found.trials:
        add_run(sweep, trial, trial.config.network.depth / 20 + trial.config.seed / 100)
    assert "The prediction holds." in report(capsys, sweep, "--study", file)
    file.write_text(OF_A_FILE.replace(old, new))
    if told is None:
        assert "The prediction holds." in report(capsys, sweep, "--study", file)
    else:
        error = failure(capsys, sweep, "--study", file)
        assert told in error
        assert "leave out --study" in error


def test_that_one_task_scores_higher_than_another_is_not_compared(tmp_path, capsys):
    axes = {"env": ["point_u_maze", "point_u4_maze"], "depth": [4, 16], "seed": "0..4"}
    figures = [{"kind": "bars", "measure": "score", "x": "env", "by": "depth"}]
    base = {name: value for name, value in DOCUMENT["base"].items() if name != "env"}
    made_up(tmp_path, DOCUMENT | {"base": base, "axes": axes, "figures": figures, "published": []})
    report(capsys, tmp_path, "--out", tmp_path / "page.md")
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "depth 16 against 4, env point_u_maze" in text
    assert "env point_u4_maze against point_u_maze" not in text


def test_a_heat_map_goes_upwards_as_published_ones(tmp_path):
    measure = {"kind": "final", "metric": "time_at_goal_fraction", "last": 2}
    figure = {"kind": "heat_map", "measure": "score", "x": "depth", "y": "width"}
    axes = {"depth": [4, 8], "width": [16, 32]}
    found = made_up(tmp_path, DOCUMENT | {"axes": axes, "measures": {"score": measure}, "figures": [figure],
                                          "prediction": {}})  # fmt: skip
    seen = evidence.gather(tmp_path, found, print)
    (picture,) = drawn.pictures(seen, results.measure(found, seen.rows, seen.scalars))
    (grid,) = picture.draw().axes
    assert [label.get_text() for label in grid.get_yticklabels()] == ["32", "16"]


def test_bad_folders_and_names_are_refused(complete, tmp_path, capsys):
    assert "is not a sweep: it does not exist" in failure(capsys, tmp_path / "none")
    found = study.load("depth_point_u4", "smoke")
    add_run(tmp_path, found.trials[0], 0.5)
    assert "goalward curves" in failure(capsys, tmp_path / "runs")
    assert "written as .html, .md" in failure(capsys, complete, "--out", tmp_path / "page.pdf")
    (tmp_path / "page.html").touch()
    assert "--force" in failure(capsys, complete, "--out", tmp_path / "page.html")


def test_a_run_that_counts_for_nothing_is_told_where_runs_stand(tmp_path, capsys):
    first, second = made_up(tmp_path).trials[:2]
    (folders.run_directory(tmp_path, first.name) / "config.json").write_text('{"format"')
    cli.main(["status", str(tmp_path)])
    warning = capsys.readouterr().err
    assert f"warning: {first.name} is done, but counts for nothing: " in warning
    assert "config.json is not valid JSON" in warning
    assert "put back the file that the run made" in warning
    assert second.name not in warning
    cli.main(["status", str(tmp_path), "--json"])
    assert list(json.loads(capsys.readouterr().out)["damaged"]) == [first.name]


def test_runs_of_axes_are_of_no_study_of_the_package(tmp_path, capsys):
    folders.save(tmp_path, study.plain("point_u_maze", ["depth=4,8"]), {}, 1)
    assert "holds runs of --axis, which no study looks at" in failure(capsys, tmp_path, "--study", "q_map")


def test_a_look_is_kept_by_run_and_iteration(tmp_path):
    path = tmp_path / "looks" / "a.npz"
    looks._keep(path, "1 abc 10", {"walking": np.array(0.5)})
    assert looks._read(path, "1 abc 10") == {"walking": np.array(0.5)}
    assert looks._read(path, "1 abc 20") == {}
    whole = path.read_bytes()
    method = whole.index(b"PK\x01\x02") + 10  # of compression, in the archive's directory
    for damaged in (whole[:40], whole[:method] + b"\x63" + whole[method + 1 :]):
        path.write_bytes(damaged)
        assert looks._read(path, "1 abc 10") == {}
    assert looks._read(tmp_path / "none.npz", "") == {}


def test_a_look_that_cannot_be_kept_is_no_error(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "replace", full)
    looks._keep(tmp_path / "looks" / "a.npz", "1 abc 10", {"walking": np.array(0.5)})


CHECKPOINTS = {
    "question": "What does it know?",
    "base": {name: value for name, value in toy.SETTINGS.items() if name != "network"},
    "axes": {"depth": [{"label": "2", **toy.SETTINGS["network"]}], "seed": [0, 1]},
    "measures": {
        "corridor": {"kind": "distance_rank"}, "line": {"kind": "distance_rank", "against": "straight"},
        "rank": {"kind": "effective_rank"}, "choice": {"kind": "action_rank"},
        "greedy": {"kind": "greedy_score"}, "way": {"kind": "right_way"},
    },
    "figures": [{"kind": kind, "by": "depth"} for kind in ("distance_maps", "embedding", "block_norms")],
    "scales": {"laptop": {}},
}  # fmt: skip


def test_measures_of_checkpoints_are_taken_once(tmp_path, tmp_path_factory, capsys):
    """Of one run there is a checkpoint, of the other none: the page shows the one, and names the other."""
    found = made_up(tmp_path, CHECKPOINTS, without=["depth=2,seed=0"])
    directory = folders.run_directory(tmp_path, "depth=2,seed=0")
    toy.copy(toy.trained(tmp_path_factory), directory)
    cli.main(["report", str(tmp_path)])
    told = capsys.readouterr()
    assert "looking at depth=2,seed=0" in told.err
    seen = Seen((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert seen.tags.count("figure") == 3
    assert "corridor: rank correlation with the walking distance" in seen.text
    assert "of this goal alone; measures of runs are means over all goals" in seen.text
    assert "depth=2,seed=1" in seen.text[seen.text.index("nothing could be measured of their checkpoints") :]

    again = evidence.gather(tmp_path, found, lambda name: pytest.fail(f"{name} was loaded again"))
    experiment, run = load_experiment(directory)
    goals = np.unique(experiment.eval_env.maze.pairs[:, 1], axis=0)
    walking, straight = np.mean([maps.distance_rank(experiment, run.agent, goal) for goal in goals], axis=0)
    assert again.scalars["corridor"] == {"depth=2,seed=0": pytest.approx(walking)}
    assert again.scalars["choice"] == {"depth=2,seed=0": choosing.action_rank(experiment, run.agent)}
    assert again.scalars["way"] == {"depth=2,seed=0": choosing.right_way(experiment, run.agent)}
    assert again.scalars["greedy"] == {"depth=2,seed=0": choosing.greedy_score(experiment, run.agent)}
    assert again.scalars["line"] == {"depth=2,seed=0": pytest.approx(straight)}


@pytest.mark.parametrize(("value", "told"), [
    (0.61234, "0.612"), (-0.5, "−0.500"), (12.345, "12.35"), (123.45, "123.5"), (12000.0, "12,000"), (0.0, "0"),
    (float("inf"), "never"),
])  # fmt: skip
def test_numbers_are_told_with_few_digits(value, told):
    assert measured.number(value) == told


def test_an_interval_of_one_run_is_not_told():
    assert measured.interval_text(Interval(0.5, -np.inf, np.inf)) == "0.500"
    assert measured.interval_text(Interval(0.5, 0.25, 1.0)) == "0.500 [0.250, 1.000]"


def test_text_stays_text_in_markdown():
    """No line becomes an item of a list, a fence is longer than those within, a long table is one table."""
    long = "word " * 21 + "- no list, 1. none, # nor heading `code` _x_ snake_case [a](b) " + "word " * 30
    given = Page("t", (Text(long),), (Section("s", (
        Listing(("```", "x")), Fold("<more>", (Table(("a",), (("x|y",),)),)),
    )),))  # fmt: skip
    text, pictures = page.as_markdown(given, "files")
    assert not pictures
    assert not re.search(r"^([-+#>]|\d+\.) ", text.removeprefix("# t").replace("## s", ""), re.MULTILINE)
    assert "snake_case [a\\](b)" in text
    assert "\\`code\\` \\_x\\_" in text
    assert "````text\n```\nx\n````" in text
    assert "<summary>&lt;more&gt;</summary>" in text
    assert "| x\\|y |" in text


def test_many_published_curves_are_folded():
    for name, folded in (("depth_point_u4", False), ("batch", True)):
        beside = drawn.beside(study.load(name, "smoke"))
        text, pictures = page.as_markdown(Page("t", (), (Section("s", tuple(beside)),)), "files")
        assert [picture.name for picture in pictures] == ["published"]
        assert "](files/published.png)" in text
        assert ("<details>" in text) is folded


def test_commands_are_broken_between_flags():
    lines = page.wrapped("goalward train point_u_maze " + " ".join(f"--setting-{i} {i}" for i in range(20)))
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert all(line.startswith("  --setting") for line in lines[1:])
    assert max(map(len, lines)) < 120


# A page in a frame of a width; the frame's own title says what is wider than it.
FRAME = """<!doctype html><title></title>
<iframe style="border:0;width:{width}px;height:900px" src="{page}"></iframe>
<script>
onload = () => {{
  const seen = document.querySelector("iframe").contentDocument
  seen.querySelectorAll("details").forEach(fold => fold.open = true)
  const inner = seen.documentElement.clientWidth
  const out = [...seen.querySelectorAll("body *")].filter(one => !one.closest(".scroll, pre")
    && one.getBoundingClientRect().right > inner + 0.5).map(one => one.tagName)
  const drawn = [...seen.images].filter(image => image.naturalWidth > 0).length
  const loaded = seen.defaultView.performance.getEntriesByType("resource").map(entry => entry.name)
    .filter(name => !name.startsWith("data:"))
  document.title = JSON.stringify({{
    inner, wide: seen.documentElement.scrollWidth, out, drawn, loaded,
    ground: getComputedStyle(seen.body).backgroundColor, ink: getComputedStyle(seen.body).color,
  }})
}}
</script>"""


def browse(chromium, frame, scheme):
    """What the frame tells of itself, in the light (1) or in the dark (0)."""
    flags = "--headless --no-sandbox --disable-gpu --hide-scrollbars --allow-file-access-from-files --dump-dom"
    line = [chromium, *flags.split(), f"--blink-settings=preferredColorScheme={scheme}", frame.as_uri()]
    shown = subprocess.run(line, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(re.search("<title>(.*?)</title>", shown.stdout)[1])


@pytest.mark.system
@pytest.mark.parametrize("width", [375, 1280])
def test_a_browser_shows_the_whole_page(complete, tmp_path, capsys, width):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium here")
    report(capsys, complete, "--out", tmp_path / "page.html")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width, page="page.html"))
    light = browse(chromium, tmp_path / "frame.html", 1)
    assert light["inner"] == light["wide"] == width
    assert light["out"] == []
    assert light["drawn"] == 3
    assert light["loaded"] == []
    dark = browse(chromium, tmp_path / "frame.html", 0)
    (light_ground, light_ink), (dark_ground, dark_ink) = (
        [sum(map(int, re.findall(r"\d+", seen[name])[:3])) for name in ("ground", "ink")]
        for seen in (light, dark)
    )
    assert light_ground > 600 > 200 > light_ink
    assert dark_ground < 200 < 600 < dark_ink
