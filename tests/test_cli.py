"""The command line: what it prints, and one message with the right exit code for whatever goes wrong."""

import errno
import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import jax
import pytest
import toy

from goalward import checkpoint, cli, progress, runs, training
from goalward.cli import dispatch, main, process
from goalward.config import AGENTS
from goalward.errors import DivergedError, MachineError

FIGURES = ("success_rate", "time_at_goal", "final_distance", "episodes")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return toy.trained(tmp_path_factory)


@pytest.fixture
def run(trained, tmp_path):
    """A copy of a toy run, to damage."""
    return toy.copy(trained, tmp_path / "run")


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Run one command in an empty folder; its exit code, standard output and standard error."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def command(*words):
        code = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def refused(command, tmp_path):
    """Run a command that must fail, with one message that tells `told`, and leave the disk as it was."""

    def refused(words, *told, code=2):
        before = toy.contents(tmp_path)
        found, out, error = command(*words)
        assert found == code, error
        assert len(out.splitlines()) <= 1, "nothing but, perhaps, the heading of a run"
        text = " ".join(error.replace("│", " ").split())
        assert all(part in text for part in told), text
        assert "Traceback" not in error
        is_line = error.strip().startswith("error: ") and len(error.strip().splitlines()) == 1
        assert is_line != (text.count("For full helptext") == 1), "one message, ours or the parser's"
        assert toy.contents(tmp_path) == before
        assert list((tmp_path / "here").iterdir()) == []

    return refused


def test_help_and_refusals_are_quick_and_load_no_jax():
    code = """
import sys
from goalward.cli import dispatch, main
for words in (["--help"], *([name, "--help"] for name in dispatch.COMMANDS), ["x"]):
    try:
        main(words)
    except SystemExit as end:
        print("code", end.code)
print("loaded:", sorted({"jax", "equinox", "optax", "matplotlib", "mujoco"} & set(sys.modules)))
"""
    narrow = os.environ | {"COLUMNS": "80"}
    line = [sys.executable, "-c", code]
    result = subprocess.run(line, capture_output=True, text=True, check=True, env=narrow)
    assert "loaded: []" in result.stdout
    assert result.stdout.count("code 0") == len(dispatch.COMMANDS)
    assert result.stdout.count("code 2") == 1
    for name in dispatch.COMMANDS:
        assert f"\n  {name} " in result.stdout
    listed = result.stdout.split("code 0")[0].splitlines()
    lines = [line for line in result.stdout.splitlines() if not line.startswith("usage:")]  # the parser's own
    assert max(map(len, lines)) <= 80
    assert not any(line.startswith(" " * 15) for line in listed), "what is wrapped stands below what it goes on"


@pytest.mark.parametrize("starts", [True, False])
def test_jax_takes_its_devices_before_a_command_that_says_so(monkeypatch, starts):
    did = []
    command = dispatch.COMMANDS["envs"]._replace(run=lambda args: did.append("run"), starts_jax=starts)
    monkeypatch.setitem(dispatch.COMMANDS, "envs", command)
    monkeypatch.setattr(process, "start_jax", lambda: did.append("start"))
    main(["envs"])
    assert did == ["start", "run"][not starts :]


def test_the_version_is_told():
    code = "import sys, goalward; print(goalward.__version__, 'jax' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.split() == [version("goalward"), "False"]
    line = [sys.executable, "-m", "goalward", "--version"]
    assert subprocess.check_output(line, text=True) == f"goalward {version('goalward')}\n"


