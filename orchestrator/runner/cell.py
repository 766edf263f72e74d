# SPDX-License-Identifier: GPL-2.0-only
"""One cell, from a kernel to a verdict: every stage leaves its result in the cell's directory, the verdict last."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator import records
from orchestrator.errors import GupraceError, HostError, RunInterruptedError
from orchestrator.guest.accel import choose
from orchestrator.guest.boot import boot
from orchestrator.guest.guest import Guest
from orchestrator.guest.model import AccelChoice, GuestFile, GuestLostError, GuestSpec, LostReason
from orchestrator.image.build import build_image
from orchestrator.image.model import Image
from orchestrator.kernel.fragments import read_config
from orchestrator.kernel.model import Kernel
from orchestrator.kernel.source import Workplace
from orchestrator.matrix.plan import Cell
from orchestrator.paths import Project
from orchestrator.race import collect
from orchestrator.race.model import Evidence, RaceResult
from orchestrator.race.selftests import build_selftests
from orchestrator.race.session import SELFTEST_KTAP, Order, carried, probe_steps, prove_instruments, race
from orchestrator.race.steps import Step
from orchestrator.race.upstream_build import NotApplicableError, Upstream, build_upstream
from orchestrator.race.upstream_run import run_upstream, upstream_steps
from orchestrator.runner.events import Listener, State, event, held_up
from orchestrator.runner.lanes import vcpus_of
from orchestrator.runner.left import evidence_in, said_in
from orchestrator.runner.lists import Lists
from orchestrator.runner.machine import cmdline, made_of, memory
from orchestrator.runner.rundir import CellRecord, RunDir
from orchestrator.splat.model import Splat
from orchestrator.splat.scan import Marks, scan
from orchestrator.splat.standing import Subject, by_standing, classify
from orchestrator.verdict.counted import counted
from orchestrator.verdict.facts import Facts, Trouble, loss_of, trouble_of
from orchestrator.verdict.judge import judge
from orchestrator.verdict.model import Fault, Outcome, Verdict

log = logging.getLogger("guprace.cell")

# What ends the whole machine, or a service with all of its processes, ends QEMU and us in either order: so long
# after what looks like a failure the request to stop may still come.
LAST_WORD_SECONDS = 0.3

GetKernel = Callable[[Callable[[str], None]], Kernel]
"""Gets the kernel, telling what it waits for."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all cells of a run share."""

    place: Workplace
    project: Project
    lists: Lists
    tell: Listener
    repeat: Callable[[Cell, int], str]


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a guest needs before it boots; `upstream` is what it runs where that is no race of ours.

    What is run is in the guest from its start; `steps` make it ready.
    """

    kernel: Kernel
    binary: Path
    sync_test: Path | None
    spec: GuestSpec
    upstream: Upstream | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """What the guest must do before it can race."""
        return upstream_steps(self.upstream) if self.upstream else probe_steps(self.kernel.probe)


class CellRun:
    """The work on one cell; `record` is what cell.json says at any moment."""

    def __init__(self, cell: Cell, run: RunDir, shop: Workshop) -> None:
        self.cell = cell
        # What this cell waits for is told as this cell's.
        self.shop = replace(shop, place=replace(shop.place, waits=self.held_up))
        self.directory = run.cell_dir(cell)
        self.seed = cell.race.seed if cell.race.seed is not None else secrets.randbits(64)
        self.record = CellRecord(cell, shop.repeat(cell, self.seed), seed=self.seed)
        # All of a console is from before the race until its first mark is known: that of a guest lost at boot, too.
        self.marks = Marks("", "")
        self.race_began: float | None = None
        self.kcsan = False
        records.save(self.directory / "cell.json", self.record)

    def note(self, **facts: object) -> None:
        """Add to cell.json what a stage decided."""
        self.record = replace(self.record, **facts)  # type: ignore[arg-type]
        records.save(self.directory / "cell.json", self.record)

    def waiting(self, stage: str, text: str) -> None:
        """Tell whoever watches what this cell waits for."""
        self.shop.tell(event(self.cell.id, stage, State.WAITING, text))

    def held_up(self, text: str) -> None:
        """Tell whoever watches that another guprace keeps this cell from going on."""
        self.shop.tell(held_up(self.cell.id, text))

    def unless_stopped(self, seconds: float = 0.0) -> None:
        """Raise RunInterruptedError if somebody asks to stop: what ends then says nothing of kernel or host."""
        self.shop.place.stop.wait(seconds)

    @contextlib.contextmanager
    def stage(self, name: str, text: str = "") -> Iterator[None]:
        """Do a stage: told when it starts and ends, its seconds in cell.json."""
        started = time.monotonic()
        self.shop.tell(event(self.cell.id, name, State.STARTED, text))
        with contextlib.ExitStack() as failing:
            failing.callback(
                lambda: self.shop.tell(event(self.cell.id, name, State.FAILED, seconds=time.monotonic() - started))
            )
            yield
            failing.pop_all()
        seconds = time.monotonic() - started
        self.note(stages=(*self.record.stages, (name, round(seconds, 3))))
        log.info("%s %s %.1f s", self.cell.id, name, seconds)
        self.shop.tell(event(self.cell.id, name, State.FINISHED, seconds=seconds))

    def run(self, get_kernel: GetKernel, baseline: frozenset[str], stock: RaceResult | None = None) -> Verdict:
        """Take the cell to its verdict and write it; `baseline` and `stock` are what the unbroken kernel's cell gave.

        Raises:
            RunInterruptedError: somebody asked to stop; the cell then has no verdict, unless something was found.
            HostError: the run directory cannot be written.
        """
        log.info("%s: %s", self.cell.id, self.record.repeat)
        facts = Facts(self.cell.expect, baseline=baseline, stock=stock, first_hit=self.cell.race.first_hit)
        try:
            facts = self._gone_through(facts, get_kernel)
        except RunInterruptedError as stopped:
            self._keep_found(facts, stopped)
            raise
        return self._give(self._judged(self._with_what_is_left(facts)))

    def _gone_through(self, facts: Facts, get_kernel: GetKernel) -> Facts:
        """Go through the stages, and add to `facts` what came of them. Raises RunInterruptedError."""
        try:
            return replace(facts, evidence=self._evidence(get_kernel))
        except RunInterruptedError:
            raise
        except GuestLostError as error:
            if error.reason in (LostReason.QEMU_DIED, LostReason.REBOOT):
                self.unless_stopped(LAST_WORD_SECONDS)
            return replace(facts, loss=loss_of(error), ended_after=self._raced_for())
        except NotApplicableError as error:
            return replace(facts, skip=str(error))
        except (GupraceError, OSError) as error:
            self.unless_stopped()
            return replace(facts, ended_after=self._raced_for()).then(self._trouble(error))
        except Exception as error:
            # One cell's defect must not lose the others' verdicts; it is logged whole.
            log.exception("%s: internal error", self.cell.id)
            return replace(facts, ended_after=self._raced_for()).then(_defect(error))

    def _keep_found(self, facts: Facts, stopped: RunInterruptedError) -> None:
        """Give a cell that is interrupted its verdict if something was found: raced again, it might not be.

        A report that QEMU's end cut short is nothing found: what known issues and GUP's path go by may be missing.
        """
        facts = replace(facts, ended_after=self._raced_for()).then(Trouble(Fault.USER, f"the run was {stopped}"))
        facts = self._with_what_is_left(facts)
        verdict = self._judged(replace(facts, splats=tuple(splat for splat in facts.splats if splat.whole)))
        if verdict.outcome in (Outcome.FAIL, Outcome.CAUGHT):
            self._give(verdict)

    def _give(self, verdict: Verdict) -> Verdict:
        """Write the verdict, and tell it."""
        try:
            records.save(self.directory / "verdict.json", verdict)
        except HostError:
            # What was found is known here and nowhere else by now.
            log.warning("%s: %s, which cannot be written: %s", self.cell.id, verdict.outcome, verdict.reason)
            raise
        self.shop.tell(event(self.cell.id, "judge", State.VERDICT, verdict.outcome))
        return verdict

    def _trouble(self, error: GupraceError | OSError) -> Trouble:
        if isinstance(error, OSError):
            error = records.disk_error(error, Path(error.filename or self.directory))
        return trouble_of(error)

    def _with_what_is_left(self, facts: Facts) -> Facts:
        """Add what guest and selftest left behind: the console's reports, the selftest's words."""
        for step in (self._with_console, self._with_words):
            facts = self._attempted(step, facts)
        return facts

    def _judged(self, facts: Facts) -> Verdict:
        files = evidence_in(self.directory)
        try:
            return judge(replace(facts, kcsan=self.kcsan, files=files))
        except Exception as error:
            log.exception("%s: internal error", self.cell.id)
            return Verdict(Outcome.BROKEN, _defect(error).text, fault=Fault.HOST, evidence=files)

    def _attempted(self, step: Callable[[Facts], Facts], facts: Facts) -> Facts:
        """Do a step; what it does not survive is this cell's trouble: what others find still decides."""
        try:
            return step(facts)
        except (GupraceError, OSError) as error:
            return facts.then(self._trouble(error))
        except Exception as error:
            log.exception("%s: internal error", self.cell.id)
            return facts.then(_defect(error))

    def _with_console(self, facts: Facts) -> Facts:
        console = self.directory / "console.log"
        if not console.is_file():
            return facts
        found = scan(console, self.marks, by_standing(self.shop.lists.path, self.shop.lists.known))
        # Of a prebuilt kernel nobody but itself says which version it is.
        version = self.record.kernel_version or found.version
        splats = self._placed(found.splats, version)
        facts = replace(facts, splats=splats, dropped=found.dropped, omitted=found.omitted)
        return self._attempted(lambda known: self._with_reports_kept(known, version), facts)

    def _with_reports_kept(self, facts: Facts, version: str) -> Facts:
        """Keep the reports, and the version of the kernel that they were placed by: others will go by it, too."""
        records.save(self.directory / "splats.json", facts.splats)
        if version != self.record.kernel_version:
            self.note(kernel_version=version)
        return facts

    def _with_words(self, facts: Facts) -> Facts:
        if facts.evidence is None:
            # Whatever ended it, what the selftest said before stands: a hit is a hit.
            facts = replace(facts, race=said_in(self.directory, self.cell))
        return replace(facts, counted=counted(facts.said, self.shop.lists.counted))

    def _placed(self, splats: tuple[Splat, ...], version: str) -> tuple[Splat, ...]:
        """Say of each report whether it is new, known, or background."""
        kernel, lists = self.cell.kernel, self.shop.lists
        subject = Subject(version, kernel.arch, kernel.flavour, self.cell.scenario)
        return classify(splats, lists.path, lists.known, subject, datetime.now(UTC).date())

    def _raced_for(self) -> float | None:
        return None if self.race_began is None else round(time.monotonic() - self.race_began, 3)

    def prepare(self, get_kernel: GetKernel) -> Prepared:
        """Get all that the guest needs: kernel, selftests, image, accelerator.

        Raises:
            GupraceError: as the rooms do.
        """
        with self.stage("build"):
            # First: a kernel whose tree has no such program need not be built for it.
            upstream = self._upstream()
            kernel = get_kernel(lambda text: self.waiting("build", text))
            binary, sync_test = (upstream.binary, None) if upstream else self._race_programs()
        if kernel.config:
            self.kcsan = "KCSAN" in read_config(kernel.config.read_text())
        with self.stage("image"):
            image = self._image()
        self.note(
            kernel_digest=kernel.digest,
            kernel_version=kernel.version or "",
            toolchain=kernel.toolchain,
            image_digest=image.digest,
            made_of=made_of(self.cell, binary, self.shop.project),
        )
        with self.stage("accel"):
            accel = self._accel(kernel, image)
        files = carried(binary) if upstream else carried(binary, sync_test, kernel.probe)
        return Prepared(kernel, binary, sync_test, self._guest_spec(kernel, image, accel, files), upstream)

    def _race_programs(self) -> tuple[Path, Path]:
        selftests = build_selftests(self.cell.kernel.arch, self.shop.project, self.shop.place)
        return selftests.directory / self.cell.scenario, selftests.sync_test

    def _upstream(self) -> Upstream | None:
        program, shop = self.cell.program, self.shop
        if program is None:
            return None
        return build_upstream(
            self.cell.kernel, program, shop.project, shop.place, lambda text: self.waiting("build", text)
        )

    def _evidence(self, get_kernel: GetKernel) -> Evidence:
        prepared = self.prepare(get_kernel)
        with contextlib.ExitStack() as guests:
            with self.stage("boot", str(prepared.spec.accel.accel)):
                guest = guests.enter_context(boot(prepared.spec, stop=self.shop.place.stop))
            return self._race(guest, prepared)

    def _image(self) -> Image:
        place = self.shop.place
        return build_image(
            self.cell.kernel.arch,
            cache=place.cache,
            project=self.shop.project,
            stop=place.stop,
            environ=place.environ,
            waits=place.waits,
        )

    def _accel(self, kernel: Kernel, image: Image) -> AccelChoice:
        place = self.shop.place
        choice = choose(
            self.cell.guest.accel, self.cell.kernel.arch, kernel.image, image.initramfs,
            cache=place.cache, stop=place.stop, environ=place.environ,
        )  # fmt: skip
        self.note(accel=str(choice.accel), accel_why=choice.why, vcpus=vcpus_of(self.cell))
        return choice

    def _guest_spec(
        self, kernel: Kernel, image: Image, accel: AccelChoice, files: tuple[GuestFile, ...]
    ) -> GuestSpec:
        return GuestSpec(
            arch=self.cell.kernel.arch,
            kernel=kernel.image,
            initramfs=image.initramfs,
            directory=self.directory,
            accel=accel,
            vcpus=self.record.vcpus,
            memory=memory(self.cell, self.shop.project),
            cmdline=cmdline(self.cell, self.shop.project),
            files=files,
        )

    def _race(self, guest: Guest, prepared: Prepared) -> Evidence:
        kernel, accel = prepared.kernel, prepared.spec.accel
        load = os.getloadavg()[0]
        with self.stage("deploy"):
            if prepared.sync_test:
                prove_instruments(guest, prepared.sync_test.name, self.seed, self.directory / SELFTEST_KTAP)
            before = collect.before(guest, prepared.steps, kernel.config, self.shop.place.stop)
        self.race_began = started = time.monotonic()
        with self.stage("race", f"seed {self.seed:#x}"):
            self.marks = Marks(before.mark.token, "")
            said = self._said(guest, prepared)
        seconds = time.monotonic() - started
        with self.stage("collect"):
            after = collect.after(guest, self.shop.place.stop)
            self.marks = Marks(before.mark.token, after.mark.token)
            records.write_atomically(self.directory / "dmesg.log", after.dmesg.encode(errors="replace"))
            was, now = before.counters, after.counters
            evidence = Evidence(
                race=said,
                vmstat=collect.deltas(was.vmstat, now.vmstat),
                taint=(was.taint, now.taint),
                kcsan=collect.deltas(was.kcsan, now.kcsan or {}) if was.kcsan is not None else None,
                kcsan_on=bool(now.kcsan.get("enabled")) if now.kcsan else None,
                config_lost=before.config_lost,
                console_blind=before.blind or after.blind,
                versions={"uname": before.uname, "qemu": guest.qemu_version, "accel": f"{accel.accel}: {accel.why}"},
                host_load=(load, os.getloadavg()[0]),
                race_seconds=seconds,
            )
            records.save(self.directory / "evidence.json", evidence)
        return evidence

    def _said(self, guest: Guest, prepared: Prepared) -> RaceResult:
        ktap, accel = self.directory / "race.ktap", prepared.spec.accel.accel
        if prepared.upstream:
            return run_upstream(guest, prepared.upstream, accel, ktap, lambda text: self.waiting("race", text))
        order = Order(self.cell.scenario, self.cell.race.seconds, self.seed, self.cell.race.first_hit)
        return race(guest, order, ktap, lambda text: self.waiting("race", text))


def _defect(error: Exception) -> Trouble:
    """Return what a verdict says of a defect of ours."""
    return Trouble(Fault.HOST, f"internal error: {error!r} (the whole of it is in the run's guprace.log)")
