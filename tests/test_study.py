"""Studies: what a file may say, which runs come of it, and how it is refused."""

import tomllib

import pytest

from goalward import presets
from goalward.cli import dispatch
from goalward.config import CRLConfig, SRLConfig, from_dict, merge
from goalward.errors import UserError
from goalward.lab import axes, display, study
from goalward.lab.source import line_of

GOOD = """\
question = "Does it matter?"

[base]
env = "point_u_maze"
width = 16          # by its own name
agent.discount = 0.9

[axes]
depth = [4, 8]
"env_settings.step_size" = [0.1, 0.2]
kind = [
    { label = "plain", residual = false },
    { label = "blocks", "network.residual" = true, block_size = 2 },
]
seed = "3..5"

[measures]
score = { kind = "final", metric = "success_rate" }
arrival = { kind = "reached", metric = "success_rate", at_least = 0.5 }

[prediction]
text = "It does."
success = "better(score(depth=8), score(depth=4)) and iqm(score(depth=8)) > 2 * mean(score(depth=4))"
partly = "median(arrival(depth=8, kind='blocks')) < 1e5"

[[figures]]
kind = "curves"
metric = "success_rate"
by = "depth"

[[published]]
what = "a table"
axis = "depth"
values = { 4 = "1", 8 = "2" }

[scales.laptop]

[scales.smoke]
base = { network = { width = 8 }, total_env_steps = 64_000, epochs = 2 }
axes = { seed = [0] }
prediction.success = "iqm(score(depth=4)) > 0"
"""


def built(text, scale="laptop", name="mine.toml"):
    return study.build(tomllib.loads(text), "mine", study.Source(name, text, scale))


def test_a_trial_for_each_combination_one_seed_of_all_first():
    found = built(GOOD)
    assert [axis.name for axis in found.axes] == ["depth", "step_size", "kind", "seed"]
    assert [trial.labels["seed"] for trial in found.trials] == ["3"] * 8 + ["4"] * 8 + ["5"] * 8
    names = [trial.name for trial in found.trials]
    assert len(set(names)) == 24
    assert names[0] == "depth=4,step_size=0.1,kind=plain,seed=3"
    for trial in found.trials:
        config, labels = trial.config, trial.labels
        assert str(config.network.depth) == labels["depth"]
        assert str(config.env_settings["step_size"]) == labels["step_size"]
        assert str(config.seed) == labels["seed"]
        assert config.network.residual == (labels["kind"] == "blocks")
        assert config.network.block_size == (2 if labels["kind"] == "blocks" else 4)
        assert (config.network.width, config.agent.discount) == (16, 0.9)
        assert config.steps_per_goal == 25  # the preset's


def test_a_scale_may_override_anything():
    found = built(GOOD, "smoke")
    assert len(found.trials) == 8
    assert {trial.config.network.width for trial in found.trials} == {8}
    assert {trial.config.agent.discount for trial in found.trials} == {0.9}
    assert found.prediction is not None
    assert found.prediction.success == "iqm(score(depth=4)) > 0"


def test_a_document_gives_the_study_again():
    found = built(GOOD)
    again = study.from_document(found.document, found.name, found.scale)
    assert again == found


