# SPDX-License-Identifier: GPL-2.0-only
"""From description to guest: start QEMU, wait for init's mark, log in; whatever happens, QEMU is gone at the end."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import paramiko
import pexpect

from orchestrator.errors import HostError
from orchestrator.guest.argv import Endpoints, qemu_argv
from orchestrator.guest.console import Console
from orchestrator.guest.guest import Guest
from orchestrator.guest.keys import GuestKeys, fresh_keys
from orchestrator.guest.model import GuestSpec, LostReason
from orchestrator.guest.qmp import Qmp, QmpError
from orchestrator.guest.ssh import SSH_ERRORS, connect
from orchestrator.guest.watch import DRAIN_SECONDS, Watch
from orchestrator.guest.workdir import work_directory
from orchestrator.image import cpio
from orchestrator.matrix.plan import Accel
from orchestrator.proc import Deadline, Leashed, Stop, command_line, kill_group, spawn
from orchestrator.records import disk_error, write_atomically

log = logging.getLogger("guprace.guest")

# What a boot takes at reference speed; a guest that needs longer gets longer deadlines.
REFERENCE_BOOT_SECONDS = 6.0
# A kernel that boots says something more often than that.
SILENT_BOOT_SECONDS = 45.0
MONITOR_SECONDS = 30.0
LOGIN_SECONDS = 30.0
POLL_SECONDS = 0.1

_READY = rb"guprace-init: ready"


@dataclass(frozen=True, slots=True)
class _Running:
    """QEMU and our ends of it."""

    process: Leashed
    console: Console
    qmp: Qmp
    watch: Watch
    started: float

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


@contextlib.contextmanager
def boot(spec: GuestSpec, *, stop: Stop, environ: Mapping[str, str] | None = None) -> Iterator[Guest]:
    """Boot a guest and give it for as long as the context lasts.

    Writes qemu.argv (before the start), console.log and, if QEMU said anything, qemu.stderr into
    `spec.directory`.

    Raises:
        GuestLostError: the guest panicked, hung, reset or QEMU died, now or later.
        HostError: no QEMU, no disk space, or the accelerator does not work.
        RunInterruptedError: somebody asked to stop.
    """
    env = dict(os.environ if environ is None else environ)
    _quiet_libraries()
    _warn_of_vcpus(spec)
    keys = fresh_keys()
    with work_directory(env) as work, _running(spec, keys, work, stop, env) as running:
        _meet_monitor(running, spec)
        _await_ready(running, spec)
        boot_seconds = running.seconds
        slowness = max(spec.accel.slowness, boot_seconds / REFERENCE_BOOT_SECONDS)
        transport = _log_in(running, keys, Deadline.after(LOGIN_SECONDS * slowness))
        ssh_seconds = running.seconds
        log.info("guest %s answers after %.1f s (%s)", spec.arch, ssh_seconds, spec.accel.accel)
        try:
            yield Guest(
                spec,
                running.console,
                running.watch,
                transport,
                boot_seconds=boot_seconds,
                ssh_seconds=ssh_seconds,
                slowness=slowness,
                qemu_version=running.qmp.version(),
            )
        finally:
            transport.close()


@contextlib.contextmanager
def _running(spec: GuestSpec, keys: GuestKeys, work: Path, stop: Stop, env: Mapping[str, str]) -> Iterator[_Running]:
    ends = _endpoints(spec, keys, work)
    stderr = spec.directory / "qemu.stderr"
    with contextlib.ExitStack() as stack:
        console = Console(ends.console, ends.console_log)
        stack.callback(console.close)
        qmp = Qmp(ends.qmp)
        stack.callback(qmp.close)
        argv = qemu_argv(spec, ends)
        write_atomically(spec.directory / "qemu.argv", f"{command_line(argv)}\n".encode())
        log.debug("%s", command_line(argv))
        sink = stack.enter_context(stderr.open("wb"))
        started = time.monotonic()
        process = spawn(argv, env=env, stderr=sink)
        stack.callback(_remove_if_empty, stderr)
        watch = Watch(process, console, qmp, stop, stderr)
        stack.callback(watch.close)
        stack.callback(_end, process, console, qmp)
        yield _Running(process, console, qmp, watch, started)


def _end(process: Leashed, console: Console, qmp: Qmp) -> None:
    """Leave no QEMU behind, and a complete console.log. Raises HostError if that could not be written."""
    if process.poll() is None:
        with contextlib.suppress(QmpError):
            if qmp.accepted(0.0):
                qmp.quit()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
    kill_group(process)
    console.drained(DRAIN_SECONDS)
    if console.log_error is not None:
        raise disk_error(console.log_error, console.log_path)


def _endpoints(spec: GuestSpec, keys: GuestKeys, work: Path) -> Endpoints:
    """Write the guest's initramfs: the cached image, unpacked, and behind it its keys and files.

    Unpacked, since a guest under TCG takes seconds for what the host does in 30 ms (x86_64/kcsan: 4 s); files here,
    since an emulated processor decrypts what SSH brings.
    """
    ends = Endpoints(work / "console", spec.directory / "console.log", work / "qmp", work / "initramfs")
    for one in spec.files:
        if not one.local.is_file():
            raise HostError("no such file to copy into the guest", where=str(one.local))
    try:
        files = {one.remote: cpio.OverlayFile(one.local.read_bytes(), one.mode) for one in spec.files}
        own = cpio.overlay_cpio({**keys.overlay, **files})
        ends.initramfs.write_bytes(cpio.concatenate(cpio.decompressed(spec.initramfs), own))
        ends.initramfs.chmod(0o600)
        spec.directory.mkdir(parents=True, exist_ok=True)
        ends.console_log.write_bytes(b"")
    except OSError as error:
        raise disk_error(error, Path(error.filename or work)) from error
    if not spec.kernel.is_file():
        raise HostError("no such kernel image", where=str(spec.kernel))
    return ends


def _meet_monitor(running: _Running, spec: GuestSpec) -> None:
    """Wait for QEMU's monitor, and make sure that it runs what was asked for."""
    deadline = Deadline.after(MONITOR_SECONDS * spec.accel.slowness)
    try:
        while not running.qmp.accepted(POLL_SECONDS):
            running.watch.check()
            if deadline.expired:
                raise HostError(f"QEMU opened no monitor in {deadline.seconds:.0f} s", hint="run 'guprace doctor'")
        if spec.accel.accel is Accel.KVM and not running.qmp.kvm_enabled():
            raise HostError("QEMU does not run the guest by KVM, although told to", hint="use `accel: tcg`")
    except QmpError as error:
        running.watch.check_for(DRAIN_SECONDS)
        raise HostError(f"QEMU's monitor: {error}") from error


