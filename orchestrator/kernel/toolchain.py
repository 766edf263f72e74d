# SPDX-License-Identifier: GPL-2.0-only
"""Compilers: what `make` is told for an architecture, and what names the toolchain in a digest."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.errors import HostError
from orchestrator.matrix.plan import Arch, Toolchain
from orchestrator.proc import Stop, run


@dataclass(frozen=True, slots=True)
class KernelArch:
    """What the kernel's build calls an architecture."""

    make_arch: str
    srcarch: str
    image_target: str
    image_path: str
    machine: str
    gnu_prefix: str


KERNEL_ARCHES: Mapping[Arch, KernelArch] = {
    Arch.X86_64: KernelArch("x86_64", "x86", "bzImage", "arch/x86/boot/bzImage", "x86_64", "x86_64-linux-gnu-"),
    Arch.ARM64: KernelArch("arm64", "arm64", "Image", "arch/arm64/boot/Image", "aarch64", "aarch64-linux-gnu-"),
}

PACKAGES: Mapping[str, str] = {
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "x86_64-linux-gnu-gcc": "gcc-x86-64-linux-gnu",
    "gcc": "gcc",
    "clang": "clang",
    "ld.lld": "lld",
    "llvm-ar": "llvm",
}


@dataclass(frozen=True, slots=True)
class Tools:
    """A usable toolchain: make variables, C compiler for userspace, and its identity for digests."""

    make: tuple[str, ...]
    cc: tuple[str, ...]
    identity: str


def cross_prefix(arch: Arch) -> str:
    """Return CROSS_COMPILE for `arch` on this host; empty when it is the host's own."""
    entry = KERNEL_ARCHES[arch]
    return "" if platform.machine() == entry.machine else entry.gnu_prefix


def identify(arch: Arch, toolchain: Toolchain, stop: Stop, environ: Mapping[str, str]) -> Tools:
    """Find the compiler and linker for `arch` and ask their versions.

    Raises:
        HostError: one of them is not installed; gives the apt-get line.
    """
    prefix = cross_prefix(arch)
    if toolchain is Toolchain.CLANG:
        programs: tuple[str, ...] = ("clang", "ld.lld", "llvm-ar")
        make: tuple[str, ...] = ("LLVM=1",)
        cc: tuple[str, ...] = ("clang", f"--target={KERNEL_ARCHES[arch].gnu_prefix.rstrip('-')}")
    else:
        programs = (f"{prefix}gcc", f"{prefix}ld")
        make = (f"CROSS_COMPILE={prefix}",) if prefix else ()
        cc = (f"{prefix}gcc",)
    missing = [name for name in programs if not shutil.which(name, path=environ.get("PATH"))]
    if missing:
        packages = sorted({PACKAGES.get(name, PACKAGES.get(f"{prefix}gcc", name)) for name in missing})
        raise HostError(f"no {', '.join(missing)} to build {arch}", hint=f"apt-get install {' '.join(packages)}")
    versions = [run([name, "--version"], stop=stop, seconds=30, env=environ).stdout for name in programs]
    identity = "; ".join(text.splitlines()[0].strip() for text in versions if text)
    return Tools((f"ARCH={KERNEL_ARCHES[arch].make_arch}", *make), cc, identity)
