# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's command line: one pure function for each group of arguments, and their concatenation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.guest.machines import Machine, machine_for
from orchestrator.guest.model import GuestSpec
from orchestrator.matrix.plan import Accel

GUEST_SSH_PORT = 22
TRANSLATION_CACHE_MIB = 256


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Host-side files of one guest: sockets that are open before QEMU starts, and its initramfs with keys."""

    console: Path
    console_log: Path
    qmp: Path
    initramfs: Path


def base_args() -> list[str]:
    """No default devices, no user configuration, no window, and the first reset ends QEMU."""
    # Not -nographic: with its stdin closed that spins the main loop on a whole core.
    return ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]


def name_args(directory: Path) -> list[str]:
    """Whose guest it is, for who looks at a list of processes; nothing else there says so."""
    return ["-name", f"guest={quoted(directory)}"]


def machine_args(machine: Machine, accel: Accel) -> list[str]:
    """Machine type and processor."""
    return ["-machine", machine.machine, "-cpu", machine.cpu(accel)]


def accel_args(accel: Accel) -> list[str]:
    """The accelerator; under TCG one host thread for each virtual processor, said explicitly."""
    if accel is Accel.KVM:
        return ["-accel", "kvm"]
    return ["-accel", f"tcg,thread=multi,tb-size={TRANSLATION_CACHE_MIB}"]


def cpu_args(vcpus: int) -> list[str]:
    """Virtual processors on sockets of their own NUMA node.

    Two nodes on one socket make an x86_64 kernel warn ("sched: CPU #1's ... sibling CPU #0 is not on the same
    node") and boot tainted.
    """
    sockets = 2 if vcpus % 2 == 0 else vcpus
    return ["-smp", f"{vcpus},sockets={sockets}"]


def memory_args(memory: int, vcpus: int) -> list[str]:
    """`memory` MiB on two NUMA nodes, the processors shared out between them."""
    first = memory // 2
    split = (vcpus + 1) // 2
    nodes = [(0, first, f"cpus=0-{split - 1}"), (1, memory - first, f"cpus={split}-{vcpus - 1}")]
    args = ["-m", f"{memory}M"]
    for node, size, cpus in nodes:
        args += ["-object", f"memory-backend-ram,id=ram{node},size={size}M"]
        owned = f",{cpus}" if node == 0 or vcpus > split else ""
        args += ["-numa", f"node,nodeid={node},memdev=ram{node}{owned}"]
    return args


def kernel_args(kernel: Path, initramfs: Path, cmdline: tuple[str, ...]) -> list[str]:
    """Kernel, initramfs and command line."""
    return ["-kernel", str(kernel), "-initrd", str(initramfs), "-append", " ".join(cmdline)]


def network_args() -> list[str]:
    """A card that reaches nothing; only SSH comes in, by a port on loopback that QEMU chooses."""
    forward = f"hostfwd=tcp:127.0.0.1:0-:{GUEST_SSH_PORT}"
    # romfile=: no PXE, which the firmware would try first.
    return ["-netdev", f"user,id=net,restrict=on,{forward}", "-device", "virtio-net-pci,netdev=net,romfile="]


def entropy_args() -> list[str]:
    """A random number device, so that the SSH server need not wait for entropy."""
    return ["-device", "virtio-rng-pci"]


def console_args(socket: Path) -> list[str]:
    """The serial console: to our socket.

    Without `logfile=`: an 8250 that finds the socket full tries its byte again, and QEMU (7.2) writes it to the file
    each time, so that one line in a hundred said `Kernel panic - not synccing` there.
    """
    chardev = f"socket,id=console,path={quoted(socket)}"
    return ["-chardev", chardev, "-serial", "chardev:console"]


def qmp_args(socket: Path) -> list[str]:
    """The monitor: QEMU connects to our socket."""
    return ["-chardev", f"socket,id=qmp,path={quoted(socket)}", "-mon", "chardev=qmp,mode=control"]


def quoted(path: Path) -> str:
    """Return `path` for use in a QEMU option list, where a comma separates."""
    return str(path).replace(",", ",,")


def kernel_cmdline(spec: GuestSpec) -> tuple[str, ...]:
    """The kernel command line: console at full level, a panic ends QEMU at once, watchdogs at guest speed."""
    machine = machine_for(spec.arch)
    slowness = spec.accel.slowness
    return (
        f"console={machine.console}",
        "ignore_loglevel",
        "printk.devkmsg=on",
        # A task that an oops ends takes its locks along: who waits for them, waits for ever.
        "oops=panic",
        "panic=-1",
        # Addresses in reports are those of vmlinux, also on a prebuilt kernel.
        "nokaslr",
        # memfd_secret() was off by default before b758fe6df50d (v6.5).
        "secretmem.enable=1",
        "random.trust_cpu=on",
        f"rcupdate.rcu_cpu_stall_timeout={_clamp(21 * slowness, 21, 300)}",
        f"watchdog_thresh={_clamp(10 * slowness, 10, 60)}",
        *machine.cmdline,
        *spec.cmdline,
    )


def _clamp(value: float, low: int, high: int) -> int:
    return max(low, min(high, round(value)))


def qemu_argv(spec: GuestSpec, ends: Endpoints) -> list[str]:
    """Return the whole command line."""
    machine = machine_for(spec.arch)
    accel = spec.accel.accel
    return [
        machine.qemu,
        *base_args(),
        *name_args(spec.directory),
        *machine_args(machine, accel),
        *accel_args(accel),
        *cpu_args(spec.vcpus),
        *memory_args(spec.memory, spec.vcpus),
        *kernel_args(spec.kernel, ends.initramfs, kernel_cmdline(spec)),
        *network_args(),
        *entropy_args(),
        *console_args(ends.console),
        *qmp_args(ends.qmp),
    ]
