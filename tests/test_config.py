"""Settings: every one is used, survives a file, and is refused by name where it is wrong."""

import ast
import json
import re
import types
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import jaxtyping
import pytest
import toy

import goalward
from goalward import envs, presets
from goalward.cli import dispatch
from goalward.config import (
    AGENTS,
    ChronoConfig,
    CRLConfig,
    NetworkConfig,
    SRLConfig,
    TrainConfig,
    agent_name,
    check_together,
    from_dict,
    merge,
    to_dict,
)
from goalward.errors import UserError

PARTS = {"": TrainConfig, "network": NetworkConfig, **AGENTS}
# What a variable that holds settings is called in the package.
HOLDERS = {"config", "network", "settings", "old", "new"}


def names_read(source: str) -> set[str]:
    """Names x of all reads `….holder.x` in a module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            holder = node.value
            name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", None)
            found |= {node.attr} if name in HOLDERS else set()
    return found


def settings():
    """Part, name and type of every setting that is not itself a part."""
    for part, kind in PARTS.items():
        for name, hint in get_type_hints(kind).items():
            if not is_dataclass(hint):
                yield part, name, hint


def nested(part, name, value):
    """A value as a file gives it: in a table, of an agent with its name."""
    if part in AGENTS:
        return {"agent": {"name": part, name: value}}
    return {part: {name: value}} if part else {name: value}


def with_value(part, name, value):
    return merge(toy.SETTINGS, nested(part, name, value))


def another(name, hint, default):
    """A valid value of a setting that is not its default."""
    near = {
        "discount": 0.5, "value_discount": 0.5, "actor_random_goals": 0.25, "actor_commanded_goals": 0.5,
        "current_goals": 0.25, "random_goals": 0.5, "seed": 7,
        "buffer_rows": 2222, "batch_size": 6, "unroll": 3,
    }  # fmt: skip
    if name in near:
        return near[name]
    if get_origin(hint) is Literal:
        return next(value for value in reversed(get_args(hint)) if value != default)
    allowed = get_args(hint) or (hint,)
    if bool in allowed:
        return not default
    if int in allowed:
        return 60 if default is None else default + 4
    if float in allowed:
        return 1.5 if default is None else (default or 1.0) / 2
    return {"drag": 0.5} if dict in allowed or get_origin(hint) is dict else "point_u4_maze"


def test_every_setting_is_read_outside_its_definition():
    package = Path(goalward.__file__).parent
    sources = [path.read_text() for path in package.rglob("*.py") if path.parent.name != "config"]
    read = set().union(*map(names_read, sources))
    assert {name for _, name, _ in settings()} - read == set()


def test_a_setting_that_nothing_reads_would_be_seen():
    assert names_read("self.config.depth + config.width + network.a; config.b = 1; other.c; config()") == {
        "depth", "width", "a",
    }  # fmt: skip


def test_settings_survive_a_file():
    for agent in AGENTS:
        changed = {"env": "point_u_maze"}
        for part, name, hint in settings():
            if part not in AGENTS or part == agent:
                default = getattr(PARTS[part]("x") if part == "" else PARTS[part](), name)
                value = another(name, hint, default)
                assert value != default
                changed = merge(changed, nested(part, name, value))
        for values in ({"env": "x"}, {"env": "x", "agent": agent}, toy.SETTINGS, changed):
            config = from_dict(values, "test")
            assert from_dict(json.loads(json.dumps(to_dict(config))), "test") == config
        assert json.loads(json.dumps(to_dict(config))) == changed
        assert type(config.agent) is AGENTS[agent]


def test_shares_of_the_actors_goals_are_of_one_batch():
    assert CRLConfig(actor_random_goals=0.25, actor_commanded_goals=0.75).actor_commanded_goals == 0.75
    for one, other in (("actor_random_goals", "actor_commanded_goals"), ("current_goals", "random_goals")):
        both = {"agent": {one: 0.5, other: 0.75}}
        with pytest.raises(UserError, match=rf"{one} 0.5, {other} 0.75: .* at most 1"):
            check_together(from_dict(merge(toy.SETTINGS, both), "test"))


@pytest.mark.parametrize(
    ("energy", "refused", "nearest"), [("mrn", 9, "8 or 10"), ("iqe", 12, "8 or 16"), ("iqe", 4, "8")]
)
def test_a_distance_with_a_direction_needs_whole_groups(energy, refused, nearest):
    for agent in ("crl", "discrete_crl"):
        check_together(toy.config(agent={"name": agent, "energy": energy, "repr_dim": 16}))
        told = f"repr_dim is {refused}, but energy {energy} .*; use --repr-dim {nearest}$"
        with pytest.raises(UserError, match=told):
            check_together(toy.config(agent={"name": agent, "energy": energy, "repr_dim": refused}))


def test_a_bin_has_a_step_at_least():
    for agent in ("srl", "chrono"):
        check_together(toy.config(agent={"name": agent, "window": 9, "bins": 9}))
        with pytest.raises(UserError, match="bins is 10, more than window 9"):
            check_together(toy.config(agent={"name": agent, "window": 9, "bins": 10}))


@pytest.mark.parametrize("name", ["critic_depth", "critic_width"])
@pytest.mark.parametrize("agent", ["gcbc", "gcsl"])
def test_sizes_of_a_critic_are_refused_where_there_is_none(agent, name):
    with pytest.raises(UserError, match=f"{name} is 4, but {agent} has no critic; leave it out"):
        check_together(toy.config(agent={"name": agent}, network={name: 4}))


def test_shares_of_goals_are_of_one_batch():
    check_together(
        toy.config(agent={"name": "td3", "her_share": 0.7, "current_goals": 0.1, "random_goals": 0.2})
    )
    with pytest.raises(UserError, match=r"her_share 0\.8, current_goals 0\.1, random_goals 0\.2: they are"):
        check_together(toy.config(agent={"name": "sac", "current_goals": 0.1, "random_goals": 0.2}))


def test_a_value_in_bins_holds_no_entropy():
    for kind in ("hl_gauss", "two_hot"):
        check_together(toy.config(agent={"name": "sac", "value_loss": kind, "soft_value": False}))
        check_together(toy.config(agent={"name": "td3", "value_loss": kind}))
        with pytest.raises(UserError, match=f"value_loss is {kind}, .*use --no-soft-value with it"):
            check_together(toy.config(agent={"name": "sac", "value_loss": kind}))
    with pytest.raises(UserError, match=r"n_step is 3, .*use --no-soft-value with it, or --n-step 1"):
        check_together(toy.config(agent={"name": "sac", "n_step": 3}))


WITH_ACTOR = [name for name in AGENTS if name != "discrete_crl"]
WITH_CRITIC = [name for name in WITH_ACTOR if name not in ("gcbc", "gcsl")]
# The presets that commands name, and the environments that the others are of.
NAMED = {"paper": ["point_u_maze", "ant"], "quickstart": ["point_u_maze"]}
OWN = {}
EXAMPLES = [envs.asked(str(path)) for path in Path(__file__).parents[1].glob("examples/*.py")]
for env_name in [*envs.names(), "point_u4_maze_gen_1f2f", "ant_u4_maze_gen_1f2f", *EXAMPLES]:
    OWN.setdefault(envs.preset(env_name), []).append(env_name)


def test_every_environment_has_its_preset_and_every_preset_is_of_something():
    of_agents = {f"{name}_{agent}" for name in [*NAMED, *OWN] for agent in AGENTS}
    assert sorted([*NAMED, *OWN]) == [name for name in presets.names() if name not in of_agents]


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_a_configuration_of_its_environments(name):
    values = presets.load(name)
    own = NAMED | OWN
    env = own[name if name in own else name.rpartition("_")[0]][-1]
    config = from_dict(merge({"env": env}, values), name)
    assert merge(to_dict(config), values) == to_dict(config)
    check_together(config)
    envs.make(env, config.env_settings)


@pytest.mark.parametrize("name", ["laptop", "", "../presets/ant", "ant.toml"])
def test_an_unknown_preset_is_told_with_those_there_are(name):
    with pytest.raises(
        UserError,
        match=f"unknown preset '{re.escape(name)}'; the presets are ant, ant_chrono, boxes, gym, ",
    ):
        presets.load(name)


@pytest.mark.parametrize(
    ("total", "epochs", "ends"),
    [(320, 2, [3, 6]), (359, 2, [3, 6]), (120, 1, [1]), (480, 4, [3, 6, 8, 10]), (280, 5, [1, 2, 3, 4, 5])],
)
def test_a_run_takes_its_total_in_whole_rounds_and_its_prefill_is_in_it(total, epochs, ends):
    """Two rounds of 4 · 10 steps are prefill; the first epochs are longer by one iteration, where any is."""
    config = toy.config(total_env_steps=total, epochs=epochs)
    check_together(config)
    assert config.iterations == ends[-1]
    assert config.steps_at(epochs) == total // 40 * 40
    assert [config.iterations_at(epoch + 1) for epoch in range(epochs)] == ends
    done = [sum(end <= i for end in ends) for i in range(ends[-1] + 1)]
    assert [config.epoch_at(i) for i in range(ends[-1] + 1)] == done


@pytest.mark.parametrize("more", [1, 3, 5, 9])
def test_epochs_that_are_added_leave_the_others_where_they_are(more):
    config = toy.config(total_env_steps=480, epochs=4)
    longer = replace(config, epochs=more, total_env_steps=config.steps_at(more))
    for epoch in range(1, more + 1):
        assert (
            longer.iterations_at(epoch)
            == config.iterations_at(epoch)
            == [3, 6, 8, 10, 12, 14, 16, 18, 20][epoch - 1]
        )


@pytest.mark.parametrize(
    ("total", "epochs", "told"),
    [
        (
            400,
            20,
            r"epochs is 20, .* 400 are 8 iterations of 40 .* 80 of prefill; use --epochs 8 or .*steps 880$",
        ),
        (100, 2, r"epochs is 2, .* 0 iterations .* use --total-env-steps 160$"),
        (2**31 - 1, 2**31 - 1, "are 53687089 iterations .*--epochs 53687089 or smaller num_envs"),
    ],
)
def test_more_epochs_than_iterations_are_refused_with_what_is_possible(total, epochs, told):
    with pytest.raises(UserError, match=told):
        check_together(toy.config(total_env_steps=total, epochs=epochs))


def test_more_updates_than_can_be_counted_are_refused():
    config = toy.config(total_env_steps=2**31 - 1, updates_per_iteration=41)
    with pytest.raises(UserError, match=r"updates_per_iteration is 41; for 53687089 iterations .* 1 … 40"):
        check_together(config)


def test_merging_goes_into_parts_and_changes_neither_side():
    base = {"a": 1, "part": {"b": 2, "deep": {"c": 3}}, "kept": [1]}
    over = {"a": 4, "part": {"deep": {"c": 5, "d": 6}}, "new": {"e": 7}}
    copies = json.loads(json.dumps([base, over]))
    merged = merge(base, over)
    assert merged == {"a": 4, "part": {"b": 2, "deep": {"c": 5, "d": 6}}, "kept": [1], "new": {"e": 7}}
    assert [base, over] == copies
    assert merge(base, {}) == base == merge({}, base)
    assert merge({"part": {"b": 1}}, {"part": 2}) == {"part": 2}
    assert merge({"part": 2}, {"part": {"b": 1}}) == {"part": {"b": 1}}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"bach_size": 8}, ["'bach_size'", "'batch_size'", "buffer_rows", "keep_last"]),
        ({"network": {"widht": 8}}, ["'network.widht'", "width'", "block_size"]),
        ({"agent": {"repr_dims": 8}}, ["'agent.repr_dims'", "'agent.repr_dim'", "target_entropy"]),
        ({"agent": {"name": "srl", "bns": 8}}, ["'agent.bns'", "'agent.bins'", "time_basis"]),
        ({"depth": 8}, ["'depth'", "'network.depth'"]),
        ({"agent": {"epochs": 8}}, ["'agent.epochs'", "'epochs'"]),
        ({"zzzzzz": 8}, ["'zzzzzz'", "the settings here are env,"]),
        ({"network": {"zzzzzz": 8}}, ["'network.zzzzzz'", "the settings here are trunk,"]),
    ],
)
def test_an_unknown_setting_is_told_with_the_near_and_the_valid_ones(values, told):
    with pytest.raises(UserError, match=r"^my\.json: unknown setting") as caught:
        from_dict(merge(toy.SETTINGS, values), "my.json")
    assert all(part in str(caught.value) for part in told), caught.value


def test_a_missing_environment_is_told():
    with pytest.raises(UserError, match=r"my\.json: env is missing"):
        from_dict({"seed": 1}, "my.json")


@pytest.mark.parametrize(("part", "name", "hint"), list(settings()), ids=lambda value: str(value))
def test_a_value_of_a_wrong_type_is_told_with_its_place(part, name, hint):
    allowed = get_args(hint) if get_origin(hint) is types.UnionType else (get_origin(hint) or hint,)
    # JSON has these types; a whole number will do for a float, but true and false are no numbers.
    kinds = {type(None): None, bool: True, int: 300, float: 300.5, str: "zz", list: [300], dict: {"zz": 300}}
    fits = set(get_args(hint)) if get_origin(hint) is Literal else None
    refused = 0
    for kind, value in kinds.items():
        if fits is None and (kind in allowed or (kind is int and float in allowed)):
            continue
        with pytest.raises(UserError) as caught:
            from_dict(with_value(part, name, value), "my.json")
        place = "agent" if part in AGENTS else part
        path = f"{place}.{name}" if place else name
        assert f"my.json: {path} is {value!r}" in str(caught.value)
        refused += 1
    assert refused >= 4


@pytest.mark.parametrize("value", [4, None, "deep", [1]])
def test_a_part_must_hold_names_and_values(value):
    with pytest.raises(UserError, match=r"my\.json: network must hold names and values, not"):
        from_dict({"env": "x", "network": value}, "my.json")
    told = (
        "is 'deep'; it must be one of 'crl', 'srl', 'chrono'"
        if value == "deep"
        else "must hold names and values"
    )
    with pytest.raises(UserError, match=rf"my\.json: agent {told}"):
        from_dict({"env": "x", "agent": value}, "my.json")


def test_a_whole_number_will_do_for_a_float():
    agent = toy.config(agent={"logsumexp_penalty": 0, "target_entropy": -1}).agent
    assert type(agent.logsumexp_penalty) is float
    assert (agent.logsumexp_penalty, agent.target_entropy) == (0.0, -1.0)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("part", "name", "values"),
    [
        *[("", name, [0, -1]) for name in ("total_env_steps", "epochs", "num_envs", "steps_per_iteration",
          "updates_per_iteration", "eval_episodes", "keep_last", "steps_per_goal")],
        *[("network", name, [0, -4]) for name in ("width", "actor_width", "critic_width", "block_size")],
        ("", "seed", [-1, 2**70]),
        ("", "total_env_steps", [3_000_000_000]),
        ("", "batch_size", [1, 0]),
        ("", "buffer_rows", [2]),
        ("", "prefill_rows", [2]),
        ("", "updates_per_iteration", [10**9, 10**30]),
        ("", "eval_episodes", [10**9]),
        ("", "random_shift", [1e38, 1e-50, INF, -1.0]),
        ("network", "unroll", [2**31]),
        ("network", "depth", [0, -4, 2**31]),
        *[(name, "repr_dim", [0]) for name in ("crl", "srl", "chrono", "discrete_crl")],
        *[(name, "chunk", [0, 65]) for name in WITH_ACTOR],
        *[(name, share, [-0.1, 1.1, NAN])
          for name in WITH_CRITIC for share in ("current_goals", "random_goals")],
        *[(name, "her_share", [-0.1, 1.1, NAN]) for name in ("sac", "td3")],
        *[(name, "n_step", [0, 1_001]) for name in ("sac", "td3")],
        *[(name, "value_bins", [1, 10**9]) for name in ("sac", "td3")],
        *[(name, "target_rate", [0.0, 1.1, NAN]) for name in ("sac", "td3")],
        *[("td3", noise, [-0.1, NAN, INF])
          for noise in ("exploration_noise", "exploration_clip", "target_noise", "noise_clip")],
        ("td3", "policy_delay", [0, 1_001]),
        ("td3", "saturation_weight", [-0.1, NAN, INF]),
        ("gcbc", "exploration_noise", [-0.1, NAN, INF]),
        *[(name, "value_discount", [0.0, 1.0]) for name in ("srl", "chrono")],
        *[(name, size, [0, 10**9]) for name in ("srl", "chrono") for size in ("window", "bins", "time_basis")],
        ("chrono", "occupancy_bins", [0, 10**9]),
        ("discrete_crl", "critics", [0, 17]),
        ("discrete_crl", "samples_per_episode", [0, 10**9]),
        ("discrete_crl", "target_entropy", [-0.1, NAN, INF]),
        ("discrete_crl", "temperature_lr", [0.0, 1.1]),
        *[("chrono", f"{loss}_weight", [-0.1, NAN, INF])
          for loss in ("hazard", "time", "separation", "occupancy")],
        ("crl", "survival_weight", [-0.1, NAN, INF]),
        ("crl", "logsumexp_penalty", [-0.1, NAN, INF]),
        *[("crl", name, [0.0, 1.1, -0.1, NAN, 1e-50]) for name in ("actor_lr", "critic_lr", "alpha_lr")],
        ("crl", "discount", [0.0, 1.0, -0.1, NAN, 0.99999999, 1e-50]),
        ("crl", "actor_random_goals", [-0.1, 1.1, NAN]),
        ("crl", "actor_commanded_goals", [-0.1, 1.1, NAN]),
        ("crl", "target_entropy", [NAN, INF]),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_told(part, name, values):
    for value in values:
        with pytest.raises(UserError, match=re.escape(f"{name} is {value}")):
            from_dict(with_value(part, name, value), "test")


@pytest.mark.parametrize(
    ("text", "told"),
    [('{"random_shift": 1%s}' % ("0" * 400), "random_shift is inf"),
     ('{"seed": 1%s}' % ("0" * 400), "more than 40 digits"),
     ('{"agent": {"discount": 0.99999999}}', "discount is 0.99999999; it must lie in 1e-06 … 0.9999999"),
     ('{"agent": {"actor_lr": 1e-50}}', "actor_lr is 1e-50; it must lie in 1e-12 … 1")],
    ids=["a float of 400 digits", "a whole number of 400 digits", "1 for 32 bits", "0 for 32 bits"],
)  # fmt: skip
def test_a_number_that_its_type_cannot_hold_is_told(text, told):
    with pytest.raises(UserError, match=told):
        from_dict(merge(toy.SETTINGS, json.loads(text)), "test")


@pytest.mark.parametrize("name", ["steps_per_iteration", "prefill_rows"])
def test_a_chunk_larger_than_the_ring_is_told_with_the_remedy(name):
    with pytest.raises(
        UserError, match=f"{name} is 61, more than buffer_rows 60; raise --buffer-rows or lower"
    ):
        check_together(toy.config(**{name: 61, "total_env_steps": 4000}))


def test_a_batch_larger_than_the_replay_is_told_with_the_remedy():
    check_together(toy.config(batch_size=240))
    with pytest.raises(UserError, match=r"batch_size is 241.* 240 rows.*4 worlds × 60.*--buffer-rows"):
        check_together(toy.config(batch_size=241))


def test_numbers_need_to_go_together_only_when_all_are_known(tmp_path):
    """A file's alone do not: flags may mend it."""
    (tmp_path / "my.json").write_text('{"num_envs": 8192, "buffer_rows": 100}')
    words = ["point_u_maze", "--config", tmp_path / "my.json", "--prefill-rows", 50, "--total-env-steps", 10**8]
    check_together(parse(*words))


