# SPDX-License-Identifier: GPL-2.0-only
"""What there is to be caught: broken kernels on the lanes of a plan, each with the scenarios that race it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.matrix.likely import Places, likely_first
from orchestrator.matrix.mutants import Mutant, MutantExpectation
from orchestrator.matrix.plan import (
    Cell,
    Expectation,
    GuestSettings,
    KernelSpec,
    Plan,
    PrebuiltSource,
    RaceSettings,
    cell_id,
)
from orchestrator.matrix.problems import dotted

CATALOGUE = "M"
DEFAULT_FLAVOUR = "plain"
# What nobody has a record of may show by its content, or take a checker.
PATCH_FLAVOURS = ("plain", "kasan")
# A kernel that is no worse than the unbroken one needs no search.
_SEARCHED = (MutantExpectation.CAUGHT, MutantExpectation.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Target:
    """A broken kernel on one lane.

    `scenarios` are those that its record names for the architecture, `others` what is raced when none of them catches
    it: first those that other mutants of its principle name, then all the rest of the lane's. `race` is that of an
    attempt, which the first hit ends; the unbroken kernel races for `stock_seconds`, long enough to show what it has
    of its own.
    `headers`: its patch changes some, so that much is compiled anew, now and for whatever comes next.
    `upstream` are the kernel's own selftests that the plan names: run once, whatever the scenarios say, to compare.
    `recorded`: the catalogue has a record of it; it is no patch of the user's.
    """

    mutant: str
    principle: str
    title: str
    expect: MutantExpectation
    kernel: KernelSpec
    guest: GuestSettings
    race: RaceSettings
    scenarios: tuple[str, ...]
    others: tuple[str, ...] = ()
    stock_seconds: float = RaceSettings().seconds
    headers: bool = False
    upstream: tuple[str, ...] = ()
    recorded: bool = True

    @property
    def lane(self) -> tuple[str, str, str]:
        """Kernel name, architecture, flavour: who shares them shares an object tree."""
        return (self.kernel.name, self.kernel.arch, self.kernel.flavour)

    @property
    def id(self) -> str:
        """The target's name: that of its lane, such as 6.12+M01/arm64/plain."""
        return cell_id(self.kernel, "").rstrip("/")

    def cell(self, scenario: str) -> Cell:
        """Return the first attempt at this target with one scenario: the first hit ends it."""
        race = replace(self.race, first_hit=True)
        return Cell(cell_id(self.kernel, scenario), self.kernel, scenario, self.guest, race, Expectation.CAUGHT)

    def stock(self, scenario: str) -> Cell:
        """Return the cell that races the same on the unbroken kernel."""
        kernel = replace(self.kernel, mutant=None, patches=self.kernel.patches[:-1])
        race = replace(self.race, seconds=self.stock_seconds)
        return Cell(cell_id(kernel, scenario), kernel, scenario, self.guest, race)

    def raced(self, seconds: float | None, seed: int | None) -> Target:
        """Return the target with another limit for its attempts (seconds), or another seed; None: as they are."""
        race = replace(
            self.race,
            seconds=self.race.seconds if seconds is None else seconds,
            seed=self.race.seed if seed is None else seed,
        )
        return replace(self, race=race, stock_seconds=min(self.stock_seconds, race.seconds))


def targets(
    plan: Plan, mutants: Sequence[Mutant], flavours: Sequence[str]
) -> tuple[tuple[Target, ...], tuple[str, ...]]:
    """Return the targets of the catalogue on the lanes of `plan`, and in words which mutants were left out and why.

    Each mutant is raced in `flavours`, or, when there are none, in the first of those that show it.
    """
    found, left_out = [], []
    for mutant in mutants:
        for lane in _lanes(plan):
            kernel = lane[0].kernel
            wanted = flavours or mutant.flavours[:1] or (DEFAULT_FLAVOUR,)
            expect = mutant.expected(kernel.arch, kernel.series, kernel.flavour)
            if kernel.flavour not in wanted:
                continue
            patch = mutant.patches.get(kernel.series or "")
            if expect is None:
                left_out.append(f"{mutant.id} has no meaning on {kernel.arch}")
            elif _series_unknown(kernel):
                left_out.append(f"{_of_which_series(kernel)}; say it: {_series_key(kernel)}")
            elif patch is None or isinstance(kernel.source, PrebuiltSource):
                left_out.append(f"{mutant.id} has no patch for kernel {kernel.name}")
            else:
                found.append(_target(mutant, patch, lane, expect, mutants))
    return tuple(found), tuple(dict.fromkeys(left_out))


