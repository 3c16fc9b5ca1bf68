"""The pages that people wrote: where each is in the site, and where its links lead there."""

import os
import re
import shutil
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
# Files outside of docs/ and the page that each is.
OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "changes.md", "AGENTS.md": "contributing.md"}
EXAMPLES = "examples.md"
LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")


def gather(folder: Path) -> None:
    """Write all pages, pictures and the style into a folder, with links as the site has them."""
    shutil.copytree(ROOT / "docs", folder)
    shutil.copy(Path(__file__).with_name("style.css"), folder)
    for page in sources():
        target = folder / place(page)
        target.write_text(relinked((ROOT / page).read_text(encoding="utf-8"), page), encoding="utf-8")


def sources() -> list[str]:
    """Pages that people wrote, as paths from the root."""
    return [*OUTSIDE, *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]


def examples() -> list[str]:
    """Files of examples, as paths from the root."""
    files = sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in (".py", ".xml"))
    return [str(path.relative_to(ROOT)) for path in files]


def place(path: str) -> str:
    """Where a file of the repository is in the site. Raises `KeyError` if it is nowhere."""
    top, _, rest = path.partition("/")
    if path in OUTSIDE:
        return OUTSIDE[path]
    if top == "docs" and (ROOT / path).is_file():
        return rest
    if path in examples():
        return f"{EXAMPLES}#{anchor(path)}"
    return {"examples": EXAMPLES}[path]


def anchor(heading: str, separator: str = "-") -> str:
    """The anchor of a heading, as GitHub makes it and the site does."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", separator)


def relinked(text: str, page: str) -> str:
    """A page's text with its links, which hold in the repository, as the site has them.

    Raises `ValueError` for a link to what is no part of the site.
    """
    here = PurePosixPath(place(page)).parent

    def moved(link: re.Match) -> str:
        if "://" in link["path"]:
            return link[0]
        path = os.path.normpath(PurePosixPath(page).parent / link["path"])
        try:
            target = place(path)
        except KeyError:
            raise ValueError(f"{page} leads to {path}, which is no part of the site") from None
        return os.path.relpath(target, here) + (link["anchor"] or "")

    return LINK.sub(moved, text)
