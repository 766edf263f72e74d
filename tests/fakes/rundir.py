# SPDX-License-Identifier: GPL-2.0-only
"""Make a run directory that never ran: every kind of ending, for the reports to show."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator import records
from orchestrator.guest.model import LostReason
from orchestrator.matrix.plan import (
    Arch,
    Cell,
    DebSource,
    Expectation,
    GuestSettings,
    KernelSpec,
    Plan,
    RaceSettings,
    cell_id,
)
from orchestrator.race.model import Ending, Evidence, Hit, RaceResult, SubtestResult
from orchestrator.runner.rundir import CellRecord, KernelRecord, Metadata, RunDir
from orchestrator.splat.model import Phase, Splat, SplatKind, Standing
from orchestrator.verdict.finding import Finding
from orchestrator.verdict.model import Fault, Outcome, Verdict

REPEAT = "guprace run configs/quick.yaml --only '{id}' --seed 0x2a"
KERNEL_DIGEST = "3f1c0ffee" + "0" * 55
KCSAN_TEXT = """BUG: KCSAN: data-race in _compound_head / lru_add_fn

write to 0xffffea0000123448 of 8 bytes by task 91 on cpu 1:
 lru_add_fn+0x1a/0x350
 folio_batch_move_lru+0x97/0x180

read to 0xffffea0000123448 of 8 bytes by task 92 on cpu 0:
 _compound_head+0x10/0x40
 internal_get_user_pages_fast+0x8b1/0x1a40