def _await_ready(running: _Running, spec: GuestSpec) -> None:
    """Wait until init says that the SSH server listens."""
    console, watch = running.console, running.watch
    deadline = Deadline.after(spec.boot_seconds * spec.accel.slowness)
    silence = SILENT_BOOT_SECONDS * spec.accel.slowness
    while True:
        found = console.expect([_READY, pexpect.EOF, pexpect.TIMEOUT], timeout=POLL_SECONDS)
        if found == 0:
            return
        watch.check()
        console.forget()
        quiet = time.monotonic() - max(console.last_output, running.started)
        if deadline.expired or quiet > silence:
            why = f"no mark of init in {running.seconds:.0f} s, {quiet:.0f} s since the console's last output"
            raise watch.lost(LostReason.BOOT_TIMEOUT, why)
        if found == 1:
            watch.pause()


def _log_in(running: _Running, keys: GuestKeys, deadline: Deadline) -> paramiko.Transport:
    last = ""
    open_ones: list[paramiko.Transport] = []

    def give_up() -> None:
        # Whatever paramiko waits for, it ends when the transport is closed under it.
        for one in tuple(open_ones):
            one.close()

    running.watch.start(give_up)
    while True:
        try:
            return connect(running.qmp.ssh_port(), keys, deadline, open_ones.append)
        except (*SSH_ERRORS, QmpError) as error:
            last = str(error) or type(error).__name__
        running.watch.check()
        if deadline.expired:
            raise running.watch.unresponsive(f"no SSH login in {deadline.seconds:.0f} s ({last})")
        running.watch.pause()


def _quiet_libraries() -> None:
    """Let the libraries be silent about what they also raise, and we report with its cause."""
    for name in ("paramiko", "qemu.qmp"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _warn_of_vcpus(spec: GuestSpec) -> None:
    cores = os.cpu_count() or 1
    if spec.accel.accel is not Accel.KVM and spec.vcpus > cores:
        log.warning("%d vCPUs on %d cores: under TCG every TLB shootdown stops all of them", spec.vcpus, cores)


def _remove_if_empty(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.stat().st_size == 0:
            path.unlink()
