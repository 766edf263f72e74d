# SPDX-License-Identifier: GPL-2.0-only
"""A prebuilt image is what QEMU's -kernel boots on its architecture, or the user named another file.

QEMU itself says nothing: a guest of random bytes is silent until its boot is over time.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from orchestrator import records
from orchestrator.errors import UsageError
from orchestrator.matrix.plan import Arch

# Documentation/arch/x86/boot.rst: `header` at 0x202, of every bzImage since 2.00.
_X86 = (0x202, b"HdrS")
# Documentation/arch/arm64/booting.rst: `magic` at 56, since v3.7.
_ARM64 = (0x38, b"ARM\x64")
_HEAD = 0x1000
_WANTED = {Arch.X86_64: "a bzImage (arch/x86/boot/bzImage)", Arch.ARM64: "an Image (arch/arm64/boot/Image)"}


def check_image(path: Path, arch: Arch) -> None:
    """Raise UsageError unless `path` is an image for `arch`.

    An arm64 Image may be compressed by gzip: QEMU unpacks that (load_aarch64_image() in hw/arm/boot.c), and no more.

    Raises:
        HostError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except FileNotFoundError as error:
        raise UsageError("no such file", where=str(path)) from error
    except OSError as error:
        raise records.disk_error(error, path) from error
    found = kind_of(head)
    if found is arch:
        return
    what = f"an image for {found}" if found else "an ELF file" if head.startswith(b"\x7fELF") else "no kernel image"
    raise UsageError(f"this is {what}, and {arch} boots {_WANTED[arch]}", where=str(path))


def kind_of(head: bytes) -> Arch | None:
    """Return the architecture of which an image is that begins so; None: of none that we boot."""
    if _has(head, *_X86):
        return Arch.X86_64
    if head.startswith(b"\x1f\x8b"):
        try:
            head = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS).decompress(head, _HEAD)
        except zlib.error:
            return None
    return Arch.ARM64 if _has(head, *_ARM64) else None


def _has(head: bytes, offset: int, magic: bytes) -> bool:
    return head[offset : offset + len(magic)] == magic