def parse(*words):
    """The settings that `goalward train` makes of some words."""
    words = [str(word) for word in words]
    return dispatch.parse("train", words).settings


JSON = '{"num_envs": 7, "network": {"width": 9, "depth": 8}, "env_settings": {"drag": 0.5}}'
TOML = "num_envs = 7\n[network]\nwidth = 9\ndepth = 8\n[env_settings]\ndrag = 0.5\n"


@pytest.mark.parametrize(("name", "text"), [("my.json", JSON), ("my.toml", TOML)])
@pytest.mark.parametrize("written", ["--config={}", "--config {}"])
def test_flags_win_over_the_file_and_the_file_over_the_preset(tmp_path, name, text, written):
    path = tmp_path / name
    path.write_text(text)
    words = ["point_u_maze", *written.format(path).split(), "--preset", "paper", "--depth", 12, "--epochs", 3]
    config, paper = parse(*words), presets.load("paper")
    assert (config.network.depth, config.epochs) == (12, 3)  # flags
    assert (config.num_envs, config.network.width) == (7, 9)  # the file
    assert (config.batch_size, config.buffer_rows) == (paper["batch_size"], paper["buffer_rows"])
    assert config.env_settings == paper["env_settings"] | {"drag": 0.5}
    assert config.agent == CRLConfig()  # the defaults
    assert "agent" not in paper
    assert parse("point_u_maze", "--preset", "paper").num_envs == paper["num_envs"]
    assert parse("point_u_maze", "--config", path).network.depth == 8


