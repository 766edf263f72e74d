# SPDX-License-Identifier: GPL-2.0-only
"""Line programs: from an address to a file and a line (DWARF 5, section 6.2; versions 2 to 5)."""

from __future__ import annotations

import posixpath
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.splat.dwarfforms import (
    FORM_LINE_STRP,
    FORM_STRP,
    STRX,
    DwarfError,
    Sizes,
    Value,
    read_form,
    sleb,
    uleb,
)
from orchestrator.splat.elfimage import Region

Strings = Callable[[int, Value], str]
"""Resolves a string attribute: its form and its raw value."""

_DIRECTORY, _PATH = 2, 1


@dataclass(slots=True)
class Sequence:
    """A run of instructions in order of address: rows as three lists, ending before `end`."""

    addresses: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    end: int = 0


@dataclass(frozen=True, slots=True)
class LineTable:
    """What one unit's line program says. `names` are paths relative to the build, by the program's file numbers."""

    names: dict[int, str]
    sequences: tuple[Sequence, ...]

    def find(self, address: int) -> tuple[str, int] | None:
        """Return file and line of the instruction at `address`, None when no row covers it."""
        for sequence in self.sequences:
            if sequence.addresses[0] <= address < sequence.end:
                row = bisect_right(sequence.addresses, address) - 1
                return self.names.get(sequence.files[row], "?"), sequence.lines[row]
        return None


@dataclass(frozen=True, slots=True)
class _Header:
    sizes: Sizes
    program: int
    end: int
    step: int
    line_base: int
    line_range: int
    opcode_base: int
    operands: bytes
    names: dict[int, str]


def line_table(section: Region, offset: int, sizes: Sizes, build: str, strings: Strings) -> LineTable:
    """Return the table at `offset` of .debug_line for a unit that was compiled in the directory `build`.

    Raises:
        DwarfError, IndexError: it is damaged.
    """
    first = section.read(offset, 12)
    wide = first[:4] == b"\xff\xff\xff\xff"
    length = int.from_bytes(first[4:12] if wide else first[:4], sizes.order)
    data = section.read(offset + (12 if wide else 4), length)
    header = _header(data, Sizes(sizes.version, sizes.address, 8 if wide else 4, sizes.order), build, strings)
    return LineTable(header.names, tuple(s for s in _rows(data, header) if s.addresses))


def _header(data: bytes, sizes: Sizes, build: str, strings: Strings) -> _Header:
    order, at = sizes.order, 2
    version = int.from_bytes(data[:2], order)
    if not 2 <= version <= 5:
        raise DwarfError(f"line program of version {version}")
    address = sizes.address
    if version >= 5:
        address, at = data[at], at + 2
    sizes = Sizes(version, address, sizes.offset, order)
    header_length = int.from_bytes(data[at : at + sizes.offset], order)
    at += sizes.offset
    program = at + header_length
    step = data[at]
    at += 2 if version >= 4 else 1
    line_base = data[at + 1] - 256 if data[at + 1] > 127 else data[at + 1]
    line_range, opcode_base = data[at + 2], data[at + 3]
    if not line_range or not opcode_base:
        raise DwarfError("a line program's header with zeros")
    operands = bytes([0]) + data[at + 4 : at + 3 + opcode_base]
    at += 3 + opcode_base
    names = _names_5(data, at, sizes, build, strings) if version >= 5 else _names_4(data, at, build)
    return _Header(sizes, program, len(data), step, line_base, line_range, opcode_base, operands, names)


def _names_4(data: bytes, at: int, build: str) -> dict[int, str]:
    directories = [""]
    while data[at]:
        end = data.index(b"\0", at)
        directories.append(data[at:end].decode("utf-8", "replace"))
        at = end + 1
    at += 1
    names: dict[int, str] = {}
    while data[at]:
        end = data.index(b"\0", at)
        name = data[at:end].decode("utf-8", "replace")
        directory, at = uleb(data, end + 1)
        for _ in range(2):  # time, size
            _, at = uleb(data, at)
        names[len(names) + 1] = _path(build, directories[directory] if directory < len(directories) else "", name)
    return names


def _names_5(data: bytes, at: int, sizes: Sizes, build: str, strings: Strings) -> dict[int, str]:
    entries, at = _entries_5(data, at, sizes, strings)
    directories = [path for path, _ in entries]
    files, at = _entries_5(data, at, sizes, strings)
    names = {}
    for number, (name, directory) in enumerate(files):
        names[number] = _path(build, directories[directory] if directory < len(directories) else "", name)
    return names


def _entries_5(data: bytes, at: int, sizes: Sizes, strings: Strings) -> tuple[list[tuple[str, int]], int]:
    formats = []
    count, at = data[at], at + 1
    for _ in range(count):
        content, at = uleb(data, at)
        form, at = uleb(data, at)
        formats.append((content, form))
    total, at = uleb(data, at)
    if total > len(data):
        raise DwarfError(f"{total} entries in a line program of {len(data)} bytes")
    entries = []
    for _ in range(total):
        path, directory = "", 0
        for content, form in formats:
            value, at = read_form(data, at, form, 0, sizes)
            if content == _PATH:
                path = _text(form, value, strings)
            elif content == _DIRECTORY and isinstance(value, int):
                directory = value
        entries.append((path, directory))
    return entries, at


def _text(form: int, value: Value, strings: Strings) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return strings(form, value) if form in (FORM_STRP, FORM_LINE_STRP) or form in STRX else "?"


def _path(build: str, directory: str, name: str) -> str:
    """Return a path relative to the directory of the build where it lies below it, tidy."""
    path = posixpath.normpath(posixpath.join(build, directory, name))
    base = posixpath.normpath(build) if build else ""
    return path.removeprefix(f"{base}/") if base and base != "/" else path


def _rows(data: bytes, header: _Header) -> list[Sequence]:
    """Run the program: the state machine of section 6.2.2, only address, file and line of it."""
    at, end, base = header.program, header.end, header.opcode_base
    sizes, step, line_base, line_range = header.sizes, header.step, header.line_base, header.line_range
    found: list[Sequence] = []
    now = Sequence()
    address, file, line = 0, 1, 1
    while at < end:
        code = data[at]
        at += 1
        if code >= base:
            advance, change = divmod(code - base, line_range)
            address += advance * step
            line += line_base + change
        elif code == 0:
            size, at = uleb(data, at)
            what, after = (data[at] if size else 0), at + size
            if what == 1:
                now.end = address
                found.append(now)
                now, address, file, line = Sequence(), 0, 1, 1
            elif what == 2:
                address = int.from_bytes(data[at + 1 : at + 1 + sizes.address], sizes.order)
            at = after
            continue
        elif code == 8:  # DW_LNS_const_add_pc
            address += (255 - base) // line_range * step
            continue
        elif code == 2:  # DW_LNS_advance_pc
            value, at = uleb(data, at)
            address += value * step
            continue
        elif code == 3:  # DW_LNS_advance_line
            value, at = sleb(data, at)
            line += value
            continue
        elif code == 4:  # DW_LNS_set_file
            file, at = uleb(data, at)
            continue
        elif code == 9:  # DW_LNS_fixed_advance_pc
            address += int.from_bytes(data[at : at + 2], sizes.order)
            at += 2
            continue
        elif code != 1:  # all others but DW_LNS_copy
            for _ in range(header.operands[code]):
                _, at = uleb(data, at)
            continue
        now.addresses.append(address)
        now.files.append(file)
        now.lines.append(line)
    return found
