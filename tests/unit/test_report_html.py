# SPDX-License-Identifier: GPL-2.0-only
"""The HTML page: complete, self-contained, and safe whatever a guest printed."""

from __future__ import annotations

import html as escapes
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from orchestrator.race.model import Ending, SubtestResult
from orchestrator.report.html import html
from orchestrator.report.view import view
from orchestrator.splat.model import Standing
from orchestrator.verdict.finding import Finding
from orchestrator.verdict.model import Fault, Outcome, Verdict
from tests.fakes.rundir import FakeRun, every_ending, race_result, splat

ATTACK = "</pre><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"


class Elements(HTMLParser):
    """Collects the tags and links of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_every_cell_has_a_row_and_its_details(tmp_path: Path) -> None:
    run = every_ending(tmp_path, "SIGINT")
    page = html(view(run)).decode()
    assert page.partition("</table>")[0].count("<tr>") == 1 + 9
    assert page.count('<details class="cell"') == 9
    assert "Interrupted: SIGINT" in page
    assert "KVM took 31.0 s" in page
    again = "guprace run configs/quick.yaml --only '6.1/arm64/debug/pin_vs_munmap' --seed 0x2a"
    assert again in escapes.unescape(page)


def test_many_subtests_are_counted_and_folded_and_only_failed_ones_lie_open(tmp_path: Path) -> None:
    tests = [SubtestResult(f"cow #{n}", Ending.PASS, "no leak") for n in range(790)]
    tests += [
        SubtestResult("cow #790", Ending.FAIL, f"leak {ATTACK}"),
        SubtestResult("cow #791", Ending.SKIP, "no swap"),
    ]
    run = FakeRun(tmp_path)
    run.add(
        Verdict(Outcome.FAIL, "cow #790 failed"),
        scenario="kselftest:cow",
        race=replace(race_result(), subtests=tuple(tests), counters={}, upstream="cow"),
    )
    page = html(view(run.done())).decode()
    assert "<summary>790 subtests passed</summary>" in page
    assert '<details class="subtests" open><summary>1 subtest failed</summary>' in page
    assert page.count('<details class="subtests">') == 2, "passed and skipped ones are folded"
    assert page.index("cow #790") < page.index("cow #0<"), "what failed comes first"
    assert "and 730 more, in race.ktap" in page
    assert "script" not in Elements(page).tags
    assert len(page) < 40_000


def test_each_subtest_of_a_race_has_its_own_figures(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    run.add(Verdict(Outcome.PASS, "0 hits", 82_000), race=race_result())
    page = html(view(run.done())).decode()
    (row,) = (line for line in page.splitlines() if ">probe.munmap<" in line)
    figures = [cell.partition("<")[0] for cell in row.split(">") if cell.partition("<")[0].strip()]
    assert figures == ["probe.munmap", "41 000", "≤ 7.4e-05", "0", "5 857"]


def test_each_subtest_has_its_own_hits_and_the_first_finding_says_where(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    found = Finding("foreign_stamp", "vmsplice.munmap", 6.1, 1.1)
    run.add(Verdict(Outcome.FAIL, "foreign_stamp", 82_000, 3, found=found), race=race_result(hits=3))
    page = html(view(run.done())).decode()
    hits = {name: row.count('data-name="hits">3<') for name in ("probe.munmap", "vmsplice.munmap")
            for row in page.splitlines() if f'"cell">{name}<' in row}  # fmt: skip
    assert hits == {"probe.munmap": 0, "vmsplice.munmap": 1}
    assert "foreign_stamp after 6.1 s of racing, 1.1 s into vmsplice.munmap" in page


def test_a_subtest_whose_race_did_not_happen_is_not_among_those_that_passed(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    race = replace(race_result(), floors={"probe.munmap.unmaps": 10_000})
    run.add(Verdict(Outcome.VACUOUS, "the race did not happen: probe.munmap.unmaps is 5857"), race=race)
    page = html(view(run.done())).decode()
    assert '<details class="subtests" open><summary>1 subtest in which the race did not happen</summary>' in page
    assert "<summary>1 subtest passed</summary>" in page
    (row,) = (line for line in page.splitlines() if '"cell">probe.munmap<' in line)
    assert 'data-name="bound (95 %)">-<' in row
    assert "unmaps is 5857, not 10000 or more" in row


def test_what_was_not_counted_is_no_zero(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    counters = {key: value for key, value in race_result().counters.items() if not key.endswith(".backoffs")}
    run.add(Verdict(Outcome.PASS, "0 hits", 82_000), race=replace(race_result(), counters=counters))
    page = html(view(run.done())).decode()
    (row,) = (line for line in page.splitlines() if 'class="verdict label PASS"' in line)
    assert 'data-name="back-offs">-<' in row


def test_the_words_of_the_verdicts_are_explained(tmp_path: Path) -> None:
    page = html(view(every_ending(tmp_path))).decode()
    legend = page.partition('class="legend"')[2].partition("</details>")[0]
    for outcome in Outcome:
        assert f">{outcome}</dt>" in legend


def test_what_has_no_trials_shows_no_zero_trials(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    run.add(
        Verdict(Outcome.PASS, "upstream's cow: 1 check passed; no bound"),
        scenario="kselftest:cow",
        race=replace(race_result(), counters={"cow #1.checks": 1}, upstream="cow"),
    )
    page = html(view(run.done())).decode()
    (row,) = (line for line in page.splitlines() if 'class="verdict label PASS"' in line)
    assert row.count('">-</td>') == 5, row


def test_links_lead_to_files_of_the_run_and_nowhere_else(tmp_path: Path) -> None:
    run = every_ending(tmp_path)
    links = [link for link in Elements(html(view(run)).decode()).links if not link.startswith("#")]
    cells = [link for link in links if link.count("/") >= 4]
    assert cells
    assert all((run.root / link.replace("%2B", "+")).is_file() for link in cells)
    assert not any("://" in link or link.startswith(("/", "..")) for link in links)


def test_what_a_guest_printed_is_text_and_stays_text(tmp_path: Path) -> None:
    run = FakeRun(tmp_path)
    run.add(
        Verdict(Outcome.LOST, ATTACK, fault=Fault.KERNEL, last_lines=(ATTACK,)),
        splats=(splat(Standing.NEW, ATTACK),),
        files={"console.log": ATTACK.encode() + b"\x00\xff\x1b[31m", ATTACK.replace("/", "_"): b""},
    )
    page = html(view(run.done())).decode()
    tags = set(Elements(page).tags)
    assert not tags & {"script", "img", "iframe", "object", "link"}
    assert "\x00" not in page
    assert "\x1b" not in page


def test_the_page_asks_for_nothing_from_outside(tmp_path: Path) -> None:
    page = html(view(every_ending(tmp_path))).decode()
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert "url(" not in page
