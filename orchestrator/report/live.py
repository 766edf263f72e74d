# SPDX-License-Identifier: GPL-2.0-only
"""A run while it works: on a terminal one live line per cell, elsewhere one plain line per event."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from orchestrator.report.text import harmless, seconds
from orchestrator.runner.events import Event, State
from orchestrator.words import plural

_FRAMES_A_SECOND = 4
_WAITING_SECONDS = 30.0


class Watcher(Protocol):
    """A listener that must be entered before the run and left after it."""

    def __call__(self, event: Event, /) -> None:
        """Take note of one event."""

    def __enter__(self) -> Self:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""


def watcher(console: Console) -> Watcher:
    """Return the watcher that suits `console`: live on a terminal, plain lines elsewhere."""
    return LiveLines(console) if console.is_terminal else PlainLines(console)


class PlainLines:
    """One line per event, for logs: `[6.1/arm64/plain/pin_vs_munmap] boot finished 3.2 s`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}

    def __call__(self, event: Event, /) -> None:
        """Print one event; of a cell that waits, a line when it has said nothing for half a minute."""
        with self._lock:
            if event.state is State.WAITING and event.time - self._told.get(event.cell, 0.0) < _WAITING_SECONDS:
                return
            self._told[event.cell] = event.time
            self._console.print(Text(plain_line(event)), soft_wrap=True)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to end."""


def plain_line(event: Event) -> str:
    """Return one event as a line of a log."""
    words = [f"[{event.cell or 'run'}]"]
    if event.state is State.VERDICT:
        words.append("verdict")
    else:
        words += [event.stage, "..." if event.state is State.STARTED else str(event.state)]
    if event.text:
        words.append(" ".join(event.text.split()))
    if event.seconds is not None:
        words.append(seconds(event.seconds))
    return harmless(" ".join(words))


@dataclass(frozen=True, slots=True)
class _Now:
    stage: str
    since: float
    text: str
    outcome: str = ""


class LiveLines:
    """One line per cell that is redrawn: stage, elapsed time, what it waits for; a finished cell's outcome stays."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.time) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._cells: dict[str, _Now] = {}
        self._live = Live(self, console=console, refresh_per_second=_FRAMES_A_SECOND, transient=True)

    def __call__(self, event: Event, /) -> None:
        """Note one event; it shows with the next frame. Ends and notes also scroll by as plain lines."""
        with self._lock:
            before = self._cells.get(event.cell)
            if event.cell:
                self._cells[event.cell] = _next(before, event)
        if event.state in (State.VERDICT, State.FAILED, State.NOTE):
            self._live.console.print(Text(plain_line(event)), soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw what fits: cells at work first to go on the screen, finished ones only where there is room."""
        with self._lock:
            cells = dict(self._cells)
        busy = [(cell, now) for cell, now in cells.items() if not now.outcome]
        room = max(1, console.height - 2)
        for cell, now in busy[:room]:
            yield self._line(cell, now, options.max_width)
        done = len(cells) - len(busy)
        if done or len(busy) > room:
            yield Text(f"{done} of {len(cells)} {plural(len(cells), 'cell')} done", style="dim")

    def _line(self, cell: str, now: _Now, width: int) -> Text:
        elapsed = seconds(max(0.0, self._clock() - now.since))
        line = Text(f"{harmless(cell)}  ", no_wrap=True, overflow="ellipsis")
        line.append(f"{harmless(now.stage)} {elapsed}", style="bold")
        if now.text:
            line.append(f"  {harmless(' '.join(now.text.split()))}", style="dim")
        line.truncate(width, overflow="ellipsis")
        return line

    def __enter__(self) -> Self:
        """Start drawing."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing and give the terminal back."""
        self._live.stop()


def _next(before: _Now | None, event: Event) -> _Now:
    if event.state is State.VERDICT:
        return _Now(event.stage, event.time, event.text, outcome=event.text or "done")
    if before is not None and event.state is State.NOTE:
        # A word in between: the stage is still the one it was.
        return replace(before, text=event.text)
    if before is None or event.state is State.STARTED or event.stage != before.stage:
        return _Now(event.stage, event.time, event.text)
    if event.state is State.WAITING:
        return replace(before, text=event.text)
    return replace(before, text=event.text or str(event.state))
