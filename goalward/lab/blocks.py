"""What a page is made of: plain data that knows neither HTML nor Markdown."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from matplotlib.figure import Figure


class Text(NamedTuple):
    """A paragraph."""

    text: str
    kind: Literal["plain", "note", "success", "partly", "failure", "undecided"] = "plain"


class Table(NamedTuple):
    """Rows of cells, below a heading."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Listing(NamedTuple):
    """Lines as they are: commands, claims, the end of a log."""

    lines: tuple[str, ...]


class Picture(NamedTuple):
    """A figure, and the sentence below it."""

    name: str  # of its file, without a suffix
    alt: str
    caption: str
    draw: Callable[[], Figure]


class Fold(NamedTuple):
    """What is shown when it is asked for."""

    title: str
    blocks: tuple["Text | Table | Listing | Picture", ...]


Block = Text | Table | Listing | Picture | Fold


class Section(NamedTuple):
    """Blocks below a title."""

    title: str
    blocks: tuple[Block, ...]


class Page(NamedTuple):
    """A whole page."""

    title: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]