def test_nothing_in_place_of_an_option_is_a_missing_option():
    document = built(GOOD).document
    document["published"][0]["axis"] = None  # as a damaged sweep.json may say, and no TOML
    with pytest.raises(UserError, match="axis is missing"):
        study.from_document(document, "mine", "laptop")


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("width = 16", "widht = 16", 5, "'widht'; did you mean 'network.width'"),
        ("width = 16", "width = -1", 5, "width is -1"),
        ("width = 16", 'width = "a"', 5, "network.width is 'a'; it must be of type int"),
        ("agent.discount = 0.9", "agent.discuont = 0.9", 6, "unknown setting 'agent.discuont'"),
        ('env = "point_u_maze"', 'env = "point_u_maz"', 8, "unknown environment 'point_u_maz'"),
        ('env = "point_u_maze"\n', "", 3, "env is missing"),
        ("depth = [4, 8]", "dpeth = [4, 8]", 9, "unknown setting 'dpeth'"),
        ("depth = [4, 8]", 'depth = [4, "x"]', 9, "network.depth is 'x'"),
        ("kind = [\n", '"../kind" = [\n', 8, "an axis cannot be named '/kind'"),
        ("depth = [4, 8]", "depth = []", 9, "axis depth is []"),
        ("depth = [4, 8]", "depth = [4, 4]", 9, "axis depth has 4 twice"),
        ('label = "plain", ', "", 11, "no label"),
        ("block_size = 2 }", "blok_size = 2 }", 13, "unknown setting 'blok_size'"),
        ('"3..5"', '"5..3"', 15, "a range is written as 0..4"),
        ('kind = "final"', 'kind = "fianl"', 18, "kind is 'fianl'"),
        ('kind = "final"', 'kind = ["final"]', 18, "kind is ['final']"),
        ('"success_rate" }', '"success_rate", last = 2.5 }', 18, "last is 2.5; it must be a whole number"),
        (", at_least = 0.5", "", 19, "at_least is missing"),
        ("at_least = 0.5", "at_least = inf", 19, "at_least is inf; it must be a number above 0"),
        ('metric = "success_rate", at', 'metric = "sucess", at', 19, "metric is 'sucess'; it must be one of"),
        ("depth=8), score(depth=4)) and", "depth=9), score(depth=4)) and", 23, "label of depth '9'"),
        ("better(score", "beter(score", 23, "is not understood"),
        ("median(arrival", "iqm(arrival", 24, "a time until a threshold"),
        ('by = "depth"', 'by = "dept"', 29, "by is 'dept'; the axes are depth, step_size, kind, seed"),
        ('kind = "curves"', 'kind = "curve"', 27, "kind is 'curve'"),
        ("values = {", 'curves = "fig1/ant"\nvalues = {', 34, "curves is 'fig1/ant'; there are fig1/"),
        ('what = "a table"', "what = 4", 32, "what is 4; it must be a text"),
        ('values = { 4 = "1", 8 = "2" }', "values = 4", 34, "values is 4; it must be numbers or texts"),
        ('values = { 4 = "1", 8 = "2" }', "values = { 4 = [1] }", 34, "values is {'4': [1]}"),
        ("curves\"\nmetric = \"success_rate\"\nby", 'line"\nmeasure = ["score"]\nx', 28, "measure is ["),
        ('curves"\nmetric = "success_rate"\nby', 'line"\nmeasure = "score"\nlog = "no"\nx', 29, "log is 'no'"),
        ('axis = "depth"', 'axis = "width"', 33, "axis is 'width'"),
        ("[scales.laptop]", "[scales.laptop]\nbase = { depht = 4 }", 37, "unknown setting 'depht'"),
        ("[scales.laptop]", '[scales.laptop]\nprediction.success = "iqm(x()) > 0"', 37, "unknown measure 'x'"),
        ("[scales.laptop]", "[scales.laptop]\nsteps = 4", 37, "unknown entry 'steps' in scales.laptop"),
        ('question = "Does it matter?"', 'qestion = "?"', 1, "'qestion'; did you mean 'question'"),
        ('question = "Does it matter?"', 'question = "?"\nsource = 4', 2, "source is 4; write a text"),
        ('question = "Does it matter?"', 'question = "?"\nof = ["depth"]', 2, "of is ['depth']; write a text"),
        ('question = "Does it matter?"', "question = 4", 1, "question is 4; write a text"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_file_and_line(old, new, line, told):
    assert old in GOOD
    with pytest.raises(UserError) as caught:
        built(GOOD.replace(old, new, 1))
    assert str(caught.value).startswith(f"mine.toml:{line}: "), caught.value
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("width = 16", "widht = 16", 5), ("depth = [4, 8]", "depth = [4, -8]", 9), ("width = 8", "widht = 8", 39)],
)
def test_a_mistake_is_found_where_it_stands_whatever_the_scale_says_too(old, new, line):
    with pytest.raises(UserError, match=rf"mine\.toml:{line}: "):
        built(GOOD.replace(old, new, 1), "smoke")


def test_a_file_is_refused_for_a_mistake_at_any_of_its_scales(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("prediction.success =", "prediction.sucess ="))
    with pytest.raises(UserError, match=r"mine\.toml:41: unknown entry 'sucess'"):
        study.load(str(path), "laptop")


def test_unknown_names_of_studies_and_scales_are_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no scale 'papper'; its scales are laptop, smoke"):
        built(GOOD, "papper")
    with pytest.raises(UserError, match="did you mean 'depth_point_u4'"):
        study.load("depth_point_u", "smoke")
    with pytest.raises(UserError, match=r"a\.toml cannot be read"):
        study.load(str(tmp_path / "a.toml"), "smoke")
    (tmp_path / "b.toml").write_text("question = ")
    with pytest.raises(UserError, match=r"b\.toml is not valid TOML: Invalid value"):
        study.load(str(tmp_path / "b.toml"), "smoke")


