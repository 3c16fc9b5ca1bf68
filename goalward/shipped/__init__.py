"""Policies that come with the package, each a folder as `goalward export` writes them, with a card."""

from pathlib import Path

from goalward.errors import UserError

HERE = Path(__file__).parent
CARD = "card.md"


def names() -> list[str]:
    """What they are called: by the task that each was trained on."""
    return sorted(path.parent.name for path in HERE.glob(f"*/{CARD}"))


def is_one(name: str | Path) -> bool:
    """Whether a name is one of theirs, and no file or folder here."""
    return str(name) in names() and not Path(name).exists()


def folder(name: str) -> Path:
    """The folder of one. Raises `UserError` for an unknown name."""
    if name not in names():
        raise UserError(f"{name} is no policy of the package; there are {', '.join(names())}")
    return HERE / name
