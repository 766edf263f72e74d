# SPDX-License-Identifier: GPL-2.0-only
"""The serial console: a socket that is ours before QEMU starts, drained for ever, readable by pexpect.

Every byte goes into console.log first; what is kept in memory is bounded, so that a guest that floods its console
costs neither memory nor time. QEMU's own log of a socket is not used: it has bytes twice (argv.console_args()).
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
from pexpect.spawnbase import SpawnBase

from orchestrator.guest.scanner import ConsoleScanner

if TYPE_CHECKING:
    _BytesSpawn = SpawnBase[bytes]
else:
    _BytesSpawn = SpawnBase

CHUNK_BYTES = 65536
PENDING_BYTES = 262144
POLL_SECONDS = 0.1
SEARCH_WINDOW = 8192


class Console(_BytesSpawn):
    """A pexpect object over the guest's console (bytes), and its scanner.

    Bytes that nobody expects are dropped once there are PENDING_BYTES of them.
    """

    def __init__(self, path: Path, log: Path) -> None:
        super().__init__(timeout=None, maxread=CHUNK_BYTES, searchwindowsize=SEARCH_WINDOW)
        self.delayafterread = None
        self.scanner = ConsoleScanner()
        self.last_output = time.monotonic()
        self.log_path = log
        self.log_error: OSError | None = None
        self._log = log.open("ab", buffering=0)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._listener.settimeout(POLL_SECONDS)
        self._peer: socket.socket | None = None
        self._changed = threading.Condition()
        self._pending = b""
        self._ended = False
        self._closing = threading.Event()
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._drain, name="guprace-console", daemon=True)
        self._thread.start()

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> bytes:
        """Return up to `size` bytes, waiting `timeout` seconds for the first (pexpect's reading primitive).

        Raises:
            pexpect.TIMEOUT: nothing came.
            pexpect.EOF: the console is closed and everything was read.
        """
        patience = self.timeout if timeout == -1 else timeout
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._ended, patience)
            data, self._pending = self._pending[:size], self._pending[size:]
            if not data and self._ended:
                self.flag_eof = True
                raise pexpect.EOF("console closed")
        if not data:
            raise pexpect.TIMEOUT("nothing on the console")
        return data

    def send(self, data: bytes) -> int:
        """Type `data` on the console; lost if QEMU is gone."""
        if self._peer is not None:
            with contextlib.suppress(OSError):
                self._peer.sendall(data)
        return len(data)

    def forget(self) -> None:
        """Drop what `expect` has read without a match, except a window that a match could begin in.

        pexpect keeps everything since the last match; a flood must not grow that.
        """
        self.buffer = self.buffer[-SEARCH_WINDOW:]

    def drained(self, seconds: float) -> bool:
        """Wait until everything of a QEMU that is gone was scanned; False if that took longer than `seconds`."""
        self._gone.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop draining and close the sockets."""
        self._closing.set()
        self._thread.join()
        self._listener.close()
        self._log.close()

    def _drain(self) -> None:
        try:
            peer = self._accept()
            if peer is not None:
                with peer:
                    self._copy(peer)
        finally:
            with self._changed:
                self.scanner.finish()
                self._ended = True
                self._changed.notify_all()

    def _accept(self) -> socket.socket | None:
        while not self._closing.is_set():
            # Asked before the look: QEMU may have connected, written and died since the last one.
            gone = self._gone.is_set()
            try:
                peer, _ = self._listener.accept()
            except TimeoutError:
                if gone:
                    return None
                continue
            peer.settimeout(POLL_SECONDS)
            self._peer = peer
            return peer
        return None

    def _copy(self, peer: socket.socket) -> None:
        while not self._closing.is_set():
            try:
                data = peer.recv(CHUNK_BYTES)
            except TimeoutError:
                continue
            except OSError:
                return
            if not data:
                return
            self._keep(data)
            with self._changed:
                self.scanner.feed(data)
                self.last_output = time.monotonic()
                self._pending = (self._pending + data)[-PENDING_BYTES:]
                self._changed.notify_all()

    def _keep(self, data: bytes) -> None:
        """Write to console.log. Who waits for the guest is told of a full disk; the guest is drained anyway."""
        try:
            while self.log_error is None and data:
                data = data[self._log.write(data) :]
        except OSError as error:
            self.log_error = error
