# SPDX-License-Identifier: GPL-2.0-only
"""Locks between the guprace processes that share a cache: whoever must wait says for what, and for whom."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from orchestrator import records
from orchestrator.errors import HostError
from orchestrator.proc import Deadline, Stop

log = logging.getLogger("guprace.lock")

POLL_SECONDS = 0.2
# A wait that goes on is told again: of a log that stands still nobody knows whether it does.
AGAIN_SECONDS = 60.0

Waits = Callable[[str], None]
"""Is told what a process waits for, at once and then every AGAIN_SECONDS."""


def say_in_log(text: str) -> None:
    """Tell a wait where nobody else listens: as a warning, which every verb shows."""
    log.warning("%s", text)


@contextlib.contextmanager
def locked(
    path: Path, what: str, stop: Stop, waits: Waits = say_in_log, *, seconds: float | None = None
) -> Iterator[None]:
    """Hold an exclusive lock on the file `path` (made if absent); whoever else holds it is waited for.

    `what` is what the lock guards, in words such as `lane 6.1-arm64-plain-gcc`; `seconds` limits the wait, which is
    endless without: a build of somebody else's takes as long as it takes.

    Raises:
        HostError: the file cannot be made, or its holder kept it for longer than `seconds`.
        RunInterruptedError: somebody asked to stop while it waited.
    """
    with _lock_file(path) as stream:
        _acquire(stream, path, what, stop, waits, seconds)
        try:
            _name(stream, f"{os.getpid()}\n", path)
            yield
        finally:
            _name(stream, "", path)


def _acquire(stream: IO[bytes], path: Path, what: str, stop: Stop, waits: Waits, seconds: float | None) -> None:
    deadline = Deadline.after(seconds) if seconds is not None else None
    began = time.monotonic()
    tell_at = began
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        holder = _holder(path)
        if deadline and deadline.expired:
            hint = "wait for that process, or end it if it hangs, and run the same command again"
            patience = f" for more than {seconds:.0f} s" if seconds else ""
            raise HostError(f"{holder} holds {what}{patience}", where=str(path), hint=hint)
        if (now := time.monotonic()) >= tell_at:
            tell_at = now + AGAIN_SECONDS
            since = f", for {now - began:.0f} s now" if now - began >= 1.0 else ""
            waits(f"waits for {what}, which {holder} holds{since}")
        stop.wait(POLL_SECONDS)


def _holder(path: Path) -> str:
    """Say who holds the lock, as far as its file tells: it may have been taken just now."""
    try:
        pid = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        pid = ""
    if not pid.isdigit():
        return "another guprace"
    return "another lane of this guprace" if int(pid) == os.getpid() else f"another guprace (pid {pid})"


def _lock_file(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what a full disk refuses must not be tried again when the file is closed.
        return path.open("ab", buffering=0)
    except OSError as error:
        raise records.disk_error(error, path) from error


def _name(stream: IO[bytes], holder: str, path: Path) -> None:
    """Write who holds the lock, for those who wait; a full disk only costs them that."""
    try:
        stream.truncate(0)
        stream.write(holder.encode())
    except OSError as error:
        log.debug("%s: cannot say who holds it: %s", path, error)
