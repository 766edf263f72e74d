# SPDX-License-Identifier: GPL-2.0-only
"""The user's terminal, connected to a shell in the guest."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator

import paramiko

from orchestrator.errors import HostError
from orchestrator.guest.ssh import answering, exit_status
from orchestrator.proc import Deadline

POLL_SECONDS = 0.1
CHUNK_BYTES = 4096
# A shell that shows no prompt in that time gets the keys all the same.
PROMPT_SECONDS = 10.0
ANSWER_SECONDS = 30.0


def interact(transport: paramiko.Transport, check: Callable[[], None]) -> int:
    """Run a login shell on a pty of the guest until it ends; return its exit status.

    What was typed while the guest booted is kept and handed over with its prompt: before, nobody reads it there.

    Raises:
        EOFError: the connection broke.
        What `check` raises: the guest was lost, or somebody asked to stop.
    """
    stdin, stdout = sys.stdin.fileno(), sys.stdout.fileno()
    with transport.open_session(timeout=30.0) as channel, _raw(stdin), _resizing(channel):
        size = shutil.get_terminal_size()
        with answering(channel, Deadline.after(ANSWER_SECONDS), "the shell"):
            channel.get_pty(os.environ.get("TERM", "vt100"), size.columns, size.lines)
            channel.invoke_shell()
        reading: list[paramiko.Channel | int] = [channel]
        held, prompt = True, Deadline.after(PROMPT_SECONDS)
        while True:
            ready, _, _ = select.select(reading, [], [], POLL_SECONDS)
            if channel in ready:
                data = channel.recv(CHUNK_BYTES)
                if not data:
                    break
                _write_all(stdout, data)
            if held and (channel in ready or prompt.expired):
                held = False
                reading.append(stdin)
            if stdin in ready:
                typed = os.read(stdin, CHUNK_BYTES)
                if typed:
                    channel.sendall(typed)
                else:
                    channel.shutdown_write()
                    reading.remove(stdin)
            check()
        return exit_status(transport, channel)


def _write_all(fd: int, data: bytes) -> None:
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError as error:
        # Told here: who has the guest would take it for an end of the connection, and the guest for lost.
        raise HostError(f"{error.strerror or error}", where="standard output") from error


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    """Pass every key to the guest, Ctrl-C too; a pipe stays as it is."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    try:
        # Not the default, TCSAFLUSH: that throws away what was typed up to now.
        tty.setraw(fd, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizing(channel: paramiko.Channel) -> Iterator[None]:
    """Tell the guest when the terminal's size changes; only the main thread may ask for the signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def resize(_number: int, _frame: object) -> None:
        size = shutil.get_terminal_size()
        with contextlib.suppress(paramiko.SSHException, OSError):
            channel.resize_pty(size.columns, size.lines)

    before = signal.signal(signal.SIGWINCH, resize)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
