# SPDX-License-Identifier: GPL-2.0-only
"""Which scenarios are likely to expose a patch without a record: those that expose its neighbours. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from orchestrator.matrix.mutants import Mutant, MutantExpectation
from orchestrator.matrix.plan import Arch

_FILE = re.compile(r"^\+\+\+ [^/\n]*/([^\t\n]+)", re.MULTILINE)
# What diff takes for the function around a hunk: a name before a parenthesis, or the beginning of one where GNU diff
# has cut the line. Macros that are all capitals are none.
_FUNCTION = re.compile(r"^@@ [^@]*@@ (?:.*?\b(?![A-Z_0-9]+\()(\w+)\(|(?=.{36}).*\W(\w{8,})$)", re.MULTILINE)
# Measured by tests/bench_likely.py.
_SAME_FUNCTION = 4.0
_ANYWHERE = 0.05
_VISIBLE = (MutantExpectation.CAUGHT, MutantExpectation.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Places:
    """The files and functions that a patch changes, by name; `cut` are beginnings of names."""

    files: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    cut: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *patches: Path) -> Self:
        """Read unified diffs. One that cannot be read changes nothing: it is the build's to complain of."""
        texts = [text for patch in patches if (text := _read(patch))]
        files = (found for text in texts for found in _FILE.findall(text))
        names = [found for text in texts for found in _FUNCTION.findall(text)]
        return cls(
            frozenset(files),
            frozenset(name for name, _ in names if name),
            frozenset(start for _, start in names if start),
        )

    @property
    def headers(self) -> bool:
        """Whether a header is among them: much is compiled anew then."""
        return any(name.endswith(".h") for name in self.files)

    def near(self, other: Places) -> float:
        """Return how much the two have in common; never 0."""
        same = self.functions & other.functions
        same |= {name for name in other.functions if name.startswith(tuple(self.cut))}
        same |= {name for name in self.functions | self.cut if name.startswith(tuple(other.cut))}
        return _ANYWHERE + len(self.files & other.files) + _SAME_FUNCTION * len(same)


def _read(patch: Path) -> str:
    try:
        return patch.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def likely_first(patch: Path, scenarios: Sequence[str], arch: Arch, mutants: Iterable[Mutant]) -> tuple[str, ...]:
    """Return `scenarios` in the order in which they are likely to expose a patch.

    Each mutant of the catalogue that can be seen on the architecture speaks for the scenarios that its record names
    there, for the first of them most, and the louder the more its patches have in common with this one.
    """
    changed = Places.of(patch)
    votes: defaultdict[str, float] = defaultdict(float)
    for mutant in mutants:
        if mutant.expect.get(arch) not in _VISIBLE:
            continue
        near = changed.near(Places.of(*mutant.patches.values()))
        for position, scenario in enumerate(mutant.scenarios_on(arch), 1):
            votes[scenario] += near / position
    return tuple(sorted(scenarios, key=lambda scenario: -votes[scenario]))
