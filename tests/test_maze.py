"""Layouts, generalisation splits, and the messages for names and settings that do not exist."""

import numpy as np
import pytest

from goalward import envs
from goalward.envs import maze, settings
from goalward.envs.point import PointSettings
from goalward.errors import UserError

# Layout: grid rows × columns, number of goals, shortest and longest path from the start, in cells.
LAYOUTS = {
    "u_maze": ((5, 5), 6, (1, 6)),
    "u_maze_eval": ((5, 5), 3, (4, 6)),
    "u_maze_single_eval": ((5, 5), 1, (6, 6)),
    "u_maze_eval_1f2f3f4f5f": ((5, 5), 5, (1, 5)),
    "u_maze_eval_1f2f3f4f": ((5, 5), 4, (1, 4)),
    "u_maze_eval_1f2f3f": ((5, 5), 3, (1, 3)),
    "u_maze_eval_5f6f": ((5, 5), 2, (5, 6)),
    "u2_maze": ((5, 6), 8, (1, 8)),
    "u2_maze_eval": ((5, 6), 4, (5, 8)),
    "u3_maze": ((5, 7), 10, (1, 10)),
    "u3_maze_eval": ((5, 7), 5, (6, 10)),
    "u3_maze_single_eval": ((5, 7), 1, (10, 10)),
    "u4_maze": ((7, 5), 10, (1, 10)),
    "u4_maze_eval": ((7, 5), 4, (7, 10)),
    "u5_maze": ((7, 8), 16, (1, 16)),
    "u5_maze_eval": ((7, 8), 8, (9, 16)),
    "u5_maze_single_eval": ((7, 8), 1, (16, 16)),
    "u6_maze": ((7, 7), 14, (1, 14)),
    "u6_maze_eval": ((7, 7), 7, (8, 14)),
    "u7_maze": ((7, 6), 12, (1, 12)),
    "u7_maze_eval": ((7, 6), 6, (7, 12)),
    "big_maze": ((8, 8), 25, (1, 11)),
    "big_maze_eval": ((8, 8), 9, (8, 11)),
    "hardest_maze": ((9, 12), 45, (1, 15)),
}


def test_the_table_has_every_layout():
    assert set(LAYOUTS) == set(maze.GRIDS)
    points = [name for name in envs.names() if name.startswith("point_")]
    assert points == [f"point_{layout}" for layout in maze.GRIDS]


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_has_its_size_goals_and_path_lengths(name):
    shape, goals, (shortest, longest) = LAYOUTS[name]
    layout = maze.parse(name)
    assert layout.walls.shape == shape
    assert layout.pairs.shape == (goals, 2, 2)
    starts = np.unique(layout.pairs[:, 0], axis=0)
    assert len(starts) == 1
    steps = maze.distances(layout.walls, tuple(starts[0].tolist()))[tuple(layout.pairs[:, 1].T)]
    assert (steps.min(), steps.max()) == (shortest, longest)
    np.testing.assert_allclose(layout.weights, 1 / goals)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_is_closed_and_has_one_start(name):
    rows = maze.GRIDS[name].split()
    assert len({len(row) for row in rows}) == 1
    walls = maze.walls_of(rows)
    assert walls[[0, -1]].all()
    assert walls[:, [0, -1]].all()
    assert "".join(rows).count("R") == 1
    assert set("".join(rows)) <= set("#RG.")


def test_evaluation_layouts_keep_the_walls_and_start_of_their_maze():
    for name in LAYOUTS:
        base, _, suffix = name.partition("_maze")
        if suffix:
            here, there = maze.parse(name), maze.parse(f"{base}_maze")
            np.testing.assert_array_equal(here.walls, there.walls)
            np.testing.assert_array_equal(here.pairs[0, 0], there.pairs[0, 0])


def test_distances_by_hand():
    walls = maze.walls_of(["#####", "#..##", "##.##", "###.#", "#####"])
    expected = np.full((5, 5), -1)
    expected[1, 1], expected[1, 2], expected[2, 2] = 0, 1, 2
    np.testing.assert_array_equal(maze.distances(walls, (1, 1)), expected)


