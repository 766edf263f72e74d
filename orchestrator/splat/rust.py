# SPDX-License-Identifier: GPL-2.0-only
"""Rust's mangled names in words: `_RNvMs_Cs1_3fooNtB4_3Bar3baz` is `<foo::Bar>::baz`.

Grammar: "Rust symbol name mangling v0" (RFC 2603), what the kernel uses; the older one, which is C++'s (Itanium C++
ABI, 5.1), as far as plain and nested names go: what was not built by the kernel's makefiles has those. A name that
does not follow it, or that is built to explode (back references within back references), is left as it is: consoles
are hostile.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

MAX_NAME = 400
_MAX_STEPS = 600
_MANGLED = re.compile(r"_R[A-Z]\w*")
_BASE62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BASIC = dict(
    zip(
        "abcdefhijlmnopstuvxyz",
        [
            "i8",
            "bool",
            "char",
            "f64",
            "str",
            "f32",
            "u8",
            "isize",
            "usize",
            "i32",
            "u32",
            "i128",
            "u128",
            "_",
            "i16",
            "u16",
            "()",
            "...",
            "i64",
            "u64",
            "!",
        ],
        strict=True,
    )
)
_OLDER = re.compile(r"_Z(?:N(?P<nested>\d[\w.$]+)|(?P<plain>\d{1,3}[A-Za-z_]\w*))")
_SIZE = re.compile(r"\d{1,3}")
_HASH = re.compile(r"h[0-9a-f]{16}")
# What a name cannot hold stands in it as `$u7b$`, or by these.
_ESCAPE = re.compile(r"\$(?:(LT|GT|RF|BP|LP|RP|C)|u([2-6][0-9a-f]|7[0-9a-e]))\$")
_ESCAPED = {"LT": "<", "GT": ">", "RF": "&", "BP": "*", "LP": "(", "RP": ")", "C": ","}
_SPECIAL = {"C": "closure", "S": "shim"}


def demangle(function: str) -> str:
    """Return a Rust function's name in words, any other name unchanged; clones' suffixes are dropped."""
    if function.startswith("_R"):
        return _demangled(function)
    return _older(function) if function.startswith("_Z") else function


@lru_cache(maxsize=1024)
def _older(function: str) -> str:
    found = _OLDER.match(function)
    if found is None or len(function) > MAX_NAME:
        return function
    text, parts, at = found["nested"] or found["plain"], [], 0
    while size := _SIZE.match(text, at):
        at = size.end() + int(size[0])
        parts.append(_unescaped(text[size.end() : at]))
        if at > len(text) or found["plain"]:
            break
    if at > len(text) or (found["nested"] and text[at : at + 1] != "E"):
        return function
    return "::".join(parts[:-1] if len(parts) > 1 and _HASH.fullmatch(parts[-1]) else parts)


def _unescaped(name: str) -> str:
    plain = _ESCAPE.sub(lambda found: _ESCAPED.get(found[1]) or chr(int(found[2], 16)), name.replace("..", "::"))
    return plain.removeprefix("_") if plain.startswith("_<") else plain


@lru_cache(maxsize=1024)
def _demangled(function: str) -> str:
    found = _MANGLED.match(function)
    if found is None:
        return function
    try:
        words = _Reader(found[0][2:]).path(in_value=True)
    except (IndexError, ValueError, RecursionError):
        return function
    return words if len(words) <= MAX_NAME else function


class _Reader:
    """Reads one name from left to right; a back reference reads an earlier part again."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.steps = 0

    def path(self, in_value: bool = False) -> str:
        kind = self._next()
        if kind == "C":
            return self._identifier()[1]
        if kind == "M":
            self._impl_path()
            return f"<{self.type()}>"
        if kind == "X":
            self._impl_path()
            return self._as_trait()
        if kind == "Y":
            return self._as_trait()
        if kind == "N":
            return self._nested(in_value)
        if kind == "I":
            inner = self.path(in_value)
            arguments = self._until_end(self._argument)
            shown = ", ".join(argument for argument in arguments if argument)
            return f"{inner}{'::' if in_value else ''}<{shown}>" if shown else inner
        if kind == "B":
            return self._again(lambda: self.path(in_value))
        raise ValueError(kind)

    def type(self) -> str:
        kind = self._next()
        if kind in _BASIC:
            return _BASIC[kind]
        if kind in "RQ":
            if self._peek() == "L":
                self._argument()
            return f"&{'mut ' if kind == 'Q' else ''}{self.type()}"
        if kind in "PO":
            return f"*{'const' if kind == 'P' else 'mut'} {self.type()}"
        if kind == "A":
            return f"[{self.type()}; {self._const()}]"
        if kind == "S":
            return f"[{self.type()}]"
        if kind == "T":
            return f"({', '.join(self._until_end(self.type))})"
        if kind == "F":
            return self._function_type()
        if kind == "D":
            return self._dynamic()
        if kind == "B":
            return self._again(self.type)
        self.at -= 1
        return self.path()

    def _nested(self, in_value: bool) -> str:
        space = self._next()
        outer = self.path(in_value)
        number, name = self._identifier()
        if space in _SPECIAL:
            return f"{outer}::{{{_SPECIAL[space]}{':' if name else ''}{name}#{number}}}"
        return f"{outer}::{name}" if name else outer

    def _as_trait(self) -> str:
        return f"<{self.type()} as {self.path()}>"

    def _impl_path(self) -> None:
        self._disambiguator()
        self.path()

    def _argument(self) -> str:
        if self._peek() == "L":
            self._next()
            self._base62()
            return ""
        if self._peek() == "K":
            self._next()
            return self._const()
        return self.type()

    def _const(self) -> str:
        kind = self._next()
        if kind == "p":
            return "_"
        if kind == "B":
            return self._again(self._const)
        end = self.text.index("_", self.at)
        digits, self.at = self.text[self.at : end], end + 1
        sign, digits = ("-", digits[1:]) if digits.startswith("n") else ("", digits)
        return f"{sign}{int(digits or '0', 16)}"

    def _function_type(self) -> str:
        self._binder()
        if self._peek() == "U":
            self._next()
        if self._peek() == "K":
            self._next()
            if self._peek() == "C":
                self._next()
            else:
                self._name()
        taken = ", ".join(self._until_end(self.type))
        given = self.type()
        return f"fn({taken})" + ("" if given == "()" else f" -> {given}")

    def _dynamic(self) -> str:
        self._binder()
        traits = self._until_end(self._trait)
        self._argument()
        return f"dyn {' + '.join(traits)}"

    def _trait(self) -> str:
        trait = self.path()
        while self._peek() == "p":
            self._next()
            self._name()
            self.type()
        return trait

    def _binder(self) -> None:
        if self._peek() == "G":
            self._next()
            self._base62()

    def _until_end(self, read: Callable[[], str]) -> list[str]:
        found = []
        while self._peek() != "E":
            found.append(read())
        self._next()
        return found

    def _again(self, read: Callable[[], str]) -> str:
        here = self.at - 1
        target = self._base62()
        if target >= here:
            raise ValueError("a back reference that points forward")
        back, self.at = self.at, target
        words = read()
        self.at = back
        return words

    def _identifier(self) -> tuple[int, str]:
        return self._disambiguator(), self._name()

    def _disambiguator(self) -> int:
        if self._peek() != "s":
            return 0
        self._next()
        return self._base62() + 1

    def _name(self) -> str:
        if self._peek() == "u":
            self._next()
        digits = ""
        while self._peek().isdecimal() and digits != "0":
            digits += self._next()
        if self._peek() == "_":
            self._next()
        size = int(digits)
        name = self.text[self.at : self.at + size]
        if len(name) != size:
            raise ValueError("cut")
        self.at += size
        return name

    def _base62(self) -> int:
        number = 0
        if self._peek() == "_":
            self._next()
            return 0
        while (digit := self._next()) != "_":
            number = number * 62 + _BASE62.index(digit)
        return number + 1

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _next(self) -> str:
        self.steps += 1
        if self.steps > _MAX_STEPS:
            raise ValueError("too long")
        self.at += 1
        return self.text[self.at - 1]
