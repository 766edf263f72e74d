# SPDX-License-Identifier: GPL-2.0-only
"""SSH into the guest: paramiko on a pinned host key; every wait asks `check` whether the guest is still there."""

from __future__ import annotations

import contextlib
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import paramiko

from orchestrator.guest.keys import GuestKeys
from orchestrator.guest.model import CommandResult
from orchestrator.proc import Deadline

POLL_SECONDS = 0.02
# Between two looks: it was us who stood still (SIGSTOP, a terminal that takes nothing), not the guest.
STOOD_STILL_SECONDS = 1.0
STOOD_STILL_TIMES = 16
# At the deadline, for what the guest had said by then.
DRAIN_SECONDS = 5.0
CHUNK_BYTES = 65536
OUTPUT_BYTES = 16 * 1024 * 1024
CONNECT_SECONDS = 5.0
OPEN_TRIES = 3
GONE_SECONDS = 0.3
FAST_MAC = "hmac-sha1"

Check = Callable[[], None]
# What paramiko and sockets raise when the other side is gone or talks nonsense.
SSH_ERRORS = (paramiko.SSHException, EOFError, OSError)


class SshTimeoutError(Exception):
    """The guest did not do in time what was asked of it."""


def connect(
    port: int, keys: GuestKeys, deadline: Deadline, opened: Callable[[paramiko.Transport], None]
) -> paramiko.Transport:
    """Log in as root on 127.0.0.1:`port`; `opened` gets the transport first, for others to close it.

    Raises:
        paramiko.SSHException, OSError, EOFError: no server there, another host key, or login refused.
    """
    sock = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_SECONDS)
    # A small message right behind another (close and open of a channel) would wait for QEMU's delayed ACK, 40 ms.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(sock)
    opened(transport)
    with contextlib.ExitStack() as failing:
        failing.callback(transport.close)
        # The guest computes in an emulator: SHA-1 is the cheapest there, and an HMAC needs no more on loopback.
        options = transport.get_security_options()
        options.digests = tuple(sorted(options.digests, key=lambda name: name != FAST_MAC))
        patience = max(1.0, deadline.remaining)
        transport.banner_timeout = patience
        transport.auth_timeout = patience
        transport.start_client(timeout=patience)
        if transport.get_remote_server_key() != keys.host:
            raise paramiko.SSHException("the server on the guest's port has another host key")
        transport.auth_publickey("root", keys.client)
        failing.pop_all()
    return transport


def shell_line(command: str | Sequence[str]) -> str:
    """Return the line for the guest's shell; one that a signal ends gives 128 + its number as status."""
    line = command if isinstance(command, str) else shlex.join(command)
    # Without a second command the shell would exec the first, and SSH reports a signal without its number.
    return f"{line}\nexit $?"


class _Sink:
    """Bounded collection of one output stream, handing out whole lines as they come."""

    def __init__(self, limit: int, on_line: Callable[[str], None] | None) -> None:
        self._parts: list[bytes] = []
        self._room = limit
        self._limit = limit
        self._on_line = on_line
        self._partial = b""

    def feed(self, data: bytes) -> None:
        kept = data[: self._room]
        self._room -= len(kept)
        if kept:
            self._parts.append(kept)
        if self._on_line:
            *lines, self._partial = (self._partial + data).split(b"\n")
            self._partial = self._partial[:CHUNK_BYTES]
            for line in lines:
                self._on_line(line.decode(errors="replace"))

    def text(self) -> str:
        cut = f"\n[guprace: output cut after {self._limit} bytes]\n" if self._room == 0 else ""
        return b"".join(self._parts).decode(errors="replace") + cut


