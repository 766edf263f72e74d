# SPDX-License-Identifier: GPL-2.0-only
"""The run as one HTML page: self-contained, no script, no external resource, hostile text escaped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from orchestrator.report.known import remarks
from orchestrator.report.terminal import figures
from orchestrator.report.text import harmless, seconds, shorten
from orchestrator.report.view import CellView, RunView
from orchestrator.splat.model import Splat, Standing

_SPLATS_SHOWN = 20
_SPLAT_BYTES = 16 * 1024
_TAIL_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class _Link:
    name: str
    href: str


def html(run: RunView) -> bytes:
    """Return the run as an HTML page (UTF-8)."""
    page = environment().get_template("index.html.j2").render(run=run, tally=run.tally(), others=_others())
    return page.encode("utf-8", "replace")


@cache
def environment() -> Environment:
    """Return the one way to our pages: everything escaped, nothing undefined."""
    environment = Environment(
        loader=PackageLoader("orchestrator.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(harmless=harmless, seconds=seconds)
    environment.globals.update(
        figures=figures, links=_links, stages=_stages, facts=_facts, splats=_splats, words=_words, remarks=remarks
    )
    return environment


def _links(run: RunView, cell: CellView) -> list[_Link]:
    base = cell.result.directory.relative_to(run.run.root)
    return [_Link(name, quote(str(base / name))) for name in cell.files()]


def _others() -> list[_Link]:
    return [_Link(name, name) for name in ("junit.xml", "report.ktap", "plan.json", "metadata.json", "events.ndjson")]


def _stages(cell: CellView) -> str:
    return ", ".join(f"{harmless(stage)} {seconds(took)}" for stage, took in cell.record.stages)


def _facts(cell: CellView) -> list[tuple[str, str]]:
    record, verdict = cell.record, cell.verdict
    found = [
        ("expected", str(record.cell.expect)),
        ("seed", cell.seed),
        ("kernel", f"{record.kernel_version} {record.kernel_digest[:16]}".strip()),
        ("toolchain", record.toolchain),
        ("image", record.image_digest[:16]),
        ("accelerator", f"{record.accel}: {record.accel_why}" if record.accel else ""),
        ("vCPUs", str(record.vcpus or "")),
        ("stages", _stages(cell)),
        (
            "first hit",
            f"after {verdict.seconds_to_hit:.1f} s" if verdict and verdict.seconds_to_hit is not None else "",
        ),
    ]
    if races := cell.races:
        found.append(("data races", races.text))
    if cell.result.evidence:
        race = cell.result.evidence.race
        found += [(s.name, f"{s.ending}{': ' if s.detail else ''}{s.detail}") for s in race.subtests]
        found += [(f"hit in {h.subtest}", f"{h.oracle}: {h.text}") for h in race.hits[:5]]
    return [(harmless(name), harmless(value)) for name, value in found if value]


def _splats(cell: CellView) -> list[Splat]:
    """New reports first, with their text; the rest by title and count only."""
    order = (Standing.NEW, Standing.KNOWN, Standing.BACKGROUND)
    return [splat for standing in order for splat in cell.splats(standing)][:_SPLATS_SHOWN]


def _words(text: str, size: int = _SPLAT_BYTES) -> str:
    return harmless(shorten(text, size))