def test_of_a_flag_that_is_given_twice_the_last_wins(tmp_path):
    (tmp_path / "a.json").write_text('{"num_envs": 7}')
    (tmp_path / "b.json").write_text('{"num_envs": 9, "seed": 3}')
    both = ["--config", tmp_path / "a.json", f"--config={tmp_path / 'b.json'}"]
    words = ["point_u_maze", *both, "--preset=laptop", "--preset", "paper", "--residual", "--no-residual"]
    config = parse(*words)
    assert (config.num_envs, config.seed, config.batch_size) == (9, 3, presets.load("paper")["batch_size"])
    assert not config.network.residual
    assert parse("point_u_maze", *both, "--config", tmp_path / "a.json").num_envs == 7


def test_a_file_may_be_the_configuration_of_another_run(tmp_path):
    from goalward import runs

    runs.save_config(tmp_path, toy.config(seed=3))
    assert parse("--config", tmp_path / "config.json") == toy.config(seed=3)
    assert parse(*toy.words()) == toy.config()


@pytest.mark.parametrize(
    ("line", "env", "name"),
    [
        ("ant --depth 8", "ant", "open_ant"),
        ("--depth 8 ant", "ant", "open_ant"),
        ("--remat --no-layer-norm ant_push", "ant_push", "ant"),
        ("--env-settings episode_length=9 start_noise=0 --seed 3 ant_u_maze", "ant_u_maze", "ant"),
        ("--seed=3 --preset laptop point_u_maze", "point_u_maze", "point"),
        ("arm_reach", "arm_reach", "mujoco"),
        ("arm_reach --preset paper", "arm_reach", "paper"),
    ],
)
def test_the_laptop_preset_is_the_environments_own(line, env, name):
    config = parse(*line.split())
    expected = from_dict(merge({"env": env}, presets.load(name)), name)
    for field in ("env", "num_envs", "buffer_rows", "random_shift", "agent", "steps_per_goal"):
        assert getattr(config, field) == getattr(expected, field)
    assert parse() == TrainConfig(""), "where no environment is named"


