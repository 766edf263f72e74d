# SPDX-License-Identifier: GPL-2.0-only
"""A validated matrix into cells: every combination once, in the order of the file, controls behind their lane."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.matrix.document import Document
from orchestrator.matrix.mutants import Mutant, MutantExpectation, load_mutant
from orchestrator.matrix.names import fragments_of, matching, names_of
from orchestrator.matrix.plan import (
    Arch,
    Cell,
    DebSource,
    Expectation,
    Fragment,
    GitSource,
    GuestSettings,
    KernelSpec,
    PrebuiltSource,
    RaceSettings,
    Source,
    TarballSource,
    TreeSource,
    cell_id,
)
from orchestrator.matrix.problems import Problem, Where, dotted, refuse
from orchestrator.matrix.schema import Guest, Kernel, Matrix, Race
from orchestrator.paths import Project

DEBIAN_SERIES = re.compile(r"linux-source-(\d+\.\d+)$")
NAMED_SERIES = re.compile(r"v?(\d+\.\d+)(?![\d])")

LaneKey = tuple[str, Arch, str]
"""Kernel name, architecture, flavour."""


def expand(matrix: Matrix, document: Document, project: Project) -> tuple[Cell, ...]:
    """Return the cells of `matrix`, which `document` says.

    Raises:
        UsageError: a cell twice; a control without patch for the kernel's series, or one nobody can catch.
    """
    work = _Expansion(matrix, document, project)
    cells = work.cells()
    if work.problems:
        raise refuse(document.path, work.problems)
    return cells


def source_of(kernel: Kernel) -> Source:
    """Return where the kernel's source comes from; the model has seen to it that there is exactly one."""
    if kernel.deb:
        return DebSource(kernel.deb.package, kernel.deb.version, kernel.deb.suite)
    if kernel.git:
        return GitSource(kernel.git.path, kernel.git.ref)
    if kernel.tarball:
        return TarballSource(kernel.tarball.path, kernel.tarball.sha256)
    if kernel.image:
        return PrebuiltSource(kernel.image.path, kernel.image.config)
    if kernel.tree:
        return TreeSource(kernel.tree)
    raise UsageError("a kernel without a source")


def series_of(name: str, kernel: Kernel) -> str | None:
    """Return the series, such as 6.1: as the matrix says, else from the package's or the kernel's name."""
    named = DEBIAN_SERIES.match(kernel.deb.package) if kernel.deb else None
    named = named or NAMED_SERIES.match(name)
    return kernel.series or (named.group(1) if named else None)


@dataclass(frozen=True, slots=True)
class _Row:
    """One lane or one control, expanded but for its scenarios; `where` it is written."""

    lane: LaneKey
    scenarios: tuple[str, ...]
    guest: GuestSettings
    race: RaceSettings
    where: Where
    mutant: str | None = None
    patches: tuple[Path, ...] = ()


def _named(row: _Row, known: tuple[str, ...]) -> _Row:
    """Replace the row's globs by the scenarios that match; each once, in the order written."""
    found = dict.fromkeys(name for pattern in row.scenarios for name in matching(pattern, known))
    return replace(row, scenarios=tuple(found))


