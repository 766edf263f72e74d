# SPDX-License-Identifier: GPL-2.0-only
"""Is the guest still there? One question for every wait, and one latched answer when it is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.guest.console import Console
from orchestrator.guest.model import GuestLostError, LostReason
from orchestrator.guest.qmp import Qmp
from orchestrator.guest.scanner import ConsoleScanner
from orchestrator.proc import Deadline, Leashed, Stop
from orchestrator.records import disk_error

POLL_SECONDS = 0.1
# After a panic the kernel still prints its end mark and resets, which ends QEMU.
PANIC_GRACE_SECONDS = 1.5
# QEMU is gone, but what it wrote may still be in our sockets.
DRAIN_SECONDS = 2.0
STDERR_BYTES = 2000


class Watch:
    """Watches one guest; when it is lost or the user stops, `on_over` is called again and again from a thread.

    Once lost, always lost, and for the first reason: a later symptom never hides the cause.
    """

    def __init__(self, process: Leashed, console: Console, qmp: Qmp, stop: Stop, stderr: Path) -> None:
        self._process = process
        self._console = console
        self._qmp = qmp
        self._stop = stop
        self._stderr = stderr
        self._lock = threading.Lock()
        self._loss: GuestLostError | None = None
        self._panicked_at: float | None = None
        self._on_over: Callable[[], None] | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="guprace-watch", daemon=True)

    def start(self, on_over: Callable[[], None]) -> None:
        """Begin to watch in a thread."""
        self._on_over = on_over
        self._thread.start()

    def close(self) -> None:
        """End the watching thread."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Raise RunInterruptedError if the user stops, GuestLostError if the guest is lost.

        Raises HostError if its console cannot be kept: what nobody can read proves nothing.
        """
        self._stop.check()
        if self._console.log_error is not None:
            raise disk_error(self._console.log_error, self._console.log_path)
        with self._lock:
            self._look()
            if self._loss:
                raise self._loss.again()

    def check_for(self, seconds: float) -> None:
        """Check until `seconds` have passed: a connection breaks a moment before the cause can be seen."""
        deadline = Deadline.after(seconds)
        while True:
            self.check()
            if deadline.expired:
                return
            self.pause()

    def pause(self) -> None:
        """Wait a moment between two looks; RunInterruptedError if the user stops."""
        self._stop.wait(POLL_SECONDS)

    def lost(self, reason: LostReason, detail: str) -> GuestLostError:
        """Declare the guest lost (unless it is already) and return the error to raise, with the first cause."""
        with self._lock:
            self._look()
            self._loss = self._loss or GuestLostError(reason, detail, self._console.scanner.last_lines())
            return self._loss.again()

    def unresponsive(self, detail: str) -> GuestLostError:
        """Declare a guest lost that does not answer, by what its console said last."""
        report = self._console.scanner.report
        if report:
            return self.lost(report.reason, f"{detail}; the console says: {report.line}")
        silent = time.monotonic() - self._console.last_output
        return self.lost(LostReason.SILENT, f"{detail}; nothing on the console for {silent:.0f} s")

    def _look(self) -> None:
        if self._loss:
            return
        scanner = self._console.scanner
        if self._process.poll() is not None:
            self._console.drained(DRAIN_SECONDS)
            self._qmp.finished(DRAIN_SECONDS)
            how = ended(self._process.returncode, self._qmp.shutdown_reason, scanner, _tail(self._stderr))
            self._loss = GuestLostError(*how, scanner.last_lines())
        elif scanner.panic is not None:
            self._panicked_at = self._panicked_at or time.monotonic()
            if time.monotonic() - self._panicked_at > PANIC_GRACE_SECONDS:
                self._loss = GuestLostError(LostReason.PANIC, scanner.panic, scanner.last_lines())
        elif scanner.init_failure is not None:
            self._loss = GuestLostError(LostReason.BOOT_FAILED, scanner.init_failure, scanner.last_lines())
        elif scanner.boots > 1:
            self._loss = GuestLostError(LostReason.REBOOT, "the kernel booted again", scanner.last_lines())

    def _run(self) -> None:
        while not self._closing.wait(POLL_SECONDS):
            with self._lock:
                self._look()
                over = self._loss is not None or self._stop.is_set
            if over and self._on_over:
                self._on_over()


def ended(code: int, shutdown: str, scanner: ConsoleScanner, stderr: str) -> tuple[LostReason, str]:
    """Say why QEMU is gone: exit `code` (negative: a signal), reason of its SHUTDOWN event, console, stderr."""
    if scanner.panic is not None:
        return LostReason.PANIC, scanner.panic
    if scanner.init_failure is not None:
        return LostReason.BOOT_FAILED, scanner.init_failure
    if shutdown == "guest-reset":
        return LostReason.REBOOT, "the guest reset itself"
    if shutdown == "guest-shutdown":
        return LostReason.REBOOT, "the guest powered itself off"
    if shutdown.startswith("host-"):
        # SIGTERM from an OOM daemon, say: QEMU goes as if the guest had.
        return LostReason.QEMU_DIED, f"ended by the host ({shutdown})" + (f": {stderr}" if stderr else "")
    if code == 0:
        # Nobody told QEMU to quit, so the guest did, too fast for the event to be read.
        return LostReason.REBOOT, "the guest reset itself or powered itself off"
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return LostReason.QEMU_DIED, f"{how}: {stderr}" if stderr else how


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-STDERR_BYTES:].decode(errors="replace").strip()
    except OSError:
        return ""
