# SPDX-License-Identifier: GPL-2.0-only
"""An image's debug information: which compile unit an address is in, and what the unit says of it."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.errors import UsageError
from orchestrator.splat.dwarfforms import ByteOrder, DwarfError, Sizes
from orchestrator.splat.dwarfunit import Sections, Unit
from orchestrator.splat.elfimage import ElfImage, Region

# What damaged debug information makes a reader stumble over; it is an answer ("not known"), not a crash.
DAMAGE = (DwarfError, IndexError, ValueError, KeyError, struct.error, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Location:
    """One line of source; line 0 is code of the compiler's own. `inlined`: `function` is part of the next one's."""

    function: str
    file: str
    line: int
    inlined: bool = False

    @property
    def place(self) -> str:
        """The place as editors take it, `mm/gup.c:2412`; empty when no file is known."""
        return f"{self.file}:{self.line or '?'}" if self.file else ""


class Dwarf:
    """The debug information of an image. Making one reads headers only.

    Raises:
        UsageError: there is none, or it cannot be decompressed or relocated.
    """

    def __init__(self, image: ElfImage) -> None:
        self._order: ByteOrder = "little" if image.order == "<" else "big"
        self._sections = _sections(image)
        self._units: dict[int, Unit] = {}
        self._starts: list[int] = []
        for unit in self._headers():
            self._units[unit.start] = unit
            self._starts.append(unit.start)
        self._spans = sorted(self._span_list())
        self._lows = [low for low, _, _ in self._spans]

    def locate(self, address: int) -> tuple[Location, ...]:
        """Return the lines of the instruction at `address`, innermost first; none when nothing is known of it.

        Raises:
            DwarfError, IndexError and others of DAMAGE: the unit is damaged.
        """
        unit = self._unit_of(address)
        if unit is None:
            return ()
        table = unit.lines()
        file, line = (table.find(address) if table else None) or ("", 0)
        function = unit.find(address)
        if function is None:
            return (Location("", file, line),) if file else ()
        name, inlined = unit.chain(function, address)
        found = []
        for each in reversed(inlined):
            found.append(Location(each.name, file, line, inlined=True))
            file, line = (table.names.get(each.file, "?") if table else ""), each.line
        return (*found, Location(name, file, line))

    def _unit_of(self, address: int) -> Unit | None:
        # spans may nest where a linker left stale ones: the nearest that holds the address
        index = bisect_right(self._lows, address) - 1
        for low, high, start in reversed(self._spans[max(0, index - 8) : index + 1]):
            if low <= address < high and start in self._units:
                return self._units[start]
        return None

    def _name_anywhere(self, entry: int) -> str:
        index = bisect_right(self._starts, entry) - 1
        if index < 0:
            raise DwarfError(f"a reference to {entry:#x}, where no unit is")
        return self._units[self._starts[index]].name_at(entry)

    def _headers(self) -> Iterator[Unit]:
        info, at, order = self._sections.info, 0, self._order
        while at + 11 < info.size:
            head = info.read(at, 40).ljust(40, b"\0")
            wide = head[:4] == b"\xff\xff\xff\xff"
            width, skipped = (8, 12) if wide else (4, 4)
            length = int.from_bytes(head[skipped - width : skipped], order)
            end = at + skipped + length
            version = int.from_bytes(head[skipped : skipped + 2], order)
            if not 2 <= version <= 5 or not length:
                return
            place = skipped + 2
            if version >= 5:
                kind, address, place = head[place], head[place + 1], place + 2
                abbrev = int.from_bytes(head[place : place + width], order)
                first = place + width + {2: 8 + width, 4: 8, 5: 8, 6: 8 + width}.get(kind, 0)
            else:
                abbrev = int.from_bytes(head[place : place + width], order)
                address, first = head[place + width], place + width + 1
            sizes = Sizes(version, address, width, order)
            yield Unit(self._sections, at, end, at + first, sizes, abbrev, self._name_anywhere)
            at = end

    def _span_list(self) -> Iterator[tuple[int, int, int]]:
        """Yield (low, high, unit): from .debug_aranges, which gcc writes, and of the other units from themselves."""
        told = set()
        for span in self._aranges():
            told.add(span[2])
            yield span
        for start, unit in self._units.items():
            if start in told:
                continue
            try:
                ranges = unit.ranges()
            except DAMAGE:
                continue
            yield from ((low, high, start) for low, high in ranges)

    def _aranges(self) -> Iterator[tuple[int, int, int]]:
        section, order, at = self._sections.aranges, self._order, 0
        while at + 12 <= section.size:
            head = section.read(at, 32).ljust(32, b"\0")
            wide = head[:4] == b"\xff\xff\xff\xff"
            width, skipped = (8, 12) if wide else (4, 4)
            length = int.from_bytes(head[skipped - width : skipped], order)
            unit = int.from_bytes(head[skipped + 2 : skipped + 2 + width], order)
            address = head[skipped + 2 + width]
            table = skipped + 4 + width
            table += -table % (2 * address) if address else 0
            data = section.read(at + table, skipped + length - table)
            at += skipped + length
            if address == 8:
                code = "<QQ" if order == "little" else ">QQ"
                pairs = struct.iter_unpack(code, data[: len(data) // 16 * 16])
                yield from ((low, low + size, unit) for low, size in pairs if size)


def _sections(image: ElfImage) -> Sections:
    def get(name: str) -> Region:
        return image.section(f".debug_{name}") or Region(b"", 0, 0)

    def whole(name: str) -> bytes:
        region = get(name)
        return region.read(0, region.size)

    sections = Sections(
        info=get("info"),
        abbrev=whole("abbrev"),
        line=get("line"),
        str=get("str"),
        line_str=get("line_str"),
        ranges=get("ranges"),
        rnglists=whole("rnglists"),
        addr=get("addr"),
        str_offsets=get("str_offsets"),
        aranges=get("aranges"),
    )
    if not sections.info.size or not sections.line.size:
        hint = "build the kernel with CONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y, or give the file that has it"
        raise UsageError("no debug information (DWARF) in it", where=str(image.path), hint=hint)
    return sections
