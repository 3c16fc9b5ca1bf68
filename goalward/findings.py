"""What is found in an environment: one thing each, with its numbers and what to do about it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

PROBLEM = "problem"  # a promise is broken
WARNING = "warning"  # likely to spoil learning
NOTE = "note"  # worth knowing
MOST_NAMED = 6  # elements that a sentence names


class Finding(NamedTuple):
    """One thing that was found."""

    severity: str
    rule: str  # what was looked for
    what: str  # a sentence, with the elements that it is about
    numbers: dict[str, Any]  # by name, as plain Python: what the sentence rests on
    remedy: str = ""


def problem(rule: str, what: str, remedy: str, **numbers: Any) -> Finding:
    """A promise that is broken."""
    return Finding(PROBLEM, rule, what, _plain(numbers), remedy)


def warning(rule: str, what: str, remedy: str, **numbers: Any) -> Finding:
    """What is likely to spoil learning."""
    return Finding(WARNING, rule, what, _plain(numbers), remedy)


def note(rule: str, what: str, remedy: str = "", **numbers: Any) -> Finding:
    """What is worth knowing."""
    return Finding(NOTE, rule, what, _plain(numbers), remedy)


def listed(words: Sequence[str]) -> str:
    """Some words as a part of a sentence: the first ones, and how many there are beyond them."""
    shown = [*words[:MOST_NAMED], *([f"{len(words) - MOST_NAMED} more"] if len(words) > MOST_NAMED else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _plain(value: Any) -> Any:
    """Python's numbers for those of NumPy, to four digits; a word for what is not finite, as JSON has none."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(f"{value:.4g}") if np.isfinite(value) else str(float(value))
    return value.item() if isinstance(value, np.generic) else value