def test_a_config_file_names_the_environment_too(tmp_path):
    (tmp_path / "settings.toml").write_text('env = "humanoid"\nnum_envs = 32\n')
    config = parse("--config", str(tmp_path / "settings.toml"))
    assert (config.env, config.num_envs, config.network.width) == ("humanoid", 32, 128)


def test_a_value_too_deep_to_print_is_refused_too():
    deep: dict = {}
    for _ in range(5000):
        deep = {"a": deep}
    with pytest.raises(UserError, match=r"seed is \{'a': \{'a': \{\.\.\.\}\}\}; it must be of type int"):
        from_dict({"env": "point_u_maze", "seed": deep}, "file")


# Agents -----------------------------------------------------------------------------------------------------

POINT = CRLConfig(discount=0.95, actor_random_goals=0.5)  # what point mazes have on a laptop


def of_preset(agent, kind):
    """The settings of an agent in its preset for point mazes."""
    return kind(
        **{name: value for name, value in presets.load("point", agent)["agent"].items() if name != "name"}
    )


SRL, CHRONO = of_preset("srl", SRLConfig), of_preset("chrono", ChronoConfig)


def test_a_setting_has_one_name_and_is_a_switch_in_all_agents_or_in_none():
    """Flags have no prefix, and are read before it is known which agent they are of."""
    kinds = {}
    for part, name, hint in settings():
        place = "agent" if part in AGENTS else part
        assert kinds.setdefault(name, (place, hint is bool)) == (place, hint is bool), name
    assert not {"name", "config", "preset", "agent", "out", "resume", "profile", "json"} & kinds.keys()