def test_the_module_and_the_script_are_the_same_command():
    script = Path(sys.executable).with_name("goalward")
    for start in ([sys.executable, "-m", "goalward"], [str(script)]):
        result = subprocess.run([*start, "trian"], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("error: unknown command 'trian'; did you mean 'train'?")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "evla",
            [
                "'evla'",
                "did you mean 'eval'?",
                "train, plan, eval, dataset, envs, agents, check-env, new-task, render, view, export, curves",
            ],
        ),
        ("train", ["no environment is named", "goalward envs"]),
        ("plan", ["no environment is named", "`goalward plan ENV`"]),
        ("plan point_umaze", ["'point_umaze'", "did you mean", "point_u_maze"]),
        ("plan point_u_maze --depth 10", ["depth is 10", "use depth 8 or 12"]),
        (
            "plan point_u_maze --num-envs 100000 --buffer-rows 50000 --total-env-steps 2000000000",
            ["this run needs", "that are free", "a smaller --num-envs"],
        ),
        (
            "train point_u_maze --num-envs 100000 --buffer-rows 50000 --total-env-steps 2000000000",
            ["this run needs", "that are free", "a smaller --num-envs"],
        ),
        ("train point_u_maze --unroll 0", ["unroll is 0", "1 … 1,000"]),
        ("train point_u_maze --precision float16", ["float16", "bfloat16"]),
        ("train point_umaze", ["'point_umaze'", "did you mean", "point_u_maze"]),
        ("train ant_u9_maze", ["'ant_u9_maze'", "did you mean", "ant_u_maze"]),
        ("train ant --env-settings cell_size=4", ["'cell_size'", "episode_length", "goal_distance"]),
        ("train ant --env-settings start_noise=9", ["start_noise is 9", "0 … 0.2"]),
        ("train ant --eval-env humanoid", ["eval_env humanoid", "obs_dim 229", "ant has 29"]),
        ("train point_u_maze --random-shift 4", ["random_shift is 4.0", "point_u_maze nothing may be shifted"]),
        ("train ant --random-shift -1", ["random_shift is -1.0", "0 … 10000"]),
        ("train ant --buffer-gb 0.001", ["buffer_gb", "--buffer-gb"]),
        ("render none", ["none is not a run directory"]),
        ("check-env nowhere", ["'nowhere'", "goalward envs"]),
        ("check-env ant --worlds 0", ["worlds is 0", "1 … "]),
        ("check-env point_u_maze --worlds 4000000000", ["worlds is 4000000000", "1 … 81,380"]),
        ("check-env point_u_maze --steps 1", ["steps is 1", "8 … "]),
        ("check-env point_u_maze --seed -1", ["seed is -1", "0 … 4,294,967,295"]),
        ("train point_u_maze --eval-env zzz", ["'zzz'", "goalward envs"]),
        ("train point_u_maze --depth -4", ["depth is -4", "1 … "]),
        ("train point_u_maze --depth 0", ["depth is 0", "1 … "]),
        ("train point_u_maze --depth 10", ["depth is 10", "use depth 8 or 12", "--block-size"]),
        ("train point_u_maze --critic-depth 6", ["critic_depth is 6", "4 or 8"]),
        ("plan point_u_maze --collector-depth 6", ["collector_depth is 6", "use collector_depth 4 or 8"]),
        ("train point_u_maze --batch-size 50000 --num-envs 16", ["batch_size is 50000", "--buffer-rows"]),
        ("train point_u_maze --epochs 0", ["epochs is 0", "1 … "]),
        ("train point_u_maze --num-envs -1", ["num_envs is -1", "1 … "]),
        ("train point_u_maze --discount 1", ["discount is 1", "… 0.9999999"]),
        ("train point_u_maze --eval-episodes=1000000", ["eval_episodes is 1000000", "1 … 500,000"]),
        ("train point_u_maze --total-env-steps 400000 --epochs 200", ["epochs is 200", "117", "665600"]),
        ("train point_u_maze --out run\udcff", ["'run\\udcff' holds bytes that are no text"]),
        ("train point_u_maze --seed one", ["--seed", "'one'"]),
        ("train point_u_maze --dept 4", ["--dept", "--depth"]),
        ("train point_u_maze --energy l3", ["l3", "sq_l2"]),
        ("train point_u_maze --agent srk", ["agent is 'srk'; it must be one of crl, srl, chrono"]),
        (
            "train point_u_maze --agent chrono --energy dot",
            ["--energy is a setting of crl and discrete_crl, not of chrono; leave it out, or choose --agent"],
        ),
        (
            "plan point_u_maze --bins 9",
            ["--bins is a setting of srl and chrono, not of crl", "choose --agent srl or chrono"],
        ),
        ("plan --agent srl --no-mass-weights", ["--no-mass-weights is a setting of crl, not of srl"]),
        ("train --agent srl --time-weight=1 --help", ["--time-weight is a setting of chrono, not of srl"]),
        ("train --agent srl --bins few", ["--bins", "'few'"]),
        ("train --agent srl --bins", ["--bins", "Expected 1"]),
        ("train --agent srl --chunk 65", ["chunk is 65", "1 … 64"]),
        ("train point_u_maze --preset desktop", ["desktop", "paper"]),
        ("train point_u_maze --env-settings drag", ["'drag'", "NAME=VALUE"]),
        ("train point_u_maze --env-settings drug=1", ["'drug'", "drag"]),
        ("train point_u_maze --env-settings step_size=big", ["step_size", "'big'", "float"]),
        ("train point_u_maze --env-settings episode_length=-1", ["episode_length is -1"]),
        ("train point_u_maze --config none.json", ["none.json", "cannot be read", "No such file"]),
        ("train --resume none", ["none is not a run directory", "does not exist"]),
        ("eval none", ["none is not a run directory", "does not exist"]),
        ("eval", ["PATH", "required"]),
        ("digest none", ["none is not a run directory"]),
        ("dataset none", ["nowhere to write to", "--out FILE.npz, --minari NAME"]),
        ("dataset none --out x.npz", ["none is not a run directory"]),
        ("dataset none --out x.csv", ["x.csv", "ends in .npz"]),
        ("dataset none --out x.npz --explore", ["explore is True", "add --episodes"]),
        ("train point_u_maze --dataset none.npz", ["none.npz does not exist", "`goalward dataset`"]),
        ("train point_u_maze --dataset none.npz --num-envs 9", ["num_envs is 9", "collects nothing"]),
        ("train point_u_maze --total-updates 9", ["total_updates is 9", "there is no dataset"]),
    ],
)
def test_a_mistake_is_told_in_one_message(refused, line, told):
    refused(line.split(), *told)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", '{"env": "point_u_maze", "bach_size": 8}', ["'bach_size'", "did you mean 'batch_size'?"]),
        ("a.toml", "[network]\ndeth = 8", ["'network.deth'", "did you mean 'network.depth'?", "critic_width"]),
        ("a.json", '{"seed": "1"}', ["seed is '1'", "int"]),
        ("a.toml", "agent = 'srk'", ["agent is 'srk'; it must be one of 'crl', 'srl', 'chrono'"]),
        (
            "a.toml",
            "agent = 4",
            [
                "agent must hold names and values, or be one of crl, srl, chrono, discrete_crl, "
                "sac, td3, gcbc, gcsl, not 4"
            ],
        ),
        ("a.toml", "agent.name = 4", ["agent is 4; it must be one of 'crl'"]),
        (
            "a.toml",
            "[agent]\nname = 'srl'\nenergy = 'dot'",
            ["agent.energy is no setting of srl; crl and discrete_crl have it"],
        ),
        ("a.json", '{"network": 4}', ["network must hold names and values, not 4"]),
        ("a.json", "{", ["not valid JSON"]),
        ("a.json", "[1]", ["must hold names and values"]),
        ("a.toml", "seed = ", ["not valid TOML"]),
        ("a.json", b"\xff\xfe", ["not valid JSON"]),
        ("a.json", "[" * 100_000, ["not valid JSON"]),
        ("a.toml", "a = " + "[" * 10_000, ["not valid TOML"]),
        ("a.json", '{"seed": ' + "9" * 5000 + "}", ["not valid JSON"]),
        ("a.json", '{"format": 3}', ["format is 3", "reads format 2"]),
    ],
)
def test_a_mistake_in_a_file_of_settings_is_told_with_its_place(refused, tmp_path, name, text, told):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(["train", "point_u_maze", "--config", path], str(path), *told)


