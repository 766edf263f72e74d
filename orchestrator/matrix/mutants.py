# SPDX-License-Identifier: GPL-2.0-only
"""Kernels broken on purpose: their records in configs/mutants/."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from pydantic import Discriminator, Field, Tag, model_validator

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
    ScenarioName,
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
    """A kernel broken on purpose; `patches` by kernel series, `scenarios` that are to expose it by architecture.

    `upstream`: commits and CVEs of real kernels with this fault. `differs`: what to expect otherwise, by series.
    `flavours`: those in which the fault shows; empty when it does in all.
    """

    id: str
    principle: str
    title: str
    breaks: str
    why: str
    patches: dict[str, Path]
    scenarios: Mapping[Arch, tuple[str, ...]]
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

    def scenarios_on(self, arch: Arch) -> tuple[str, ...]:
        """Return the scenarios that are to expose it on this architecture."""
        return self.scenarios.get(arch, ())

    def shown_in(self, flavour: str) -> bool:
        """Return whether a kernel of this flavour has what it takes to show the fault."""
        return not self.flavours or flavour in self.flavours


_Many = Annotated[tuple[ScenarioName, ...], OneOrMany()]
# Those of all architectures, or of each its own.
_Scenarios = Annotated[
    Annotated[_Many, Tag("list")] | Annotated[dict[ArchName, _Many], Tag("mapping")],
    Discriminator(lambda value: "mapping" if isinstance(value, dict) else "list"),
]
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
    scenarios: _Scenarios
    expect: _Expect
    differs: dict[Series, _Expect] = Field(default_factory=dict)
    flavours: Annotated[tuple[Flavour, ...], OneOrMany()] = ()

    @model_validator(mode="after")
    def patched(self) -> Self:
        if unknown := sorted(set(self.differs) - set(self.patches)):
            raise wrong(f"differs: no patch for series {unknown[0]}", f"; it has: {', '.join(self.patches)}")
        return self

    @model_validator(mode="after")
    def raced(self) -> Self:
        expected = {arch for said in (self.expect, *self.differs.values()) for arch in said}
        if isinstance(self.scenarios, dict) and (odd := sorted(expected ^ set(self.scenarios))):
            lacks = "an expectation and no scenarios" if odd[0] in expected else "scenarios and no expectation"
            raise wrong(f"{odd[0]} has {lacks}")
        return self

    @property
    def by_arch(self) -> dict[Arch, tuple[str, ...]]:
        return self.scenarios if isinstance(self.scenarios, dict) else dict.fromkeys(Arch, self.scenarios)


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
        scenarios=record.by_arch,
        expect=dict(record.expect),
        upstream=record.upstream,
        differs=dict(record.differs),
        flavours=record.flavours,
    )