def test_the_defaults_of_the_agents_are_those_of_their_papers():
    """Where they differ; that is docs/settings.md's table too."""
    crl, srl, chrono, discrete, *rivals, gcbc, gcsl = (kind() for kind in AGENTS.values())
    assert {(one.her_share, one.reward, one.n_step, one.target_rate) for one in rivals} == {
        (0.8, "minus_one_zero", 1, 0.005)
    }
    assert (gcbc.horizon, gcbc.likelihood) == ("uniform", "unit_variance")
    assert (gcsl.horizon, gcsl.likelihood) == ("uniform", "gaussian")
    assert (discrete.repr_dim, discrete.discount, discrete.target_entropy) == (64, 0.99, None)
    for name, values in {
        "repr_dim": (64, 128, 64), "discount": (0.99, 0.999, 0.99), "chunk": (1, 1, 2),
        "current_goals": (0.0, 0.05, 0.05), "random_goals": (0.0, 0.1, 0.1),
    }.items():  # fmt: skip
        assert tuple(getattr(one, name) for one in (crl, srl, chrono)) == values
    assert (chrono.value_discount, chrono.window, chrono.bins, chrono.censoring) == (
        srl.value_discount, srl.window, srl.bins, srl.censoring,
    ) == (0.999, 1000, 1000, "observed")  # fmt: skip


