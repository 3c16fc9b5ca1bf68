"""A process of worlds: told on its input by a line that a turn is due, it answers by one when it is done."""

import json
import mmap
import os
import signal
import sys
import warnings
from pathlib import Path

import numpy as np

from goalward.foreign.layout import Layout
from goalward.foreign.making import Recipe
from goalward.foreign.pool import Kind, World, take_turns, told
from goalward.foreign.worlds import block, nbytes


def main() -> None:
    """Serve the process that started this one, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is for who started this process
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what environments print must not be taken for an answer
    warnings.simplefilter("ignore")
    orders = sys.stdin.buffer
    order = json.loads(orders.readline())
    layout = Layout(**order["layout"])._replace(
        low=np.asarray(order["layout"]["low"], np.float32),
        high=np.asarray(order["layout"]["high"], np.float32),
        goal=tuple(order["layout"]["goal"]),
    )
    kind, number = Kind(Recipe(**order["recipe"]), layout, order["words"]), order["number"]
    with Path(order["file"]).open("r+b") as file:
        all_worlds = block(
            layout, kind.words, number, mmap.mmap(file.fileno(), nbytes(layout, kind.words, number))
        )
    first, end = order["part"]
    try:
        worlds = [World(kind.recipe, layout, kind.words > 0) for _ in range(first, end)]
        fault = None
    except Exception as error:  # whatever another's code raises
        worlds, fault = [], told(error)
    answers.write(_answer(fault))
    while orders.readline():
        answers.write(_answer(take_turns(worlds, all_worlds, first)))


def _answer(fault: str | None) -> bytes:
    return (json.dumps(fault) if fault else "").encode() + b"\n"


main()
