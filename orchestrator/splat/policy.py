# SPDX-License-Identifier: GPL-2.0-only
"""Read configs/gup-path.yaml and configs/known-issues.yaml: strict, every error with file, line and column."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.matrix.document import Document, read
from orchestrator.matrix.names import Names
from orchestrator.matrix.plan import Arch
from orchestrator.matrix.problems import Problem, refuse
from orchestrator.matrix.schema import Node
from orchestrator.matrix.validate import validate
from orchestrator.matrix.values import ArchName, Context, Matching, Name, member, wrong
from orchestrator.splat.model import SplatKind
from orchestrator.splat.standing import GupPath, KnownIssue

ENTRIES = "entries"

Text = Annotated[str, Matching(r"(?s).*\S.*", "text: it is empty")]
Glob = Annotated[str, Matching(r"\S.*", "glob pattern: it is empty")]
Globs = Annotated[tuple[Glob, ...], Field(strict=False)]
Version = Annotated[str, Matching(r"^[0-9]+(\.[0-9]+)*$", "kernel version such as '6.12'")]


def _day(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError as error:
            raise wrong(f"{value!r} is no day", "; write it as 2027-11-30") from error
    return value


class _Path(Node):
    walkers: Globs
    detours: Globs


class _Kernels(Node):
    since: Version | None = None
    before: Version | None = None

    @model_validator(mode="after")
    def _some(self) -> _Kernels:
        if self.since and self.before and _parts(self.since) >= _parts(self.before):
            raise wrong(f"no kernel is since {self.since} and before {self.before}")
        return self


class _Frames(Node):
    any: Globs = ()
    inner: Globs = ()


class _Issue(Node):
    id: Name
    kind: Annotated[SplatKind, member("kind", SplatKind)]
    reason: Text
    link: Text
    expires: Annotated[date, BeforeValidator(_day)]
    title: Glob = "*"
    functions: Globs = ()
    frames: _Frames = _Frames()
    walker: Globs = ()
    other: Globs = ()
    kernels: _Kernels = _Kernels()
    flavours: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    arches: Annotated[tuple[ArchName, ...], Field(strict=False)] = ()
    scenarios: Globs = ()
    rate: Annotated[float, Field(gt=0, le=1)] | None = None

    @model_validator(mode="after")
    def _sides(self) -> _Issue:
        if (self.walker or self.other) and self.kind is not SplatKind.KCSAN:
            raise wrong(f"walker and other speak of a data race, but the kind is {self.kind}")
        return self


class _Issues(Node):
    entries: Annotated[tuple[_Issue, ...], Field(strict=False)]


def load_path(file: Path) -> GupPath:
    """Read which functions are under test. Raises UsageError saying what is wrong and where."""
    data = validate(read(file), _Path, _context(file))
    return GupPath(data.walkers, data.detours)


def load_known(file: Path) -> tuple[KnownIssue, ...]:
    """Read the known issues; a file that is not there holds none. Raises UsageError: all that is wrong, and where."""
    if not file.exists():
        return ()
    document = _as_mapping(read(file))
    issues = validate(document, _Issues, _context(file)).entries
    _refuse_twins(document, issues)
    return tuple(_issue(entry) for entry in issues)


def _as_mapping(document: Document) -> Document:
    """Return the list that the file is as a mapping of one key: models describe mappings."""

    def below(marks: dict[Any, Any]) -> dict[Any, Any]:
        return {(ENTRIES, *where): mark for where, mark in marks.items()}

    values = {(): document.mark(()), **below(document.values)}
    data = {ENTRIES: document.data}
    return Document(document.path, data, values, below(document.keys), below(document.texts))


def _refuse_twins(document: Document, issues: Sequence[_Issue]) -> None:
    first: dict[str, int] = {}
    problems = []
    for number, issue in enumerate(issues):
        if first.setdefault(issue.id, number) != number:
            where = (ENTRIES, number, "id")
            line = document.mark((ENTRIES, first[issue.id], "id")).line
            problems.append(Problem(f"id {issue.id!r} twice, first in line {line}", document.mark(where), where))
    if problems:
        raise refuse(document.path, problems)


def _issue(entry: _Issue) -> KnownIssue:
    return KnownIssue(
        id=entry.id,
        kind=entry.kind,
        reason=" ".join(entry.reason.split()),
        link=entry.link,
        expires=entry.expires,
        title=entry.title,
        functions=entry.functions,
        any_frames=entry.frames.any,
        inner_frames=entry.frames.inner,
        walker=entry.walker,
        other=entry.other,
        since=entry.kernels.since,
        before=entry.kernels.before,
        flavours=entry.flavours,
        arches=tuple(Arch(arch).value for arch in entry.arches),
        scenarios=entry.scenarios,
        rate=entry.rate,
    )


def _context(file: Path) -> Context:
    return Context(file.parent.absolute(), Names((), (), ()))


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