def test_a_directory_that_is_not_empty_is_not_written_to(refused, run, tmp_path):
    refused(["train", *toy.words(), "--out", run], f"{run} exists", f"--resume {run}", "--out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("all of it")
    refused(["train", *toy.words(), "--out", tmp_path / "mine"], "mine exists: it is not empty")
    refused(["train", *toy.words(), "--out", tmp_path / "mine" / "thesis.tex"], "thesis.tex exists")


@pytest.mark.parametrize("words", [["eval"], ["digest"], ["train", "--resume"]], ids=" ".join)
def test_a_directory_that_is_no_run_is_refused(refused, tmp_path, words):
    (tmp_path / "other").mkdir()
    refused([*words, tmp_path / "other"], "other is not a run directory: it has no config.json")


@pytest.mark.parametrize("words", [["eval"], ["digest"], ["train", "--resume"]], ids=" ".join)
@pytest.mark.parametrize("how", ["missing", "truncated", "flipped"])
def test_a_damaged_checkpoint_is_told_and_left_as_it_is(refused, run, words, how):
    newest = toy.latest(run).path
    name = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    toy.damage(name, how)
    more = ["--epochs", "3"] if words[0] == "train" else []
    told = str(name.relative_to(newest)), f"remove the folder {newest} to fall back"
    refused([*words, run, *more], *told)


@pytest.mark.parametrize("words", [["eval"], ["digest"], ["train", "--resume"]], ids=" ".join)
def test_a_directory_of_another_format_is_refused(refused, run, words):
    path = run / "config.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 7'))
    refused([*words, run], "format is 7", "reads format 2", "meta.json")


@pytest.mark.parametrize(
    "words",
    [["--seed", 1], ["--depth", 8], ["point_u4_maze"], ["--out", "elsewhere"], ["--preset", "paper"],
     ["--epochs", 4, "--total-env-steps", 500], ["--env-settings", "drag=0.2"], ["--agent", "srl"],
     ["--discount", 0.5]],
    ids=lambda words: " ".join(map(str, words)),
)  # fmt: skip
def test_a_resume_with_another_setting_is_refused(refused, run, words):
    refused(["train", "--resume", run, *words], "--epochs", "--total-env-steps")


def test_a_resume_knows_the_flags_of_its_own_agent(refused, run, capsys):
    told = "--bins is a setting of srl and chrono, not of crl"
    refused(["train", "--resume", run, "--epochs", 3, "--bins", 4], told)
    with pytest.raises(SystemExit) as end:
        main(["train", "--resume", str(run), "--help"])
    assert end.value.code == 0
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "--energy" in shown
    assert "(default: 0.95)" in shown, "the run's"
    assert "--bins" not in shown


@pytest.mark.parametrize("name", ["train", "plan"])
@pytest.mark.parametrize("agent", AGENTS)
def test_the_help_shows_the_settings_of_the_chosen_agent_and_no_others(capsys, name, agent):
    with pytest.raises(SystemExit) as end:
        main([name, "--agent", agent, "--help"])
    assert end.value.code == 0
    shown = set(re.findall(r"--([a-z-]+)", capsys.readouterr().out))
    every = {flag.replace("_", "-") for kind in AGENTS.values() for flag in kind.__dataclass_fields__}
    assert shown & every == {flag.replace("_", "-") for flag in AGENTS[agent].__dataclass_fields__}
    assert shown >= {"depth", "num-envs", "agent", "config"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--episodes", "0"], ["episodes is 0", "1 … 5,000,000"]),
        (["--episodes", "1000000000"], ["episodes is 1000000000", "1 … 5,000,000"]),
        (["--episodes", "few"], ["--episodes", "few"]),
        (["--env", "point_u_mase"], ["'point_u_mase'", "point_u_maze"]),
        (["--env", "point_u4_maze"], ["env point_u4_maze has another maze than point_u_maze"]),
    ],
)
def test_an_evaluation_that_cannot_be_is_refused(refused, run, words, told):
    refused(["eval", run, *words], *told)


