# SPDX-License-Identifier: GPL-2.0-only
"""The run as one HTML page: self-contained, no script, no external resource, hostile text escaped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from orchestrator.race.model import Ending, RaceResult, SubtestResult
from orchestrator.report.known import remarks
from orchestrator.report.terminal import figures
from orchestrator.report.text import count, harmless, rate, seconds, shorten
from orchestrator.report.view import NOT_FINISHED, CellView, RunView
from orchestrator.splat.model import Splat, Standing
from orchestrator.verdict.happened import shortfalls
from orchestrator.verdict.model import Outcome
from orchestrator.verdict.statistics import rule_of_three
from orchestrator.words import plural

_RUN_FILES = ("junit.xml", "report.ktap", "plan.json", "metadata.json", "events.ndjson", "guprace.log")
_SPLATS_SHOWN = 20
_HITS_SHOWN = 5
_SPLAT_BYTES = 16 * 1024
# Of one ending and cell; upstream's `cow` alone has 812 subtests, and race.ktap has them all.
_SUBTESTS_SHOWN = 60
# How subtests ended, whether they are shown open, and which they are, by ending and by whether their race fell short.
# Those that need a look come first.
_GROUPS: tuple[tuple[str, bool, Callable[[Ending, bool], bool]], ...] = (
    ("failed", True, lambda ending, _: ending is Ending.FAIL),
    ("broken", True, lambda ending, _: ending is Ending.BROKEN),
    ("in which the race did not happen", True, lambda ending, missed: ending is Ending.PASS and missed),
    ("passed", False, lambda ending, missed: ending is Ending.PASS and not missed),
    ("skipped", False, lambda ending, _: ending is Ending.SKIP),
)

MEANINGS = {
    Outcome.PASS: "no hit; the bound on hits per trial (95 %, 3/n) is that of the subtest with the fewest trials",
    Outcome.FAIL: "an oracle hit (a pin read a page that was never at that address), or a new kernel report",
    Outcome.LOST: "the guest stopped answering; the reason says how",
    Outcome.VACUOUS: "the race did not happen often enough to say anything",
    Outcome.SKIP: "not applicable here; the reason says what is missing",
    Outcome.BROKEN: "host or tool: what there is cannot be trusted",
    Outcome.CAUGHT: "a kernel broken on purpose was seen, as it must be",
    Outcome.MISSED: "a kernel broken on purpose was not seen",
}
UNFINISHED_MEANS = "the run ended, or goes on, before this cell had a verdict"


@dataclass(frozen=True, slots=True)
class _Link:
    name: str
    href: str


@dataclass(frozen=True, slots=True)
class _Subtest:
    """A line of a table of subtests; figures are text, a dash for none."""

    name: str
    trials: str
    bound: str
    hits: str
    backoffs: str
    detail: str


@dataclass(frozen=True, slots=True)
class _Subtests:
    """The subtests of a cell that ended alike: `count` in all, the first of them in `shown`."""

    ended: str
    count: int
    shown: tuple[_Subtest, ...]
    opened: bool
    raced: bool
    spoke: bool

    @property
    def left_out(self) -> int:
        """How many are not shown."""
        return self.count - len(self.shown)


def html(run: RunView) -> bytes:
    """Return the run as an HTML page (UTF-8)."""
    page = environment().get_template("index.html.j2").render(run=run, tally=run.tally(), others=_others(run))
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
    environment.filters.update(harmless=harmless, seconds=seconds, plural=plural)
    environment.globals.update(
        figures=figures, links=_links, stages=_stages, facts=_facts, subtests=_subtests,
        splats=_splats, words=_words, remarks=remarks, meanings=_meanings,
    )  # fmt: skip
    return environment


def _links(run: RunView, cell: CellView) -> list[_Link]:
    base = cell.result.directory.relative_to(run.run.root)
    return [_Link(name, quote(str(base / name))) for name in cell.files()]


def _others(run: RunView) -> list[_Link]:
    return [_Link(name, name) for name in _RUN_FILES if (run.run.root / name).is_file()]


def _stages(cell: CellView) -> str:
    return ", ".join(f"{harmless(stage)} {seconds(took)}" for stage, took in cell.record.stages)


def _facts(cell: CellView) -> list[tuple[str, str]]:
    record = cell.record
    found = [
        ("expected", str(record.cell.expect)),
        ("seed", cell.seed),
        ("kernel", f"{record.kernel_version} {record.kernel_digest[:16]}".strip()),
        ("toolchain", record.toolchain),
        ("image", record.image_digest[:16]),
        ("accelerator", f"{record.accel}: {record.accel_why}" if record.accel else ""),
        ("vCPUs", str(record.vcpus or "")),
        ("stages", _stages(cell)),
        ("first found", cell.found),
    ]
    if races := cell.races:
        found.append(("data races", races.text))
    if cell.result.evidence:
        hits = dict.fromkeys((f"hit in {h.subtest}", f"{h.oracle}: {h.text}") for h in cell.result.evidence.race.hits)
        found += list(hits)[:_HITS_SHOWN]
    return [(harmless(name), harmless(value)) for name, value in found if value]


def _subtests(cell: CellView) -> list[_Subtests]:
    """Return the subtests of a cell by how they ended, those to look at first."""
    race = cell.result.evidence.race if cell.result.evidence else None
    if race is None:
        return []
    found = []
    # Upstream's programs count nothing.
    fell = {} if race.upstream else shortfalls(race)
    passed = {each.name for each in race.subtests if each.ending is Ending.PASS}
    missed = {name: why for name, why in fell.items() if name in passed}
    for ended, opened, belongs in _GROUPS:
        alike = [each for each in race.subtests if belongs(each.ending, each.name in missed)]
        raced = not race.upstream and any(
            race.of(each.name, counter) is not None for each in alike for counter in ("trials", "checks")
        )
        shown = tuple(_subtest(race, each, missed.get(each.name, "")) for each in alike[:_SUBTESTS_SHOWN])
        if alike:
            spoke = any(each.detail for each in shown)
            found.append(_Subtests(ended, len(alike), shown, opened, raced, spoke))
    return found


def _subtest(race: RaceResult, subtest: SubtestResult, missed: str) -> _Subtest:
    trials, checks = race.of(subtest.name, "trials"), race.of(subtest.name, "checks")
    hits = sum(hit.subtest == subtest.name for hit in race.hits)
    clean = subtest.ending is Ending.PASS and trials is not None and not hits and not missed
    return _Subtest(
        name=harmless(subtest.name),
        trials=f"{count(checks)} {plural(checks, 'check')}"
        if trials is None and checks is not None
        else _figure(trials),
        bound=rate(rule_of_three(trials or 0) if clean else None),
        hits=count(hits),
        backoffs=_figure(race.of(subtest.name, "backoffs")),
        detail=harmless("; ".join(filter(None, [missed, subtest.detail]))),
    )


def _meanings() -> list[tuple[str, str]]:
    return [*((outcome.value, meaning) for outcome, meaning in MEANINGS.items()), (NOT_FINISHED, UNFINISHED_MEANS)]


def _figure(value: int | None) -> str:
    return "-" if value is None else count(value)


def _splats(cell: CellView) -> list[Splat]:
    """New reports first, with their text; the rest by title and count only."""
    order = (Standing.NEW, Standing.KNOWN, Standing.BACKGROUND)
    return [splat for standing in order for splat in cell.splats(standing)][:_SPLATS_SHOWN]


def _words(text: str, size: int = _SPLAT_BYTES) -> str:
    return harmless(shorten(text, size))