def test_a_study_of_the_runs_of_another_file_is_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "mine.toml").write_text(GOOD)
    other = tmp_path / "files" / "other.toml"
    other.write_text('question = "And?"\nof = "mine.toml"\n[scales.smoke]\n')
    monkeypatch.chdir(tmp_path)
    found = study.load("files/other.toml", "smoke")
    assert (found.name, found.of) == ("other", "mine")
    assert found.trials == built(GOOD, "smoke").trials
    for of in ("again.toml", "other.toml"):
        (tmp_path / "files" / "again.toml").write_text(f'question = "?"\nof = "{of}"\n[scales.smoke]\n')
        with pytest.raises(UserError, match=r"again\.toml:2: of is .*, which has no runs of its own"):
            study.load("files/again.toml", "smoke")


def test_axes_in_words():
    found = study.plain("point_u_maze", ["depth=4,8", "activation=relu", "seed=0..2"], {"width": 8})
    assert [trial.name for trial in found.trials[:2]] == [
        "depth=4,activation=relu,seed=0",
        "depth=8,activation=relu,seed=0",
    ]
    assert len(found.trials) == 6
    assert {trial.config.network.width for trial in found.trials} == {8}
    for words, told in {
        ("depth",): "write a setting and its values",
        ("dpth=4",): "unknown setting 'dpth'",
        ("depth=4", "seed=0..2", "depth=8"): "axis depth is given twice",
    }.items():
        with pytest.raises(UserError, match=told):
            study.plain("point_u_maze", words)


def test_steps_tell_no_time_where_none_are_taken(tmp_path):
    text = """
question = "?"
[base]
env = "point_u_maze"
dataset = "x.npz"
[measures]
area = { kind = "area", metric = "success_rate", clock = "env_steps" }
[scales.laptop]
"""
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError, match=r":7: clock is 'env_steps', and runs of a dataset take none"):
        study.load(str(tmp_path / "mine.toml"), "laptop")
    curves = 'kind = "curves"\nmetric = "success_rate"\nby = "seed"\nclock = "env_steps"\n'
    text = text.replace(', clock = "env_steps"', "") + f"[[figures]]\n{curves}"
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UserError, match=r":13: clock is 'env_steps'"):
        study.load(str(tmp_path / "mine.toml"), "laptop")


def test_runs_whose_names_would_be_too_long_have_names_of_their_own():
    fixed = ["width=8", "block_size=2", "batch_size=16", "num_envs=4", "activation=relu", "eval_episodes=4"]
    fixed += ["steps_per_iteration=10", "updates_per_iteration=2", "buffer_rows=600"]
    found = study.plain("point_u_maze", [*fixed, "depth=4,8", "seed=0..2"])
    names = {trial.name for trial in found.trials}
    assert len(names) == 6
    assert {len(name) for name in names} == {axes.LONGEST_NAME}
    assert {name[-7:] for name in names} == {",seed=0", ",seed=1", ",seed=2"}
    assert len({display._group(name) for name in names}) == 2


AGENTS = """\
question = "Which?"

[base]
env = "point_u_maze"
discount = 0.97

[axes]
agent = ["crl", "srl"]
chunk = [1, 2]

[scales.laptop]
"""


def of_preset(preset, agent, **changes):
    """The settings of an agent in its preset, with some changed."""
    values = merge(presets.load(preset, agent), {"agent": changes})
    return from_dict(merge({"env": "x"}, values), preset).agent


def test_an_agent_and_its_settings_may_be_axes():
    found = built(AGENTS)
    assert [trial.name for trial in found.trials] == [
        f"agent={agent},chunk={chunk},seed=0" for agent in ("crl", "srl") for chunk in (1, 2)
    ]
    # A preset's settings are of its agent; those of the study hold for both.
    expected = [
        of_preset("point", agent, discount=0.97, chunk=chunk) for agent in ("crl", "srl") for chunk in (1, 2)
    ]
    assert [trial.config.agent for trial in found.trials] == expected
    assert [type(agent) for agent in expected] == [CRLConfig, CRLConfig, SRLConfig, SRLConfig]
    for trial in found.trials:
        assert dispatch.parse("train", list(trial.words[1:])).settings == trial.config
        assert ("--agent", trial.labels["agent"]) in zip(trial.words, trial.words[1:], strict=False)


