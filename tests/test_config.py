"""Settings: every one is used, survives a file, and is refused by name where it is wrong."""

import ast
import json
import re
import types
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import jaxtyping
import pytest
import toy

import goalward
from goalward import envs, presets
from goalward.cli import dispatch
from goalward.config import (
    CRLConfig,
    NetworkConfig,
    TrainConfig,
    check_together,
    from_dict,
    merge,
)
from goalward.errors import UserError

PARTS = {"": TrainConfig, "network": NetworkConfig, "crl": CRLConfig}
# What a variable that holds settings is called in the package.
HOLDERS = {"config", "network", "crl", "settings", "old", "new"}


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


def with_value(part, name, value):
    return merge(toy.SETTINGS, {part: {name: value}} if part else {name: value})


def another(name, hint, default):
    """A valid value of a setting that is not its default."""
    near = {
        "discount": 0.5, "actor_random_goals": 0.25, "actor_commanded_goals": 0.5, "seed": 7,
        "buffer_rows": 2222, "batch_size": 6, "unroll": 3,
    }  # fmt: skip
    if name in near:
        return near[name]
    if get_origin(hint) is Literal:
        return get_args(hint)[-1]
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
    assert {name for kind in PARTS.values() for name in (f.name for f in fields(kind))} - read == set()


def test_a_setting_that_nothing_reads_would_be_seen():
    assert names_read("self.config.depth + config.width + crl.a; config.b = 1; other.c; config()") == {
        "depth", "width", "a",
    }  # fmt: skip


def test_settings_survive_a_file():
    changed = {"env": "point_u_maze"}
    for part, name, hint in settings():
        default = getattr(PARTS[part]("x") if part == "" else PARTS[part](), name)
        value = another(name, hint, default)
        assert value != default or name == "agent"  # there is but one
        changed = merge(changed, {part: {name: value}} if part else {name: value})
    for values in ({"env": "x"}, toy.SETTINGS, changed):
        config = from_dict(values, "test")
        assert from_dict(json.loads(json.dumps(asdict(config))), "test") == config
    assert json.loads(json.dumps(asdict(config))) == changed


def test_shares_of_the_actors_goals_are_of_one_batch():
    assert CRLConfig(actor_random_goals=0.25, actor_commanded_goals=0.75).actor_commanded_goals == 0.75
    both = {"crl": {"actor_random_goals": 0.5, "actor_commanded_goals": 0.75}}
    with pytest.raises(
        UserError, match=r"actor_random_goals is 0.5 and actor_commanded_goals 0.75; .* at most 1"
    ):
        check_together(from_dict(merge(toy.SETTINGS, both), "test"))


# The presets that commands name, and the environments that the others are of.
NAMED = {"paper": ["point_u_maze", "ant"], "quickstart": ["point_u_maze"]}
OWN = {}
for env_name in [*envs.names(), "point_u4_maze_gen_1f2f", "ant_u4_maze_gen_1f2f"]:
    OWN.setdefault(envs.preset(env_name), []).append(env_name)


def test_every_environment_has_its_preset_and_every_preset_is_of_something():
    assert sorted([*NAMED, *OWN]) == presets.names()


@pytest.mark.parametrize("name", presets.names())
def test_a_preset_is_a_configuration_of_its_environments(name):
    values = presets.load(name)
    env = (NAMED | OWN)[name][-1]
    config = from_dict(merge({"env": env}, values), name)
    assert merge(asdict(config), values) == asdict(config)
    check_together(config)
    envs.make(env, config.env_settings)


@pytest.mark.parametrize("name", ["laptop", "", "../presets/ant", "ant.toml"])
def test_an_unknown_preset_is_told_with_those_there_are(name):
    with pytest.raises(UserError, match=f"unknown preset '{re.escape(name)}'; the presets are ant, mujoco, "):
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
        ({"crl": {"repr_dims": 8}}, ["'crl.repr_dims'", "repr_dim'", "target_entropy"]),
        ({"depth": 8}, ["'depth'", "'network.depth'"]),
        ({"crl": {"epochs": 8}}, ["'crl.epochs'", "'epochs'"]),
        ({"zzzzzz": 8}, ["'zzzzzz'", "the settings here are env,"]),
        ({"network": {"zzzzzz": 8}}, ["'network.zzzzzz'", "the settings here are depth,"]),
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
        path = f"{part}.{name}" if part else name
        assert f"my.json: {path} is {value!r}" in str(caught.value)
        refused += 1
    assert refused >= 4


@pytest.mark.parametrize("part", ["network", "crl"])
@pytest.mark.parametrize("value", [4, None, "deep", [1]])
def test_a_part_must_hold_names_and_values(part, value):
    with pytest.raises(UserError, match=f"my.json: {part} must hold names and values, not"):
        from_dict({"env": "x", part: value}, "my.json")


def test_a_whole_number_will_do_for_a_float():
    config = toy.config(crl={"logsumexp_penalty": 0, "target_entropy": -1})
    assert type(config.crl.logsumexp_penalty) is float
    assert (config.crl.logsumexp_penalty, config.crl.target_entropy) == (0.0, -1.0)


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
        ("crl", "repr_dim", [0]),
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
     ('{"crl": {"discount": 0.99999999}}', "discount is 0.99999999; it must lie in 1e-06 … 0.9999999"),
     ('{"crl": {"actor_lr": 1e-50}}', "actor_lr is 1e-50; it must lie in 1e-12 … 1")],
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
    assert config.crl == CRLConfig(**paper.get("crl", {}))  # the defaults
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
    for field in ("env", "num_envs", "buffer_rows", "random_shift", "crl", "steps_per_goal"):
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


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"epochs": "3"}, "TrainConfig: epochs is '3'; it must be of type int"),
        ({"seed": 1.5}, "TrainConfig: seed is 1.5; it must be of type int"),
        ({"network": {"depth": 4}}, "network is {'depth': 4}; it must be a NetworkConfig"),
        ({"agent": "x"}, "TrainConfig: agent is 'x'; it must be one of 'crl'"),
        ({"env": 3}, "TrainConfig: env is 3; it must be of type str"),
        ({"env_settings": [1]}, "TrainConfig: env_settings is [1]; it must be of type dict"),
    ],
    ids=str,
)
def test_a_field_of_a_wrong_type_is_told_to_programs_too(fields, told, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    with pytest.raises(UserError, match=re.escape(told)):
        TrainConfig(**({"env": "point_u_maze"} | fields))
