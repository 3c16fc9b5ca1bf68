"""A page of blocks as one HTML file that needs nothing else, or as Markdown with its pictures beside it."""

import base64
import html
import io
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from goalward import files
from goalward.errors import MachineError, UserError
from goalward.lab.blocks import Block, Fold, Listing, Page, Picture, Table, Text
from goalward.pictures.figures import check_new, own_settings
from goalward.pictures.tables import markdown

KINDS = (".html", ".md")
WIDTH = 112  # characters in a line of Markdown, outside of tables
MOST_PLAIN = 24  # rows of a table; a longer one is folded
LONG = 60  # characters of a cell that may be broken into lines
PICTURE = re.compile(r"(\d+-[a-z_]+-.+|published)\.png")  # the names of those that are beside Markdown
DOTS = 110  # of a picture beside Markdown, an inch

_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def check(path: Path, *, force: bool) -> None:
    """Raise `UserError` for a name of another kind of file and, without `force`, for a file that is there."""
    if path.suffix.lower() not in KINDS:
        raise UserError(f"out is {path}; reports are written as {', '.join(KINDS)}")
    check_new([path], force=force)


def write(page: Page, path: Path) -> list[Path]:
    """Write a page as the suffix of its name says; all files, the page first.

    Pictures of a Markdown page that is replaced are removed, where the new one has none of their name.
    Raises `MachineError`, naming it, for a file that cannot be written, such as on a full disk.
    """
    if path.suffix.lower() == ".html":
        _put(path, as_html(page))
        return [path]
    folder = path.with_name(f"{path.stem}_files")
    earlier = [one for one in folder.glob("*.png") if PICTURE.fullmatch(one.name)] if path.exists() else []
    text, pictures = as_markdown(page, folder.name)
    drawn = {folder / f"{picture.name}.png": picture for picture in pictures}
    for place, picture in drawn.items():
        _put(place, _png(picture))
    _put(path, text)
    for place in set(earlier) - drawn.keys():
        place.unlink(missing_ok=True)
    return [path, *drawn]


def _put(path: Path, content: str | bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, content)
    except OSError as error:
        raise MachineError(f"{path} could not be written: {error.strerror or error}") from error


@own_settings()
def _png(picture: Picture) -> bytes:
    data = io.BytesIO()
    picture.draw().savefig(data, format="png", dpi=DOTS, metadata={"Software": None})
    return data.getvalue()


def as_html(page: Page) -> str:
    """One file: style and pictures are within it, and it loads nothing."""
    parts = [f"<h1>{_escaped(page.title)}</h1>", *(_html(block) for block in page.lead)]
    for section in page.sections:
        parts.append(f"<section>\n<h2>{_escaped(section.title)}</h2>")
        parts += [_html(block) for block in section.blocks]
        parts.append("</section>")
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_escaped(page.title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _escaped(text: str) -> str:
    """Text as HTML; what no page may hold, such as the colours of a terminal, is dropped."""
    return html.escape(_printable(text)).replace(" %", "&nbsp;%")


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isprintable() or c in "\n\t")


def _html(block: Block) -> str:
    match block:
        case Text(text, "plain"):
            return f"<p>{_escaped(text)}</p>"
        case Text(text, kind):
            return f'<p class="{kind}">{_escaped(text)}</p>'
        case Table(_, rows) if len(rows) > MOST_PLAIN:
            return _folded(f"{len(rows)} rows", _html_table(block))
        case Table():
            return _html_table(block)
        case Listing(lines):
            return f'<pre tabindex="0"><code>{_escaped(chr(10).join(lines))}</code></pre>'
        case Picture(_, alt, caption, _):
            image = f'<img src="data:image/svg+xml;base64,{_svg(block)}" alt="{_escaped(alt)}">'
            return f"<figure>\n{image}\n<figcaption>{_escaped(caption)}</figcaption>\n</figure>"
        case Fold(title, blocks):
            inner = (_html_table(part) if isinstance(part, Table) else _html(part) for part in blocks)
            return _folded(title, "\n".join(inner))