@pytest.mark.parametrize("layout", maze.SPLIT_GRIDS)
@pytest.mark.parametrize("steps", [(1,), (1, 2, 3), (4, 5, 6), (6, 1)])
def test_split_goes_forward_with_each_distance_and_each_start_equally_likely(layout, steps):
    split = maze.parse(f"{layout}_gen_" + "".join(f"{k}f" for k in steps))
    whole = maze.parse(layout)
    np.testing.assert_array_equal(split.walls, whole.walls)
    from_start = maze.distances(whole.walls, tuple(whole.pairs[0, 0].tolist()))
    begin, end = (from_start[tuple(split.pairs[:, i].T)] for i in (0, 1))
    longest = LAYOUTS[layout][2][1]
    for k in steps:
        chosen = end - begin == k
        np.testing.assert_array_equal(np.sort(begin[chosen]), np.arange(longest - k + 1))
        np.testing.assert_allclose(split.weights[chosen], 1 / len(steps) / (longest - k + 1))
    assert set(end - begin) == set(steps)
    assert split.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("point_u_maz", "point_u_maze"),
        ("u4_maze_eval", "point_u4_maze_eval"),
        ("point_bigmaze", "point_big_maze"),
    ],
)
def test_unknown_environment_suggests_near_ones(name, near):
    with pytest.raises(UserError, match=f"unknown environment '{name}'; did you mean .*{near}"):
        envs.make(name)


@pytest.mark.parametrize("name", ["", "point", "zzz", "_", "point_"])
def test_name_with_nothing_near_says_where_the_list_is(name):
    with pytest.raises(UserError, match="unknown environment"):
        envs.make(name)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("point_u_maze_gen_7f", "from 1 to 6"),
        ("point_u_maze_gen_0f", "from 1 to 6"),
        ("point_u4_maze_gen_1f11f", "from 1 to 10"),
        ("point_big_maze_gen_1f", "u_maze, u2_maze, u3_maze, u4_maze, u5_maze"),
        ("point_none_maze_gen_1f", "u_maze, u2_maze, u3_maze, u4_maze, u5_maze"),
        ("point_u_maze_gen_1", "u_maze"),
        (f"point_u4_maze_gen_{'9' * 5000}f", "unknown maze layout"),
        ("point_u_maze_gen_", "u_maze"),
    ],
)
def test_invalid_split_says_what_is_valid(name, hint):
    with pytest.raises(UserError, match=hint):
        envs.make(name)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"speed": 1.0},
            "'speed'.*episode_length, cell_size, step_size, goal_threshold, start_noise, inertia, drag",
        ),
        (
            {"episode_length": 10.5},
            "episode_length is 10.5; .*int",
        ),
        ({"episode_length": True}, "episode_length is True"),
        ({"cell_size": "4"}, "cell_size is '4'; .*float"),
        ({"step_size": True}, "step_size is True; .*float"),
        ({"inertia": 1}, "inertia is 1; .*bool"),
        ({"drag": None}, "drag is None; .*float"),
        ({"episode_length": 0}, "episode_length is 0; .*1"),
        ({"cell_size": -4.0}, "cell_size is -4"),
        ({"cell_size": float("inf")}, "cell_size is inf"),
        ({"step_size": 1.0}, r"step_size is 1.0; .*0\.998"),
        ({"step_size": 0.0}, "step_size is 0.0; .*0.0001 … 0.998"),
        ({"goal_threshold": 0.0}, "goal_threshold is 0.0"),
        ({"episode_length": 10**30}, "episode_length is 1000000000000000000000000000000; .*1 … 100,000"),
        ({"episode_length": 2**31}, "episode_length is 2147483648"),
        ({"goal_threshold": 10**400}, "goal_threshold is inf; .*1e-09 … 1000000"),
        ({"goal_threshold": float("nan")}, "goal_threshold is nan"),
        ({"start_noise": 0.5}, r"start_noise is 0.5; .*0 … 0\.499"),
        ({"start_noise": -0.1}, "start_noise is -0.1"),
        ({"drag": 1.5}, "drag is 1.5; .*1e-06 … 1"),
    ],
)
def test_invalid_setting_is_named_with_its_value_and_what_is_valid(settings, message):
    with pytest.raises(UserError, match=message):
        envs.make("point_u_maze", settings)


def test_whole_numbers_are_taken_for_lengths():
    found = settings.parse(PointSettings(), "point_u_maze", {"cell_size": 4}).cell_size
    assert (found, type(found)) == (4, float)


def test_limits_scale_with_the_cell():
    assert envs.make("point_u_maze", {"cell_size": 4.0, "step_size": 3.9, "start_noise": 1.9})
