"""A page in the browser on which a world moves and obeys clicks; it takes callbacks and knows no policies."""

from types import ModuleType

from goalward.errors import MachineError


def library() -> ModuleType:
    """The package viser. Raises `MachineError` where it, or what shapes are made with, is not installed."""
    try:
        import trimesh  # noqa: F401
        import viser
    except ImportError:
        raise MachineError(
            'the extra `view`, which serves the page, is not installed: pip install "goalward[view]"'
        ) from None
    return viser
