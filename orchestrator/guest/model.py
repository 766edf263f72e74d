# SPDX-License-Identifier: GPL-2.0-only
"""What the guest room takes and gives: descriptions, and how a guest is lost."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orchestrator.matrix.plan import Accel, Arch


class LostReason(StrEnum):
    """Why a guest stopped answering."""

    PANIC = "panic"
    SOFT_LOCKUP = "soft lockup"
    RCU_STALL = "RCU stall"
    HUNG_TASK = "hung task"
    REBOOT = "rebooted"
    SILENT = "silent"
    QEMU_DIED = "QEMU died"
    BOOT_TIMEOUT = "boot timeout"
    BOOT_FAILED = "boot failed"


class GuestLostError(Exception):
    """The guest stopped answering: a verdict, not a fault of user or host.

    `last_lines` are the console's last lines, cleaned of control characters.
    """

    def __init__(self, reason: LostReason, detail: str, last_lines: tuple[str, ...] = ()) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.last_lines = last_lines

    def again(self) -> GuestLostError:
        """Return a fresh error of the same cause: an exception object is raised only once."""
        return GuestLostError(self.reason, self.detail, self.last_lines)


@dataclass(frozen=True, slots=True)
class AccelChoice:
    """The accelerator taken, and why in words for every report.

    `slowness` is how many times slower this guest is than the reference the deadlines were set for (>= 1).
    """

    accel: Accel
    why: str
    slowness: float = 1.0


@dataclass(frozen=True, slots=True)
class GuestFile:
    """A file that a guest has from its start: `local` here, `remote` there, absolute, in a directory of the image."""

    local: Path
    remote: str
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class GuestSpec:
    """A guest to boot. `directory` receives qemu.argv and console.log; memory in MiB.

    `cmdline` is added to what every guest gets, `files` to what its image holds; `boot_seconds` is how long a boot
    may take at reference speed.
    """

    arch: Arch
    kernel: Path
    initramfs: Path
    directory: Path
    accel: AccelChoice
    vcpus: int
    memory: int
    cmdline: tuple[str, ...] = ()
    boot_seconds: float = 120.0
    files: tuple[GuestFile, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command in the guest ended with; output decoded with replacement. Hostile input."""

    status: int
    stdout: str
    stderr: str
    seconds: float
