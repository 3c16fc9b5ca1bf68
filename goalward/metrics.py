"""What a run has measured, on disk: a row an evaluation, as lines of JSON, as a table and for TensorBoard."""

import csv
import io
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # type: ignore  # made at run time
from tensorboardX.proto.summary_pb2 import Summary  # type: ignore

from goalward import files
from goalward.errors import MachineError, UserError

# What a row of metrics.jsonl holds at least: whole numbers, which grow from row to row, and others.
_COUNTS = ("iteration", "env_steps", "updates")
_FIGURES = (
    "seconds", "success_rate", "final_success", "time_at_goal", "time_at_goal_fraction", "final_distance"
)  # fmt: skip
_END = 16_384  # bytes; a row without lists takes some 1,500


class Recorder:
    """Writes metrics.jsonl and, after it, metrics.csv and TensorBoard events: one row an evaluation.

    All three are made anew from metrics.jsonl at each start, and are added to from then on.
    """

    def __init__(
        self,
        jsonl: Path,
        table: Path,
        events: Path,
        last_iteration: int,
        last_row: Mapping[str, Any] | None = None,
    ):
        """Continue after `last_iteration`: later rows, of work that was lost, are removed.

        `last_row` is the row of that iteration, if it has one: a run may have died before it was written.
        """
        self._jsonl, self._csv = jsonl, table
        if table.is_file() and not jsonl.is_file():
            raise UserError(
                f"{jsonl} is missing, and {table.name}, which is made anew from it, would lose its rows; put it"
                f" back, or remove {table.name} too to go on without them"
            )
        rows = [row for row in read(jsonl) if row["iteration"] <= last_iteration]
        if last_row is not None and all(row["iteration"] != last_iteration for row in rows):
            try:
                _check_row(last_row, rows[-1] if rows else dict.fromkeys(_COUNTS, -1))
            except ValueError as error:
                raise UserError(
                    f"the latest checkpoint of {jsonl.parent} is damaged: its row: {error}"
                ) from error
            rows.append(dict(last_row))
        self._columns: list[str] = []
        # Seconds of training become the clock's, so that TensorBoard shows them however long a run lay still.
        self._zero = time.time() - (rows[-1]["seconds"] if rows else 0.0)
        with self._told():
            files.replace(self._jsonl, "".join(map(_line, rows)))
            self._rewrite_csv(rows)
            self._events = self._new_events(events, rows)

    def write(self, row: Mapping[str, Any]) -> None:
        """Add a row: scalars go to all three, anything else to metrics.jsonl only.

        Raises `MachineError` if it cannot be written.
        """
        with self._told():
            _append(self._jsonl, _line(row))
            numbers = scalars(row)
            if numbers.keys() <= set(self._columns):
                _append(self._csv, _table([numbers], self._columns))
            else:
                self._rewrite_csv(read(self._jsonl))
            self._add_events(self._events, row)
            self._events.flush()

    def close(self) -> None:
        """Close the event file."""
        with suppress(OSError):  # told when it was written
            self._events.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise MachineError(
                f"the logs in {self._jsonl.parent} could not be written: {error}; checkpoints are untouched. "
                "Free some space, then resume the run"
            ) from error

    def _rewrite_csv(self, rows: list[dict[str, Any]]) -> None:
        """Write the table anew, as for a row with a new column."""
        self._columns = list(dict.fromkeys(name for row in rows for name in scalars(row)))
        header = _table([dict(zip(self._columns, self._columns, strict=True))], self._columns)
        files.replace(self._csv, header + _table(map(scalars, rows), self._columns))

    def _new_events(self, folder: Path, rows: list[dict[str, Any]]) -> EventsWriter:
        """One file of events in place of all earlier ones; readers that know these are told to forget them."""
        folder.mkdir(exist_ok=True)
        earlier = list(folder.glob("events.out.tfevents.*"))
        # Not `SummaryWriter`, whose thread writes what it has in its queue after `flush` has returned.
        events = EventsWriter(str(folder.absolute() / "events"), f".{os.getpid()}.{time.time_ns()}")
        events.write_event(Event(step=0, wall_time=self._zero, session_log=SessionLog(status=SessionLog.START)))
        for row in rows:
            self._add_events(events, row)
        events.flush()
        for path in earlier:
            path.unlink()
        return events

    def _add_events(self, events: EventsWriter, row: Mapping[str, Any]) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars(row).items()]
        wall_time = self._zero + row["seconds"]
        events.write_event(Event(step=clock(row), wall_time=wall_time, summary=Summary(value=values)))


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"


def _table(rows: Iterable[Mapping[str, Any]], columns: list[str]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, restval="").writerows(rows)
    return text.getvalue()


def _append(path: Path, text: str) -> None:
    with files.naming(path), files.open_to_append(path) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """All rows of metrics.jsonl; none where there is no such file. Raises `UserError` for what is no row."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    with files.open_to_read(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break  # half a row, of a disk that was full, or still being written
            try:
                row = files.parse_json(line)
                _check_row(row, rows[-1] if rows else dict.fromkeys(_COUNTS, -1))
            except ValueError as error:
                raise UserError(
                    f"{path} is damaged: line {number}: {error}; "
                    "move it and the table beside it away to continue without the earlier rows"
                ) from error
            rows.append(row)
    return rows


def read_end(path: Path, number: int = 2) -> list[dict[str, Any]]:
    """The last rows of metrics.jsonl, so many at most; what is no row is left out. Only the end is read."""
    try:
        file = files.open_to_read(path)
    except FileNotFoundError:
        return []
    with file:
        size = length = file.seek(0, os.SEEK_END)
        lines: list[bytes] = []
        for length in (_END, 16 * _END, size):
            file.seek(max(0, size - length))
            # What follows the last line break is still being written; what comes before the first, cut off.
            lines = file.read(length).split(b"\n")[0 if length >= size else 1 : -1]
            if len(lines) >= number or length >= size:
                break
    rows = []
    for line in lines[-number:]:
        with suppress(ValueError):
            row = files.parse_json(line)
            _check_row(row, dict.fromkeys(_COUNTS, -1))
            rows.append(row)
    return rows


def _check_row(row: Any, last: Mapping[str, Any]) -> None:
    """Raise `ValueError` unless `row` is what `Recorder` wrote after `last`."""
    if not isinstance(row, dict):
        raise ValueError(f"{row!r:.40} is not an evaluation")
    for name in (*_COUNTS, *_FIGURES):
        value: Any = row.get(name)
        if type(value) not in ((int,) if name in _COUNTS else (int, float)) or not abs(value) < files.HUGE:
            raise ValueError(f"{name} is {value!r:.40}, not a number as it should be")
        stays = name == "env_steps" and value == 0  # where a dataset is learned from
        if name in _COUNTS and not stays and value <= last[name]:
            raise ValueError(f"{name} is {value}, after {last[name]} in the row before")
    for name, value in row.items():
        kinds = (int, float) if name.startswith("random_") else (int, float, list)
        if type(value) not in kinds:
            raise ValueError(f"{name} is {value!r:.40}, not what it should be")


def scalars(row: Mapping[str, Any]) -> dict[str, int | float]:
    """What of a row is a number."""
    return {name: value for name, value in row.items() if isinstance(value, (int, float))}


def clock(row: Mapping[str, Any]) -> int:
    """When a row was measured: environment steps, or updates where there are no steps."""
    return row["env_steps"] or row["updates"]
