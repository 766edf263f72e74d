# SPDX-License-Identifier: GPL-2.0-only
"""A fake QEMU: our command line in; console, QMP and SSH out, in milliseconds and without a guest.

What it does is chosen by the environment variable FAKEQEMU, names of options.BEHAVIOURS separated by commas; one that
begins with `arm64/` or `x86_64/` holds for guests of that architecture only. Nothing of it, or `ok`: a guest in
perfect health. A fake kernel image that says `re-read: no` is a broken kernel, and hits.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fakes.qemu.guest import FakeGuest
from tests.fakes.qemu.options import Options, parse

VERSION = "QEMU emulator version 7.2.0 (fake)"


def main(program: str, argv: Sequence[str]) -> int:
    """Run one guest until it ends; the process never outlives it."""
    if "--version" in argv:
        print(VERSION)
        return 0
    options = parse(Path(program).name, argv, os.environ)
    if "no-start" in options.behaviours:
        print(f"{program}: cannot set up guest memory 'ram0': Cannot allocate memory", file=sys.stderr)
        return 1
    if options.kvm and "kvm-fails" in options.behaviours:
        threading.Event().wait()
    guest = FakeGuest(options)
    if options.qmp_socket is None:
        return _timing_boot(guest)
    _serve(guest, options, options.qmp_socket)
    _boot(guest)
    threading.Event().wait()
    return 0


def _serve(guest: FakeGuest, options: Options, qmp: Path) -> None:
    # Late: paramiko takes most of the start, and a timing boot does not need it.
    from tests.fakes.qemu.monitor import FakeMonitor
    from tests.fakes.qemu.sshd import FakeSshd

    sshd = FakeSshd(guest)
    monitor = FakeMonitor(qmp, options.kvm, lambda: sshd.port, lambda: guest.end("host-qmp-quit"))
    guest.on_shutdown = monitor.shutdown
    monitor.serve()
    if not guest.does("deaf"):
        sshd.serve()


def _timing_boot(guest: FakeGuest) -> int:
    time.sleep(0.05 if guest.options.kvm else 0.1)
    guest.printk("guprace-init: cannot find a host key: no per-guest archive behind the initramfs?")
    return 0


def _boot(guest: FakeGuest) -> None:
    guest.printk("Booting Linux on physical CPU 0x0")
    guest.printk("Linux version 6.1.0-fake (fake@fake) (gcc (fake) 12.2.0) #1 SMP PREEMPT")
    guest.printk(f"Kernel command line: {guest.options.cmdline}")
    if guest.does("hang-at-boot"):
        threading.Event().wait()
    if guest.does("panic-at-boot"):
        guest.printk("VFS: Unable to mount root fs on unknown-block(0,0)")
        guest.panic()
    if guest.does("reset-at-boot"):
        guest.end("guest-reset")
    if guest.does("init-fails"):
        guest.printk("guprace-init: cannot find eth0: is virtio-net built into this kernel?")
        guest.end("guest-reset")
    guest.printk("Run /init as init process\nguprace-init: ready")
