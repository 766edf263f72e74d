# SPDX-License-Identifier: GPL-2.0-only
"""Which accelerator runs a guest, and why: KVM is timed against TCG, since it may open and still be useless.

In a virtual machine without proper nested virtualisation KVM_CREATE_VM and KVM_CREATE_VCPU succeed, yet the guest
prints nothing for minutes, where TCG boots in seconds.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import signal
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from orchestrator import records
from orchestrator.errors import HostError
from orchestrator.guest import argv
from orchestrator.guest.machines import Machine, machine_for
from orchestrator.guest.model import AccelChoice
from orchestrator.image import cpio
from orchestrator.matrix.plan import Accel, Arch
from orchestrator.proc import Deadline, Leashed, Stop, kill_group, run, spawn

log = logging.getLogger("guprace.guest")

KVM = Path("/dev/kvm")
PROBE_MEMORY_MIB = 512
PROBE_SECONDS = 90.0
# KVM must beat TCG; it need not be waited for much longer than TCG took.
KVM_PATIENCE = 1.5
KVM_LEAST_SECONDS = 3.0
POLL_SECONDS = 0.05
# Without per-guest keys init gets as far as saying so: userspace runs.
MARKER = b"guprace-init: "
# Seconds for CALIBRATION_ROUNDS on the machine whose deadlines are the reference.
REFERENCE_SECONDS = 0.030
CALIBRATION_ROUNDS = 400_000


_TERMINATED = "terminating on signal"
# From outside; by SIGABRT QEMU itself says that it cannot.
_KILLERS = (signal.SIGHUP, signal.SIGINT, signal.SIGKILL, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Timing:
    """<cache>/accel/<key>.json: seconds to userspace under both; None under KVM, with the problem, if it did not
    get there while TCG could have done it once and a half. One whose QEMU was `killed` is not kept."""

    host: str
    qemu: str
    tcg_seconds: float
    kvm_seconds: float | None
    kvm_problem: str = ""
    killed: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One timing boot: seconds to userspace, or why it did not get there."""

    seconds: float | None
    problem: str = ""
    killed: bool = False


def choose(
    wanted: Accel,
    arch: Arch,
    kernel: Path,
    initramfs: Path,
    *,
    cache: Path,
    stop: Stop,
    environ: Mapping[str, str],
) -> AccelChoice:
    """Choose the accelerator; `auto` times both once for each host and QEMU version, by booting `kernel`.

    Raises:
        HostError: there is no QEMU for `arch`, or KVM was asked for and cannot be had.
        RunInterruptedError: somebody asked to stop.
    """
    machine = machine_for(arch)
    qemu = qemu_version(machine, stop, environ)
    slowness = host_slowness()
    obstacle = kvm_obstacle(machine, platform.machine())
    match wanted:
        case Accel.TCG:
            return AccelChoice(Accel.TCG, "asked for", slowness)
        case Accel.KVM:
            if obstacle:
                raise HostError(f"no KVM: {obstacle}", hint="use `accel: auto` or `accel: tcg`")
            return AccelChoice(Accel.KVM, "asked for", 1.0)
        case Accel.AUTO:
            if obstacle:
                return AccelChoice(Accel.TCG, obstacle, slowness)
        case _:
            assert_never(wanted)
    host = f"{platform.node()} {platform.release()} {platform.machine()} {cpu_model()}"
    key = hashlib.sha256(f"{host}\0{qemu}\0{arch}".encode()).hexdigest()[:32]
    record = cache / "accel" / f"{key}.json"
    timing = records.recall(record, Timing)
    if timing is None:
        timing = _time(machine, kernel, initramfs, host, qemu, stop, environ)
        if timing is None:
            return AccelChoice(Accel.TCG, f"this kernel did not boot under TCG in {PROBE_SECONDS:.0f} s", slowness)
        if not timing.killed:
            records.save(record, timing)
    return decide(timing, slowness)


def decide(timing: Timing, slowness: float) -> AccelChoice:
    """Take the faster accelerator, and say by how much."""
    tcg = f"TCG booted in {timing.tcg_seconds:.1f} s"
    if timing.kvm_seconds is None:
        return AccelChoice(Accel.TCG, f"KVM is of no use ({timing.kvm_problem}), {tcg}", slowness)
    kvm = f"KVM booted in {timing.kvm_seconds:.1f} s"
    if timing.kvm_seconds < timing.tcg_seconds:
        return AccelChoice(Accel.KVM, f"{kvm}, {tcg}", 1.0)
    return AccelChoice(Accel.TCG, f"{tcg}, {kvm}", slowness)


