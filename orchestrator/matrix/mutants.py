# SPDX-License-Identifier: GPL-2.0-only
"""Kernels broken on purpose: their records in configs/mutants/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from orchestrator.errors import UsageError
from orchestrator.matrix.document import read
from orchestrator.matrix.names import Names, names_of
from orchestrator.matrix.plan import Arch
from orchestrator.matrix.problems import Problem, refuse, suggestion
from orchestrator.matrix.schema import Node
from orchestrator.matrix.validate import validate
from orchestrator.matrix.values import (
    ArchName,
    Context,
    FilePath,
    Flavour,
    Matching,
    Name,
    OneOrMany,
    Scenario,
    Series,
    member,
    wrong,
)
from orchestrator.paths import Project


class MutantExpectation(StrEnum):
    """Whether a mutant's scenarios can see its fault on an architecture; the record's `why` tells the reason.

    SILENT: the kernel is broken, but something else there keeps the fault from showing.  EQUIVALENT: it does what the
    unbroken one does.  BENIGN: it does something else, and no harm comes of it.  UNKNOWN: neither ruled out nor seen.
    """

    CAUGHT = "caught"
    SILENT = "silent"
    EQUIVALENT = "equivalent"
    BENIGN = "benign"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A kernel broken on purpose; `patches` by kernel series, `scenarios` those that are to expose it.

    `upstream`: commits and CVEs of real kernels with this fault. `differs`: what to expect otherwise, by series.
    `flavours`: those in which the fault shows; empty when it does in all.
    """

    id: str
    principle: str
    title: str
    breaks: str
    why: str
    patches: dict[str, Path]
    scenarios: tuple[str, ...]
    expect: dict[Arch, MutantExpectation]
    upstream: tuple[str, ...] = ()
    differs: Mapping[str, Mapping[Arch, MutantExpectation]] = field(default_factory=dict)
    flavours: tuple[str, ...] = ()

    def expected(self, arch: Arch, series: str | None, flavour: str | None = None) -> MutantExpectation | None:
        """Return what to expect of this architecture and series; None when the record does not say.

        With a flavour that does not show the fault, one that others catch, or might, is SILENT.
        """
        said = self.differs.get(series or "", {}).get(arch, self.expect.get(arch))
        visible = said in (MutantExpectation.CAUGHT, MutantExpectation.UNKNOWN)
        if visible and flavour is not None and not self.shown_in(flavour):
            return MutantExpectation.SILENT
        return said

    def shown_in(self, flavour: str) -> bool:
        """Return whether a kernel of this flavour has what it takes to show the fault."""
        return not self.flavours or flavour in self.flavours


_Expect = Annotated[
    dict[ArchName, Annotated[MutantExpectation, member("expectation", MutantExpectation)]], Field(min_length=1)
]


class _Record(Node):
    id: Name
    principle: Annotated[str, Matching(r"^(P[1-5X]|NF|none)$", "principle: P1 to P5, PX, NF or none")]
    title: str
    breaks: str = ""
    why: str
    upstream: Annotated[
        tuple[Annotated[str, Matching(r"^([0-9a-f]{12}|CVE-[0-9]{4}-[0-9]{4,})$", "commit (12 digits) or CVE")], ...],
        OneOrMany(),
    ] = ()
    patches: Annotated[dict[Series, FilePath], Field(min_length=1)]
    scenarios: Annotated[tuple[Scenario, ...], OneOrMany()]
    expect: _Expect
    differs: dict[Series, _Expect] = Field(default_factory=dict)
    flavours: Annotated[tuple[Flavour, ...], OneOrMany()] = ()

    @model_validator(mode="after")
    def patched(self) -> Self:
        if unknown := sorted(set(self.differs) - set(self.patches)):
            raise wrong(f"differs: no patch for series {unknown[0]}", f"; it has: {', '.join(self.patches)}")
        return self


def load_mutant(name: str, project: Project) -> Mutant:
    """Read the record of the mutant called `name`, such as M01.

    Raises:
        UsageError: there is no such mutant, or its record is wrong.
    """
    return _load(name, project, names_of(project))


def load_mutants(project: Project) -> tuple[Mutant, ...]:
    """Read every mutant's record, sorted by id. Raises UsageError when one is wrong."""
    names = names_of(project)
    return tuple(_load(name, project, names) for name in names.mutants)


def _load(name: str, project: Project, names: Names) -> Mutant:
    if name not in names.mutants:
        raise UsageError(f"unknown mutant {name!r}{suggestion(name, names.mutants)}", where=str(project.mutants))
    path = project.mutants / f"{name}.yaml"
    document = read(path)
    record = validate(document, _Record, Context(project.mutants, names))
    if record.id != name:
        what = f"id {record.id!r} in a file called {path.name}"
        raise refuse(path, [Problem(what, document.mark(("id",)), ("id",))])
    return Mutant(
        id=record.id,
        principle=record.principle,
        title=record.title,
        breaks=record.breaks,
        why=record.why.strip(),
        patches=dict(record.patches),
        scenarios=record.scenarios,
        expect=dict(record.expect),
        upstream=record.upstream,
        differs=dict(record.differs),
        flavours=record.flavours,
    )