class _Expansion:
    def __init__(self, matrix: Matrix, document: Document, project: Project) -> None:
        self.matrix = matrix
        self.document = document
        self.project = project
        self.problems: list[Problem] = []
        self.mutants: dict[str, Mutant | None] = {}

    def cells(self) -> tuple[Cell, ...]:
        known = names_of(self.project).scenarios
        lanes = [_named(row, known) for row in self.lane_rows()]
        controls = [_named(row, known) for row in self.control_rows(lanes)]
        raced: dict[LaneKey, set[str]] = {}
        for row in (*lanes, *controls):
            raced.setdefault(row.lane, set()).update(row.scenarios)
        cells: dict[str, tuple[Cell, Where]] = {}
        for row in _in_order(lanes, controls):
            kernel = self.kernel_spec(row, raced[row.lane])
            for scenario in row.scenarios:
                expect = Expectation.CAUGHT if row.mutant else Expectation.CLEAN
                cell = Cell(cell_id(kernel, scenario), kernel, scenario, row.guest, row.race, expect)
                _, first = cells.setdefault(cell.id, (cell, row.where))
                if cells[cell.id][0] is not cell:
                    at = self.document.mark(first)
                    self.problem(f"cell {cell.id} twice, first at {at.line}:{at.column}", row.where)
        return tuple(cell for cell, _ in cells.values())

    def lane_rows(self) -> Iterator[_Row]:
        for index, lane in enumerate(self.matrix.lanes):
            guest = _guest(self.matrix.guest, lane.guest)
            race = _race(self.matrix.race, lane.race)
            for key in product(lane.kernel, lane.arch, lane.flavour):
                yield _Row(key, lane.scenarios or self.matrix.scenarios, guest, race, ("lanes", index))

    def control_rows(self, lanes: Iterable[_Row]) -> Iterator[_Row]:
        # Backwards, so that of several lanes with one key the first counts.
        stock = {row.lane: row for row in reversed(list(lanes))}
        for index, control in enumerate(self.matrix.controls):
            where: Where = ("controls", index)
            for name, key in product(control.mutant, product(control.kernel, control.arch, control.flavour)):
                mutant = self.mutant(name, where)
                patch = self.patch(mutant, key, where) if mutant else None
                if mutant and patch:
                    like = stock.get(key)
                    guest = replace(like.guest if like else _guest(self.matrix.guest, None), **_said(control.guest))
                    race = replace(like.race if like else _race(self.matrix.race, None), **_said(control.race))
                    scenarios = control.scenario or mutant.scenarios_on(key[1])
                    yield _Row(key, scenarios, guest, race, where, name, (patch,))

    def kernel_spec(self, row: _Row, raced: Iterable[str]) -> KernelSpec:
        name, arch, flavour = row.lane
        kernel = self.matrix.kernels[name]
        extra = tuple(Fragment(path, "user") for path in kernel.fragments)
        return KernelSpec(
            name=name,
            source=source_of(kernel),
            arch=arch,
            flavour=flavour,
            patches=(*kernel.patches, *row.patches),
            fragments=(*fragments_of(self.project, arch, flavour, raced), *extra),
            toolchain=kernel.toolchain,
            mutant=row.mutant,
            series=series_of(name, kernel),
        )

    def mutant(self, name: str, where: Where) -> Mutant | None:
        if name not in self.mutants:
            try:
                self.mutants[name] = load_mutant(name, self.project)
            except UsageError as error:
                self.problem(f"the record of mutant {name} is wrong: {error}", where)
                self.mutants[name] = None
        return self.mutants[name]

    def patch(self, mutant: Mutant, lane: LaneKey, where: Where) -> Path | None:
        """Return the patch that breaks this lane's kernel, or None after noting why there is none."""
        name, arch, _ = lane
        kernel = self.matrix.kernels[name]
        series = series_of(name, kernel)
        expected = mutant.expected(arch, series)
        if kernel.image:
            self.problem(f"kernel {name!r} is prebuilt: mutant {mutant.id} cannot be patched into it", where)
        elif expected != MutantExpectation.CAUGHT:
            reason = f"is {expected}" if expected else "has no expectation"
            place = f"{arch}, series {series}" if series in mutant.differs else arch
            self.problem(f"mutant {mutant.id} {reason} on {place}: it is no control there", where)
        elif series is None:
            hint = f"; say it: {dotted(('kernels', name, 'series'))}"
            self.problem(f"of which series is kernel {name!r}? mutant {mutant.id} has a patch for each", where, hint)
        elif series not in mutant.patches:
            hint = f"; it has: {', '.join(mutant.patches)}"
            self.problem(f"mutant {mutant.id} has no patch for series {series} (kernel {name!r})", where, hint)
        else:
            return mutant.patches[series]
        return None

    def problem(self, what: str, where: Where, hint: str = "") -> None:
        self.problems.append(Problem(what, self.document.mark(where), where, hint))


def _in_order(lanes: list[_Row], controls: list[_Row]) -> Iterator[_Row]:
    """Yield lanes in the order of the file, each followed by its controls; controls without a lane come last."""
    last = {row.lane: index for index, row in enumerate(lanes)}
    for index, row in enumerate(lanes):
        yield row
        if last[row.lane] == index:
            yield from (control for control in controls if control.lane == row.lane)
    yield from (control for control in controls if control.lane not in last)


def _guest(general: Guest, special: Guest | None) -> GuestSettings:
    return replace(GuestSettings(**_said(general)), **_said(special))


def _race(general: Race, special: Race | None) -> RaceSettings:
    return replace(RaceSettings(**_said(general)), **_said(special))


def _said(section: Guest | Race | None) -> dict[str, Any]:
    """Return what a section says, without its defaults: those must not hide what a wider section says."""
    return {name: getattr(section, name) for name in section.model_fields_set} if section else {}
