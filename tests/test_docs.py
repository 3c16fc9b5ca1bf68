"""What the docs say can be typed, found and read: lines, links, commands, names and examples."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest
import toy
import tyro

from goalward import cli, envs, runs
from goalward.cli import dispatch
from goalward.lab import study

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LONGEST = 120
# What stands for a value in a command of the docs, and a value.
PLACEHOLDERS = {"S": "0", "D": "16", "FORM": "bounded", "METRES": "1", "NAME=VALUE": "episode_length=9"}
# Packages that only the system tests need.
LATER = ("gym:ogbench", "gym:gymnasium_robotics")
# Flags and names of other programs and libraries.
OTHERS = {"--group", "--help", "--version", "pure_callback", "persistent"}


def blocks(text: str, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """Inline code, each on one line."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]


def commands(text: str) -> list[list[str]]:
    """Commands of fenced blocks and inline code, as words."""
    lines = [line for block in blocks(text, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += [line[2:] for block in blocks(text, "console") for line in block.splitlines() if line[:2] == "$ "]
    lines += [span for span in spans(text) if re.match(r"(goalward|python -m|make) \S", span)]
    found = []
    for line in lines:
        words = [PLACEHOLDERS.get(word, word) for word in shlex.split(line, comments=True) if word != "…"]
        if words[:2] == ["timeout", "--foreground"]:
            words = words[3:]  # and its seconds
        found.append(words[2:] if words[:2] == ["uv", "run"] else words)
    return [words for words in found if words]


def all_commands(program: str) -> list[list[str]]:
    """Commands of all pages that start with a program, each once, without its name."""
    found = [words for page in PAGES for words in commands(page.read_text())]
    given = [tuple(words[1:]) for words in found if Path(words[0]).name == program]
    return [list(words) for words in dict.fromkeys(given)]


def code_words() -> set[str]:
    """All words of the source."""
    files = [path for part in ("goalward", "benchmarks") for path in (ROOT / part).rglob("*.py")]
    return {word for path in files for word in re.findall(r"\w+", path.read_text())}


@pytest.fixture
def parsed(monkeypatch, tmp_path):
    """Parse one line of the command line, where the files exist that the docs speak of; nothing is run."""
    seen = []
    noted = {name: command._replace(run=seen.append) for name, command in dispatch.COMMANDS.items()}
    monkeypatch.setattr(dispatch, "COMMANDS", noted)
    own = {"boat": {"env": str(ROOT / "examples/boat.py"), "env_settings": {}, "steps_per_goal": None}}
    monkeypatch.setattr(runs, "load_config", lambda run: toy.config(**own.get(Path(run).name, {})))
    monkeypatch.chdir(tmp_path)
    [example] = blocks((ROOT / "docs/settings.md").read_text(), "toml")
    (tmp_path / "settings.toml").write_text(example)
    runs.save_config(tmp_path, toy.config())
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "my_task.py").symlink_to(ROOT / "examples/boat.py")
    (tmp_path / "runs/u4").mkdir(parents=True)
    (tmp_path / "config.json").rename(tmp_path / "runs/u4/config.json")

    def parsed(words):
        cli.main(words)
        return seen.pop()

    return parsed


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_short_but_for_tables(name):
    lines = (ROOT / name).read_text().splitlines()
    long = [number for number, line in enumerate(lines, 1) if len(line) > LONGEST and not line.startswith("|")]
    assert long == []


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name):
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, link


def test_the_readme_leads_to_every_page():
    readme, results = ((ROOT / name).read_text() for name in ("README.md", "docs/results.md"))
    links = {f"docs/{link}" for link in re.findall(r"\]\((results/[^)]+)\)", results)}
    links |= set(re.findall(r"\]\(([^)]+)\)", readme))
    assert [name for name in NAMES if name != "README.md" and name not in links] == []


