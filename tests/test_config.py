"""Settings: every one is used, survives a file, and is refused by name where it is wrong."""

import ast
import json
import types
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import toy
import tyro

import goalward
from goalward import cli
from goalward.config import PRESETS, CRLConfig, NetworkConfig, TrainConfig, from_dict, merge, preset
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
        "buffer_rows": 2222, "batch_size": 6,
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
    sources = [path.read_text() for path in package.rglob("*.py") if path.name != "config.py"]
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
        from_dict(merge(toy.SETTINGS, both), "test")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_hold_only_settings(name):
    config = from_dict(merge({"env": "point_u_maze"}, PRESETS[name]), name)
    for part, values in {"": PRESETS[name], **{p: PRESETS[name].get(p, {}) for p in PARTS if p}}.items():
        holder = getattr(config, part) if part else config
        for key, value in values.items():
            assert key in PARTS or getattr(holder, key) == value
    assert config.iterations_per_epoch >= 1


@pytest.mark.parametrize(
    ("total", "epochs", "iterations"), [(240, 2, 3), (250, 2, 3), (1, 1, 1), (40, 10, 1), (4000, 1, 100)]
)
def test_an_epoch_is_whole_iterations(total, epochs, iterations):
    assert toy.config(total_env_steps=total, epochs=epochs).iterations_per_epoch == iterations


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
        ("", "prefill_rows", [2, 61]),
        ("", "steps_per_iteration", [61]),
        ("crl", "repr_dim", [0]),
        ("crl", "logsumexp_penalty", [-0.1, NAN, INF]),
        *[("crl", name, [0.0, 1.0, -0.1, NAN]) for name in ("actor_lr", "critic_lr", "alpha_lr", "discount")],
        ("crl", "actor_random_goals", [-0.1, 1.1, NAN]),
        ("crl", "actor_commanded_goals", [-0.1, 1.1, NAN]),
        ("crl", "target_entropy", [NAN, INF]),
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_told(part, name, values):
    for value in values:
        with pytest.raises(UserError, match=f"{name} is {value}"):
            from_dict(with_value(part, name, value), "test")


def test_a_batch_larger_than_the_replay_is_told_with_the_remedy():
    toy.config(batch_size=240)
    with pytest.raises(UserError, match=r"batch_size is 241.* 240 rows.*4 worlds × 60.*--buffer-rows"):
        toy.config(batch_size=241)


def parse(*words):
    """The settings that `goalward train` makes of some words."""
    words = [str(word) for word in words]
    return tyro.cli(cli.Train, args=words, default=cli._train_defaults(words)).settings


JSON = '{"num_envs": 7, "network": {"width": 9, "depth": 8}, "env_settings": {"drag": 0.5}}'
TOML = "num_envs = 7\n[network]\nwidth = 9\ndepth = 8\n[env_settings]\ndrag = 0.5\n"


@pytest.mark.parametrize(("name", "text"), [("my.json", JSON), ("my.toml", TOML)])
@pytest.mark.parametrize("written", ["--config={}", "--config {}"])
def test_flags_win_over_the_file_and_the_file_over_the_preset(tmp_path, name, text, written):
    path = tmp_path / name
    path.write_text(text)
    words = ["point_u_maze", *written.format(path).split(), "--preset", "paper", "--depth", 12, "--epochs", 3]
    config, paper = parse(*words), PRESETS["paper"]
    assert (config.network.depth, config.epochs) == (12, 3)  # flags
    assert (config.num_envs, config.network.width) == (7, 9)  # the file
    assert (config.batch_size, config.buffer_rows) == (paper["batch_size"], paper["buffer_rows"])
    assert config.env_settings == paper["env_settings"] | {"drag": 0.5}
    assert config.crl == CRLConfig(**paper.get("crl", {}))  # the defaults
    assert parse("point_u_maze", "--preset", "paper").num_envs == paper["num_envs"]
    assert parse("point_u_maze", "--config", path).network.depth == 8


def test_a_file_may_be_the_configuration_of_another_run(tmp_path):
    from goalward import runs

    runs.save_config(tmp_path, toy.config(seed=3))
    assert parse("--config", tmp_path / "config.json") == toy.config(seed=3)
    assert parse(*toy.words()) == toy.config()


@pytest.mark.parametrize(
    ("line", "env", "name"),
    [
        ("ant --depth 8", "ant", "laptop_open_ant"),
        ("--depth 8 ant", "ant", "laptop_open_ant"),
        ("--remat --no-layer-norm ant_push", "ant_push", "laptop_ant"),
        ("--env-settings episode_length=9 start_noise=0 --seed 3 ant_u_maze", "ant_u_maze", "laptop_ant"),
        ("--seed=3 --preset laptop point_u_maze", "point_u_maze", "laptop"),
        ("arm_reach", "arm_reach", "laptop_mujoco"),
        ("arm_reach --preset paper", "arm_reach", "paper"),
    ],
)
def test_the_laptop_preset_is_that_of_the_kind_of_environment(line, env, name):
    config = parse(*line.split())
    expected = from_dict(merge({"env": env}, PRESETS[name]), name)
    for field in ("env", "num_envs", "buffer_rows", "random_shift", "crl", "steps_per_goal"):
        assert getattr(config, field) == getattr(expected, field)
    assert preset("paper" if name == "paper" else "laptop", env) == PRESETS[name]


def test_a_config_file_names_the_environment_too(tmp_path):
    (tmp_path / "settings.toml").write_text('env = "humanoid"\nnum_envs = 32\n')
    config = parse("--config", str(tmp_path / "settings.toml"))
    assert (config.env, config.num_envs, config.network.width) == ("humanoid", 32, 128)
