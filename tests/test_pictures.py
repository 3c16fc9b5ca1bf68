"""Figures of studies, drawn from numbers made by hand: what is on them, and that they can be read."""

import itertools
import tomllib

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
import toy
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text
from scipy import stats

from goalward.envs import maze as mazes
from goalward.envs import point
from goalward.errors import UserError
from goalward.evaluation import Episodes
from goalward.lab import study
from goalward.pictures import blocks as blocks_figure
from goalward.pictures import charts, choosing, embedding, figures, grids, lines, maps, published, style
from goalward.pictures.grids import luminance
from goalward.pictures.walking import walking_distances
from goalward.policy import load_experiment

DEPTHS = ["1", "2", "4", "8", "16", "32", "64", "128", "256", "512"]
NAN = float("nan")

# Viénot, Brettel and Mollon (1999), "Digital video colourmaps for checking the legibility of displays by
# dichromats", equations of their Table: linear RGB to LMS, what is seen there, and back.
TO_LMS = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
SEEN = {
    "everybody": np.eye(3),
    "protanopia": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
    "deuteranopia": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])  # sRGB, D65


def lab(colour, who="everybody"):
    """CIE L*a*b* of what somebody sees of an sRGB colour."""
    rgb = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)])
    seen = np.clip(np.linalg.solve(TO_LMS, SEEN[who] @ TO_LMS @ rgb), 0, 1)
    ratio = TO_XYZ @ seen / (TO_XYZ @ np.ones(3))
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_the_simulation_of_colour_blindness_leaves_greys_and_confuses_red_and_green():
    for who in SEEN:
        np.testing.assert_allclose(lab("#808080", who), lab("#808080"), atol=2)
    red, green = (lab(colour, "deuteranopia")[1:] for colour in ("#d00000", "#508000"))
    assert np.linalg.norm(red - green) < 25 < np.linalg.norm(lab("#d00000")[1:] - lab("#508000")[1:])


@pytest.mark.parametrize("number", [2, 3, 6, 10])
def test_ordered_colours_darken_evenly_and_the_lightest_shows_on_white(number):
    """So they can be told apart without any colour: in grey, and by everybody."""
    colours = style.ordered(number)
    lightness = np.array([lab(colour)[0] for colour in colours])
    assert (np.diff(lightness) < -0.6 * (lightness[0] - lightness[-1]) / (number - 1)).all()
    assert lightness[0] < 77
    assert lightness[0] - lightness[-1] > 55
    for who in SEEN:
        near = [np.linalg.norm(lab(a, who) - lab(b, who)) for a, b in itertools.pairwise(colours)]
        assert min(near) > 5


def test_categories_can_be_told_apart_by_everybody():
    for who in SEEN:
        for a, b in itertools.combinations(style.CATEGORIES, 2):
            assert np.linalg.norm(lab(a, who) - lab(b, who)) > 18, (who, a, b)
    assert max(lab(colour)[0] for colour in style.CATEGORIES) < 77


def test_looks_follow_numbers_and_words_get_a_second_cue():
    looks = style.looks(["16", "4", "8", "4"])
    lightness = [luminance(looks[label].colour) for label in ("4", "8", "16")]
    assert lightness == sorted(lightness, reverse=True)
    words = style.looks([f"name {i}" for i in range(9)])
    assert len({(look.colour, look.dashes) for look in words.values()}) == 9
    assert len({look.marker for look in words.values()}) == 9


def group(label, *runs):
    """Runs evaluated after 10, 20, … steps, their mean, and a band from the lowest to the highest."""
    values = np.array(runs, float)
    clock = 10 * np.arange(1, values.shape[-1] + 1)
    low, high = (values.min(axis=0), values.max(axis=0)) if len(runs) > 1 else (np.full(len(clock), NAN),) * 2
    return lines.Group(label, clock, values.mean(axis=0), low, high, [(clock, run) for run in runs])


