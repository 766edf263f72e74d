# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with a file, each with its place; told all at once, because nobody likes to fix them one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UsageError, nearest

SHOWN = 20
# All scenarios, but not the hundred mutants.
LISTED = 40

Where = tuple[str | int, ...]
"""The way from the root of a document to a value: keys and indices."""


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `what`, at which mark and under which keys, and `hint`, what to do about it."""

    what: str
    mark: Mark
    where: Where = ()
    hint: str = ""

    def text(self, path: Path) -> str:
        """Return it as a line, such as `unknown key 'memroy' (quick.yaml:12:5: guest); did you mean 'memory'?`."""
        place = f"{path}:{self.mark.line}:{self.mark.column}"
        if self.where:
            place += f": {dotted(self.where)}"
        return f"{self.what} ({place}){self.hint}"


def dotted(where: Where) -> str:
    """Return the way to a value as people write it, such as `lanes[2].guest` or `kernels."6.1".deb`."""
    text = ""
    for part in where:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if part.isidentifier() else f'."{part}"'
    return text.removeprefix(".")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known name, else all that are known, if they are no crowd."""
    names = sorted(known)
    shown = names if len(names) <= LISTED else [*names[:3], "...", names[-1]]
    listed = f"; known: {', '.join(shown)}" if names else "; there is none"
    return nearest(name, names) or listed


def refuse(path: Path, problems: Sequence[Problem]) -> UsageError:
    """Return the error that tells all `problems` of the file `path`, in the order of its lines."""
    lines = [problem.text(path) for problem in sorted(problems, key=lambda problem: problem.mark)]
    if len(lines) == 1:
        return UsageError(lines[0])
    shown = lines[:SHOWN]
    if more := len(lines) - len(shown):
        shown.append(f"and {more} more")
    return UsageError("\n  ".join([f"{len(lines)} problems in {path}:", *shown]))
