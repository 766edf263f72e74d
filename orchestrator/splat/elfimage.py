# SPDX-License-Identifier: GPL-2.0-only
"""A vmlinux or a module as sections and functions: opened once, read where it is needed, never as a whole.

pyelftools reads headers and decompresses sections. Symbols and relocations are unpacked here by the table: one object
for each of a kernel's 100 000 symbols takes seconds, its relocations (vmlinux keeps them, already applied) minutes.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from orchestrator.errors import HostError, UsageError

SHF_ALLOC, SHF_EXECINSTR = 0x2, 0x4
STT_SECTION, STT_FILE = 3, 4
FIRST_BASE = 0x1000_0000
# ELF machine: architecture as matrices call it, and the size in bytes of its plain "symbol plus addend" relocations.
ARCHES = {
    "EM_X86_64": ("x86_64", {1: 8, 10: 4, 11: 4}),
    "EM_AARCH64": ("arm64", {257: 8, 258: 4}),
    "EM_RISCV": ("riscv", {1: 4, 2: 8}),
    "EM_S390": ("s390", {4: 4, 22: 8}),
    "EM_PPC64": ("powerpc", {1: 4, 38: 8}),
}


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name in the code: `size` as the ELF file has it (0: not said), `function` whether it is typed so."""

    name: str
    address: int
    size: int
    function: bool


@dataclass(frozen=True, slots=True)
class Region:
    """A section's bytes, read in pieces. Reading beyond its end gives less, or raises IndexError for a text."""

    buffer: mmap.mmap | bytes
    start: int
    size: int

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, fewer at the section's end."""
        if offset < 0:
            raise IndexError(f"offset {offset}")
        end = min(offset + size, self.size)
        return self.buffer[self.start + offset : self.start + end] if offset < end else b""

    def text(self, offset: int) -> str:
        """Return the NUL-terminated string at `offset`."""
        end = self.buffer.find(b"\0", self.start + offset, self.start + self.size)
        if offset < 0 or end < 0:
            raise IndexError(f"no string at offset {offset}")
        return self.buffer[self.start + offset : end].decode("utf-8", "replace")