def _folded(title: str, inner: str) -> str:
    return f"<details>\n<summary>{_escaped(title)}</summary>\n{inner}\n</details>"


def _html_table(table: Table) -> str:
    def row(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(_cell(cell, tag) for cell in cells) + "</tr>"

    head, body = row(table.head, "th"), "\n".join(row(cells, "td") for cells in table.rows)
    return (
        '<div class="scroll" tabindex="0"><table>\n'
        f"<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table></div>"
    )


def _cell(text: str, tag: str) -> str:
    return f"<{tag}{' class=long' if len(text) > LONG else ''}>{_escaped(text)}</{tag}>"


@own_settings()
def _svg(picture: Picture) -> str:
    """The picture as SVG in base 64; equal ones are equal to the byte."""
    import matplotlib as mpl

    mpl.rcParams["svg.hashsalt"] = picture.name
    data = io.BytesIO()
    picture.draw().savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    return base64.b64encode(data.getvalue()).decode()


def as_markdown(page: Page, folder: str) -> tuple[str, list[Picture]]:
    """The page, and the pictures that it expects in a folder beside it."""
    parts = [f"# {_inline(page.title)}", *(_markdown(block, folder) for block in page.lead)]
    for section in page.sections:
        parts += [f"## {_inline(section.title)}", *(_markdown(block, folder) for block in section.blocks)]
    shown = [*page.lead, *(block for section in page.sections for block in section.blocks)]
    return "\n\n".join(parts) + "\n", list(_pictures(shown))


def _pictures(blocks: Iterable[Block]) -> Iterator[Picture]:
    for block in blocks:
        if isinstance(block, Picture):
            yield block
        elif isinstance(block, Fold):
            yield from _pictures(block.blocks)


def _markdown(block: Block, folder: str) -> str:
    match block:
        case Text(text, "plain" | "note"):
            return _paragraph(_inline(text))
        case Text(text, _):
            first, _, rest = _inline(text).partition(".")
            return _paragraph(f"**{first}.**{rest}")
        case Table(head, rows):
            return markdown([_inline(cell) for cell in head], [[_inline(cell) for cell in row] for row in rows])
        case Listing(lines):
            text = "\n".join(_printable(line) for line in lines)
            fence = "`" * max([3, *(len(ticks) + 1 for ticks in re.findall("`+", text))])
            return f"{fence}text\n{text}\n{fence}"
        case Picture(name, alt, caption, _):
            link = f"({quote(f'{folder}/{name}.png')})"
            short = textwrap.shorten(_inline(alt), max(20, WIDTH - len(link) - len("![]")), placeholder=" …")
            return f"![{short}]{link}\n\n{_paragraph(_inline(caption))}"
        case Fold(title, blocks):
            inner = "\n\n".join(_markdown(part, folder) for part in blocks)
            return f"<details>\n<summary>{_escaped(title)}</summary>\n\n{inner}\n\n</details>"


def _inline(text: str) -> str:
    """Text as Markdown, on one line."""
    text = html.escape(" ".join(_printable(text).split()), quote=False).replace(" %", "\u00a0%")
    return re.sub(r"[\\`*|~$]|\](?=[(\[:])|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def _paragraph(text: str) -> str:
    """Lines that are short enough; none starts like an item of a list or a heading."""
    lines = textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(re.sub(r"^(?=[-+#>=](\s|$))|(?<=^\d)(?=[.)]\s)", r"\\", line) for line in lines)


def wrapped(command: str, width: int = WIDTH - 4) -> tuple[str, ...]:
    """A shell command on lines that are short enough, each up to a flag; a backslash at the end goes on."""
    first, *rest = re.split(r" (?=--)", command)
    lines = [first]
    for part in rest:
        if len(lines[-1]) + len(part) > width:
            lines[-1] += " \\"
            lines.append(f"  {part}")
        else:
            lines[-1] += f" {part}"
    return tuple(lines)
