"""Figures and the quickstart, on toy runs and on curves made by hand."""

import json
import resource
from contextlib import nullcontext

import jax.numpy as jnp
import numpy as np
import pytest
import toy
from matplotlib.figure import Figure
from PIL import Image

from goalward import cli, envs, machine, runs
from goalward.errors import UserError
from goalward.lab import quickstart
from goalward.pictures import curves, figures
from goalward.policy import load_experiment


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return toy.trained(tmp_path_factory)


def assert_picture(path, frames=1):
    """A picture that can be read, and that shows more than one colour."""
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == frames
        assert min(image.size) > 100
        assert len(image.convert("RGB").getcolors(2**24)) > 3


def test_a_learning_curve_is_drawn(trained, tmp_path):
    figures.learning_curve(runs.read_metrics(trained), tmp_path / "curve.png")
    assert_picture(tmp_path / "curve.png")


def test_curves_of_several_runs_are_drawn_and_their_ends_told(trained, tmp_path, capsys):
    picture = tmp_path / "new" / "curves.png"
    cli.main(["curves", str(trained), str(trained), "--out", str(picture)])
    assert_picture(picture)
    out, error = capsys.readouterr()
    assert error == f"drawn: {picture}\n"
    rows, row = runs.read_metrics(trained), out.splitlines()[-1].split("|")
    assert [cell.strip() for cell in row[1:5]] == [
        "`point_u_maze`", "0", f"{rows[-1]['env_steps']:,}", f"{rows[-1]['updates']:,}"
    ]  # fmt: skip
    first, last = (rows[i]["final_distance"] for i in (0, -1))
    assert row[-2].strip() == f"{first:.2f} → {last:.2f} ({rows[0]['random_final_distance']:.2f})"


def run_of(first, *finals, **changes):
    """Evaluations made by hand, after 0, 40, … steps; `first` is what random actions achieve, or None."""
    chance = {} if first is None else {f"random_{name}": first for name in curves.MEASURES}
    rows = [
        {
            "env_steps": 40 * i,
            "updates": i,
            "seconds": 60 * i,
            **dict.fromkeys(curves.MEASURES, value),
            **chance,
        }
        for i, value in enumerate(finals)
    ]
    return curves.Curve(toy.config(**changes), rows)


def test_runs_are_told_apart_by_what_differs_between_them():
    """By settings of any part; compared with runs on the same environment alone."""
    settings = {"episode_length": 20, "goal_threshold": 0.3}
    configs = [
        toy.config(),
        toy.config(seed=1, keep_last=7),
        toy.config(network={"depth": 4}, agent={"discount": 0.9}),
        toy.config(env_settings=settings),
        toy.config(env="point_u2_maze", network={"depth": 8}),
    ]
    assert curves.differences(configs) == [
        "depth=2, discount=0.95, goal_threshold=default",
        "depth=2, discount=0.95, goal_threshold=default",
        "depth=4, discount=0.9, goal_threshold=default",
        "depth=2, discount=0.95, goal_threshold=0.3",
        "",
    ]
    assert curves.differences(configs[:2]) == ["", ""]


def test_the_table_of_curves_names_settings_and_chance():
    head, _, *lines = curves.table([run_of(0.5, 0, 1), run_of(None, 0, 1, network={"depth": 4})]).splitlines()
    assert head.split("|")[2].strip() == "settings"
    assert [line.split("|")[2].strip() for line in lines] == ["depth=2", "depth=4"]
    assert [line.split("|")[-2].strip() for line in lines] == ["0.00 → 1.00 (0.50)", "0.00 → 1.00 (–)"]


def test_seeds_are_one_line_with_a_band_and_a_run_that_is_shorter_ends_both():
    figure = Figure()
    axes = figure.subplots()
    alike = [run_of(0.5, 0, 0.2, 0.6, seed=0), run_of(0.7, 0, 0.4, seed=3)]
    groups = curves._groups([*alike, run_of(0.6, 1, 1, 0.9, network={"depth": 8})])
    assert list(groups) == ["depth=2; seeds 0, 3: mean, lowest,\nhighest", "depth=8; seed 0"]
    curves._draw_groups(axes, groups, "success_rate", "env_steps")
    lines = {line.get_label(): line for line in axes.get_lines() if not line.get_label().startswith("_")}
    assert list(lines) == [*groups, "random actions"]
    shared, alone, random = lines.values()
    np.testing.assert_allclose(shared.get_xydata(), [[0, 0], [40, 0.3]])
    np.testing.assert_allclose(alone.get_xydata(), [[0, 1], [40, 1], [80, 0.9]])
    np.testing.assert_allclose(random.get_ydata(), 0.6)
    (band,) = axes.collections
    corners = {tuple(np.round(point, 6)) for point in band.get_paths()[0].vertices}
    assert corners == {(0, 0), (40, 0.2), (40, 0.4)}


