# SPDX-License-Identifier: GPL-2.0-only
"""DWARF's encodings: LEB128, attribute forms, abbreviations (DWARF 5, sections 7.5 and 7.6).

Most entries of a kernel's .debug_info are types, which nobody here asks for. An abbreviation therefore carries a plan
of how to get past such an entry: bytes to add, and now and then a length to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

ByteOrder: TypeAlias = Literal["little", "big"]
Value: TypeAlias = int | bytes
"""An attribute as it stands: a number (an offset, index or constant), or the bytes of an inline string or block."""

FORM_ADDR, FORM_STRING, FORM_STRP, FORM_UDATA, FORM_DATA16 = 0x01, 0x08, 0x0E, 0x0F, 0x1E
FORM_REF_ADDR, FORM_SEC_OFFSET, FORM_LINE_STRP, FORM_RNGLISTX = 0x10, 0x17, 0x1F, 0x23
FORM_INDIRECT, FORM_SDATA, FORM_FLAG_PRESENT, FORM_IMPLICIT_CONST = 0x16, 0x0D, 0x19, 0x21
STRX = frozenset((0x1A, 0x25, 0x26, 0x27, 0x28, 0x1F02))
ADDRX = frozenset((0x1B, 0x29, 0x2A, 0x2B, 0x2C, 0x1F01))
# 64 bits take 10 bytes; linkers that relax code pad numbers, never beyond that.
MAX_LEB = 16
UNIT_REFS = frozenset((0x11, 0x12, 0x13, 0x14, 0x15))

_ULEB, _STRING, _BLOCK1, _BLOCK2, _BLOCK4, _BLOCK, _INDIRECT = -1, -2, -3, -4, -5, -6, -7
_FIXED = {
    **{0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x19: 0, 0x1C: 4, 0x1E: 16},
    **{0x20: 8, 0x21: 0, 0x24: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4},
}
_OFFSETS = frozenset((0x0E, 0x17, 0x1D, 0x1F, 0x1F20, 0x1F21))
_VARIABLE = {
    **{0x08: _STRING, 0x0A: _BLOCK1, 0x03: _BLOCK2, 0x04: _BLOCK4, 0x09: _BLOCK, 0x18: _BLOCK, 0x16: _INDIRECT},
    **dict.fromkeys((0x0D, 0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23, 0x1F01, 0x1F02), _ULEB),
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """What of a unit decides how its forms are read; sizes in bytes."""

    version: int
    address: int
    offset: int
    order: ByteOrder


@dataclass(frozen=True, slots=True)
class Abbrev:
    """One abbreviation: tag, whether children follow, and (attribute, form, implicit constant) in their order."""

    tag: int
    children: bool
    attributes: tuple[tuple[int, int, int], ...]
    plan: tuple[int, ...]
    sibling: bool


class DwarfError(ValueError):
    """The debug information is not what its own headers say; the reader gives up on this piece of it."""


def uleb(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned LEB128 number at `at`, and where the next thing stands.

    Raises:
        DwarfError: it has more bytes than any number needs; to add up a long one takes quadratic time.
        IndexError: the data end within it.
    """
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = byte & 0x7F, 7
    while shift < 7 * MAX_LEB:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at + 1
        shift += 7
    raise DwarfError(f"a number of more than {MAX_LEB} bytes")


def sleb(data: bytes, at: int) -> tuple[int, int]:
    """Return the signed LEB128 number at `at`, and where the next thing stands. Raises as uleb() does."""
    start = at
    value, at = uleb(data, at)
    bits = 7 * (at - start)
    return (value - (1 << bits) if value >> (bits - 1) & 1 else value), at


def form_size(form: int, sizes: Sizes) -> int:
    """Return the bytes that a value of `form` takes, or a negative code for what must be looked at.

    Raises:
        DwarfError: the form is not one of DWARF 2 to 5.
    """
    if form in _FIXED:
        return _FIXED[form]
    if form in _OFFSETS:
        return sizes.offset
    if form == FORM_ADDR:
        return sizes.address
    if form == FORM_REF_ADDR:
        return sizes.address if sizes.version <= 2 else sizes.offset
    if form in _VARIABLE:
        return _VARIABLE[form]
    raise DwarfError(f"unknown form {form:#x}")


