# SPDX-License-Identifier: GPL-2.0-only
"""A guest on the fake QEMU, for the tests of the guest room."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from orchestrator.guest.model import AccelChoice, GuestFile, GuestSpec
from orchestrator.image import cpio
from orchestrator.matrix.plan import Accel, Arch


def fake_spec(root: Path, arch: Arch = Arch.ARM64) -> GuestSpec:
    """Return the description of a guest whose kernel, initramfs and scenario are enough for the fake."""
    root.mkdir(parents=True, exist_ok=True)
    kernel, initramfs = root / "Image", root / "initramfs.cpio"
    kernel.write_text("fake kernel\nre-read: yes\nCONFIG_NUMA_BALANCING=y\n")
    initramfs.write_bytes(cpio.archive([cpio.file("/init", b"", 0o755)]))
    choice = AccelChoice(Accel.TCG, "asked for")
    files = (GuestFile(kernel, "/guprace/pin_vs_munmap"),)
    return GuestSpec(arch, kernel, initramfs, root / "cell", choice, vcpus=2, memory=1024, files=files)


def hasty(spec: GuestSpec, seconds: float) -> GuestSpec:
    """Return `spec` with a shorter boot deadline."""
    return replace(spec, boot_seconds=seconds)


def running(fragment: str) -> list[int]:
    """Return the processes whose command line contains `fragment`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if fragment in text and "qemu-system" in text:
                found.append(int(entry.name))
    return found
