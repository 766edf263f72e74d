# SPDX-License-Identifier: GPL-2.0-only
"""Short-lived directories for a guest's sockets and initramfs; what a killed guprace left is swept up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.errors import HostError

PREFIX = "guprace-guest-"
LOCK = "lock"
# sun_path has 108 bytes, its terminator among them; the rest is for the names below the base directory.
BASE_BYTES = 70


@contextlib.contextmanager
def work_directory(env: Mapping[str, str]) -> Iterator[Path]:
    """Give a private directory whose path is short enough for unix sockets, removed at the end.

    Raises:
        HostError: neither TMPDIR nor the usual places can be written.
    """
    base = _base(env)
    _sweep(base)
    with contextlib.ExitStack() as held:
        while (room := _room(base, held)) is None:
            pass
        yield room


def _room(base: Path, held: contextlib.ExitStack) -> Path | None:
    """Make a directory and hold its lock while `held` lasts; None where another's sweep was quicker than the lock."""
    room = Path(held.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=base)))
    try:
        # Held by this process while it lives, so a later one knows which directories nobody needs.
        lock = held.enter_context((room / LOCK).open("wb"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        return room if os.path.samestat(os.fstat(lock.fileno()), (room / LOCK).stat()) else None
    except FileNotFoundError:
        return None


def _base(env: Mapping[str, str]) -> Path:
    for base in (env.get("TMPDIR"), "/tmp", "/var/tmp"):
        if base and len(os.fsencode(base)) <= BASE_BYTES and os.access(base, os.W_OK):
            return Path(base)
    raise HostError("no writable temporary directory with a short path", hint="set TMPDIR=/tmp")


def _sweep(base: Path) -> None:
    """Remove the directories of processes that were killed: their lock is free."""
    for left in base.glob(f"{PREFIX}*"):
        # No lock file: it is being made just now. Somebody else's: none of our business.
        with contextlib.suppress(OSError), (left / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