def test_points_of_an_axis_may_be_of_different_agents():
    points = '{ label = "dot", energy = "dot" }, { label = "few", agent = "chrono", bins = 9, time_weight = 0 }'
    found = built(AGENTS.replace('agent = ["crl", "srl"]', f"kind = [{points}]").replace("[1, 2]", "[3]"))
    assert [trial.config.agent for trial in found.trials] == [
        of_preset("point", "crl", discount=0.97, chunk=3, energy="dot"),
        of_preset("point", "chrono", discount=0.97, chunk=3, bins=9, time_weight=0.0),
    ]
    assert found.trials[1].words[:4] == ("train", "point_u_maze", "--discount", "0.97")
    for trial in found.trials:
        assert dispatch.parse("train", list(trial.words[1:])).settings == trial.config


def test_an_agent_may_be_an_axis_in_words():
    found = study.plain("point_u_maze", ["agent=crl,srl", "agent.discount=0.9,0.99"])
    assert [trial.name for trial in found.trials][::3] == [
        "agent=crl,discount=0.9,seed=0",
        "agent=srl,discount=0.99,seed=0",
    ]
    with pytest.raises(UserError, match="agent is 'srk'; it must be one of 'crl', 'srl', 'chrono'"):
        study.plain("point_u_maze", ["agent=crl,srk"])
    found = study.plain("ant", ["window=2000,3000"], {"agent": "chrono"})
    assert [trial.config.agent for trial in found.trials] == [
        of_preset("open_ant", "chrono", window=window) for window in (2000, 3000)
    ]


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("discount = 0.97", "bins = 0", 5, "bins is 0; it must lie in 1 … "),
        ("discount = 0.97", "agent.binz = 9", 5, "unknown setting 'agent.binz'; did you mean 'agent.bins'?"),
        ("discount = 0.97", "agent = 4", 5, "agent is 4; it must be one of 'crl', 'srl', 'chrono'"),
        ('"crl", "srl"', '"crl", "slr"', 8, "agent is 'slr'; it must be one of 'crl', 'srl', 'chrono'"),
        ("chunk = [1, 2]", "chunk = [0, 2]", 9, "chunk is 0; it must lie in 1 … 64"),
        ("discount = 0.97", "bins = 9", 7,
         "the run agent=crl,chunk=1,seed=0 cannot be: agent.bins is no setting of crl; srl and chrono have it"),
        ("chunk = [1, 2]", 'energy = ["l2"]', 7,
         "the run agent=srl,energy=l2,seed=0 cannot be: agent.energy is no setting of srl; crl and discrete_"),
    ],
)  # fmt: skip
def test_a_setting_is_of_one_of_the_agents_and_in_a_run_of_its_own(old, new, line, told):
    assert old in AGENTS
    with pytest.raises(UserError) as caught:
        built(AGENTS.replace(old, new, 1))
    assert str(caught.value).startswith(f"mine.toml:{line}: "), caught.value
    assert told in str(caught.value)


def test_line_of_follows_tables_lists_and_inline_tables():
    text = '[a.b]\nc = 1\n[[d]]\ne = 1\n[[d]]\n"x.y" = 2\ne = [\n  { f = 1 },\n  { g = 2 },\n]\n'
    for path, line in {
        ("a", "b", "c"): 2,
        ("d", "0", "e"): 4,
        ("d", "1", "e"): 7,
        ("d", "1", "e", "g"): 9,
    }.items():
        assert line_of(text, path) == (line, len(path))
    assert line_of(text, ("nothing",)) == (0, 0)
    assert line_of(text, ("a", "b", "z")) == (1, 2)


ALL = [
    (name, scale)
    for name in study.shipped()
    for scale in tomllib.loads((study.SHIPPED / f"{name}.toml").read_text())["scales"]
]


@pytest.mark.parametrize(("name", "scale"), ALL)
def test_studies_of_the_package_say_the_commands_of_their_runs(name, scale):
    found = study.load(name, scale)
    assert found.source
    assert {"smoke", "laptop", "gpu", "paper"} >= {scale}
    words = list(found.trials[-1].words)
    assert words[0] == "train"
    assert dispatch.parse("train", words[1:]).settings == found.trials[-1].config


@pytest.mark.parametrize("name", [name for name, scale in ALL if scale == "gpu"])
def test_what_a_gpu_gives_in_minutes_can_be_judged(name):
    """An undecided prediction is one of which runs are missing, and an interval needs two seeds."""
    found = study.load(name, "gpu")
    assert found.axis("seed").labels == ["0"]
    assert found.prediction is not None
    for claim in (found.prediction.success, found.prediction.partly):
        assert claim is not None
        assert "better(" not in claim
