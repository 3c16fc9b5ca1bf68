"""The pages that nobody writes: commands from their help, the Python API from docstrings, the examples."""

import io
import re
from contextlib import redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType

from goalward.cli import dispatch
from website import pages

API = ("goalward", "goalward.runtime", "goalward.task")
WORDS = {".py": "python", ".xml": "xml"}


def write(folder: Path) -> None:
    """Write these pages beside those that people wrote."""
    for name, text in {"commands.md": commands(), "api.md": api(), pages.EXAMPLES: examples()}.items():
        (folder / name).write_text(text, encoding="utf-8")


def commands() -> str:
    """Each command with the text of its `--help`."""
    told = {name: help_of(name) for name in dispatch.COMMANDS}
    return _page(
        "Commands",
        "What `goalward COMMAND --help` says, of every command. Defaults of `train` and `plan` depend on the "
        "environment, the preset and the agent that are named beside it ([settings](settings.md)).",
        {f"goalward {name}": _block(text, "text") for name, text in told.items()},
    )


def help_of(name: str) -> str:
    """What a command prints for `--help`, as wide as the terminal."""
    printed = io.StringIO()
    with redirect_stdout(printed), suppress(SystemExit):
        dispatch.parse(name, ["--help"])
    return re.sub(r" +$", "", printed.getvalue(), flags=re.MULTILINE).strip()


def api() -> str:
    """Public names of the modules that are meant for others' code."""
    modules = {name: import_module(name) for name in API}
    sections = {
        name: "\n\n".join([_first_line(module), *(_documented(module, one) for one in module.__all__)])
        for name, module in modules.items()
    }
    return _page(
        "Python API",
        "What other code may build on. An environment of one's own builds on a few names more, which are "
        "[listed with it](own-environment.md#what-you-may-build-on).",
        sections | {"A policy": "What `load_policy` gives.\n\n::: goalward.acting.Policy"},
    )


def examples() -> str:
    """Files of examples, whole."""
    files = {name: pages.ROOT / name for name in pages.examples()}
    return _page(
        "Examples",
        "Environments to copy and change; [an environment of your own](own-environment.md) explains them.",
        {name: _block(path.read_text(encoding="utf-8"), WORDS[path.suffix]) for name, path in files.items()},
    )


def _documented(module: ModuleType, name: str) -> str:
    """What mkdocstrings replaces; of a NamedTuple with its source, where comments tell what its fields are."""
    directive = f"::: {module.__name__}.{name}"
    fields = hasattr(getattr(module, name), "_fields")
    return f"{directive}\n    options:\n      show_source: true" if fields else directive


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").partition("\n")[0]


def _page(title: str, about: str, sections: dict[str, str]) -> str:
    parts = [f"# {title}", about, *(f"## {heading}\n\n{body}" for heading, body in sections.items())]
    return "\n\n".join(parts) + "\n"


def _block(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"