def kvm_obstacle(machine: Machine, host: str, device: Path = KVM) -> str:
    """Say why KVM is out of the question on this `host` (`uname -m`), or return an empty string."""
    if host != machine.uname:
        return f"{machine.arch} guest on an {host} host"
    if not device.exists():
        return f"no {device} on this host"
    if not os.access(device, os.R_OK | os.W_OK):
        return f"{device} may not be opened by this user"
    return ""


def qemu_version(machine: Machine, stop: Stop, environ: Mapping[str, str]) -> str:
    """Return the first line of `qemu-system-* --version`.

    Raises:
        HostError: it is not installed.
    """
    try:
        said = run([machine.qemu, "--version"], stop=stop, seconds=30.0, env=environ).stdout
    except HostError as error:
        hint = f"apt-get install {machine.package}"
        raise HostError(error.what, where=f"{machine.arch} guest", hint=hint) from error
    return said.splitlines()[0].strip() if said.strip() else "unknown"


def host_slowness() -> float:
    """Return how many times slower than the reference machine this host computes now, at least 1."""

    def once() -> float:
        started = time.perf_counter()
        value = 1
        for _ in range(CALIBRATION_ROUNDS):
            value = (value * 1103515245 + 12345) & 0x7FFFFFFF
        return time.perf_counter() - started

    return max(1.0, min(once() for _ in range(3)) / REFERENCE_SECONDS)


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, or an empty string."""
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith(("model name", "CPU part")):
                return line.partition(":")[2].strip()
    return ""


def _time(
    machine: Machine, kernel: Path, initramfs: Path, host: str, qemu: str, stop: Stop, environ: Mapping[str, str]
) -> Timing | None:
    with tempfile.TemporaryDirectory(prefix="guprace-") as name:
        work = Path(name)
        plain = work / "initramfs"
        plain.write_bytes(cpio.decompressed(initramfs))
        tcg = _probe(machine, Accel.TCG, kernel, plain, PROBE_SECONDS, stop, environ)
        if tcg.seconds is None:
            log.warning("%s: TCG did not boot %s: %s", machine.arch, kernel, tcg.problem)
            return None
        patience = max(KVM_LEAST_SECONDS, tcg.seconds * KVM_PATIENCE)
        kvm = _probe(machine, Accel.KVM, kernel, plain, patience, stop, environ)
    timing = Timing(host, qemu, tcg.seconds, kvm.seconds, kvm.problem, kvm.killed)
    log.info("accelerator timed for %s: %s", machine.arch, decide(timing, 1.0).why)
    return timing


def _probe(
    machine: Machine,
    accel: Accel,
    kernel: Path,
    initramfs: Path,
    seconds: float,
    stop: Stop,
    environ: Mapping[str, str],
) -> Attempt:
    """Boot to userspace and say how long that took."""
    console, stderr = initramfs.parent / f"console-{accel}", initramfs.parent / f"stderr-{accel}"
    console.touch()
    with stderr.open("wb") as sink:
        process = spawn(probe_argv(machine, accel, kernel, initramfs, console), env=environ, stderr=sink)
        try:
            return _wait_for_marker(process, console, stderr, Deadline.after(seconds), stop)
        finally:
            kill_group(process)


def probe_argv(machine: Machine, accel: Accel, kernel: Path, initramfs: Path, console: Path) -> list[str]:
    """Return the command line of a timing boot: no network, no monitor, the console to a file."""
    cmdline = (f"console={machine.console}", "panic=-1", "printk.devkmsg=on", *machine.cmdline)
    return [
        machine.qemu,
        *argv.base_args(),
        *argv.machine_args(machine, accel),
        *argv.accel_args(accel),
        *argv.cpu_args(2),
        *argv.memory_args(PROBE_MEMORY_MIB, 2),
        *argv.kernel_args(kernel, initramfs, cmdline),
        *["-chardev", f"file,id=console,path={argv.quoted(console)}", "-serial", "chardev:console"],
    ]


def _wait_for_marker(process: Leashed, console: Path, stderr: Path, deadline: Deadline, stop: Stop) -> Attempt:
    started = time.monotonic()
    while not deadline.expired:
        running = process.poll() is None
        if MARKER in console.read_bytes():
            return Attempt(time.monotonic() - started)
        if not running:
            said = stderr.read_text(errors="replace").strip().splitlines()
            how = f"QEMU ended with code {process.returncode}"
            # QEMU answers most of these itself, and ends as if its guest had.
            killed = -(process.returncode or 0) in _KILLERS or any(_TERMINATED in line for line in said)
            return Attempt(None, f"{how}: {said[0][:200]}" if said else how, killed)
        stop.wait(POLL_SECONDS)
    return Attempt(None, f"not booted after {deadline.seconds:.1f} s")