def test_a_full_disk_is_a_fault_of_the_machine(command, monkeypatch, tmp_path):
    def write(path, arrays):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "_write_arrays", write)
    code, _, error = command("train", *toy.words(), "--out", tmp_path / "run", "--json")
    assert code == 1
    assert error.count("error:") == 1
    assert "No space left on device" in error
    assert "Traceback" not in error
    monkeypatch.undo()
    assert command("train", "--resume", tmp_path / "run")[0] == 0
    assert toy.latest(tmp_path / "run").iteration == 6


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (DivergedError("it"), 1),
        (MachineError("it"), 1),
        (MemoryError("it"), 1),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: it"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda fault: type(fault).__name__,
)
def test_what_stops_a_run_has_one_message_and_its_exit_code(command, monkeypatch, tmp_path, fault, code):
    def begin(session):
        raise fault

    monkeypatch.setattr(training.Session, "begin", begin)
    found, _, error = command("train", *toy.words(), "--out", tmp_path / "run")
    assert found == code
    assert len(error.strip().splitlines()) == 1
    assert error.strip() == "interrupted" if code == 130 else error.strip().endswith("it")


def test_training_as_json_prints_one_object_and_nothing_else(command, trained, tmp_path):
    code, out, _ = command("train", *toy.words(), "--out", tmp_path / "run", "--json")
    assert code == 0
    result = json.loads(out)
    assert result == json.loads(json.dumps(runs.read_metrics(tmp_path / "run")[-1] | {"run": result["run"]}))
    assert result["run"] == str(tmp_path / "run")
    assert toy.digest(tmp_path / "run") == toy.digest(trained), "flags and files give the same run"
    again = json.loads(command("train", "--resume", tmp_path / "run", "--json")[1])
    assert again == result


