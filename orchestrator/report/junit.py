# SPDX-License-Identifier: GPL-2.0-only
"""JUnit XML for Jenkins and GitLab: one suite per lane, one case per cell.

`classname` is `kernel.arch.flavour`; dots within the kernel's name become `_` (6.1 -> 6_1), because Jenkins takes
what stands before the last dot for a package and would cut the name there.  junit-xml 1.9 knows properties of suites
only, so what a whole lane shares is there, and what belongs to one case stands at the head of its system-out, where
both Jenkins and GitLab show it.  Evidence is named relative to junit.xml; the `[[ATTACHMENT|path]]` lines are what
GitLab and Jenkins' attachment plugin read.

FAIL and MISSED are failures; LOST, VACUOUS, BROKEN and a cell without verdict are errors; SKIP is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from junit_xml import TestCase, TestSuite, to_xml_report_string

from orchestrator.report.text import harmless, shorten
from orchestrator.report.view import CellView, RunView
from orchestrator.splat.model import Standing
from orchestrator.verdict.model import Outcome

XML_HEAD = b'<?xml version="1.0" encoding="utf-8"?>\n'
_FAILURES = (Outcome.FAIL, Outcome.MISSED)
_CONSOLE_LINES = 40


@dataclass(frozen=True, slots=True)
class _Lane:
    name: str
    cells: tuple[CellView, ...]


def junit_xml(run: RunView) -> bytes:
    """Return the run as JUnit XML (UTF-8). Always well-formed, whatever a guest printed."""
    suites = [_suite(run, lane) for lane in _lanes(run.cells)]
    text: str = to_xml_report_string(suites, prettyprint=False, encoding="utf-8")
    return XML_HEAD + text.encode("utf-8")


def _lanes(cells: Iterable[CellView]) -> list[_Lane]:
    names = list(dict.fromkeys(cell.record.cell.lane for cell in cells))
    return [_Lane(name, tuple(c for c in cells if c.record.cell.lane == name)) for name in names]


def class_name(cell: CellView) -> str:
    """Return `kernel.arch.flavour`, with `_` for dots and blanks within the kernel's name."""
    kernel = cell.record.cell.kernel
    name = f"{kernel.name}+{kernel.mutant}" if kernel.mutant else kernel.name
    return ".".join(re.sub(r"[.\s/]", "_", part) for part in (name, kernel.arch, kernel.flavour))


def _suite(run: RunView, lane: _Lane) -> TestSuite:
    return TestSuite(
        harmless(lane.name),
        [_case(run, cell) for cell in lane.cells],
        timestamp=run.metadata.started[:19] if run.metadata else None,
        hostname=harmless(run.metadata.host.get("name", "")) if run.metadata else None,
        properties={name: harmless(value) for name, value in _properties(run, lane) if value},
    )


def _properties(run: RunView, lane: _Lane) -> list[tuple[str, str]]:
    """Return what all cells of the lane share, then each cell's claim: JUnit has properties of suites only."""
    claims = [
        (f"{cell.record.cell.name}.{name}", value)
        for cell in lane.cells
        for name, value in _own(cell)
        if name in ("seed", "trials", "bound", "hits", "back-offs", "left out")
    ]
    # Of the whole run: an entry that is expired, vanished or seen too often, or that covered something.
    known = [(f"known-issue.{each.issue.id}", each.text) for each in run.known if each.remarks or each.reports]
    return [*_shared(run, lane.cells[0]), *claims, *known]


def _shared(run: RunView, cell: CellView) -> list[tuple[str, str]]:
    record = cell.record
    return [
        ("kernel", record.cell.kernel.name),
        ("mutant", record.cell.kernel.mutant or ""),
        ("arch", record.cell.kernel.arch),
        ("flavour", record.cell.kernel.flavour),
        ("kernel.digest", record.kernel_digest),
        ("kernel.version", record.kernel_version),
        ("toolchain", record.toolchain),
        ("image.digest", record.image_digest),
        ("accelerator", record.accel),
        ("accelerator.why", record.accel_why),
        ("vcpus", str(record.vcpus or "")),
        ("guprace", run.metadata.guprace if run.metadata else ""),
        ("resumed", "\n".join(run.resumed)),
    ]


def _own(cell: CellView) -> list[tuple[str, str]]:
    verdict = cell.verdict
    known, background = (sum(s.count for s in cell.splats(st)) for st in (Standing.KNOWN, Standing.BACKGROUND))
    return [
        ("cell", cell.id),
        ("verdict", f"{cell.label}: {cell.reason}"),
        ("expected", cell.record.cell.expect),
        ("seed", cell.seed),
        ("trials", str(verdict.trials) if verdict else ""),
        ("bound", f"{verdict.bound:.3e}" if verdict and verdict.bound is not None else ""),
        ("hits", str(verdict.hits) if verdict else ""),
        ("first found", cell.found),
        ("back-offs", "" if (backoffs := cell.counter("backoffs")) is None else str(backoffs)),
        ("known reports", str(known or "")),
        ("background reports", str(background or "")),
        ("left out", "; ".join(verdict.counted) if verdict else ""),
        ("data races", cell.races.text if cell.races else ""),
        ("kernel.digest", cell.record.kernel_digest),
        ("image.digest", cell.record.image_digest),
        ("toolchain", cell.record.toolchain),
        ("accelerator", f"{cell.record.accel} ({cell.record.accel_why})" if cell.record.accel else ""),
        ("stages", ", ".join(f"{stage} {took:.1f} s" for stage, took in cell.record.stages)),
        ("repeat", cell.record.repeat),
    ]


def _case(run: RunView, cell: CellView) -> TestCase:
    case = TestCase(
        harmless(cell.record.cell.name),
        classname=harmless(class_name(cell)),
        # An absent time attribute makes some readers guess; a cell that never began took next to none.
        elapsed_sec=max(cell.seconds, 0.001),
        stdout=harmless(shorten(_system_out(run, cell))),
        allow_multiple_subelements=True,
    )
    # junit-xml takes a failure without text for a pass, so there is always some.
    message = harmless(f"{cell.label}: {cell.reason or 'no reason given'}")[:1000]
    if cell.verdict and cell.verdict.outcome is Outcome.SKIP:
        case.add_skipped_info(message)
    elif cell.verdict and cell.verdict.outcome in _FAILURES:
        case.add_failure_info(message, _details(cell), cell.label)
    elif not cell.good:
        case.add_error_info(message, _details(cell), cell.label)
    return case


def _details(cell: CellView) -> str:
    parts = [cell.reason or "no reason given"]
    if cell.record.repeat:
        parts.append(f"repeat: {cell.record.repeat}")
    parts += [splat.text for splat in cell.splats(Standing.NEW)[:3]]
    # Where the race did not happen, the console tells nothing of why; and all of it is among the attachments.
    vacuous = cell.verdict is not None and cell.verdict.outcome is Outcome.VACUOUS
    if not vacuous and (words := cell.last_words()):
        parts.append("the end of the console:\n" + "\n".join(words.splitlines()[-_CONSOLE_LINES:]))
    return harmless(shorten("\n\n".join(parts)))


def _system_out(run: RunView, cell: CellView) -> str:
    head = "\n".join(f"{name}: {value}" for name, value in _own(cell) if value)
    base = cell.result.directory.relative_to(run.run.root)
    attached = "\n".join(f"[[ATTACHMENT|{base / name}]]" for name in cell.files())
    return f"{head}\n\n{attached}\n" if attached else f"{head}\n"