@pytest.mark.parametrize(
    "line", ["curves RUN --out OUT.png", "render RUN --out OUT.gif", "envs --pictures OUT"]
)
def test_what_is_there_is_replaced_only_when_told_to(trained, tmp_path, monkeypatch, capsys, line):
    monkeypatch.setattr(envs, "names", lambda: ["point_u_maze"])
    words = line.replace("RUN", str(trained)).replace("OUT", str(tmp_path / "out")).split()
    cli.main(words)
    made = toy.contents(tmp_path)
    for name in made:
        (tmp_path / name).write_text("mine")
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_:
        cli.main(words)
    assert exit_.value.code == 2
    assert "exists; name another place, or replace it with --force" in capsys.readouterr().err
    assert set(toy.contents(tmp_path).values()) == {b"mine"}
    cli.main([*words, "--force"])
    assert toy.contents(tmp_path).keys() == made.keys()
    assert b"mine" not in toy.contents(tmp_path).values()


def test_curves_are_printed_as_json_too(trained, tmp_path, capsys):
    cli.main(["curves", str(trained), "--out", str(tmp_path / "curves.svg"), "--json"])
    assert "<svg" in (tmp_path / "curves.svg").read_text()
    assert json.loads(capsys.readouterr().out) == [
        {"run": str(trained), "evaluations": runs.read_metrics(trained)}
    ]


def test_curves_that_cannot_be_drawn_are_refused_with_one_message(trained, tmp_path, capsys):
    runs.save_config(tmp_path, toy.config())
    picture = tmp_path / "curves.png"
    for words, message in (
        ([tmp_path, "--out", picture], "no evaluation yet"),
        ([tmp_path / "none", "--out", picture], "not a run directory"),
        (["--out", picture], "no run is named"),
        ([trained, "--out", tmp_path / "curves.txt"], "pictures are written as .png, .pdf, .svg, .jpg"),
        ([trained, "--out", tmp_path / "curves.pgf"], "pictures are written as .png, .pdf, .svg, .jpg"),
    ):
        with pytest.raises(SystemExit) as exit_:
            cli.main(["curves", *map(str, words)])
        assert exit_.value.code == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("curves*"))


def test_tracks_and_their_animation_are_drawn(tmp_path):
    maze = envs.make("point_u_maze").maze
    obs = np.random.default_rng(0).uniform(-1, 1, (7, 4, 2))
    goals = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    figures.trajectories(maze, obs, goals, tmp_path / "tracks.png")
    assert_picture(tmp_path / "tracks.png")
    figures.animation(maze, obs, goals, tmp_path / "moving.gif", frames=5)
    assert_picture(tmp_path / "moving.gif", frames=5)
    colours = figures.goal_colours(goals)
    assert len(np.unique(colours, axis=0)) == 2
    np.testing.assert_array_equal(colours[0], colours[2])