def test_training_prints_a_line_an_epoch(command, run):
    code, out, _ = command("train", "--resume", run, "--epochs", 4)
    assert code == 0
    title, place, heading, random, *lines = out.splitlines()
    assert title == "point_u_maze, crl, depth 2, seed 0"
    assert place == f"→ {run}"
    assert max(map(len, (heading, random, *lines))) <= 80 - len("  9999 faults")
    rows = runs.read_metrics(run)
    means = ("success_rate", "time_at_goal_fraction", "final_distance")
    assert random.split() == ["random", *(f"{rows[0][f'random_{name}']:.2f}" for name in means)]
    for line, epoch, row in zip(lines, (3, 4), rows[-2:], strict=True):
        counts = [f"{row[name]:,}" for name in ("env_steps", "updates")]
        told = [f"{epoch}/4", *counts, f"{row['seconds']:.0f}", *(f"{row[name]:.2f}" for name in means)]
        assert line.split() == told
        # Every cell stands below the end of its name.
        assert [end.end() for end in re.finditer(r"\S+", line)][-3:] == [
            heading.index(name) + len(name) for name in ("success", "at goal", "distance")
        ]
    assert runs.load_config(run) == toy.epochs(4)  # a later resume goes to the same end
    assert "nothing to do" in command("train", "--resume", run)[1]
    code, _, told = command("train", "--resume", run, "--epochs", 3)
    assert (code, told) == (2, "error: epochs is 3, but 4 are done; give more to go on\n")