@pytest.mark.parametrize(
    ("agent", "name", "told"),
    [
        (
            "srl",
            "energy",
            "agent.energy is no setting of srl; crl and discrete_crl have it; the settings of srl are norm",
        ),
        ("crl", "bins", "agent.bins is no setting of crl; srl and chrono have it; the settings of crl are "),
        (
            "srl",
            "time_weight",
            "agent.time_weight is no setting of srl; chrono has it; the settings of srl are ",
        ),
    ],
)
def test_a_setting_of_another_agent_is_told_by_name(agent, name, told):
    with pytest.raises(UserError, match=re.escape(f"my.json: {told}")):
        from_dict(with_value(agent, name, 1), "my.json")


def test_a_name_alone_is_that_agent_with_its_defaults_and_no_name_is_crl():
    for name, kind in AGENTS.items():
        config = from_dict({"env": "x", "agent": name}, "test")
        assert config.agent == kind()
        assert agent_name(config.agent) == name
    assert from_dict({"env": "x"}, "test").agent == CRLConfig()
    assert from_dict({"env": "x", "agent": {"chunk": 3}}, "test").agent == CRLConfig(chunk=3)


def test_a_preset_is_of_its_agent_and_of_another_without_its_settings(tmp_path, monkeypatch):
    from importlib import resources

    own = presets.load("point")["agent"]
    assert own == {"name": "crl", "discount": 0.95, "actor_random_goals": 0.5}
    assert presets.load("point", "crl") == presets.load("point")
    assert presets.load("mujoco", "chrono") == presets.load("mujoco") | {"agent": {"name": "chrono"}}
    assert presets.load("point", "chrono")["agent"]["name"] == "chrono"
    (tmp_path / "point.toml").write_text("seed = 1\n[agent]\nname = 'crl'\nchunk = 2")
    (tmp_path / "point_srl.toml").write_text("seed = 2\n[agent]\nname = 'srl'\nchunk = 3")
    monkeypatch.setattr(resources, "files", lambda _: tmp_path)
    assert presets.load("point", "srl") == {"seed": 2, "agent": {"name": "srl", "chunk": 3}}
    assert presets.load("point", "chrono") == {"seed": 1, "agent": {"name": "chrono"}}
    assert presets.load("point", "crl") == presets.load("point")