def run_command(
    transport: paramiko.Transport,
    command: str | Sequence[str],
    deadline: Deadline,
    check: Check,
    on_line: Callable[[str], None] | None = None,
) -> CommandResult:
    """Run a command by the guest's shell and return how it ended; `on_line` gets each line of stdout.

    Output beyond OUTPUT_BYTES is read and dropped, and the text says so.

    Raises:
        SshTimeoutError: it had not ended at `deadline` (which is later by what we ourselves stood still).
        paramiko.SSHException, EOFError, OSError: the connection broke.
        Whatever `check` raises.
    """
    started = time.monotonic()
    with open_channel(transport, deadline) as channel:
        channel.settimeout(max(1.0, deadline.remaining))
        with answering(channel, deadline, _short(command)):
            channel.exec_command(shell_line(command))
        out, err = _Sink(OUTPUT_BYTES, on_line), _Sink(OUTPUT_BYTES, None)
        looked, stops = time.monotonic(), 0
        while True:
            gap, looked = time.monotonic() - looked, time.monotonic()
            if gap > STOOD_STILL_SECONDS and stops < STOOD_STILL_TIMES:
                deadline, stops = deadline.later(gap), stops + 1
            # Read the flag before the buffers: nothing comes after the status, but it may overtake our reading.
            ended = channel.exit_status_ready()
            moved = _pump(channel, out, err)
            if ended and not moved:
                break
            check()
            if deadline.expired and not ended and (not moved or deadline.later(DRAIN_SECONDS).expired):
                raise SshTimeoutError(f"{_short(command)} had not ended after {deadline.seconds:.0f} s")
            if not moved:
                channel.status_event.wait(POLL_SECONDS)
        status = exit_status(transport, channel)
    return CommandResult(status, out.text(), err.text(), time.monotonic() - started)


@contextlib.contextmanager
def answering(channel: paramiko.Channel, deadline: Deadline, what: str) -> Iterator[None]:
    """Close the channel at `deadline`: paramiko waits for the answer to a request on it, and asks nobody how long.

    Raises:
        SshTimeoutError: the server has not answered by then.
    """
    late = threading.Event()

    def close() -> None:
        late.set()
        channel.close()

    timer = threading.Timer(max(1.0, deadline.remaining), close)
    timer.daemon = True
    timer.start()
    try:
        yield
    except SSH_ERRORS as error:
        if late.is_set():
            raise SshTimeoutError(f"{what} was not begun after {deadline.seconds:.0f} s") from error
        raise
    finally:
        timer.cancel()


def exit_status(transport: paramiko.Transport, channel: paramiko.Channel) -> int:
    """Return the exit status of what ran in `channel`; -1 if a signal ended the shell itself.

    Raises:
        EOFError: there is none, since the connection broke.
    """
    status = channel.recv_exit_status()
    if status < 0:
        # A transport that ends closes its channels first, and says so of itself a moment later.
        transport.join(GONE_SECONDS)
        if not transport.is_active():
            raise EOFError("SSH connection closed by the guest")
    return status


def open_channel(transport: paramiko.Transport, deadline: Deadline) -> paramiko.Channel:
    """Open a session channel; tried again if the server closes it at once, since nothing has run in it.

    Raises:
        paramiko.SSHException, EOFError, OSError: the server opens none, or is gone.
    """
    for _ in range(OPEN_TRIES - 1):
        try:
            return transport.open_session(timeout=max(1.0, deadline.remaining))
        except paramiko.SSHException:
            if deadline.expired or not transport.is_active():
                raise
    return transport.open_session(timeout=max(1.0, deadline.remaining))


def _pump(channel: paramiko.Channel, out: _Sink, err: _Sink) -> bool:
    moved = False
    if channel.recv_ready():
        out.feed(channel.recv(CHUNK_BYTES))
        moved = True
    if channel.recv_stderr_ready():
        err.feed(channel.recv_stderr(CHUNK_BYTES))
        moved = True
    return moved


def _short(command: str | Sequence[str]) -> str:
    line = command if isinstance(command, str) else shlex.join(command)
    first = line.splitlines()[0] if line else ""
    return f"`{first[:80]}`"
