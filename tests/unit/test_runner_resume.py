# SPDX-License-Identifier: GPL-2.0-only
"""Which verdicts of an interrupted run stand, what is put aside, and what must be as it was. No guest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from orchestrator import records
from orchestrator.errors import HostError, UsageError
from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.source import Workplace
from orchestrator.matrix.plan import KernelSpec, Plan
from orchestrator.paths import Project
from orchestrator.proc import Stop
from orchestrator.runner.backup import back_verdicts, unback_verdicts
from orchestrator.runner.host import judge_of
from orchestrator.runner.resume import UNKNOWN, standing, take_up
from orchestrator.runner.run import schedules_of
from orchestrator.runner.rundir import KernelRecord, RunDir
from orchestrator.runner.schedule import again
from orchestrator.splat.model import SplatKind, Standing
from orchestrator.verdict.finding import Finding
from orchestrator.verdict.model import Fault, Outcome, Verdict
from tests.fakes.rundir import FakeRun, every_ending, evidence, race_result, splat

PASS = Verdict(Outcome.PASS, "0 hits", 400)
CAUGHT = Verdict(Outcome.CAUGHT, "hit", 9, 1, found=Finding("stamp", "probe.munmap", 0.5, 0.5, 9))
LANE = {"source": "6.1.190", "toolchain": "gcc 12"}


@dataclass(frozen=True, slots=True)
class Answers(KernelBuilder):
    """A builder that knows what kernels are made of today, and builds none."""

    today: Mapping[str, str]

    def made_of(self, spec: KernelSpec) -> dict[str, str]:
        return dict(self.today)

    def check_tools(self, spec: KernelSpec) -> None:
        if (missing := self.today.get("missing")) is not None:
            raise HostError(f"no {missing} to build {spec.arch}")


class Bench:
    """A run of a stock cell and its control, and one that is not finished."""

    def __init__(self, root: Path) -> None:
        fake = FakeRun(root / "run")
        self.stock = fake.add(PASS, race=race_result())
        self.control = fake.add(CAUGHT, mutant="M01", race=race_result(75, 18))
        self.left = fake.add(None, scenario="pin_vs_zap", files={"console.log": b"half"})
        self.run = fake.done()
        self.cache = root / "cache"
        for cell in (self.stock, self.control):
            records.save(self.run.kernel_file(cell), KernelRecord(LANE))

    def take_up(self, today: Mapping[str, str] = LANE) -> tuple[bool, list[str]]:
        said: list[str] = []
        builder = Answers(Workplace(self.cache, {}, Stop()), Project(), 1, today)
        due = take_up(self.run, schedules_of(self.run.plan()), builder, ("guprace", "run"), said.append)
        return due, said

    def noted(self, **facts: object) -> None:
        """Change metadata.json; as of this guprace unless said otherwise."""
        known = replace(self.run.metadata(), judge=judge_of(Project()))
        records.save(self.run.metadata_file, replace(known, **facts))  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_verdict_stands_whatever_it_is(tmp_path: Path) -> None:
    run = every_ending(tmp_path)
    found = standing(run)
    assert {str(result.verdict.outcome) for result in found.kept.values() if result.verdict} == set(Outcome)
    (left,) = [cell.id for cell in run.plan().cells if cell.id not in found.kept]
    assert left.endswith("/pin_vs_collapse")
    assert found.fallen == {}


def test_a_control_falls_with_the_stock_cell_that_it_was_judged_by(bench: Bench) -> None:
    (bench.run.cell_dir(bench.stock) / "verdict.json").unlink()
    found = standing(bench.run)
    assert found.kept == {}
    assert list(found.fallen) == [bench.control.id]


def test_a_control_without_a_stock_cell_in_its_plan_stands_by_itself(bench: Bench) -> None:
    plan = bench.run.plan()
    records.save(bench.run.plan_file, replace(plan, cells=plan.cells[1:]))
    assert list(standing(bench.run).kept) == [bench.control.id]


def test_records_that_cannot_be_read_are_no_verdict(bench: Bench) -> None:
    evidence = bench.run.cell_dir(bench.control) / "evidence.json"
    evidence.write_bytes(b"")
    found = standing(bench.run)
    assert found.fallen[bench.control.id].startswith("its records cannot be read (not a whole record: ")
    assert list(found.kept) == [bench.stock.id]
    assert bench.take_up()[0]
    aside = bench.run.root / f"{bench.control.id}.interrupted-1"
    assert (aside / "verdict.json").is_file()
    assert not bench.run.cell_dir(bench.control).exists()


def test_what_the_host_broke_is_raced_again_and_its_reason_said(bench: Bench) -> None:
    for cell in (bench.stock, bench.left):
        broken = Verdict(Outcome.BROKEN, "no aarch64-linux-gnu-gcc to build arm64\n  apt-get ...", fault=Fault.HOST)
        records.save(bench.run.cell_dir(cell) / "verdict.json", broken)
    due, said = bench.take_up()
    assert due
    why = "the host was at fault (no aarch64-linux-gnu-gcc to build arm64)"
    aside = f"{bench.left.id}.interrupted-1"
    assert f"{bench.left.id} does not stand: {why}; what it had is in {aside}" in said
    assert (bench.run.root / aside / "verdict.json").is_file()
    assert [line.startswith(bench.control.id) for line in said].count(True) == 1, "judged by a race that is no more"
    assert said[0] == "goes on: 0 of 3 cells have a verdict that stands"


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault is not Fault.HOST])
def test_what_is_broken_by_anybody_else_stays_broken(bench: Bench, fault: Fault) -> None:
    records.save(bench.run.cell_dir(bench.left) / "verdict.json", Verdict(Outcome.BROKEN, "why", fault=fault))
    assert not bench.take_up()[0]


def test_a_pass_without_its_evidence_is_raced_again(bench: Bench) -> None:
    (bench.run.cell_dir(bench.stock) / "evidence.json").unlink()
    due, said = bench.take_up()
    assert due
    assert any(f"{bench.stock.id} does not stand: its PASS has no evidence.json to stand on" in line for line in said)


def test_a_missing_compiler_is_told_before_anything_is_set_aside(bench: Bench) -> None:
    for cell in (bench.stock, bench.control):
        (bench.run.cell_dir(cell) / "verdict.json").unlink()
    before = sorted(bench.run.root.rglob("*"))
    with pytest.raises(HostError, match="no gcc to build arm64"):
        bench.take_up({"missing": "gcc"})
    assert sorted(bench.run.root.rglob("*")) == before


HIT = b"KTAP version 1\n1..2\n# subtest probe.zap\n# hit probe.zap foreign_stamp expected 1, observed 2\n"


def test_a_qemu_that_died_is_the_hosts_fault_and_raced_again(bench: Bench) -> None:
    lost = Verdict(Outcome.LOST, "QEMU died: exit status 1: Cannot allocate memory", fault=Fault.HOST)
    records.save(bench.run.cell_dir(bench.stock) / "verdict.json", lost)
    found = standing(bench.run)
    assert "Cannot allocate memory" in found.fallen[bench.stock.id]


def test_a_report_whose_verdict_could_not_be_written_stands(bench: Bench) -> None:
    where = bench.run.cell_dir(bench.left)
    records.save(where / "splats.json", (replace(splat(Standing.NEW, "KASAN: use-after-free in f"), whole=True),))
    (verdict,) = (result.verdict for result in standing(bench.run).found.values())
    assert verdict is not None
    assert (verdict.outcome, verdict.splats) == (Outcome.FAIL, ("KASAN: use-after-free in f",))
    panic = replace(splat(Standing.NEW, "kernel panic"), kind=SplatKind.PANIC, whole=True)
    for nothing in (splat(Standing.BACKGROUND), panic):
        records.save(where / "splats.json", (nothing,))
        assert not standing(bench.run).found
    records.save(where / "splats.json", (splat(Standing.BACKGROUND),))
    assert not standing(bench.run).found


def test_a_hit_that_guprace_was_killed_over_stands(bench: Bench) -> None:
    where = bench.run.cell_dir(bench.left)
    records.write_atomically(where / "race.ktap", HIT)
    assert bench.run.result(bench.left).verdict is None
    due, said = bench.take_up()
    assert not due, "raced again, it could pass"
    verdict = bench.run.result(bench.left).verdict
    assert verdict
    assert (verdict.outcome, verdict.hits, verdict.found is not None) == (Outcome.FAIL, 1, True)
    assert "observed 2 (1 hit); then guprace was killed, so its console was not judged" in verdict.reason
    assert "race.ktap" in verdict.evidence
    assert said == ["every cell of run has its verdict: nothing is left to race"]


def test_a_hit_that_guprace_was_killed_over_must_be_of_the_kernel_that_is_raced_on(bench: Bench) -> None:
    (bench.run.cell_dir(bench.control) / "verdict.json").unlink()
    records.write_atomically(bench.run.cell_dir(bench.left) / "race.ktap", HIT)
    with pytest.raises(UsageError):
        bench.take_up(LANE | {"source": "6.1.195"})
    assert bench.run.result(bench.left).verdict is None, "nothing is touched"
    due, said = bench.take_up()
    assert due
    assert said[0] == "goes on: 2 of 3 cells have a verdict that stands"
    assert f"{bench.left.id}: what its race had found when guprace was killed stands" in said
    assert bench.run.result(bench.left).verdict


@pytest.mark.parametrize("said", [HIT.partition(b"# hit")[0], b"", b"\0" * 4096])
def test_a_race_that_had_found_nothing_is_raced_again(bench: Bench, said: bytes) -> None:
    records.write_atomically(bench.run.cell_dir(bench.left) / "race.ktap", said)
    assert bench.take_up()[0]
    assert bench.run.result(bench.left).verdict is None


def test_a_control_that_guprace_was_killed_over_is_raced_again(bench: Bench) -> None:
    (bench.run.cell_dir(bench.control) / "verdict.json").unlink()
    records.write_atomically(bench.run.cell_dir(bench.control) / "race.ktap", HIT)
    assert bench.control.id not in standing(bench.run).kept


def test_what_is_put_aside_never_lands_on_what_was_before(bench: Bench) -> None:
    for number in (1, 2):
        assert bench.run.set_aside(bench.left) == bench.run.root / f"{bench.left.id}.interrupted-{number}"
        bench.run.cell_dir(bench.left).mkdir()
        assert bench.run.cell_dir(bench.left).is_dir()
    assert (bench.run.root / f"{bench.left.id}.interrupted-1" / "console.log").read_bytes() == b"half"
    bench.run.cell_dir(bench.left).rmdir()
    assert bench.run.set_aside(bench.left) is None


@pytest.mark.parametrize("outcome", [Outcome.BROKEN, Outcome.VACUOUS, Outcome.FAIL])
def test_only_clean_races_say_what_would_have_escaped(bench: Bench, outcome: Outcome) -> None:
    """A second attempt at the stock kernel that cannot be trusted was no second look at it."""
    plan = bench.run.plan()
    raced = race_result()
    raced = replace(raced, counters=raced.counters | {"probe.munmap.race_ms": 10_000})
    more = again(bench.stock, 2)
    records.save(bench.run.plan_file, replace(plan, cells=(*plan.cells, more)))
    records.save(bench.run.cell_dir(bench.stock) / "evidence.json", evidence(raced))
    back_verdicts(bench.run, Project())
    alone = bench.run.result(bench.stock).verdict
    assert alone
    assert alone.controls[0].escape is not None
    unback_verdicts(bench.run)
    records.save(bench.run.cell_dir(more) / "evidence.json", evidence(raced))
    records.save(bench.run.cell_dir(more) / "verdict.json", Verdict(outcome, "whatever"))
    back_verdicts(bench.run, Project())
    assert bench.run.result(bench.stock).verdict == alone


def test_controls_come_off_a_verdict_as_if_they_had_never_been_behind_it(bench: Bench) -> None:
    before = bench.run.result(bench.stock).verdict
    back_verdicts(bench.run, Project())
    backed = bench.run.result(bench.stock).verdict
    assert backed
    assert backed.controls
    back_verdicts(bench.run, Project())
    assert bench.run.result(bench.stock).verdict == backed, "a second time changes nothing"
    assert standing(bench.run).kept[bench.stock.id].verdict == before
    unback_verdicts(bench.run)
    assert bench.run.result(bench.stock).verdict == before
    assert not bench.run.judged_file(bench.stock).exists()


def test_a_run_that_goes_on_is_no_longer_ended_or_interrupted(bench: Bench) -> None:
    bench.noted(finished="2026-11-23T04:05:00+00:00", interrupted="SIGINT")
    due, said = bench.take_up()
    known = bench.run.metadata()
    assert due
    assert said[0] == "goes on: 2 of 3 cells have a verdict that stands"
    assert (known.finished, known.interrupted) == (None, ""), "or a power cut would leave it looking as if it had"
    assert known.resumed[0].command == ("guprace", "run")
    assert "goes on: 2 of 3" in bench.run.events_file.read_text()


def test_a_run_interrupted_after_its_last_verdict_has_ended(bench: Bench) -> None:
    bench.noted(finished="2026-11-23T04:05:00+00:00", interrupted="SIGINT")
    records.save(bench.run.cell_dir(bench.left) / "verdict.json", PASS)
    records.save(bench.run.cell_dir(bench.left) / "evidence.json", evidence(race_result()))
    due, said = bench.take_up({"source": "another"})
    assert not due, "nothing is raced, so nothing need be as it was"
    assert said == ["every cell of run has its verdict: nothing is left to race"]
    known = bench.run.metadata()
    assert (known.finished, known.interrupted, known.resumed) == ("2026-11-23T04:05:00+00:00", "", ())


@pytest.mark.parametrize(
    ("today", "line"),
    [
        (LANE | {"source": "6.1.195"}, "6.1/arm64/plain: source: 6.1.190 -> 6.1.195"),
        (LANE | {"patch 1 fix.patch": "0" * 64}, "6.1/arm64/plain: patch 1 fix.patch: added"),
        ({"source": "6.1.190"}, "6.1/arm64/plain: toolchain: removed"),
    ],
)
def test_a_kernel_made_of_something_else_is_refused(bench: Bench, today: dict[str, str], line: str) -> None:
    before = sorted(bench.run.root.rglob("*"))
    with pytest.raises(UsageError) as refused:
        bench.take_up(today)
    assert line in str(refused.value)
    assert sorted(bench.run.root.rglob("*")) == before


def test_kernels_of_lanes_without_a_verdict_may_be_others(bench: Bench) -> None:
    for cell in (bench.stock, bench.control):
        (bench.run.cell_dir(cell) / "verdict.json").unlink()
    assert bench.take_up({"source": "another"})[0]


def test_what_an_older_guprace_did_not_note_is_said_and_stays_in_the_metadata(bench: Bench) -> None:
    due, said = bench.take_up()
    assert due
    assert UNKNOWN in said
    assert bench.run.metadata().resumed[0].changed == (UNKNOWN,)


def test_another_judge_or_host_is_said_and_stays_in_the_metadata(bench: Bench) -> None:
    judge = judge_of(Project()) | {"known-issues.yaml": "0" * 64}
    host = bench.run.metadata().host | {"name": "elsewhere"}
    bench.noted(judge=judge, host=host)
    _, said = bench.take_up()
    words = "\n".join(said)
    assert f"what judges is not what judged the verdicts kept: known-issues.yaml: {'0' * 24}... -> " in words
    assert "the verdicts kept are of another host: name: elsewhere -> " in words
    assert bench.run.metadata().resumed[0].changed == tuple(said[1:])


def test_attempts_that_a_run_already_made_ask_for_no_more_of_their_own(bench: Bench) -> None:
    cells = (bench.stock, again(bench.stock, 2), bench.control, again(bench.control, 2))
    plan = Plan("p", Path("m.yaml"), cells, confidence=1e-3)
    for cell in cells:
        records.save(bench.run.cell_dir(cell) / "verdict.json", CAUGHT if cell.kernel.mutant else PASS)
    (schedule,) = schedules_of(plan)
    done = {cell.id: RunDir(bench.run.root).result(cell) for cell in cells}
    due = schedule.next(done)
    assert due == replace(again(bench.control, 3), race=replace(bench.control.race, first_hit=True))