def patch_targets(plan: Plan, patch: Path, mutants: Sequence[Mutant], flavours: Sequence[str]) -> tuple[Target, ...]:
    """Return the targets of a patch that nobody has a record of: every scenario of the plan's lanes.

    Those that expose what the catalogue breaks in the same places come first.
    """
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in patch.stem).strip(".-")[:40] or "patch"
    return tuple(
        Target(
            mutant=name,
            principle="none",
            title=patch.name,
            expect=MutantExpectation.UNKNOWN,
            kernel=broken(lane[0].kernel, name, patch.absolute()),
            guest=lane[0].guest,
            race=lane[0].race,
            scenarios=likely_first(patch, _raced(lane), lane[0].kernel.arch, mutants),
            stock_seconds=lane[0].race.seconds,
            headers=Places.of(patch).headers,
            upstream=tuple(cell.scenario for cell in lane if cell.program),
            recorded=False,
        )
        for lane in _lanes(plan)
        if lane[0].kernel.flavour in (flavours or PATCH_FLAVOURS)
    )


def broken(kernel: KernelSpec, mutant: str, patch: Path) -> KernelSpec:
    """Return the kernel with a mutant's patch on top."""
    return replace(kernel, mutant=mutant, patches=(*kernel.patches, patch))


def with_controls(plan: Plan, mutants: Sequence[Mutant], every: bool) -> Plan:
    """Return the plan with controls for each scenario that is raced on an unbroken kernel, and that must have some.

    A control is a mutant whose record names the scenario for this architecture, and says that it is caught there, in
    this series and flavour: one for each scenario that has none yet (the first by id, the open catalogue's before
    those we thought of ourselves), or with `every` all there are. It is raced as its scenario is, and ends with its
    first hit.

    Raises:
        UsageError: nobody knows of which series a kernel is, so no mutant has a patch for it.
    """
    ordered = sorted(mutants, key=lambda mutant: (not mutant.id.startswith(CATALOGUE), mutant.id))
    cells = list(plan.cells)
    known = {cell.id for cell in cells}
    controlled = {cell_id(replace(c.kernel, mutant=None), c.scenario) for c in cells if c.kernel.mutant}
    for cell in plan.cells:
        if cell.kernel.mutant or (cell.id in controlled and not every):
            continue
        if _series_unknown(cell.kernel):
            hint = f"say it: {_series_key(cell.kernel)}"
            raise UsageError(_of_which_series(cell.kernel), where=str(plan.matrix), hint=hint)
        fitting = (control for mutant in ordered if (control := _control(cell, mutant)))
        for control in fitting if every else list(fitting)[:1]:
            if control.id not in known:
                cells.append(control)
    return replace(plan, cells=tuple(cells), controlled=True)


def _series_unknown(kernel: KernelSpec) -> bool:
    return kernel.series is None and not isinstance(kernel.source, PrebuiltSource)


def _of_which_series(kernel: KernelSpec) -> str:
    return f"of which series is kernel {kernel.name!r}? a mutant has a patch for each"


def _series_key(kernel: KernelSpec) -> str:
    return dotted(("kernels", kernel.name, "series"))


def _control(cell: Cell, mutant: Mutant) -> Cell | None:
    kernel = cell.kernel
    patch = mutant.patches.get(kernel.series or "")
    expect = mutant.expected(kernel.arch, kernel.series, kernel.flavour)
    named = cell.scenario in mutant.scenarios_on(kernel.arch) and expect is MutantExpectation.CAUGHT
    if not named or patch is None or isinstance(kernel.source, PrebuiltSource):
        return None
    spec = broken(kernel, mutant.id, patch)
    race = replace(cell.race, first_hit=True)
    return Cell(cell_id(spec, cell.scenario), spec, cell.scenario, cell.guest, race, Expectation.CAUGHT)


def _lanes(plan: Plan) -> list[list[Cell]]:
    """Gather the unbroken kernels' cells by kernel, in the order of the plan."""
    found: dict[KernelSpec, list[Cell]] = {}
    for cell in plan.cells:
        if not cell.kernel.mutant:
            found.setdefault(cell.kernel, []).append(cell)
    return list(found.values())


def _raced(lane: Sequence[Cell]) -> list[str]:
    return [cell.scenario for cell in lane if not cell.program]


def _target(
    mutant: Mutant, patch: Path, lane: Sequence[Cell], expect: MutantExpectation, mutants: Iterable[Mutant]
) -> Target:
    arch = lane[0].kernel.arch
    raced = _raced(lane)
    own = mutant.scenarios_on(arch)
    kin = {name for other in mutants if other.principle == mutant.principle for name in other.scenarios_on(arch)}
    rest = [name for name in raced if name not in own] if expect in _SEARCHED else []
    return Target(
        mutant=mutant.id,
        principle=mutant.principle,
        title=mutant.title,
        expect=expect,
        kernel=broken(lane[0].kernel, mutant.id, patch),
        guest=lane[0].guest,
        race=lane[0].race,
        scenarios=tuple(name for name in own if name in raced),
        others=tuple(sorted(rest, key=lambda name: name not in kin)),
        stock_seconds=lane[0].race.seconds,
        headers=Places.of(patch).headers,
        upstream=tuple(cell.scenario for cell in lane if cell.program),
    )
