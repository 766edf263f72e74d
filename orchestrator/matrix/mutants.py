# SPDX-License-Identifier: GPL-2.0-only
"""Kernels broken on purpose: their records in configs/mutants/."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field

from orchestrator.errors import UsageError
from orchestrator.matrix.document import read
from orchestrator.matrix.names import Names, names_of
from orchestrator.matrix.plan import Arch
from orchestrator.matrix.problems import Problem, refuse, suggestion
from orchestrator.matrix.schema import Node
from orchestrator.matrix.validate import validate
from orchestrator.matrix.values import ArchName, Context, FilePath, Name, OneOrMany, Scenario, Series, member
from orchestrator.paths import Project


class MutantExpectation(StrEnum):
    """Whether a mutant's scenarios can see its fault on an architecture."""

    CAUGHT = "caught"
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A kernel broken on purpose; `patches` by kernel series, `scenarios` those that are to expose it."""

    id: str
    principle: str
    title: str
    breaks: str
    why: str
    patches: dict[str, Path]
    scenarios: tuple[str, ...]
    expect: dict[Arch, MutantExpectation]


class _Record(Node):
    id: Name
    principle: str
    title: str
    breaks: str = ""
    why: str
    patches: Annotated[dict[Series, FilePath], Field(min_length=1)]
    scenarios: Annotated[tuple[Scenario, ...], OneOrMany()]
    expect: Annotated[
        dict[ArchName, Annotated[MutantExpectation, member("expectation", MutantExpectation)]], Field(min_length=1)
    ]


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
    )