def skip(data: bytes, at: int, plan: tuple[int, ...], sizes: Sizes) -> int:
    """Return where the entry ends whose attributes begin at `at`."""
    for step in plan:
        if step >= 0:
            at += step
        elif step == _ULEB:
            while data[at] >= 0x80:
                at += 1
            at += 1
        else:
            at = _skip_long(data, at, step, sizes)
    return at


def _skip_long(data: bytes, at: int, step: int, sizes: Sizes) -> int:
    if step == _STRING:
        end = data.find(b"\0", at)
        if end < 0:
            raise IndexError("a string without end")
        return end + 1
    if step == _BLOCK:
        size, at = uleb(data, at)
        return at + size
    if step == _INDIRECT:
        form, at = uleb(data, at)
        return skip(data, at, (form_size(form, sizes),), sizes)
    width = {_BLOCK1: 1, _BLOCK2: 2, _BLOCK4: 4}[step]
    return at + width + int.from_bytes(data[at : at + width], sizes.order)


def read_form(data: bytes, at: int, form: int, constant: int, sizes: Sizes) -> tuple[Value, int]:
    """Return the value of `form` at `at`, and where the next one stands. Raises DwarfError, IndexError."""
    if form == FORM_IMPLICIT_CONST:
        return constant, at
    if form == FORM_FLAG_PRESENT:
        return 1, at
    if form == FORM_INDIRECT:
        form, at = uleb(data, at)
        return read_form(data, at, form, 0, sizes)
    if form == FORM_SDATA:
        return sleb(data, at)
    size = form_size(form, sizes)
    if size == _ULEB:
        return uleb(data, at)
    end = skip(data, at, (size,), sizes)
    if end > len(data):
        raise IndexError("a value beyond the end")
    if size == _STRING:
        return data[at : end - 1], end
    if size < 0 or form == FORM_DATA16:
        return data[at:end], end
    return int.from_bytes(data[at:end], sizes.order), end


class Abbrevs:
    """The abbreviations of one unit, which begin at `at` of .debug_abbrev; read as far as they are asked for."""

    def __init__(self, data: bytes, at: int, sizes: Sizes) -> None:
        self._sizes = sizes
        self._known: dict[int, Abbrev] = {}
        self._rest = self._entries(data, at)

    def __getitem__(self, code: int) -> Abbrev:
        """Return the abbreviation `code`. Raises DwarfError when there is none."""
        found = self._known.get(code)
        while found is None:
            entry = next(self._rest, None)
            if entry is None:
                raise DwarfError(f"no abbreviation {code}")
            self._known[entry[0]] = entry[1]
            found = self._known.get(code)
        return found

    def _entries(self, data: bytes, at: int) -> Iterator[tuple[int, Abbrev]]:
        while True:
            code, at = uleb(data, at)
            if not code:
                return
            tag, at = uleb(data, at)
            children = data[at] != 0
            at += 1
            attributes = []
            while True:
                name, at = uleb(data, at)
                form, at = uleb(data, at)
                constant = 0
                if form == FORM_IMPLICIT_CONST:
                    constant, at = sleb(data, at)
                if not name and not form:
                    break
                attributes.append((name, form, constant))
            sibling = any(name == 0x01 for name, _, _ in attributes)
            yield code, Abbrev(tag, children, tuple(attributes), self._plan(attributes), sibling)

    def _plan(self, attributes: list[tuple[int, int, int]]) -> tuple[int, ...]:
        plan: list[int] = []
        for _, form, _ in attributes:
            step = form_size(form, self._sizes)
            if step >= 0 and plan and plan[-1] >= 0:
                plan[-1] += step
            elif step:
                plan.append(step)
        return tuple(plan)