Reported by Kernel Concurrency Sanitizer on:"""


@dataclass(slots=True)
class FakeRun:
    """A run directory under construction."""

    root: Path
    interrupted: str = ""
    started: str = "2026-11-23T04:00:00+00:00"
    _cells: list[Cell] = field(default_factory=list)

    def add(
        self,
        verdict: Verdict | None,
        *,
        kernel: str = "6.1",
        arch: Arch = Arch.ARM64,
        flavour: str = "plain",
        scenario: str = "pin_vs_munmap",
        mutant: str | None = None,
        splats: tuple[Splat, ...] = (),
        race: RaceResult | None = None,
        files: dict[str, bytes] | None = None,
        made_of: dict[str, str] | None = None,
        digest: str = KERNEL_DIGEST,
        patch: str = "0ddba11",
    ) -> Cell:
        """Add one cell with what its stages would have left; `made_of` is its stock kernel, if that is known.

        `patch` is the digest of a mutant's patch.
        """
        patches = (Path(f"{mutant}-{kernel}.patch"),) if mutant else ()
        spec = KernelSpec(kernel, DebSource(f"linux-source-{kernel}"), arch, flavour, patches, (), mutant=mutant)
        expect = Expectation.CAUGHT if mutant else Expectation.CLEAN
        cell = Cell(cell_id(spec, scenario), spec, scenario, GuestSettings(), RaceSettings(), expect)
        self._cells.append(cell)
        where = RunDir(self.root).cell_dir(cell)
        records.save(where / "cell.json", replace(record(cell), kernel_digest=digest))
        if made_of:
            broken = {f"patch 1 {each.name}": patch for each in patches}
            records.save(RunDir(self.root).kernel_file(cell), KernelRecord(made_of | broken))
        if race:
            records.save(where / "evidence.json", evidence(race))
        if splats:
            records.save(where / "splats.json", splats)
        for name, data in (files or {}).items():
            records.write_atomically(where / name, data)
        if verdict:
            records.save(where / "verdict.json", verdict)
        return cell

    def done(self) -> RunDir:
        """Write plan and metadata and return the run."""
        run = RunDir(self.root)
        records.save(run.plan_file, Plan("quick", Path("configs/quick.yaml"), tuple(self._cells)))
        host = {"name": "testhost", "kernel": "6.1.0", "cpus": "2", "qemu": "7.2.22"}
        metadata = Metadata(("guprace", "run"), "0.1.0", host, self.started)
        if self.interrupted:
            metadata = replace(metadata, finished="2026-11-23T04:05:00+00:00", interrupted=self.interrupted)
        records.save(run.metadata_file, metadata)
        return run


def record(cell: Cell) -> CellRecord:
    """Return what a cell that ran to its end noted down."""
    return CellRecord(
        cell=cell,
        repeat=REPEAT.format(id=cell.id),
        kernel_digest=KERNEL_DIGEST,
        kernel_version="6.1.192",
        toolchain="gcc 12.2.0",
        image_digest="beef" * 16,
        accel="tcg",
        accel_why="KVM took 31.0 s to what TCG did in 1.9 s",
        vcpus=2,
        seed=42,
        stages=(("build", 0.4), ("image", 0.0), ("boot", 3.1), ("deploy", 0.6), ("race", 10.4), ("collect", 0.9)),
    )


def race_result(trials: int = 41_000, hits: int = 0) -> RaceResult:
    """Return a race of two vehicles with that many trials each."""
    names = ("probe.munmap", "vmsplice.munmap")
    counters = {f"{name}.trials": trials for name in names}
    counters |= {f"{name}.{what}": trials // 7 for name in names for what in ("pins", "unmaps", "backoffs")}
    ending = Ending.FAIL if hits else Ending.PASS
    found = Hit("vmsplice.munmap", "foreign_stamp", "expected mapping 3 page 7, observed mapping 9 page 7")
    return RaceResult(
        subtests=(SubtestResult(names[0], Ending.PASS, ""), SubtestResult(names[1], ending, "")),
        hits=(found,) * min(hits, 20),
        params={"seed": "0x000000000000002a", "seconds": "10"},
        counters=counters,
        floors={"probe.munmap.unmaps": 100},
        problem="",
    )


def evidence(race: RaceResult) -> Evidence:
    """Return evidence without anything odd around `race`."""
    return Evidence(race, {"pgfault": 812}, (0, 4096), None, None, (), "", {"kernel": "6.1.192"}, (0.5, 1.5), 10.2)


def splat(
    standing: Standing, title: str = "KCSAN: data-race in _compound_head / lru_add_fn", count: int = 1
) -> Splat:
    """Return a KCSAN report of the given standing."""
    return Splat(
        kind=SplatKind.KCSAN,
        title=title,
        start_line=120,
        end_line=133,
        text=KCSAN_TEXT,
        functions=("_compound_head", "lru_add_fn"),
        count=count,
        phase=Phase.RACE,
        standing=standing,
        why="both accesses lie outside GUP-fast" if standing is Standing.BACKGROUND else "",
    )


def every_ending(root: Path, interrupted: str = "") -> RunDir:
    """Return a run in which each outcome occurs once, and one cell never ended."""
    run = FakeRun(root, interrupted)
    logs = {
        "console.log": b"[    0.5] guprace-init: ready\r\n" * 40,
        "race.ktap": b"KTAP version 1\n",
        "qemu.argv": b"x",
    }
    run.add(
        Verdict(Outcome.PASS, "0 hits in 82000 trials, at most 3.7e-05 per trial (95 %)", 82_000, bound=3 / 82_000),
        race=race_result(),
        files=logs,
    )
    run.add(
        Verdict(Outcome.FAIL, "foreign_stamp in vmsplice.munmap: expected ...", 900, 3, fault=Fault.KERNEL),
        arch=Arch.X86_64,
        flavour="kcsan",
        race=race_result(450, 3),
        splats=(splat(Standing.NEW), splat(Standing.BACKGROUND, "KCSAN: data-race in a / b", 31)),
        files=logs,
    )
    lost = Verdict(
        Outcome.LOST,
        "panic: Kernel panic - not syncing: sysrq triggered crash",
        lost=LostReason.PANIC,
        fault=Fault.KERNEL,
        last_lines=(
            "[   12.1] sysrq: Trigger a crash",
            "[   12.2] Kernel panic - not syncing: sysrq triggered crash",
        ),
    )
    run.add(lost, flavour="debug", files=logs)
    run.add(Verdict(Outcome.VACUOUS, "the race did not happen: 3 unmaps of at least 100", 4), scenario="pin_vs_zap")
    run.add(Verdict(Outcome.SKIP, "no /dev/guprace_probe"), scenario="pin_vs_fork")
    run.add(Verdict(Outcome.BROKEN, "mm/gup.c does not build", fault=Fault.BUILD), kernel="6.12")
    caught = Verdict(
        Outcome.CAUGHT,
        "foreign_stamp (18 hits)",
        150,
        18,
        fault=Fault.KERNEL,
        found=Finding("foreign_stamp", "probe.munmap", 0.4, 0.4),
    )
    run.add(caught, mutant="M01", race=race_result(75, 18), files=logs)
    run.add(Verdict(Outcome.MISSED, "the broken kernel was not caught", 4000, bound=3 / 4000), mutant="M08")
    run.add(None, scenario="pin_vs_collapse", files=logs)
    return run.done()
