"""Settings of an environment as words of the command line."""

import json
from typing import Annotated, Any

from tyro.constructors import PrimitiveConstructorSpec

_AS_JSON = {"True": "true", "False": "false", "None": "null"}  # what Python prints


def _settings_from_words(words: list[str]) -> dict[str, Any]:
    """Read NAME=VALUE words; values are JSON, and text where they are not."""
    settings = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise ValueError(
                f"{word!r} is not of the form NAME=VALUE; the environment is named before all of them"
            )
        try:
            settings[name] = json.loads(_AS_JSON.get(text, text))
        except (ValueError, RecursionError):
            settings[name] = text
    return settings


# Settings of an environment on the command line: --env-settings step_size=0.1 inertia=true
Settings = Annotated[
    dict[str, Any],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="NAME=VALUE ...",
        instance_from_str=_settings_from_words,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [f"{name}={json.dumps(item)}" for name, item in value.items()],
    ),
]
