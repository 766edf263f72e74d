# SPDX-License-Identifier: GPL-2.0-only
"""What happens in a run, as it happens: the one stream that the terminal, events.ndjson and tests consume."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pydantic import TypeAdapter

from orchestrator import records

log = logging.getLogger("guprace.events")


class State(StrEnum):
    """What became of a stage: `waiting` says what for, `verdict` ends a cell (its text is the outcome).

    `note` is for people to read at once: that another guprace must be waited for, and for which.
    """

    STARTED = "started"
    WAITING = "waiting"
    FINISHED = "finished"
    FAILED = "failed"
    VERDICT = "verdict"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Event:
    """One line of events.ndjson. `time` is seconds since 1970, `seconds` how long the stage took.

    `cell` is a cell id, or empty for the run as a whole.
    """

    time: float
    cell: str
    stage: str
    state: State
    text: str = ""
    seconds: float | None = None


class Listener(Protocol):
    """Whoever wants to know; called from any thread, must return at once and must not raise."""

    def __call__(self, event: Event, /) -> None:
        """Take note of one event."""


def event(cell: str, stage: str, state: State, text: str = "", seconds: float | None = None) -> Event:
    """Return an event of this very moment."""
    return Event(time.time(), cell, stage, state, text, seconds)


def held_up(cell: str, text: str) -> Event:
    """Return the event that a cell (empty: the run) waits for another process: never to be missed, so a note."""
    return event(cell, "lock", State.NOTE, text)


def fan_out(listeners: Iterable[Listener]) -> Listener:
    """Return one listener that tells all of `listeners`, in their order; a terminal that is gone costs no verdict."""
    kept = tuple(listeners)

    def tell(event: Event) -> None:
        for listener in kept:
            with contextlib.suppress(OSError):
                listener(event)

    return tell


class EventLog:
    """A listener that appends to events.ndjson, one flushed line each; safe to call from several threads.

    A line that cannot be written (full disk) is said once in the log and never stops a run: events are for
    people watching, verdicts do not depend on them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._adapter = TypeAdapter(Event)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("ab")
            if cut_off(path):
                self._stream.write(b"\n")
        except OSError as error:
            raise records.disk_error(error, path) from error
        self._broken = False

    def __call__(self, event: Event) -> None:
        """Append one event. Lone surrogates (from undecodable names) become question marks."""
        clean = Event(event.time, event.cell, event.stage, event.state, _encodable(event.text), event.seconds)
        line = self._adapter.dump_json(clean) + b"\n"
        with self._lock:
            if self._stream.closed or self._broken:
                return
            try:
                self._stream.write(line)
                self._stream.flush()
            except OSError as error:
                self._broken = True
                log.warning("%s: no more events: %s", self._path, error.strerror)

    def close(self) -> None:
        """Close the file; later events are ignored."""
        # What a full disk did not take is still in the buffer; that was said.
        with self._lock, contextlib.suppress(OSError):
            self._stream.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()


def cut_off(path: Path) -> bool:
    """Say whether a file's last line has no end: its writer was killed, or the power failed, meanwhile."""
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 1))
        return stream.read(1) not in (b"", b"\n")


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
