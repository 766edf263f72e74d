# SPDX-License-Identifier: GPL-2.0-only
"""One cell that gets no guest: what it waits for is told as its own, and what goes wrong is its own verdict."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator import records
from orchestrator.errors import HostError, RunInterruptedError
from orchestrator.guest.model import GuestLostError, LostReason
from orchestrator.kernel.model import Kernel
from orchestrator.kernel.source import Workplace
from orchestrator.paths import Project
from orchestrator.proc import Stop
from orchestrator.runner import cell as cells
from orchestrator.runner import left
from orchestrator.runner.cell import CellRun, Workshop
from orchestrator.runner.events import Event, State
from orchestrator.runner.lists import load_lists
from orchestrator.runner.rundir import RunDir
from orchestrator.splat.model import SplatKind
from orchestrator.splat.scan import MAX_SPLATS, Marks
from orchestrator.splat.standing import KnownIssue
from orchestrator.verdict.facts import Facts
from orchestrator.verdict.finding import CONSOLE
from orchestrator.verdict.judge import judge
from orchestrator.verdict.model import Fault, Outcome, Verdict
from tests.fakes.rundir import FakeRun

READY = b"[    0.5] guprace-init: ready\n"
DATA = Path(__file__).parents[1] / "data" / "splat" / "real"
OOPS = (DATA / "6.1-x86_64-debian-null-deref.log").read_bytes()
RACES = (DATA.parent / "x86_64-6.1-kcsan-pin_vs_munmap.log").read_bytes()
MARK = b"[    1.0] guprace: mark begin ab\n"
MET = """\
KTAP version 1
1..1
# counter users.hugetlb.checks 90
# counter users.hugetlb.lost_by_fork 36
ok 1 users.hugetlb
# totals pass:1 fail:0 skip:0
"""

HIT = """\
KTAP version 1
1..2
# hit probe.munmap foreign_stamp expected 1, observed 2
not ok 1 probe.munmap
"""


class Bench:
    """A cell to run, and what it told meanwhile."""

    def __init__(self, root: Path, ktap: str = "", console: bytes = READY, mutant: str | None = None) -> None:
        fake = FakeRun(root / "run")
        files = {"console.log": console, "race.ktap": ktap.encode()}
        cell = fake.add(None, mutant=mutant, files={name: data for name, data in files.items() if data})
        self.events: list[Event] = []
        place = Workplace(root / "cache", {}, Stop())
        shop = Workshop(place, Project(), load_lists(Project()), self.events.append, lambda _cell, _seed: "again")
        self.rundir = RunDir(root / "run")
        self.work = CellRun(cell, self.rundir, shop)

    def run(self, get_kernel: Callable[[Callable[[str], None]], Kernel]) -> Verdict:
        return self.work.run(get_kernel, frozenset())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def no_kernel(_report: Callable[[str], None]) -> Kernel:
    raise HostError("no kernel today")


def in_the_reader(*_arguments: object) -> None:
    raise ZeroDivisionError("in the reader")


def test_a_wait_for_another_guprace_is_a_note_of_the_cell_that_waits(bench: Bench) -> None:
    def wait(_report: Callable[[str], None]) -> Kernel:
        bench.work.shop.place.waits("waits for lane x")
        raise HostError("enough")

    bench.run(wait)
    (note,) = (event for event in bench.events if event.state is State.NOTE)
    assert (note.cell, note.text) == (bench.work.cell.id, "waits for lane x")


def test_a_stage_that_fails_is_told_once_and_has_no_seconds_in_the_record(bench: Bench) -> None:
    bench.run(no_kernel)
    told = [event.state for event in bench.events if event.stage == "build"]
    assert told == [State.STARTED, State.FAILED]
    assert bench.work.record.stages == ()


def test_what_fails_while_all_is_being_ended_is_no_verdict(bench: Bench) -> None:
    def ended(_report: Callable[[str], None]) -> Kernel:
        bench.work.shop.place.stop.set("SIGTERM")
        raise GuestLostError(LostReason.QEMU_DIED, "ended by signal 15")

    with pytest.raises(RunInterruptedError):
        bench.run(ended)
    with pytest.raises(RunInterruptedError):
        bench.run(no_kernel)
    assert not (bench.work.directory / "verdict.json").exists()


def stopped_mid_race(bench: Bench, error: Exception | None = None) -> Verdict | None:
    """Have somebody press Ctrl-C after 3 s of racing, as which `error` shows if it is given; return the verdict."""

    def ended(_report: Callable[[str], None]) -> Kernel:
        bench.work.race_began = time.monotonic() - 3.0
        bench.work.marks = Marks("ab", "")
        bench.work.shop.place.stop.set("SIGINT")
        if error:
            raise error
        bench.work.shop.place.stop.check()
        raise AssertionError("not stopped")

    with pytest.raises(RunInterruptedError):
        bench.run(ended)
    return bench.rundir.result(bench.work.cell).verdict


@pytest.mark.parametrize(
    "error", [None, GuestLostError(LostReason.QEMU_DIED, "ended by signal 2"), HostError("make was ended")]
)
@pytest.mark.parametrize(("mutant", "outcome"), [(None, Outcome.FAIL), ("M01", Outcome.CAUGHT)])
def test_a_hit_is_one_even_if_the_race_is_interrupted(
    tmp_path: Path, error: Exception | None, mutant: str | None, outcome: Outcome
) -> None:
    """It stands when the run is gone on with: raced again, the cell could pass."""
    bench = Bench(tmp_path, HIT, mutant=mutant)
    verdict = stopped_mid_race(bench, error)
    assert verdict is not None
    assert (verdict.outcome, verdict.hits, verdict.found and verdict.found.oracle) == (outcome, 1, "foreign_stamp")
    assert verdict.reason.endswith("(1 hit); then the run was interrupted (SIGINT)")
    assert verdict.race_seconds == pytest.approx(3.0, abs=1.0), "a catch whose time is not known took all of it"
    assert verdict.seconds_to_hit == verdict.race_seconds
    assert [event.state for event in bench.events][-1] is State.VERDICT


def test_a_report_is_one_even_if_the_race_is_interrupted(tmp_path: Path) -> None:
    verdict = stopped_mid_race(Bench(tmp_path, MET, console=MARK + OOPS))
    assert verdict is not None
    assert (verdict.outcome, verdict.found and verdict.found.oracle) == (Outcome.FAIL, CONSOLE)
    assert verdict.reason.startswith("BUG: unable to handle kernel NULL pointer dereference in lkdtm_EXC")


@pytest.mark.parametrize("lines", [1, 5, 12])
def test_a_report_that_the_interruption_cut_short_is_nothing_found(tmp_path: Path, lines: int) -> None:
    """Nobody knows whether it is one of those that are known, or background."""
    whole = RACES[RACES.index(b"BUG: KCSAN: data-race in internal_get_user_pages_fast / lru_add_fn") :]
    cut = b"".join(b"[   46.360199] " + line for line in whole.splitlines(keepends=True)[:lines])
    assert stopped_mid_race(Bench(tmp_path, MET, console=MARK + cut)) is None


def test_an_interrupted_race_that_found_nothing_has_no_verdict(tmp_path: Path) -> None:
    bench = Bench(tmp_path, MET)
    assert stopped_mid_race(bench) is None
    assert not (bench.work.directory / "verdict.json").exists()


def test_a_hit_before_the_hosts_trouble_has_the_time_that_was_raced(tmp_path: Path) -> None:
    bench = Bench(tmp_path, HIT, mutant="M01")

    def full(_report: Callable[[str], None]) -> Kernel:
        bench.work.race_began = time.monotonic() - 3.0
        raise HostError("no space")

    assert bench.run(full).seconds_to_hit == pytest.approx(3.0, abs=1.0), "or its rate would be without end"


def test_a_panic_is_one_even_if_somebody_asks_to_stop_just_then(bench: Bench) -> None:
    def panic(_report: Callable[[str], None]) -> Kernel:
        bench.work.shop.place.stop.set("SIGINT")
        raise GuestLostError(LostReason.PANIC, "Kernel panic")

    assert bench.run(panic).lost is LostReason.PANIC


def test_a_full_disk_is_the_hosts_fault_and_no_defect_of_ours(bench: Bench) -> None:
    def full(_report: Callable[[str], None]) -> Kernel:
        raise OSError(errno.ENOSPC, "No space left on device", "/var/x")

    verdict = bench.run(full)
    assert (verdict.outcome, verdict.fault) == (Outcome.BROKEN, Fault.HOST)
    assert verdict.reason.startswith("/var/x: No space left on device")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/var/x"),
        HostError("no space"),
        ZeroDivisionError("a defect"),
    ],
)
def test_a_hit_is_one_whatever_fails_behind_it(tmp_path: Path, error: Exception) -> None:
    def fails(_report: Callable[[str], None]) -> Kernel:
        raise error

    verdict = Bench(tmp_path, HIT).run(fails)
    assert (verdict.outcome, verdict.hits) == (Outcome.FAIL, 1)
    assert verdict.reason.startswith("foreign_stamp in probe.munmap: expected 1, observed 2 (1 hit); then ")


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (GuestLostError(LostReason.PANIC, "Kernel panic - not syncing: Fatal exception"), Outcome.LOST),
        (HostError("the probe module does not load: insmod: invalid module format"), Outcome.BROKEN),
    ],
)
def test_what_a_kernel_says_before_there_is_a_race_is_from_before_it(
    tmp_path: Path, error: Exception, outcome: Outcome
) -> None:
    """Such a control was not caught: it never raced, and nothing says that the set-up sees what is broken in it."""

    def ends(_report: Callable[[str], None]) -> Kernel:
        raise error

    stock = Bench(tmp_path / "stock", console=OOPS).run(ends)
    assert stock.outcome is Outcome.FAIL
    assert "(before the race)" in stock.reason
    assert Bench(tmp_path / "control", console=OOPS, mutant="M01").run(ends).outcome is outcome


def test_a_console_that_our_reader_does_not_survive_is_that_cells_verdict(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cells, "scan", in_the_reader)
    verdict = bench.run(no_kernel)
    assert (verdict.outcome, verdict.fault) == (Outcome.BROKEN, Fault.HOST)
    assert "internal error: ZeroDivisionError('in the reader')" in verdict.reason
    assert "Traceback" in caplog.text, "whoever mends it needs the whole of it"
    assert (bench.work.directory / "verdict.json").is_file()


@pytest.mark.parametrize(
    ("error", "then"),
    [
        (GuestLostError(LostReason.PANIC, "Kernel panic"), "then the guest was lost (panic: Kernel panic); then "),
        (HostError("no space"), "then no space; then "),
    ],
)
def test_a_hit_is_one_even_if_our_reader_does_not_survive_the_console(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, then: str
) -> None:
    def fails(_report: Callable[[str], None]) -> Kernel:
        raise error

    monkeypatch.setattr(cells, "scan", in_the_reader)
    verdict = Bench(tmp_path, HIT).run(fails)
    assert (verdict.outcome, verdict.hits, verdict.fault) == (Outcome.FAIL, 1, Fault.KERNEL)
    assert f"observed 2 (1 hit); {then}internal error: ZeroDivisionError('in the reader')" in verdict.reason
    assert verdict.evidence == ("console.log", "race.ktap"), "no splats.json: nobody knows what is on the console"


def test_a_hit_and_a_report_count_even_if_there_is_no_room_for_the_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(path: Path, value: object) -> None:
        if path.name == "splats.json":
            raise HostError("no space left")
        records.save(path, value)

    bench = Bench(tmp_path, HIT)
    (bench.work.directory / "console.log").write_bytes(b"[    1.5] kernel BUG at mm/gup.c:1!\n" * 2)
    monkeypatch.setattr(cells, "records", SimpleNamespace(save=save, disk_error=records.disk_error))
    verdict = bench.run(no_kernel)
    assert (verdict.outcome, verdict.hits) == (Outcome.FAIL, 1)
    assert "(1 hit); kernel BUG in corrupted (before the race); then no kernel today; then no space" in verdict.reason


def test_a_report_counts_even_if_our_reader_does_not_survive_the_selftests_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path, HIT)
    (bench.work.directory / "console.log").write_bytes(b"[    1.5] kernel BUG at mm/gup.c:1!\n" * 2)
    monkeypatch.setattr(left, "read_ktap", in_the_reader)
    verdict = bench.run(no_kernel)
    assert verdict.outcome is Outcome.FAIL
    assert verdict.reason.startswith("kernel BUG in ")
    assert "no kernel today; then internal error: ZeroDivisionError" in verdict.reason


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[Facts]:
    """Return what is judged from here on, as it comes."""
    seen: list[Facts] = []

    def look(facts: Facts) -> Verdict:
        seen.append(facts)
        return judge(facts)

    monkeypatch.setattr(cells, "judge", look)
    return seen


def test_reports_beyond_what_is_kept_are_a_fact_of_their_cell(tmp_path: Path, judged: list[Facts]) -> None:
    bench = Bench(tmp_path)
    many = "".join(f"[    1.{n:06d}] BUG: Dentry 1{{i=2,n=3}} still in use (1) [unmount of {chr(97 + n % 26)}"
                   f"{chr(97 + n // 26)}fs]\n" for n in range(MAX_SPLATS + 3))  # fmt: skip
    (bench.work.directory / "console.log").write_text(many)
    bench.run(no_kernel)
    assert [facts.omitted for facts in judged] == [3]


def test_a_console_that_cannot_be_read_is_the_hosts_fault_and_no_defect_of_ours(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_arguments: object) -> None:
        raise OSError(errno.EIO, "Input/output error", "console.log")

    monkeypatch.setattr(cells, "scan", unreadable)
    verdict = bench.run(no_kernel)
    assert (verdict.outcome, verdict.fault) == (Outcome.BROKEN, Fault.HOST)
    assert "no kernel today; then console.log: Input/output error" in verdict.reason


def test_a_known_issue_of_some_versions_is_known_on_a_prebuilt_kernel_of_one_of_them(bench: Bench) -> None:
    """It has no tree that says which version it is; its console does, and everybody else reads it in the record."""
    (bench.work.directory / "console.log").write_bytes(OOPS)
    issue = KnownIssue("lkdtm", SplatKind.OOPS, "on purpose", "x", date(2099, 1, 1), since="6.1", before="6.2")
    later = replace(issue, id="later", since="6.2", before=None)
    lists = replace(bench.work.shop.lists, known=(later, issue))
    bench.work.shop = replace(bench.work.shop, lists=lists)
    assert bench.run(no_kernel).outcome is Outcome.BROKEN, "a report that is known decides nothing"
    result = bench.rundir.result(bench.work.cell)
    assert [splat.why[:6] for splat in result.splats if splat.kind is SplatKind.OOPS] == ["lkdtm:"]
    assert result.record.kernel_version == "6.1.0-56-cloud-amd64"


def test_what_the_console_says_does_not_replace_the_version_of_the_tree(bench: Bench) -> None:
    (bench.work.directory / "console.log").write_bytes(OOPS)
    bench.work.note(kernel_version="6.1.192")
    bench.run(no_kernel)
    assert bench.rundir.result(bench.work.cell).record.kernel_version == "6.1.192"


def test_a_judge_that_fails_is_that_cells_verdict_and_names_the_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "judge", in_the_reader)
    verdict = Bench(tmp_path, HIT).run(no_kernel)
    assert (verdict.outcome, verdict.fault) == (Outcome.BROKEN, Fault.HOST)
    assert verdict.reason.startswith("internal error: ZeroDivisionError")
    assert "race.ktap" in verdict.evidence


def test_a_known_fault_that_the_selftest_met_is_a_fact_of_its_cell(tmp_path: Path, judged: list[Facts]) -> None:
    Bench(tmp_path, MET).run(no_kernel)
    assert [facts.counted for facts in judged] == [
        ("fork loses private hugetlb pages that have not the size of a PMD (36 times, docs/findings.md)",)
    ]