def test_commands_of_the_docs_can_be_typed(parsed):
    lines = all_commands("goalward")
    assert {line[0] for line in lines if line[0] != "COMMAND"} >= {"train", "plan", "eval", "quickstart"}
    for line in lines:
        if line[0].isupper() or "--help" in line or line == ["--version"]:
            continue
        if any(word.startswith(LATER) for word in line):
            continue
        if len(line) == 1 and line[0] in dispatch.COMMANDS:
            continue  # the name of a command, or one that needs no more
        try:
            parsed(line)
        except SystemExit:
            pytest.fail("goalward " + shlex.join(line))


def test_modules_of_the_docs_can_be_run_with_their_flags():
    modules = [words[1:] for words in all_commands("python") if words[0] == "-m"]
    assert ["benchmarks.learner"] in modules
    for name, *words in modules:
        module = importlib.import_module(name)
        tyro.cli(module.Args, args=words)


def test_make_targets_of_the_docs_exist():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {words[0] for words in all_commands("make")} <= set(targets)


def test_flags_and_names_of_the_docs_exist():
    words = code_words() | set(study.shipped())
    unknown = set()
    for page in PAGES:
        for span in spans(page.read_text()):
            flags = re.findall(r"(?<!\S)--(?:no-)?([a-z][a-z-]*)", span)
            unknown |= {f"--{flag}" for flag in flags if flag.replace("-", "_") not in words}
            if re.fullmatch(r"[a-z]\w*_\w*|\w+=\S+( \w+=\S+)*", span):
                named = [part.partition("=")[0].partition("_gen_")[0] for part in span.split()]
                unknown |= {name for name in named if name not in words and name not in envs.names()}
    assert unknown - OTHERS == set()


def test_pages_that_the_code_names_exist():
    files = (ROOT / "goalward").rglob("*.py")
    named = {name for path in files for name in re.findall(r"docs/\w+\.md", path.read_text())}
    assert named
    assert all((ROOT / name).is_file() for name in named)


def test_python_of_the_docs_uses_what_exists():
    examples = [block for page in PAGES for block in blocks(page.read_text(), "python")]
    assert len(examples) >= 2
    for example in examples:
        tree = ast.parse(example)
        known = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                known |= {alias.name: importlib.import_module(alias.name) for alias in node.names}
            if isinstance(node, ast.ImportFrom):
                known |= {
                    alias.name: importlib.import_module(f"{node.module}.{alias.name}") for alias in node.names
                }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
                assert getattr(known[node.value.id], node.attr)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the runs, exports and examples are that the docs speak of."""
    folder = tmp_path_factory.mktemp("typed")
    toy.copy(toy.trained(tmp_path_factory), folder / "runs/quickstart")
    cli.main(["export", str(folder / "runs/quickstart"), "--out", str(folder / "reacher"), "--no-onnx"])
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.mark.system
@pytest.mark.parametrize("name", [name for name in NAMES if blocks((ROOT / name).read_text(), "python")])
def test_python_of_the_docs_runs(name, folder, monkeypatch):
    monkeypatch.chdir(folder)
    known = {"obs": [-1.3, -1.3], "goal": [1.3, -1.3]}  # of the point, which stands for any robot
    for number, block in enumerate(blocks((ROOT / name).read_text(), "python"), 1):
        exec(compile(block, f"{name}, block {number}", "exec"), known)


def test_the_example_of_a_file_and_its_flags_are_the_same_run(parsed):
    [flags] = [
        words for words in commands((ROOT / "docs/settings.md").read_text()) if "--residual-scale" in words
    ]
    from_file = parsed(["train", "--config", "settings.toml"]).settings
    assert from_file == parsed(flags[1:]).settings
    assert (from_file.network.depth, from_file.agent.alpha_lr, from_file.env_settings["episode_length"]) == (
        16, 3e-3, 400,  # the file's; the preset's; the file's over the preset's
    )  # fmt: skip
    over = parsed(["train", "--config", "settings.toml", "--depth", "4"]).settings
    assert (over.network.depth, over.seed) == (4, 3)
