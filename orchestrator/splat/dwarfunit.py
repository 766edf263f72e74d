# SPDX-License-Identifier: GPL-2.0-only
"""One compile unit of .debug_info: its functions, and what was inlined into each (DWARF 4 and 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from orchestrator.splat.dwarfforms import (
    ADDRX,
    FORM_ADDR,
    FORM_LINE_STRP,
    FORM_REF_ADDR,
    FORM_RNGLISTX,
    FORM_STRP,
    STRX,
    UNIT_REFS,
    Abbrev,
    Abbrevs,
    DwarfError,
    Sizes,
    Value,
    read_form,
    skip,
    uleb,
)
from orchestrator.splat.dwarflines import LineTable, line_table
from orchestrator.splat.elfimage import Region

TAG_SUBPROGRAM, TAG_INLINED, TAG_NAMESPACE, TAG_MODULE = 0x2E, 0x1D, 0x39, 0x1E
AT_SIBLING, AT_NAME, AT_STMT_LIST, AT_LOW, AT_HIGH, AT_COMP_DIR = 0x01, 0x03, 0x10, 0x11, 0x12, 0x1B
AT_ORIGIN, AT_SPECIFICATION, AT_RANGES, AT_CALL_FILE, AT_CALL_LINE = 0x31, 0x47, 0x55, 0x58, 0x59
AT_STR_OFFSETS, AT_ADDR_BASE, AT_RNGLISTS = 0x72, 0x73, 0x74
MAX_ORIGINS = 8

Ranges = tuple[tuple[int, int], ...]
"""Half-open spans of addresses."""
Attributes = dict[int, tuple[int, Value]]
"""By attribute: its form and raw value."""


@dataclass(frozen=True, slots=True)
class Sections:
    """The debug sections of an image; those that it lacks are empty. Small ones that are parsed are held whole."""

    info: Region
    abbrev: bytes
    line: Region
    str: Region
    line_str: Region
    ranges: Region
    rnglists: bytes
    addr: Region
    str_offsets: Region
    aranges: Region


@dataclass(frozen=True, slots=True)
class Inlined:
    """A function inlined at `file`:`line` of the one around it, over `ranges`."""

    name: str
    ranges: Ranges
    file: int
    line: int


@dataclass(frozen=True, slots=True)
class Function:
    """A function with code of its own. `entry` is where its entry stands in the section."""

    ranges: Ranges
    entry: int


def within(ranges: Ranges, address: int) -> bool:
    """Say whether one of `ranges` holds `address`."""
    return any(low <= address < high for low, high in ranges)


@dataclass(slots=True)
class Unit:
    """A compile unit at `start` of .debug_info; everything is read when it is first asked for.

    `origin` finds the name of an entry of any unit by its offset in the section. All methods raise DwarfError or
    IndexError when the unit is damaged.
    """

    sections: Sections
    start: int
    end: int
    first: int
    sizes: Sizes
    abbrev_offset: int
    origin: Callable[[int], str]
    _data: bytes = b""
    _abbrevs: Abbrevs | None = None
    _top: Attributes | None = None
    _functions: list[Function] | None = None
    _inlined: dict[int, tuple[str, tuple[Inlined, ...]]] = field(default_factory=dict)
    _lines: LineTable | None = None

    def top(self) -> Attributes:
        """Return the attributes of the unit itself, as a rule reading little more than their bytes."""
        if self._top is None:
            at = self.first - self.start
            head = self._data or self.sections.info.read(self.start, at + 256)
            try:
                self._top = self._attributes(head, at)[1]
            except IndexError:  # long strings that stand inline
                self._top = self._attributes(self._bytes(), at)[1]
        return self._top

    def ranges(self) -> Ranges:
        """Return the addresses that the unit holds code for."""
        return self._ranges_of(self.top())

    def find(self, address: int) -> Function | None:
        """Return the function that has the instruction at `address`."""
        if self._functions is None:
            self._functions = list(self._walk_functions())
        return next((each for each in self._functions if within(each.ranges, address)), None)

    def chain(self, function: Function, address: int) -> tuple[str, tuple[Inlined, ...]]:
        """Return the function's name, and what of other functions the instruction is, outermost first."""
        if function.entry not in self._inlined:
            self._inlined[function.entry] = self._walk_inlined(function)
        name, inlined = self._inlined[function.entry]
        return name, tuple(each for each in inlined if within(each.ranges, address))

    def lines(self) -> LineTable | None:
        """Return the unit's line table, None when it has none."""
        if self._lines is None and AT_STMT_LIST in self.top():
            offset = self.top()[AT_STMT_LIST][1]
            build = self._string(*self.top().get(AT_COMP_DIR, (0x08, b"")))
            if isinstance(offset, int):
                self._lines = line_table(self.sections.line, offset, self.sizes, build, self._string)
        return self._lines

    def name_at(self, entry: int, depth: int = 0) -> str:
        """Return the name of the entry at `entry` of the section, which is in this unit, or what it was made from."""
        attributes = self._entry(entry)[1]
        if AT_NAME in attributes:
            return self._string(*attributes[AT_NAME])
        for kind in (AT_ORIGIN, AT_SPECIFICATION):
            if kind in attributes and depth < MAX_ORIGINS:
                target = self._reference(*attributes[kind])
                inside = self.start <= target < self.end
                return self.name_at(target, depth + 1) if inside else self.origin(target)
        return "?"

    def _bytes(self) -> bytes:
        if not self._data:
            self._data = self.sections.info.read(self.start, self.end - self.start)
        return self._data

    def _abbreviations(self) -> Abbrevs:
        if self._abbrevs is None:
            self._abbrevs = Abbrevs(self.sections.abbrev, self.abbrev_offset, self.sizes)
        return self._abbrevs

    def _attributes(self, data: bytes, at: int) -> tuple[Abbrev, Attributes, int]:
        code, at = uleb(data, at)
        abbrev = self._abbreviations()[code]
        found: Attributes = {}
        for name, form, constant in abbrev.attributes:
            value, at = read_form(data, at, form, constant, self.sizes)
            found[name] = (form, value)
        return abbrev, found, at

    def _entry(self, entry: int) -> tuple[Abbrev, Attributes, int]:
        return self._attributes(self._bytes(), entry - self.start)

    def _reference(self, form: int, value: Value) -> int:
        if not isinstance(value, int) or not (form in UNIT_REFS or form == FORM_REF_ADDR):
            raise DwarfError(f"a reference of form {form:#x}")
        return value if form == FORM_REF_ADDR else self.start + value

    def _walk_functions(self) -> Iterator[Function]:
        data = self._bytes()
        at = self._attributes(data, self.first - self.start)[2]
        while at < len(data):
            start = at
            code, at = uleb(data, at)
            if not code:
                continue
            abbrev = self._abbreviations()[code]
            if abbrev.tag == TAG_SUBPROGRAM:
                _, attributes, at = self._attributes(data, start)
                if ranges := self._ranges_of(attributes):
                    yield Function(ranges, self.start + start)
            if abbrev.sibling and abbrev.children and abbrev.tag not in (TAG_NAMESPACE, TAG_MODULE):
                at = self._after(data, start)
            elif abbrev.tag != TAG_SUBPROGRAM:
                at = skip(data, at, abbrev.plan, self.sizes)

    def _after(self, data: bytes, start: int) -> int:
        form, value = self._attributes(data, start)[1][AT_SIBLING]
        after = self._reference(form, value) - self.start
        if after <= start:
            raise DwarfError("a sibling before its entry")
        return after

    def _walk_inlined(self, function: Function) -> tuple[str, tuple[Inlined, ...]]:
        data = self._bytes()
        start = function.entry - self.start
        abbrev, _, at = self._attributes(data, start)
        found = []
        depth = int(abbrev.children)
        while depth:
            start = at
            code, at = uleb(data, at)
            if not code:
                depth -= 1
                continue
            abbrev = self._abbreviations()[code]
            if abbrev.tag == TAG_INLINED:
                _, attributes, at = self._attributes(data, start)
                found.append(self._inlined_of(attributes))
            else:
                at = skip(data, at, abbrev.plan, self.sizes)
            depth += abbrev.children
        return self.name_at(function.entry), tuple(found)

    def _inlined_of(self, attributes: Attributes) -> Inlined:
        name = "?"
        if AT_ORIGIN in attributes:
            target = self._reference(*attributes[AT_ORIGIN])
            name = self.name_at(target) if self.start <= target < self.end else self.origin(target)
        numbers = [attributes[kind][1] if kind in attributes else 0 for kind in (AT_CALL_FILE, AT_CALL_LINE)]
        file, line = (number if isinstance(number, int) else 0 for number in numbers)
        return Inlined(name, self._ranges_of(attributes), file, line)

    def _number(self, attribute: int) -> int:
        value = self.top().get(attribute, (0, 0))[1]
        return value if isinstance(value, int) else 0

    def _string(self, form: int, value: Value) -> str:
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if form == FORM_STRP:
            return self.sections.str.text(value)
        if form == FORM_LINE_STRP:
            return self.sections.line_str.text(value)
        if form in STRX:
            width = self.sizes.offset
            at = self._number(AT_STR_OFFSETS) + value * width
            return self.sections.str.text(self._int(self.sections.str_offsets, at, width))
        return "?"

    def _int(self, section: Region, at: int, width: int) -> int:
        data = section.read(at, width)
        if len(data) < width:
            raise IndexError(f"offset {at} beyond a section")
        return int.from_bytes(data, self.sizes.order)

    def _address(self, form: int, value: Value) -> int:
        if not isinstance(value, int):
            raise DwarfError("an address that is a block")
        return self._indexed(value) if form in ADDRX else value

    def _indexed(self, index: int) -> int:
        return self._int(
            self.sections.addr, self._number(AT_ADDR_BASE) + index * self.sizes.address, self.sizes.address
        )

    def _ranges_of(self, attributes: Attributes) -> Ranges:
        if AT_RANGES in attributes:
            form, value = attributes[AT_RANGES]
            if not isinstance(value, int):
                raise DwarfError("ranges that are a block")
            found = self._rnglist(form, value) if self.sizes.version >= 5 else self._ranges_4(value)
            return tuple(found)
        if AT_LOW not in attributes or AT_HIGH not in attributes:
            return ()
        low = self._address(*attributes[AT_LOW])
        form, high = attributes[AT_HIGH]
        if not isinstance(high, int):
            raise DwarfError("an end that is a block")
        is_address = form == FORM_ADDR or form in ADDRX
        end = self._address(form, high) if is_address else low + high
        return ((low, end),) if end > low else ()

    def _base(self) -> int:
        top = self.top()
        return self._address(*top[AT_LOW]) if AT_LOW in top else 0

    def _ranges_4(self, at: int) -> Iterator[tuple[int, int]]:
        width, base = self.sizes.address, self._base()
        section = self.sections.ranges
        while True:
            low, high = self._int(section, at, width), self._int(section, at + width, width)
            at += 2 * width
            if not low and not high:
                return
            if low == (1 << 8 * width) - 1:
                base = high
            elif high > low:
                yield base + low, base + high

    def _rnglist(self, form: int, value: int) -> Iterator[tuple[int, int]]:
        """Yield the spans of one list of .debug_rnglists (section 7.25)."""
        data, width, base, at = self.sections.rnglists, self.sizes.address, self._base(), value
        if form == FORM_RNGLISTX:
            lists = self._number(AT_RNGLISTS)
            entry = Region(data, lists, len(data) - lists)
            at = lists + self._int(entry, value * self.sizes.offset, self.sizes.offset)
        while kind := data[at]:
            at += 1
            if kind in (1, 2, 3):  # base_addressx, startx_endx, startx_length
                index, at = uleb(data, at)
                low = self._indexed(index)
                if kind == 1:
                    base = low
                    continue
                value, at = uleb(data, at)
                high = self._indexed(value) if kind == 2 else low + value
            elif kind == 4:  # offset_pair
                low, at = uleb(data, at)
                high, at = uleb(data, at)
                low, high = base + low, base + high
            elif kind in (5, 6, 7):  # base_address, start_end, start_length
                low = int.from_bytes(data[at : at + width], self.sizes.order)
                at += width
                if kind == 5:
                    base = low
                    continue
                if kind == 6:
                    high, at = int.from_bytes(data[at : at + width], self.sizes.order), at + width
                else:
                    length, at = uleb(data, at)
                    high = low + length
            else:
                raise DwarfError(f"unknown range of kind {kind}")
            if high > low:
                yield low, high