def ticks(axis):
    """Labels of an axis that are in view."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def drawn(figure: Figure):
    """Lay out all, as it is saved: no text lies outside, none on another along x, no legend on a panel."""
    figure.draw_without_rendering()
    whole = figure.bbox.padded(1)
    for axes in figure.axes:
        texts = [axes.title, axes.xaxis.label, axes.yaxis.label, *ticks(axes.xaxis), *ticks(axes.yaxis)]
        for box in (text.get_window_extent() for text in texts if text.get_text()):
            assert whole.contains(*box.min), texts
            assert whole.contains(*box.max), texts
        for boxes in itertools.combinations([t.get_window_extent() for t in ticks(axes.xaxis)], 2):
            assert not boxes[0].overlaps(boxes[1])
    for legend in figure.legends:
        box = legend.get_window_extent()
        assert whole.contains(*box.min)
        assert whole.contains(*box.max)
        assert not any(box.overlaps(axes.get_window_extent()) for axes in figure.axes)
    return figure


def test_curves_have_thin_runs_a_thick_middle_a_band_and_one_look_for_a_label():
    ours = lines.Panel("ours", "updates", "share", [group("4", [0, 0.2], [0, 0.4]), group("8", [1, 1])], 0.1)
    theirs = lines.Panel("theirs", "steps", "of 1000", [group("8", [0, 100]), group("64", [0, 300])])
    figure = drawn(lines.curves([ours, theirs], "depth"))
    left, right = figure.axes
    named = {line.get_label(): line for line in left.get_lines() if not line.get_label().startswith("_")}
    np.testing.assert_allclose(named["4"].get_xydata(), [[10, 0], [20, 0.3]])
    assert sum(line.get_linewidth() < 1 for line in left.get_lines()) == 2  # a single run is its own middle
    (band,) = left.collections
    assert {tuple(np.round(p, 6)) for p in band.get_paths()[0].vertices} >= {(20, 0.2), (20, 0.4)}
    other = {line.get_label(): line for line in right.get_lines()}
    assert other["8"].get_color() == named["8"].get_color() != other["64"].get_color()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["4", "8", "64", "random actions"]
    assert legend.get_title().get_text() == "depth"
    assert left.get_ylim()[0] < 0 < 1 < left.get_ylim()[1]


def test_figures_are_the_same_whatever_a_matplotlibrc_says():
    sizes = []
    for settings in (
        {},
        {"font.size": 30, "axes.titlesize": 40, "lines.linewidth": 9, "axes.facecolor": "red"},
    ):
        with mpl.rc_context(settings):
            figure = lines.curves([lines.Panel("a", "x", "y", [group("4", [0, 1])])])
        texts = figure.findobj(Text)
        sizes.append(([text.get_fontsize() for text in texts], figure.axes[0].get_facecolor()))
    assert sizes[0] == sizes[1]
    assert min(sizes[0][0]) >= 11


@pytest.mark.parametrize(
    "groups",
    [
        [group(depth, np.linspace(0, 1, 9)) for depth in DEPTHS],
        [group("4", [0.5])],
        [group("4", [NAN, 0.2, NAN]), group("8", [NAN] * 3)],
        [lines.Group("4", [], [], [], [])],
        [],
        [group(f"a setting with quite a long name, {i}", [-3.0, 1], [2, -2]) for i in range(8)],
    ],
    ids=["ten depths", "one point", "missing", "empty", "none", "long names"],
)
def test_curves_of_any_number_of_groups_can_be_read(groups):
    long = "a title that says at length whose curves these are: other physics, other budget"
    for panels in (1, 2, 3):
        figure = drawn(lines.curves([lines.Panel(long, "updates", "y", groups, 0.5)] * panels, "depth"))
        assert len(figure.axes) == panels
    told = [text.get_text() for text in figure.axes[0].texts]
    measured = any(np.isfinite(np.asarray(g.middle, float)).any() for g in groups)
    assert told == ([] if measured else ["nothing was measured"])


def chart(*series, **options):
    return charts.Chart("point_u4_maze", "depth", "updates", series, **options)


PLACES = [
    charts.Place("1", NAN, NAN, NAN, [], [64e3] * 3),
    charts.Place("4", 50e3, 42e3, float("inf"), [41e3, 50e3], [64e3]),
    charts.Place("16", 20e3, 18e3, 24e3, [18e3, 20e3, 24e3]),
]


@pytest.mark.parametrize("kind", [charts.line, charts.bars])
def test_every_run_is_a_mark_and_one_that_never_arrived_a_hollow_one(kind):
    chance = {place.label: 60e3 for place in PLACES}
    figure = drawn(kind([chart(charts.Series("", PLACES), log=True, chance=chance)]))
    (axes,) = figure.axes
    along = 1 if kind is charts.line else 0
    filled, hollow = [], []
    for marks in axes.collections:
        white = len(marks.get_facecolors()) and marks.get_facecolors()[0][:3].min() == 1
        (hollow if white else filled).extend(marks.get_offsets()[:, along].tolist())
    assert sorted(filled) == [18e3, 20e3, 24e3, 41e3, 50e3]
    assert hollow == [64e3] * 4
    whiskers = [line.get_xydata()[:, along].tolist() for line in axes.get_lines()]
    assert [42e3, 64e3] in whiskers  # no farther than runs were seen
    assert [18e3, 24e3] in whiskers
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["not there when last seen", "random actions"]


@pytest.mark.parametrize("kind", [charts.line, charts.bars])
def test_what_random_actions_achieve_is_each_places_own(kind):
    places = [charts.Place(task, 0.9, NAN, NAN) for task in ("ant", "reacher")]
    (axes,) = drawn(kind([chart(charts.Series("", places), chance={"ant": 0.0, "reacher": 0.25})])).axes
    dotted = [line.get_xydata().tolist() for line in axes.get_lines() if line.get_linestyle() == ":"]
    if kind is charts.line:
        assert dotted == [[[0.0, 0.0], [1.0, 0.25]]]
    else:  # from top to bottom, up to the next place
        assert dotted == [[[0.0, -0.5], [0.0, 0.5]], [[0.25, -1.5], [0.25, -0.5]]]


def test_places_of_a_logarithmic_axis_are_equally_far_apart_and_named():
    places = [charts.Place(depth, 0.1 * i, NAN, NAN) for i, depth in enumerate(reversed(DEPTHS))]
    (axes,) = drawn(charts.line([chart(charts.Series("", places), log=True)])).axes
    line = axes.get_lines()[0].get_xydata()
    np.testing.assert_allclose(line[:, 0], np.arange(10))
    np.testing.assert_allclose(line[:, 1], np.arange(0.9, -0.05, -0.1), atol=1e-12)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(reversed(DEPTHS))
    (axes,) = drawn(charts.line([chart(charts.Series("", places[-3:]))])).axes
    np.testing.assert_allclose(axes.get_lines()[0].get_xdata(), [1, 2, 4])


def test_series_stand_beside_each_other():
    both = [charts.Series(name, PLACES[1:]) for name in ("true", "false")]
    (axes,) = drawn(charts.line([chart(*both, log=True)], "residual")).axes
    true, false = (
        line.get_xdata()
        for line in axes.get_lines()
        if len(line.get_xdata()) == 2 and line.get_marker() != "None"
    )
    assert (true < false).all()
    figure = drawn(charts.bars([chart(*both)], "residual"))
    spans = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in figure.axes[0].patches)
    assert len(spans) == 4
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))
    assert [text.get_text() for text in figure.legends[0].get_texts()][:2] == ["true", "false"]


@pytest.mark.parametrize("labels", [["1"], ["no LayerNorm", "full"], ["0", "0.001"]], ids=str)
@pytest.mark.parametrize("kind", [charts.line, charts.bars])
def test_axes_of_words_of_one_place_and_with_a_zero_are_drawn(kind, labels):
    places = [charts.Place(label, 0.5, -float("inf"), float("inf"), [0.5]) for label in labels]
    figure = drawn(kind([chart(charts.Series("", places), log=True), chart()]))
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [[], ["nothing was measured"]]


def test_cells_of_a_heat_map_hold_their_numbers_in_a_colour_that_can_be_read():
    values = np.array([[0.0, 0.25, NAN], [0.5, 0.75, 1.0]])
    ours = grids.Grid("ours", "actor depth", "critic depth", ["1", "4", "16"], ["4", "1"], values)
    theirs = ours._replace(title="theirs", values=1000 * values)
    figure = drawn(grids.heat_map([ours, theirs]))
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["0.00", "0.25", "–", "0.50", "0.75", "1.00"]
    assert [text.get_text() for text in right.texts] == ["0", "250", "–", "500", "750", "1,000"]
    (image,) = left.images
    ground = [to_hex(colour) for colour in image.to_rgba(values).reshape(-1, 4)]
    for text, colour in zip(left.texts, ground, strict=True):
        if text.get_text() != "–":
            lights = sorted([luminance(text.get_color()), luminance(colour)])
            assert (lights[1] + 0.05) / (lights[0] + 0.05) > 4.5  # WCAG 2, AA
    assert (np.diff([luminance(c) for c in ground[:2] + ground[3:]]) < 0).all()
    drawn(grids.heat_map([ours._replace(values=np.full((2, 3), NAN)), ours._replace(values=np.ones((2, 3)))]))


WALLS = np.array([[mark == "#" for mark in row] for row in ["#####", "#...#", "###.#", "#...#", "#####"]])


def test_a_way_hugs_the_corners_of_walls():
    """By hand: straight where nothing stands between, else past both corners of the wall's end."""
    goal = np.array([3.0, 1.0])
    points = np.array([[3.0, 1.0], [3.0, 3.0], [2.0, 3.0], [1.0, 1.0], [1.0, 3.0], [1.4, 2.4]])
    past = np.hypot(0.5, 1.5)  # from the goal to the lower corner, (2.5, 2.5)
    ways = [
        0,
        2,
        past + np.hypot(0.5, 0.5),
        past + 1 + past,
        past + np.hypot(1.5, 0.5),
        past + 1 + np.hypot(0.1, 0.1),
    ]
    np.testing.assert_allclose(walking_distances(WALLS, points, goal), ways, atol=1e-4)
    corner = np.array([[0, 1], [1, 0]], bool)  # two walls that touch leave no gap between them
    closed = np.pad(np.kron(corner, np.ones((2, 2), bool)), 1, constant_values=True)
    there = np.array([[1.9, 1.9], [3.1, 3.1]])
    np.testing.assert_allclose(walking_distances(closed, there, np.array([1.0, 1.0])), [0.9 * 2**0.5, np.inf])


