# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU needs to know of each guest architecture, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from orchestrator.matrix.plan import Accel, Arch


@dataclass(frozen=True, slots=True)
class Machine:
    """One row of the machine table.

    `uname` is what `uname -m` says on a host of this architecture; `package` the Debian package with the emulator;
    `cmdline` what a kernel on this machine is told beyond the console.
    """

    arch: Arch
    qemu: str
    package: str
    machine: str
    cpu_tcg: str
    console: str
    uname: str
    cmdline: tuple[str, ...] = ()

    def cpu(self, accel: Accel) -> str:
        """Return the -cpu argument for `accel`: the host's own under KVM."""
        match accel:
            case Accel.KVM:
                return "host"
            case Accel.TCG | Accel.AUTO:
                return self.cpu_tcg
            case _:
                assert_never(accel)


# pauth-impdef: the architected pointer authentication algorithm costs a TCG guest half its time (QEMU
# docs/system/arm/cpu-features.rst).
ARM64 = Machine(
    arch=Arch.ARM64,
    qemu="qemu-system-aarch64",
    package="qemu-system-arm",
    machine="virt,gic-version=3",
    cpu_tcg="max,pauth-impdef=on",
    console="ttyAMA0",
    uname="aarch64",
)

# no_timer_check: an emulated timer tick that comes late is no broken IO-APIC.
# erms, fsrm: with them Linux copies and clears pages by `rep movsb` and `rep stosb`, which TCG takes byte by byte;
# without, by words: a huge page is moved or made 5 to 7 times faster, and raced that much more often.
X86_64 = Machine(
    arch=Arch.X86_64,
    qemu="qemu-system-x86_64",
    package="qemu-system-x86",
    machine="q35,smm=off,vmport=off",
    cpu_tcg="max,erms=off,fsrm=off",
    console="ttyS0",
    uname="x86_64",
    cmdline=("no_timer_check",),
)


def machine_for(arch: Arch) -> Machine:
    """Return the row of `arch`."""
    match arch:
        case Arch.ARM64:
            return ARM64
        case Arch.X86_64:
            return X86_64
        case _:
            assert_never(arch)