class ElfImage:
    """An open ELF file; use it in a `with`. A module's sections, which all start at 0, get addresses of their own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as on_error:
            try:
                self._stream = on_error.enter_context(path.open("rb"))
            except OSError as error:
                raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from error
            try:
                self._map = on_error.enter_context(mmap.mmap(self._stream.fileno(), 0, access=mmap.ACCESS_READ))
                # what is not used of a section's header never reaches its data
                self._elf = ELFFile(self._stream)
                self._sections: list[Any] = list(self._elf.iter_sections())
            except (ELFError, ValueError, OSError, struct.error) as error:
                hint = "symbols are in the `vmlinux` of the build, not in bzImage or Image"
                raise UsageError(f"not an ELF file: {error or 'damaged'}", where=str(path), hint=hint) from error
            if self._elf.elfclass != 64:
                raise UsageError("a 32-bit ELF file; kernels here have 64 bits", where=str(path))
            on_error.pop_all()
        self.order = "<" if self._elf.little_endian else ">"
        machine = str(self._elf.header["e_machine"])
        self.arch, self._relocations = ARCHES.get(machine, (machine, {}))
        self.relocatable = self._elf.header["e_type"] == "ET_REL"
        self._bases = self._laid_out() if self.relocatable else {}
        self._names = {str(section.name): number for number, section in enumerate(self._sections)}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; regions of it cannot be read any more."""
        self._map.close()
        self._stream.close()

    def _laid_out(self) -> dict[int, int]:
        bases, at = {}, FIRST_BASE
        for number, section in enumerate(self._sections):
            if section["sh_flags"] & SHF_ALLOC:
                align = max(16, section["sh_addralign"])
                at = (at + align - 1) // align * align
                bases[number] = at
                at += section["sh_size"] + 16
        return bases

    def section(self, name: str) -> Region | None:
        """Return a section decompressed and, in a module, relocated; None when there is none with content.

        Raises:
            UsageError: it cannot be decompressed or relocated.
        """
        number = self._names.get(name)
        if number is None or self._sections[number]["sh_type"] == "SHT_NOBITS":
            return None
        section = self._sections[number]
        try:
            if not section.compressed and not self.relocatable:
                return Region(self._map, section["sh_offset"], section["sh_size"])
            data = section.data()
        except (ELFError, zlib.error, OSError, ValueError) as error:
            what = f"{name} cannot be decompressed: {error!r}"
            raise UsageError(what, where=str(self.path), hint="zlib is understood, zstd is not") from error
        if self.relocatable:
            data = self._relocated(name, data)
        return Region(data, 0, len(data))

    def _relocated(self, name: str, data: bytes) -> bytes:
        number = self._names.get(f".rela{name}")
        if number is None:
            return data
        values = self._symbol_values()
        out = bytearray(data)
        table = self._sections[number].data()
        for offset, info, addend in struct.iter_unpack(self.order + "QQq", table[: len(table) // 24 * 24]):
            size = self._relocations.get(info & 0xFFFFFFFF)
            if size is None:
                what = f"{name} has relocations of type {info & 0xFFFFFFFF}, which are not understood ({self.arch})"
                raise UsageError(what, where=str(self.path))
            if info >> 32 >= len(values) or offset + size > len(out):
                raise UsageError(f"{name} has a relocation that leads out of the file", where=str(self.path))
            value = values[info >> 32] + addend
            out[offset : offset + size] = (value & ((1 << size * 8) - 1)).to_bytes(size, self._endian())
        return bytes(out)

    def _endian(self) -> Any:
        return "little" if self.order == "<" else "big"

    def _symbol_values(self) -> list[int]:
        return [value + self._bases.get(section, 0) for _, _, section, value, _ in self._raw_symbols()]

    def _raw_symbols(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Return offset of the name, info, section, value and size of each entry of .symtab. Raises UsageError."""
        number = self._names.get(".symtab")
        if number is None or ".strtab" not in self._names:
            hint = "it was stripped: take the file that the kernel's build left"
            raise UsageError("no symbol table", where=str(self.path), hint=hint)
        section = self._sections[number]
        start = section["sh_offset"]
        table = self._map[start : start + section["sh_size"] // 24 * 24]
        rows = struct.iter_unpack(self.order + "IBBHQQ", table)
        return ((name, info, where, value, size) for name, info, _, where, value, size in rows)

    def symbols(self) -> list[Symbol]:
        """Return the symbols in executable sections, compilers' local labels left out. Raises UsageError."""
        executable = {n for n, s in enumerate(self._sections) if s["sh_flags"] & SHF_EXECINSTR}
        entries = self._raw_symbols()
        strings = self._sections[self._names[".strtab"]]
        names = Region(self._map, strings["sh_offset"], strings["sh_size"]).read(0, strings["sh_size"])
        found = []
        for name, info, where, value, size in entries:
            kind = info & 0xF
            if where not in executable or kind in (STT_SECTION, STT_FILE):
                continue
            text = names[name : names.find(b"\0", name)].decode("ascii", "replace")
            # $x and $d say where arm64 code and data begin; .L labels are the compiler's own
            if text and text[0] != "$" and not text.startswith(".L"):
                found.append(Symbol(text, value + self._bases.get(where, 0), size, kind in (2, 10)))
        return found

    def code_ends(self) -> list[int]:
        """Return where executable sections end: the last function of each ends there at the latest."""
        return [
            self._bases.get(number, section["sh_addr"]) + section["sh_size"]
            for number, section in enumerate(self._sections)
            if section["sh_flags"] & SHF_EXECINSTR
        ]


def opened(path: Path, arch: str = "") -> ElfImage:
    """Open `path`, which must be for `arch` (`x86_64`, `arm64`; empty: any).

    Raises:
        UsageError: it cannot be read, is no 64-bit ELF file, or is for another architecture.
    """
    try:
        image = ElfImage(path)
    except MemoryError as error:
        raise HostError("not enough memory to map the file", where=str(path)) from error
    if arch and image.arch != arch:
        with image:
            what = f"for {image.arch}, but the report is from {arch}"
            raise UsageError(what, where=str(path), hint="take the vmlinux of the kernel that printed the report")
    return image