@pytest.mark.parametrize("layout", ["u_maze", "big_maze", "hardest_maze"])
def test_a_way_is_between_the_straight_line_and_the_way_from_cell_to_cell(layout):
    walls = mazes.walls_of(mazes.GRIDS[layout].split())
    cells = np.argwhere(~walls)
    for start in cells[:: len(cells) // 3]:
        ways = walking_distances(walls, cells.astype(float), start.astype(float))
        by_cell = mazes.distances(walls, tuple(start.tolist()))[tuple(cells.T)]
        straight = np.linalg.norm(cells - start, axis=1)
        assert (ways <= by_cell + 1e-4).all()
        assert (ways >= straight - 1e-9).all()
        np.testing.assert_allclose(ways[by_cell <= 1], by_cell[by_cell <= 1], atol=1e-4)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    return load_experiment(toy.trained(tmp_path_factory))


def test_a_critic_is_ranked_by_what_its_distance_follows(learned, monkeypatch):
    experiment, run = learned
    maze = figures.maze_of(experiment)
    goal = figures.farthest_goal(maze)
    walking, straight = maps.true_distances(maze, goal)
    assert (np.isnan(walking) == figures.in_walls(maze)).all()
    assert np.nanmax(walking) > np.nanmax(straight) + 1
    for known, told in ((walking**2, 0), (np.exp(straight), 1)):  # in another unit, bent, but in the same order
        monkeypatch.setattr(maps, "distances", lambda *_, known=known: known)
        ranks = maps.distance_rank(experiment, run.agent, goal)
        assert ranks[told] == pytest.approx(1)
        assert ranks[1 - told] < 0.9
    other = stats.spearmanr(walking[~np.isnan(walking)], straight[~np.isnan(walking)]).statistic
    assert ranks.walking == pytest.approx(other, abs=1e-4)
    assert maps.rank_correlation(np.zeros(9), np.arange(9)) == 0
    monkeypatch.undo()
    found = maps.learned_map("depth 2", experiment, run.agent, goal)
    figure = drawn(maps.distance_maps(maze, goal, [found]))
    assert figure.axes[-1].get_title() == (
        f"depth 2\nwalking {found.ranks.walking:.2f}, straight {found.ranks.straight:.2f}"
    )


class Judge:
    """Knows how far it is from where actions lead, in so far as `bend` keeps their order."""

    chunk = 1

    def __init__(self, maze, bend):
        self.maze, self.bend = maze, bend

    def action_value(self, agent, obs, action, goal):
        walls, cells = jnp.asarray(self.maze.walls), point.to_cells(self.maze, np.asarray(obs, float))
        move = jax.vmap(point.slide, in_axes=(None, 0, 0))
        led = np.asarray(move(walls, jnp.asarray(cells, jnp.float32), jnp.asarray(0.2 * action)), float)
        (to,) = np.unique(point.to_cells(self.maze, np.asarray(goal, float)).round(), axis=0)
        return -self.bend(walking_distances(self.maze.walls, led, to))


@pytest.mark.parametrize(
    ("bend", "rank", "right"), [(np.exp, 1, 1), (np.negative, -1, 0), (np.zeros_like, 0, None)]
)
def test_a_critic_is_ranked_by_where_the_actions_lead_that_it_likes(learned, monkeypatch, bend, rank, right):
    experiment, run = learned
    judge = Judge(figures.maze_of(experiment), bend)
    monkeypatch.setattr(choosing.jax, "jit", lambda function: function)
    found = choosing.action_rank(experiment._replace(agent=judge), run.agent)
    assert found == pytest.approx(rank, abs=1e-3)
    of_places = choosing.right_way(experiment._replace(agent=judge), run.agent)
    assert 0.3 < of_places < 0.7 if right is None else of_places == right


class Pointed:
    """Likes an action the more, the nearer it is to one that depends on observation and goal."""

    chunk = 2

    def action_value(self, agent, obs, action, goal):
        return -jnp.linalg.norm(action - agent * jnp.tile(jnp.sign(goal - obs), 2), axis=-1)


def test_acting_by_the_critic_alone_takes_what_it_likes_best():
    obs = jnp.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    goal = jnp.array([[1.0, 1.0], [0.0, 2.0], [1.0, 2.0], [0.0, 0.0]])
    taken = choosing.Greedy(Pointed()).exploit(jnp.float32(1), obs, goal, jax.random.key(0))
    corners = [[1, 1, 1, 1], [-1, 1, -1, 1], [0, 1, 0, 1], [0, 0, 0, 0]]
    np.testing.assert_allclose(taken, corners, atol=1e-6)


def test_what_a_critic_does_by_itself_is_a_share_of_the_episode(learned):
    experiment, run = learned
    assert -1 <= choosing.action_rank(experiment, run.agent) <= 1
    assert 0 <= choosing.right_way(experiment, run.agent) <= 1
    assert 0 <= choosing.greedy_score(experiment, run.agent) <= 1


def test_distances_are_mapped_in_point_mazes_alone(learned):
    experiment, run = learned
    other = experiment._replace(env=experiment.env._replace(maze=None))
    with pytest.raises(UserError, match="point_u_maze is no point maze"):
        maps.distance_rank(other, run.agent, np.array([1, 1]))


@pytest.mark.parametrize(
    "spread", [[1, 1, 1], [4, 4, 0], [7, 0, 0], [2, 1, 0], [1e-9, 1e-9, 0], [0, 0, 0]], ids=str
)
def test_the_effective_rank_of_known_covariances(spread):
    """Points at ± √λ along each axis, turned: the eigenvalues of their covariance are in proportion to λ."""
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    points = np.concatenate([np.diag(np.sqrt(spread)), -np.diag(np.sqrt(spread))]) @ turn + 5
    eigenvalues = np.array(spread, float)
    expected = eigenvalues.sum() ** 2 / (eigenvalues**2).sum() if any(spread) else 0
    assert embedding.effective_rank(points) == pytest.approx(expected, abs=1e-6)


def test_principal_axes_are_those_of_the_covariance():
    points = np.random.default_rng(1).normal(size=(40, 5)) * [3, 1, 2, 0.5, 0.1]
    first, second = embedding.principal_axes(points)
    values = np.linalg.eigvalsh(np.cov(points.T, bias=True))[::-1]
    np.testing.assert_allclose([first.share, second.share], values[:2] / values.sum())
    np.testing.assert_allclose([np.var(first.along), np.var(second.along)], values[:2])
    assert abs(np.dot(first.along, second.along)) < 1e-9


def test_a_way_to_the_goal_is_embedded_up_to_its_first_step_there(learned, monkeypatch):
    """Episodes made by hand: the third has the farther goal of the two that arrive."""
    experiment, run = learned
    maze = figures.maze_of(experiment)
    cells = np.array([[[1.0, 1], [1, 1], [1, 2]], [[1, 1], [1, 1], [1, 1]], [[1, 1], [2, 3], [3, 2]]])
    goal = np.array([[1.0, 2], [3, 1], [3, 2]])

    def recorded(arrivals):
        obs = jnp.asarray(figures.from_cells(maze, cells).swapaxes(0, 1), jnp.float32)
        table = Episodes(
            jnp.asarray(figures.from_cells(maze, goal), jnp.float32), np.zeros(3), np.array(arrivals),
            np.zeros(3), np.array([0.3, 0.1, 0.2]),
        )  # fmt: skip
        monkeypatch.setattr(embedding, "evaluator", lambda *_, record: lambda *_: (table, (None, obs)))
        return embedding.way_to_goal("depth 2", experiment, run.agent), obs

    for arrivals, chosen, steps in (
        ([True, False, True], 2, 3),
        ([False] * 3, 1, 3),
        ([True, False, False], 0, 3),
    ):
        way, obs = recorded(arrivals)
        assert way.arrived == arrivals[chosen]
        goals = jnp.tile(jnp.asarray(figures.from_cells(maze, goal[chosen]), jnp.float32), (steps, 1))
        expected = experiment.agent.embed(run.agent, obs[:steps, chosen], goals)
        np.testing.assert_allclose(way.states, expected, atol=1e-5)
    monkeypatch.undo()
    way = embedding.way_to_goal("depth 2", experiment, run.agent)
    assert way.states.shape[1] == expected.shape[1]
    one = embedding.Way("one point twice", np.ones((2, 3)), arrived=True)
    figure = drawn(embedding.embedding([way, one, way, one]))
    assert figure.axes[1].get_title() == "one point twice\n0%, effective rank 0.0"


def test_norms_are_drawn_by_block_for_networks_that_have_some():
    norms = {
        depth: {f"phi_{name}": np.linspace(1, 2, blocks).tolist() for name in blocks_figure.SHOWN}
        for depth, blocks in (("1", 0), ("4", 1), ("64", 16))
    }
    figure = drawn(blocks_figure.block_norms(norms, "phi"))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["4", "64"]
    for axes in figure.axes:
        assert [line.get_xdata().tolist() for line in axes.get_lines()] == [[1], list(range(1, 17))]
    nothing = drawn(blocks_figure.block_norms(norms, "psi"))
    assert {axes.texts[0].get_text() for axes in nothing.axes} == {"nothing was measured"}


# Means of the last five epochs and their standard errors, as the paper's tables give them.
TABLES = {
    "fig1/humanoid": {
        "4": (12.6, None),
        "8": (100.8, 41),
        "16": (522, 27),
        "32": (638.5, 34),
        "64": (649.5, 27),
    },
    "fig1/ant_big_maze": {"4": (60.7, 20), "8": (319.9, 38), "16": (423.5, 38), "64": (440.8, 33)},
    "fig1/ant_u4_maze": {
        "4": (11.4, None),
        "8": (107.2, 24),
        "16": (138.3, 25),
        "32": (237.9, 31),
        "64": (285.6, 38),
    },
    "fig1/ant_u5_maze": {"4": (0.98, None), "8": (14.9, 12), "32": (111.4, 26), "64": (97.6, 14)},
    "fig1/ant_hardest_maze": {"4": (214.6, 13), "8": (306.5, 9), "16": (391.5, 20), "64": (387.1, 26)},
    "fig1/arm_push_easy": {"4": (307.5, 37), "16": (804.8, 33), "32": (848.3, 40), "64": (761.8, 31)},
    "fig1/arm_push_hard": {"4": (171.1, 16), "16": (419.4, 20), "64": (410.1, 19)},
    "fig1/arm_binpick_hard": {"4": (38.2, 7), "32": (221.3, 21), "64": (218.7, 16)},
    "fig1/humanoid_u_maze": {"4": (3.15, None), "8": (7.2, None), "32": (11.5, 5), "64": (158.9, 39)},
    "fig1/humanoid_big_maze": {"4": (0.06, None), "8": (0.80, None), "16": (26.4, 19), "64": (58.6, 23)},
    "fig7/humanoid_depth_16": {"128": (19, None), "512": (315, None), "1024": (589, None), "2048": (565, None)},
    "fig12/humanoid_u_maze": {"4": (3.2, None), "64": (33, None), "256": (56, None), "1024": (100, 43)},
}


@pytest.mark.parametrize("name", TABLES)
def test_published_curves_end_as_the_papers_tables_say(name):
    found = published.curves(name)
    for label, (mean, error) in TABLES[name].items():
        curve = found.curves[label]
        assert curve.mean[-5:].mean() == pytest.approx(
            mean, abs=0.6 if mean > 200 else 0.51 if mean == int(mean) else 0.1
        )
        if error:
            assert curve.error[-5:].mean() == pytest.approx(error, abs=0.55)


def test_published_results_have_a_source_and_a_unit():
    for name in published.names():
        if name not in (
            "fig7/humanoid",
            *(f"actor_critic/{t}" for t in ("humanoid", "ant_big_maze", "arm_push_easy")),
        ):
            found = published.curves(name)
            assert "arXiv" in found.source
            assert "of 1000" in found.metric
            assert "standard error" in found.error
            for curve in found.curves.values():
                assert len(curve.env_steps) == len(curve.mean) == len(curve.error) > 0
                assert (np.diff(curve.env_steps) > 0).all()
                assert 0 <= curve.mean.min() <= curve.mean.max() <= 1000
    assert published.curves("fig1/ant_u4_maze").curves["4"].env_steps[[0, -1]] == pytest.approx(
        [1.52e6, 98.94e6]
    )
    assert published.curves("chronosrl/ant_u4_maze").curves["16"].mean[-1] == pytest.approx(588, abs=1)
    assert "MIT" in published.curves("chronosrl/ant_u4_maze").licence
    assert "other physics, other budget" in published.panel("fig1/ant_u4_maze").title
    drawn(lines.curves([published.panel("fig1/ant_u4_maze"), published.panel("fig7/humanoid_depth_4")]))
    grid = published.grid("fig7/humanoid")
    np.testing.assert_allclose(
        grid.values[::-1].round(),
        [[7, 8, 13, 15, 12], [13, 24, 76, 242, 29], [19, 30, 315, 589, 565], [26, 289, 652, 716, 700]],
        atol=0.6,
    )
    drawn(grids.heat_map([grid, published.grid("actor_critic/ant_big_maze")]))
    for wrong in (published.curves, published.grid):
        with pytest.raises(UserError, match=r"'fig1/ant'.*there are"):
            wrong("fig1/ant")


def test_published_curves_of_every_study_exist_and_their_numbers_can_be_read():
    files = [tomllib.loads((study.SHIPPED / f"{name}.toml").read_text()) for name in study.shipped()]
    parts = [
        part for file in files for at in (file, *file["scales"].values()) for part in at.get("published", [])
    ]
    assert len(parts) > 10
    for part in parts:
        if "curves" in part:
            assert published.curves(part["curves"]).by == part["axis"].replace("_", " ")
        assert all(np.isfinite(published.number(text)[0]) for text in part["values"].values())
    assert published.number("107.2 ± 24") == (107.2, 24)
    assert published.number("≈ 171")[0] == 171
    with pytest.raises(ValueError, match="could not convert"):
        published.number("many")