def test_learned_distances_are_missing_in_walls_and_only_there(trained):
    experiment, run = load_experiment(trained)
    agent = run.agent
    maze = figures.maze_of(experiment)
    goal_cell = figures.farthest_goal(maze)
    values, n = figures.distances(experiment, agent, goal_cell), figures.PER_CELL
    assert values.shape == (5 * n, 5 * n)
    for row, column in np.ndindex(values.shape):
        assert np.isnan(values[row, column]) == maze.walls[row // n, column // n]
    cell = np.array([1.0, 2.0]) + (np.array([3, 5]) + 0.5) / n - 0.5
    obs, goal = (jnp.asarray(figures.from_cells(maze, x)[None], jnp.float32) for x in (cell, goal_cell))
    np.testing.assert_allclose(
        values[n + 3, 2 * n + 5], -experiment.agent.value(agent, obs, goal)[0], rtol=1e-4, atol=1e-4
    )


def test_a_map_of_distances_to_each_goal_is_drawn(trained, tmp_path):
    experiment, run = load_experiment(trained)
    agent = run.agent
    cells = list(figures.maze_of(experiment).pairs[:2, 1])
    figures.distance_map(experiment, agent, cells, tmp_path / "map.png")
    assert_picture(tmp_path / "map.png")


@pytest.mark.parametrize(("name", "cell"), [("u_maze", [3, 1]), ("u4_maze", [4, 1]), ("u3_maze", [3, 1])])
def test_the_farthest_goal_is_the_one_with_the_longest_way(name, cell):
    np.testing.assert_array_equal(figures.farthest_goal(envs.make(f"point_{name}").maze), cell)


def test_a_goal_is_named_as_in_tables_with_its_way(monkeypatch):
    maze = envs.make("point_u_maze").maze
    far, near = figures.farthest_goal(maze), maze.pairs[0, 1]
    assert figures.goal_name(maze, far) == "goal (1.33, -1.33), 6 cells from the start"
    assert figures.goal_name(maze, near) == "goal (-1.33, 0.00), 1 cell from the start"


@pytest.fixture
def small(monkeypatch):
    """The quickstart at toy size."""
    monkeypatch.setattr(quickstart, "config", lambda seed: toy.config(seed=seed))
    for name, value in {"TIME_LIMIT": 60.0, "TARGET": 2.0, "EPISODES": 8, "TRACKS": 4}.items():
        monkeypatch.setattr(quickstart, name, value)


def test_the_quickstart_trains_draws_and_sums_up(small, tmp_path, capsys):
    directory = tmp_path / "quickstart"
    summary = quickstart.run(directory, 0)
    out = capsys.readouterr().out
    assert json.loads((directory / "summary.json").read_text()) == summary
    assert 0 <= summary["success_rate"] <= 1
    assert 0 <= summary["time_at_goal"] <= 20
    assert (summary["env_steps"], summary["updates"]) == (320, 12)
    assert 0 < summary["seconds"] < 60
    assert f"success rate {summary['success_rate']:.2f}" in out
    assert f"random actions: {summary['random_success_rate']:.2f}, " in out
    assert max(map(len, out.split(str(directory), 1)[0].splitlines())) <= 80
    for words, what in quickstart.NEXT.items():
        assert f"  {machine.command(*words)}  # {what}\n" in out
    for name in quickstart.PICTURES:
        assert_picture(directory / name, frames=20 if name.endswith("gif") else 1)
        assert name in out.replace("\n", "")
    # Another quickstart takes its place, whatever its seed.
    quickstart.run(directory, 1, quiet=True)
    assert runs.load_config(directory).seed == 1
    assert capsys.readouterr().out == ""


def test_the_quickstart_ends_when_the_maze_is_solved_or_the_time_is_over(small, monkeypatch, tmp_path):
    for name, value in {"TARGET": 0.0, "TIME_LIMIT": 0.0}.items():
        with monkeypatch.context() as patch:
            patch.setattr(quickstart, name, value)
            patch.setattr(quickstart, "_draw", lambda *rest: None)
            summary = quickstart.run(tmp_path / name, 0, quiet=True)
        # It ends after the first iteration, which no evaluation follows.
        assert (summary["updates"], summary["env_steps"]) == (toy.UPDATES, 3 * toy.STEPS)


def test_the_quickstart_takes_the_place_of_no_other_run(small, trained, tmp_path):
    other, mine = tmp_path / "other", tmp_path / "mine"
    toy.copy(trained, other)
    runs.save_config(other, toy.config(num_envs=8))
    mine.mkdir()
    (mine / "thesis.tex").write_text("all of it")
    for directory in (other, mine):
        before = toy.contents(directory)
        with pytest.raises(UserError, match=f"{directory} exists"):
            quickstart.run(directory, 0, quiet=True)
        assert toy.contents(directory) == before


def test_the_quickstart_stops_at_a_signal_and_says_how_to_go_on(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("goalward.cli.quickstart.stop_signals", lambda: nullcontext(lambda: True))
    with pytest.raises(SystemExit) as exit_:
        cli.main(["quickstart", "--out", str(tmp_path / "run")])
    assert exit_.value.code == 130
    assert f"train --resume {tmp_path / 'run'}" in capsys.readouterr().err
    assert not (tmp_path / "run" / "summary.json").exists()


@pytest.mark.parametrize(
    "line", ["curves RUN --out OUT.png", "curves RUN --out OUT.jpg", "render RUN --out OUT.gif"]
)
def test_a_picture_for_which_there_is_no_room_is_named_and_leaves_nothing(trained, tmp_path, capsys, line):
    words = line.replace("RUN", str(trained)).replace("OUT", str(tmp_path / "out")).split()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(SystemExit) as exit_:
            cli.main(words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert exit_.value.code == 1
    assert str(tmp_path / "out") in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