@pytest.mark.parametrize(
    ("words", "total", "epochs"),
    [([], 320, 2), (["--epochs", 4], 560, 4), (["--total-env-steps", 560], 560, 4),
     (["--total-env-steps", 559], 440, 3), (["--epochs", 3, "--total-env-steps", 440], 440, 3)],
    ids=lambda words: " ".join(map(str, words)) if isinstance(words, list) else None,
)  # fmt: skip
def test_a_resume_goes_on_in_epochs_as_long_as_before_up_to_the_total(trained, words, total, epochs):
    line = [str(word) for word in ("--resume", trained, *words)]
    assert cli.train.config(dispatch.parse("train", line)) == toy.config(total_env_steps=total, epochs=epochs)


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--epochs", 10**9], ["epochs is 1000000000", "1 … 17,895,696"]),
     (["--total-env-steps", 199], ["total_env_steps is 199", "ends at 200"])],
    ids=["counter", "shorter than an epoch"],
)  # fmt: skip
def test_a_resume_to_where_no_run_can_be_is_refused(refused, run, words, told):
    refused(["train", "--resume", run, *words], *told)


def test_a_resume_with_another_number_of_threads_says_so(command, run, monkeypatch):
    """The number is XLA's own: a process shows as many threads of its pool."""
    code = "import jax, pathlib; jax.devices(); jax.numpy.ones(3); from goalward import runs; names = "
    code += "[p.read_text() for p in pathlib.Path('/proc/self/task').glob('*/comm')]; "
    code += "print(runs.threads(), sum('XLAEigen' in name for name in names))"
    env = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"PJRT_NPROC": "5"}
    found = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["5", "5"]
    before = runs.threads()
    monkeypatch.setenv("PJRT_NPROC", str(before + 1))
    told = command("train", "--resume", run)[2]
    assert f"had {before} threads, this process has {before + 1}" in told
    assert f"PJRT_NPROC={before}" in told
    monkeypatch.setenv("PJRT_NPROC", str(before))
    assert "threads" not in command("train", "--resume", run)[2]


def test_a_run_goes_by_default_to_a_new_directory_that_names_it(command):
    assert command("train", *toy.words(), "--epochs", 1, "--total-env-steps", 120)[0] == 0
    (directory,) = (Path.cwd() / "runs").iterdir()
    assert directory.name.startswith("point_u_maze-crl-d2-s0-")
    assert runs.is_run(directory)


def test_evaluations_hold_the_figures(command, run):
    code, out, error = command("eval", run, "--json")
    assert (code, error) == (0, "")
    result = json.loads(out)
    last = runs.read_metrics(run)[-1]
    assert {name: result[name] for name in FIGURES} == pytest.approx({name: last[name] for name in FIGURES})
    code, out, error = command("eval", run)
    assert (code, error) == (0, "")
    cells = out.split("│")
    assert "random actions" in out
    random = {name.removeprefix("random_"): value for name, value in result.items() if "random_" in name}
    assert {"success_rate", "time_at_goal", "final_distance"} < random.keys()
    assert len(result["by_goal"]) < result["episodes"]
    for row in [*result["by_goal"], result, result | random]:
        for figure in (f"{row['success_rate']:.2f}", f"{row['time_at_goal']:.1f}", str(row["episodes"])):
            assert any(cell.strip() == figure for cell in cells)
    few = json.loads(command("eval", run, "--episodes", 2, "--best", "--json")[1])
    assert few["episodes"] == sum(row["episodes"] for row in few["by_goal"]) == 2
    one = command("eval", run, "--episodes", 1)[1]
    assert "(" not in one, "goals that all differ have no rows of their own"


def test_environments_are_listed_with_their_sizes_and_settings(command):
    code, out, error = command("envs", "--json")
    assert (code, error) == (0, "")
    rows = json.loads(out)
    assert isinstance(rows, list)
    assert "point_u_maze" in [row["name"] for row in rows]
    assert all({"obs_dim", "goal_dim", "action_dim", "episode_length", "settings"} < row.keys() for row in rows)
    versions = {"point": 1, "boxes": 1, "ant": 3}
    assert all(row["version"] == versions.get(row["name"].split("_")[0], 2) for row in rows)
    code, table, error = command("envs")
    assert (code, error) == (0, "")
    assert all(row["name"] in table for row in rows)
    assert "step_size=0.2" in table
    assert max(map(len, table.splitlines())) <= 80
    tasks = {row["name"]: row["task"] for row in rows}
    assert all(3 <= len(task.split()) <= 20 for task in tasks.values()), tasks
    assert tasks["arm_reach"] == "Bring the end-effector to a point"
    assert re.search(r"^arm_push_easy +17 +3 +5 +1000 Bring the cube to a place *$", table, re.MULTILINE)


