# SPDX-License-Identifier: GPL-2.0-only
"""Kconfig fragments: read, merged, and verified against what the kernel's own tools made of them."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import BuildError, UsageError
from orchestrator.matrix.plan import Fragment

_SET = re.compile(r"^(CONFIG_\w+)=(.*?)(?:\s+#\?\s*(.*))?$")
_UNSET = re.compile(r"^#\s*(CONFIG_\w+) is not set(?:\s+#\?\s*(.*))?$")
_CONDITION = "if known"


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a fragment: `symbol` without CONFIG_, `value` as .config writes it (`n` for "is not set")."""

    symbol: str
    value: str
    path: Path
    line: int
    if_known: bool

    @property
    def where(self) -> str:
        """File and line, for messages."""
        return f"{self.path}:{self.line}"

    @property
    def assignment(self) -> str:
        """The line as .config has it."""
        return f"CONFIG_{self.symbol}={self.value}" if self.value != "n" else f"# CONFIG_{self.symbol} is not set"


def read_fragment(path: Path) -> tuple[Setting, ...]:
    """Read a fragment: `CONFIG_X=y`, `# CONFIG_X is not set`, either with ` #? if known` behind it.

    Raises:
        UsageError: the file is missing or a line is neither of these, a comment, nor empty.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read this Kconfig fragment: {error}", where=str(path)) from error
    found = []
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        match = _SET.match(line) or _UNSET.match(line)
        if match:
            symbol, value, condition = (*match.groups(), None)[:3] if match.re is _SET else _unset(match)
            if condition not in (None, _CONDITION):
                hint = f"the one condition there is: #? {_CONDITION}"
                raise UsageError(f"unknown condition {condition!r}", where=f"{path}:{number}", hint=hint)
            found.append(Setting(str(symbol)[7:], str(value), path, number, condition is not None))
        elif line and not line.startswith("#"):
            hint = "write CONFIG_NAME=value or '# CONFIG_NAME is not set'"
            raise UsageError(f"not a Kconfig assignment: {line!r}", where=f"{path}:{number}", hint=hint)
    return tuple(found)


def _unset(match: re.Match[str]) -> tuple[str, str, str | None]:
    return match.group(1), "n", match.group(2)


def merge(fragments: Iterable[Fragment]) -> tuple[Setting, ...]:
    """Read and merge fragments; equal settings may repeat, the first one counts.

    Raises:
        UsageError: two fragments want different values; names both lines of every such pair.
    """
    merged: dict[str, Setting] = {}
    clashes = []
    for fragment in fragments:
        for setting in read_fragment(fragment.path):
            first = merged.setdefault(setting.symbol, setting)
            if first.value != setting.value:
                clashes.append(
                    f"CONFIG_{setting.symbol}: {first.value} by {first.where}, {setting.value} by {setting.where}"
                )
    if clashes:
        raise UsageError("fragments disagree:\n    " + "\n    ".join(clashes), hint="remove one of each pair")
    return tuple(merged.values())


def required(settings: Iterable[Setting], known: Container[str]) -> tuple[Setting, ...]:
    """Drop the `#? if known` settings whose symbol this tree's Kconfig does not have."""
    return tuple(s for s in settings if not s.if_known or s.symbol in known)


def render(settings: Iterable[Setting]) -> str:
    """Return the settings as the text for KCONFIG_ALLCONFIG."""
    return "".join(f"{setting.assignment}\n" for setting in settings)


def read_config(text: str) -> dict[str, str]:
    """Read a .config: symbol (without CONFIG_) to value; symbols that are off are absent."""
    values = {}
    for line in text.splitlines():
        if (match := _SET.match(line)) and match.group(2) != "n":
            values[match.group(1)[7:]] = match.group(2)
    return values


def lost(settings: Iterable[Setting], config: Mapping[str, str]) -> tuple[Setting, ...]:
    """Return the settings that the final `config` contradicts."""
    return tuple(s for s in settings if config.get(s.symbol, "n") != s.value)


def config_error(reasons: Iterable[str], name: str) -> BuildError:
    """Describe the options that did not survive, one line each."""
    listed = "\n    ".join(reasons)
    return BuildError(
        f"options that did not survive olddefconfig:\n    {listed}",
        where=name,
        hint="set what they depend on in the same fragment, or mark the line '#? if known' where older trees lack it",
    )