def test_a_preset_of_an_agents_own_names_it():
    for name in presets.names():
        base, _, agent = name.rpartition("_")
        if agent in AGENTS:
            assert base in presets.names()
            assert presets.load(name)["agent"]["name"] == agent


def test_settings_written_when_crl_was_the_only_agent_are_read(tmp_path):
    """As a run's config.json was, and as people's files are."""
    from goalward import runs

    old = to_dict(toy.config(seed=3))
    table = old.pop("agent")
    old |= {"agent": table.pop("name"), "crl": table, "format": 2}
    (tmp_path / "config.json").write_text(json.dumps(old))
    assert runs.load_config(tmp_path) == toy.config(seed=3)
    (tmp_path / "mine.toml").write_text("[crl]\nenergy = 'dot'")
    config = parse("point_u_maze", "--config", tmp_path / "mine.toml")
    assert config.agent == replace(POINT, energy="dot")
    (tmp_path / "mine.toml").write_text("agent = 'srl'\n[crl]\nenergy = 'dot'")
    with pytest.raises(UserError, match="unknown setting 'crl'"):
        parse("point_u_maze", "--config", tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "flags", "agent"),
    [
        ("", "", POINT),
        ("", "--agent srl", SRL),
        ("", "--agent=chrono --chunk 3 --agent srl", replace(SRL, chunk=3)),
        ("", "--bins 9 --time_basis 3 --agent chrono", replace(CHRONO, bins=9, time_basis=3)),
        ("agent = 'srl'", "", SRL),
        ("agent = 'srl'", "--agent crl --energy dot", replace(POINT, energy="dot")),
        ("agent = {name = 'srl', chunk = 2}", "", replace(SRL, chunk=2)),
        ("agent = {name = 'srl', chunk = 2}", "--agent srl --bins 8", replace(SRL, chunk=2, bins=8)),
        ("agent = {name = 'srl', chunk = 2}", "--agent chrono", CHRONO),
        ("agent = {chunk = 4}", "", replace(POINT, chunk=4)),
        ("agent = {chunk = 4}", "--agent chrono", replace(CHRONO, chunk=4)),
        ("agent = {energy = 'dot'}", "--no-normalise-inputs --mass-weights",
         replace(POINT, energy="dot", mass_weights=True)),
    ],
)  # fmt: skip
def test_which_agent_it_is_says_the_flag_then_the_file_then_the_preset(tmp_path, text, flags, agent):
    """What the file or the preset sets of another agent than that does not count."""
    (tmp_path / "my.toml").write_text(text)
    words = ["point_u_maze", *flags.split(), "--config", str(tmp_path / "my.toml")]
    for command in ("train", "plan"):
        args = dispatch.parse(command, words)
        assert args.settings.agent == agent
        assert args.agent == agent_name(agent)
        assert args.settings.steps_per_goal == 25, "the preset's"


# Programs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"epochs": "3"}, "TrainConfig: epochs is '3'; it must be of type int"),
        ({"seed": 1.5}, "TrainConfig: seed is 1.5; it must be of type int"),
        ({"network": {"depth": 4}}, "network is {'depth': 4}; it must be a NetworkConfig"),
        ({"agent": "crl"}, "agent is 'crl'; it must be a CRLConfig or SRLConfig or ChronoConfig"),
        ({"env": 3}, "TrainConfig: env is 3; it must be of type str"),
        ({"env_settings": [1]}, "TrainConfig: env_settings is [1]; it must be of type dict"),
    ],
    ids=str,
)
def test_a_field_of_a_wrong_type_is_told_to_programs_too(fields, told, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    with pytest.raises(UserError, match=re.escape(told)):
        TrainConfig(**({"env": "point_u_maze"} | fields))