def test_agents_are_listed_with_their_sources(command):
    code, out, error = command("agents", "--json")
    assert (code, error) == (0, "")
    rows = json.loads(out)
    sources = {"crl": "arXiv 2503.14858", "srl": "arXiv 2605.31273", "chrono": "arXiv 2609.36238"}
    sources |= {"discrete_crl": "arXiv 2510.21995", "sac": "arXiv 1812.05905", "td3": "arXiv 1802.09477"}
    sources |= {"gcbc": "arXiv 2410.20092", "gcsl": "arXiv 1912.06088"}
    assert {row["name"]: row["source"] for row in rows} == sources
    assert list(sources) == list(AGENTS)
    assert all(3 <= len(row["summary"].split()) <= 20 for row in rows)
    code, table, error = command("agents")
    assert (code, error) == (0, "")
    assert len(table.splitlines()) <= 2 * len(rows)
    assert max(map(len, table.splitlines())) <= 80
    told = " ".join(table.split())
    assert all(f"{row['name']} {row['summary']} ({row['source']})" in told for row in rows)


def test_equal_runs_have_equal_digests(command, run, trained):
    expected = (0, toy.digest(trained) + "\n", f"iteration 6, {runs.threads()} threads\n")
    assert command("digest", run) == expected
    code, out, _ = command("digest", run, "--json")
    expected = {"iteration": 6, "digest": toy.digest(trained), "threads": runs.threads()}
    assert (code, json.loads(out)) == (0, expected)
    command("train", "--resume", run, "--epochs", 3, "--json")
    assert command("digest", run)[1] != toy.digest(trained) + "\n"


def test_on_a_terminal_lines_are_printed_above_the_bar(tmp_path):
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "goalward", "train", *toy.words(), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(line, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm-256color"})
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # how the end of a terminal is told
        while piece := os.read(ours, 4096):
            shown += piece
    os.close(ours)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "\n")
    reported = [row.split()[0] for row in text.splitlines() if re.match(r" +\d/2 ", row)]
    assert reported == ["0/2", "1/2", "2/2"], text
    assert "updates/s" in text
    bars = [row.rstrip() for row in text.splitlines() if "left" in row]
    assert bars
    assert max(map(len, bars)) <= 80
    assert all(row.count("left") == 1 and not row.endswith("left") for row in bars), "nothing is cut off"


@pytest.mark.parametrize(
    ("resume", "pairs"), [(False, [(1, 2), (3, 4), (4, 5)]), (True, [(7, 8)])], ids=["new", "resumed"]
)
def test_rates_count_neither_compilation_nor_evaluations(trained, tmp_path, monkeypatch, resume, pairs):
    seen = []
    monkeypatch.setattr(
        progress, "_rates", lambda *reports: seen.append(tuple(each.iteration for each in reports)) or ""
    )
    directory, config = tmp_path / "run", toy.config()
    if resume:
        toy.copy(trained, directory)
        config = toy.epochs(3)
    progress.show(training.train(config, directory, resume=resume), config, directory, quiet=True)
    assert seen == pairs


def test_plan_prints_a_table_or_json(command):
    code, out, error = command("plan", *toy.words())
    assert (code, error) == (0, "")
    told = (
        "parameters",
        "optimiser",
        "replay",
        "activations",
        "GFLOP",
        "compilation",
        "env steps/s",
        "time to the end",
    )
    assert all(part in out for part in told), out
    code, out, error = command("plan", *toy.words(), "--json")
    assert (code, error) == (0, "")
    planned = json.loads(out)
    assert planned["seconds"] > planned["speed"]["compile"] > 0
    assert planned["memory"]["replay"] > 0
    assert planned["updates"] == toy.UPDATES * toy.ITERATIONS * 2


