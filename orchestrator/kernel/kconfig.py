# SPDX-License-Identifier: GPL-2.0-only
"""The tree's own Kconfig files, read for one purpose: to say *why* an option did not survive.

The kernel's conf drops an unmet option in silence.  Language: Documentation/kbuild/kconfig-language.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_ENTRY = re.compile(r"^(?:menu)?config\s+(\w+)$")
_SOURCE = re.compile(r'^source\s+"?([^"]+)"?$')
_DEPENDS = re.compile(r"^depends\s+on\s+(.*)$")
_PROMPT = re.compile(r'^(?:bool|tristate|string|hex|int|prompt)\s+"(?:[^"\\]|\\.)*"(?:\s+if\s+(.*))?$')
_SELECT = re.compile(r"^(?:select|imply)\s+(\w+)")
_TOKEN = re.compile(r'\s*(&&|\|\||!=|<=|>=|[!=()<>]|"[^"]*"|\$\((?:[^()]|\([^()]*\))*\)|[\w.\-/]+)')
_OPEN = ("menu", "choice", "if")
_CLOSE = ("endmenu", "endchoice", "endif")


@dataclass
class Symbol:
    """One Kconfig symbol: for each place that defines it, what it depends on, and its prompts' conditions."""

    name: str
    depends: list[tuple[str, ...]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    selected_by: list[str] = field(default_factory=list)


def read_tree(source: Path, srcarch: str) -> dict[str, Symbol]:
    """Read Kconfig and all it sources for one architecture (`x86`, `arm64`): symbols by name."""
    reader = _Reader(source, srcarch)
    reader.read("Kconfig")
    return reader.symbols


class _Reader:
    def __init__(self, source: Path, srcarch: str) -> None:
        self.source = source
        self.srcarch = srcarch
        self.symbols: dict[str, Symbol] = {}
        self.context: list[list[str]] = []

    def read(self, name: str) -> None:
        path = self.source / name.replace("$(SRCARCH)", self.srcarch)
        if not path.is_file():
            return
        current: Symbol | None = None
        for line in _logical_lines(path.read_text(errors="replace")):
            word = line.split(None, 1)[0]
            if match := _SOURCE.match(line):
                self.read(match.group(1))
            elif match := _ENTRY.match(line):
                current = self._define(match.group(1))
            elif word in _OPEN:
                # `if EXPR` guards all within; a menu's or choice's own `depends on` comes on later lines.
                self.context.append([line[2:].strip()] if word == "if" else [])
                current = None
            elif word in _CLOSE:
                if self.context:
                    self.context.pop()
                current = None
            elif word == "comment":
                current = Symbol("")
            else:
                self._attribute(current, line)

    def _define(self, name: str) -> Symbol:
        symbol = self.symbols.setdefault(name, Symbol(name))
        symbol.depends.append(tuple(e for guard in self.context for e in guard))
        return symbol

    def _attribute(self, symbol: Symbol | None, line: str) -> None:
        if match := _DEPENDS.match(line):
            if symbol is None:
                if self.context:
                    self.context[-1].append(match.group(1))
            elif symbol.depends:
                symbol.depends[-1] += (match.group(1),)
        elif symbol is None:
            return
        elif match := _PROMPT.match(line):
            symbol.prompts.append(match.group(1) or "y")
        elif match := _SELECT.match(line):
            target = self.symbols.setdefault(match.group(1), Symbol(match.group(1)))
            target.selected_by.append(symbol.name)


def _logical_lines(text: str) -> Iterator[str]:
    """Yield statements: continuation lines joined, comments and help texts left out."""
    help_indent = -1  # -1: not in a help text; 0: in one whose indentation is not known yet
    joined = ""
    for raw in text.splitlines():
        expanded = raw.expandtabs(8)
        stripped = expanded.strip()
        indent = len(expanded) - len(expanded.lstrip())
        if help_indent >= 0:
            if not stripped:
                continue
            if help_indent == 0 and indent > 0:
                help_indent = indent
            if help_indent and indent >= help_indent:
                continue
            help_indent = -1
        joined += stripped
        if joined.endswith("\\"):
            joined = joined[:-1] + " "
            continue
        statement, joined = re.sub(r"\s+#.*$", "", joined), ""
        if statement in ("help", "---help---"):
            help_indent = 0
        elif statement and not statement.startswith("#"):
            yield statement


def evaluate(expression: str, config: Mapping[str, str]) -> bool:
    """Say whether a Kconfig expression is true (m counts as y) under `config`.

    A $(macro) is taken for true: only conf can run it.
    """
    return _Expression(_TOKEN.findall(expression), config).either()


class _Expression:
    def __init__(self, tokens: list[str], config: Mapping[str, str]) -> None:
        self.tokens = tokens
        self.config = config

    def either(self) -> bool:
        value = self.both()
        while self._take("||"):
            value = self.both() or value
        return value

    def both(self) -> bool:
        value = self.factor()
        while self._take("&&"):
            value = self.factor() and value
        return value

    def factor(self) -> bool:
        if self._take("!"):
            return not self.factor()
        if self._take("("):
            value = self.either()
            self._take(")")
            return value
        left = self._value()
        for operator in ("=", "!=", "<", ">", "<=", ">="):
            if self._take(operator):
                return _compare(left, operator, self._value())
        return left in ("y", "m")

    def _take(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False

    def _value(self) -> str:
        token = self.tokens.pop(0) if self.tokens else "n"
        if token.startswith("$("):
            return "y"
        if token.startswith('"'):
            return token.strip('"')
        if token in ("y", "n", "m") or token[0].isdigit():
            return token
        return self.config.get(token, "n").strip('"')


def _compare(left: str, operator: str, right: str) -> bool:
    if operator in ("=", "!="):
        return (left == right) == (operator == "=")
    try:
        a, b = int(left, 0), int(right, 0)
    except ValueError:
        return False
    return {"<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[operator]


def conjuncts(expression: str) -> list[str]:
    """Split `A && (B || C) && D` at its top level."""
    parts, depth, start = [], 0, 0
    for index, char in enumerate(expression):
        depth += (char == "(") - (char == ")")
        if depth == 0 and expression.startswith("||", index):
            return [expression.strip()]
        if depth == 0 and expression.startswith("&&", index):
            parts.append(expression[start:index].strip())
            start = index + 2
    return [*parts, expression[start:].strip()]


def why_lost(name: str, symbols: Mapping[str, Symbol], config: Mapping[str, str]) -> str:
    """Say in words why `name` is not what a fragment wanted: unknown, unmet dependency, no prompt, choice."""
    symbol = symbols.get(name)
    if symbol is None or not symbol.depends:
        return "this tree's Kconfig does not know it"
    unmet = sorted((_unmet(depends, config) for depends in symbol.depends), key=len)
    if unmet[0]:
        return "depends on " + " and ".join(unmet[0])
    visible = any(evaluate(condition, config) for condition in symbol.prompts)
    if not visible:
        by = sorted(set(symbol.selected_by))
        return "it has no prompt here: " + (f"only set by {', '.join(by[:6])}" if by else "only its default counts")
    by = [other for other in sorted(set(symbol.selected_by)) if config.get(other) in ("y", "m")]
    if by:
        return f"selected by {', '.join(by[:6])}"
    return "another member of its choice, or its range, decided otherwise"


def _unmet(depends: tuple[str, ...], config: Mapping[str, str]) -> list[str]:
    parts = [part for expression in depends for part in conjuncts(expression)]
    return [f"{part} (unmet)" for part in dict.fromkeys(parts) if not evaluate(part, config)]
