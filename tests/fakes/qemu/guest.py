# SPDX-License-Identifier: GPL-2.0-only
"""The fake's guest: a console that prints, a monitor event when it ends, and what it ends with."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable

from tests.fakes.qemu.options import Options

FLOOD_BYTES = 200 * 1024 * 1024
SOFT_LOCKUP = "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [pin_vs_munmap:88]"
RCU_STALL = "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"
HUNG_TASK = "INFO: task pin_vs_munmap:88 blocked for more than 122 seconds."


class FakeGuest:
    """One guest. `on_shutdown` sends the monitor's SHUTDOWN event."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.silent = threading.Event()
        self.on_shutdown: Callable[[str], None] = lambda reason: None
        self.kernel_text = options.kernel.read_bytes()[:4_000_000].decode(errors="replace")
        self.log_lines: list[str] = []
        self._lock = threading.Lock()
        self._file = options.console_file.open("ab")
        self._socket: socket.socket | None = None
        if options.console_socket:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.connect(str(options.console_socket))

    def does(self, behaviour: str) -> bool:
        """Whether FAKEQEMU asks for `behaviour`."""
        return behaviour in self.options.behaviours

    @property
    def broken(self) -> bool:
        """Whether the (fake) kernel image says that it is broken."""
        return "re-read: no" in self.kernel_text

    @property
    def config(self) -> str:
        """The .config inside the (fake) kernel image."""
        lines = self.kernel_text.splitlines()
        return "\n".join(line for line in lines if line.startswith(("CONFIG_", "# CONFIG_"))) + "\n"

    def has(self, option: str) -> bool:
        """Whether the kernel was configured with CONFIG_`option`=y."""
        return f"\nCONFIG_{option}=y\n" in "\n" + self.config

    def raw(self, data: bytes) -> None:
        """Put bytes on the console, and in QEMU's log file of it."""
        with self._lock:
            self._file.write(data)
            self._file.flush()
            if self._socket:
                self._socket.sendall(data)

    def printk(self, text: str) -> None:
        """Print kernel messages, with their prefix."""
        for line in text.splitlines():
            stamped = f"[{time.monotonic() % 100000:12.6f}][   T71] {line}"
            self.log_lines.append(stamped)
            self.raw(stamped.encode() + b"\r\n")

    def flood(self) -> None:
        """Print 200 MB."""
        chunk = b"[    9.000000][   T71] printk: the same line again and again and again and again\r\n" * 800
        for _ in range(FLOOD_BYTES // len(chunk)):
            self.raw(chunk)

    def garbage(self) -> None:
        """Print what no terminal should see."""
        self.raw(b"\x00\x1b[2J\x1b]0;title\x07\xff\xfe\xc3\x28 <script>]]>\x1b[31m \xed\xa0\x80\r\n" * 50)

    def panic(self) -> None:
        """Panic, and end as QEMU does with panic=-1 and -no-reboot."""
        self.printk("Kernel panic - not syncing: Fatal exception\nKernel Offset: disabled")
        self.end("guest-reset")

    def end(self, reason: str, code: int = 0) -> None:
        """End QEMU, with its SHUTDOWN event if `reason` is given."""
        if reason:
            self.on_shutdown(reason)
        self._file.flush()
        if self._socket:
            self._socket.close()
        os._exit(code)

    def go_silent(self) -> None:
        """Answer nothing any more."""
        self.silent.set()
        threading.Event().wait()

    def trouble(self) -> None:
        """Do in the middle of a race what FAKEQEMU asks for."""
        if self.does("panic-mid-race"):
            self.panic()
        if self.does("die"):
            os.write(2, b"qemu: fatal: Trying to execute code outside RAM or ROM at 0xdeadbeef\n")
            self.end("", 1)
        if self.does("reboot"):
            self.end("guest-reset")
        if self.does("flood"):
            self.flood()
        if self.does("garbage"):
            self.garbage()
        for name, report in (("soft-lockup", SOFT_LOCKUP), ("rcu-stall", RCU_STALL), ("hung-task", HUNG_TASK)):
            if self.does(name):
                self.printk(report)
                self.go_silent()
        if self.does("silent-mid-race"):
            self.go_silent()
