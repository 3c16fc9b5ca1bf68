"""What a TOML file says, checked entry by entry: messages name the file and the line."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from goalward.errors import UserError


class Source(NamedTuple):
    """Where a study is from, to say in messages."""

    name: str
    text: str  # as it was written; "" for a study that was given in words
    scale: str
    folder: str = ""  # from which names of datasets are seen; "" for the working directory

    def error(self, path: Sequence[str], told: str) -> UserError:
        """What to raise about the entry at `path`, with its line: in the scale, where that says it."""
        line, found = line_of(self.text, path)
        within = ("scales", self.scale)
        over, found_over = line_of(self.text, (*within, *path))
        if found_over - len(within) >= max(1, found):
            line = over
        return UserError(f"{self.name}:{line}: {told}" if line else f"{self.name}: {told}")


def needed_text(values: Mapping[str, Any], name: str, source: Source, where: tuple[str, ...] = ()) -> str:
    """A text that has to be there. Raises `UserError`, as all of these do, by file and line."""
    value = values.get(name)
    if not isinstance(value, str) or not value:
        raise source.error(
            (*where, name), f"{name} is {'missing' if value is None else repr(value)}; write a text"
        )
    return value


def mapping(
    values: Mapping[str, Any], name: str, source: Source, where: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    """Names and values, none where there is no such entry."""
    value = values.get(name, {})
    if not isinstance(value, Mapping):
        raise source.error(
            (*where, name), f"{name} must hold names and values: write [{'.'.join((*where, name))}]"
        )
    return value


def only(values: Mapping[str, Any], known: Sequence[str], source: Source, where: tuple[str, ...]) -> None:
    """Refuse entries of other names than the known ones."""
    for name in values:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            here = f" in {'.'.join(where)}" if where else ""
            raise source.error(
                (*where, name), f"unknown entry {name!r}{here}; {hint}there are {', '.join(known)}"
            )


def line_of(text: str, path: Sequence[str]) -> tuple[int, int]:
    """The line of a TOML text of the entry of `path`, or of what it lies in; and how many of its names that is.

    Both are 0 where nothing of it is there. Entries of an inline table go by the line on which they stand.
    """
    best = (0, 0)
    table: list[str] = []
    number_of: Counter[str] = Counter()
    lines = text.splitlines()
    for number, line in enumerate(lines, start=1):
        header, entry = _HEADER.match(line), _ENTRY.match(line)
        if header:
            table = _keys(header[2])
            if header[1] == "[[":
                table.append(str(number_of[header[2]]))
                number_of[header[2]] += 1
        elif not entry:
            continue
        here = table if header else table + _keys(entry[1]) if entry else []
        if len(here) > best[1] and list(path[: len(here)]) == here:
            best = (number, len(here))
    number, found = best
    rest = path[found:]
    if not rest or not number or _HEADER.match(lines[number - 1]):
        return best
    name = re.compile(rf"(?<![\w-]){re.escape(rest[-1])}(?![\w-])")
    for inner in range(number, len(lines) + 1):
        if inner > number and (_HEADER.match(lines[inner - 1]) or _ENTRY.match(lines[inner - 1])):
            break
        if name.search(lines[inner - 1]):
            return inner, len(path)
    return best


_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"' -]+?)\s*\]")
_ENTRY = re.compile(r"\s*([\w.\"'-]+)\s*=")


def _keys(text: str) -> list[str]:
    """The parts of a dotted key."""
    return [part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", text)]