def test_a_profiled_run_prints_where_its_time_went(command, tmp_path):
    directory = tmp_path / "run"
    code, out, _ = command("train", *toy.words(), "--out", directory, "--profile")
    assert code == 0
    assert all(part in out for part in ("one iteration", "forward", "backward", "optimiser", "evaluate"))
    summary = json.loads((directory / "profile" / "summary.json").read_text())
    assert summary["parts"]["backward"] > 0
    assert list(directory.glob("profile/iteration/**/*.xplane.pb"))


def test_a_profile_of_too_short_a_run_says_so(command, tmp_path):
    short = toy.words(toy.SETTINGS | {"epochs": 1, "total_env_steps": 160})
    code, _, error = command("train", *short, "--out", tmp_path / "run", "--profile")
    assert code == 0
    assert "nothing was traced" in error


def test_compiled_programs_are_kept_in_the_users_cache_folder(tmp_path):
    """Or where JAX is told to keep them; where no folder can be made, nowhere."""
    code = "from goalward.compilation import use_compilation_cache; use_compilation_cache(); import jax; "
    code += "print(jax.config.values['jax_compilation_cache_dir'])"
    (tmp_path / "file").touch()
    places = {
        str(tmp_path / "cache"): str(tmp_path / "cache" / "goalward" / "jax"),
        str(tmp_path / "file"): "None",
    }
    for home, folder in places.items():
        env = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        start = [sys.executable, "-c", code]
        told = {"env": env | {"XDG_CACHE_HOME": home}, "capture_output": True, "text": True, "check": True}
        assert subprocess.run(start, **told).stdout.strip() == folder
        told["env"]["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "other")
        assert subprocess.run(start, **told).stdout.strip() == str(tmp_path / "other")


def test_an_environment_is_checked(capsys, monkeypatch):
    line = [
        "check-env",
        "point_u_maze",
        "--env-settings",
        "episode_length=20",
        "--worlds",
        "8",
        "--steps",
        "46",
    ]
    main(line)
    said = capsys.readouterr().out
    assert "point_u_maze keeps its promises" in said
    assert "of 16 episodes" in said
    main([*line, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["episodes"] == 16
    assert {finding["severity"] for finding in told["findings"]} <= {"note"}
    from goalward import contract, diagnosis, findings

    looked = diagnosis.Diagnosis(
        [findings.problem("raises", "step raises ValueError", "mend it", function="step")],
        contract.Findings([], 0, float("nan"), float("nan"), 0, float("nan")),
    )
    monkeypatch.setattr(diagnosis, "diagnose", lambda env, **options: looked)
    with pytest.raises(SystemExit) as end:
        main(["check-env", "point_u_maze"])
    assert end.value.code == 1
    words = capsys.readouterr().out.split()
    assert words == ["problem", "step", "raises", "ValueError", "→", "mend", "it"]
    with pytest.raises(SystemExit):
        main(["check-env", "point_u_maze", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["random_success"] is None
    assert told["findings"][0]["numbers"] == {"function": "step"}


def test_environments_are_drawn(capsys, tmp_path, monkeypatch):
    from goalward import envs

    monkeypatch.setattr(envs, "names", lambda: ["point_u_maze"])
    main(["envs", "--pictures", str(tmp_path / "gallery"), "--json"])
    assert json.loads(capsys.readouterr().out) == [str(tmp_path / "gallery" / "point_u_maze.png")]
    assert (tmp_path / "gallery" / "point_u_maze.png").stat().st_size > 1000


def test_a_run_is_rendered(trained, capsys, tmp_path):
    main(["render", str(trained), "--out", str(tmp_path / "a.gif"), "--episodes", "2"])
    files = capsys.readouterr().out.split()
    assert str(tmp_path / "a.gif") in files
    assert all(Path(file).stat().st_size > 0 for file in files)
