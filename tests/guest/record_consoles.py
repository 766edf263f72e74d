# SPDX-License-Identifier: GPL-2.0-only
"""Have real kernels report on purpose, and keep what their consoles said.

    python -m tests.guest.record_consoles 6.12/arm64/kasan [--only GLOB] [--to DIR]

The lane is one of configs/suite.yaml, with its stock kernel: what is wrong on purpose comes in modules that are built
against the lane's objects, as the probe is. Those are the kernel's own lkdtm, and tests/guest/crash, which races data
and breaks rules that lkdtm does not. Reports follow each other in one guest for as long as it lives. Of its console
the banner is kept, and what came from the mark of a kind to that of the next: real bytes, at most LINES lines, as
`<kernel>-<arch>-<flavour>-<kind>.log`. What a kernel has no instrument for is said and left out.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.guest.accel import host_slowness
from orchestrator.guest.boot import boot
from orchestrator.guest.guest import Guest
from orchestrator.guest.model import AccelChoice, GuestLostError, GuestSpec
from orchestrator.image.build import build_image
from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.lane import LaneTree
from orchestrator.kernel.lock import locked
from orchestrator.kernel.make import KernelMake
from orchestrator.kernel.model import Kernel
from orchestrator.kernel.source import Workplace
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.plan import Accel, KernelSpec
from orchestrator.paths import Project, cache_root
from orchestrator.proc import Stop
from orchestrator.race.session import GUEST_DIR, carried
from orchestrator.splat.scan import scan

DATA = Path(__file__).resolve().parents[1] / "data" / "splat" / "real"
CRASH = Path(__file__).resolve().parent / "crash"
MARK = "guprace: record "
# With the kernel's list of all slab caches in it, what the OOM killer says is 180 lines.
LINES = 240
TOLD = ("kasan_multi_shot",)
PROVOKE = "/sys/kernel/debug/provoke-crash/DIRECT"
CANNOT = b"guprace: this kernel cannot"
OVER = b"guprace: recorded"
# How long a report may take to come at reference speed, and how long the console is silent when it is over.
SECONDS = 8.0
QUIET = 2.0
# A guest on a busy host is given so many times as long, and no more.
PATIENCE = 8.0


def lkdtm(crash: str) -> str:
    """Return the shell line that has lkdtm do it, or says that this kernel has no such crash."""
    return (
        f"if grep -qx {crash} {PROVOKE}; then echo {crash} > {PROVOKE}; else echo {CANNOT.decode()} > /dev/kmsg; fi"
    )


def crash(what: str) -> str:
    """Return the shell line that has our module do it."""
    return f"insmod /tmp/guprace_crash.ko what={what} 2>/dev/null"


@dataclass(frozen=True, slots=True)
class Kind:
    """One report to provoke: where (a pattern over flavours), by which shell line, and how long it may take.

    `fresh`: in a new guest, since the kernel says so once only (lockdep). `waits_for` is what the console must say.
    """

    name: str
    flavours: str
    line: str
    seconds: float = SECONDS
    fresh: bool = False
    waits_for: bytes = b""


def data_race(name: str, what: str) -> Kind:
    """Return a race of our module for KCSAN. It goes on after its first report: what comes later is its own, too."""
    line = f"{crash(what)}; echo '{OVER.decode()}' > /dev/kmsg"
    return Kind(name, "kcsan", line, 30, waits_for=OVER)


# The watchdogs of a guest are slow on purpose; here they shall bark.
_SOFT = "echo 4 > /proc/sys/kernel/watchdog_thresh"
# A grace period that has begun keeps its deadline, so it is set before the CPU is gone.
_STALL = "echo 20 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout"
_HUNG = "echo 3 > /proc/sys/kernel/hung_task_timeout_secs"
KINDS = (
    Kind("bug", "kasan", lkdtm("BUG")),
    Kind("warning", "kasan", lkdtm("WARNING_MESSAGE")),
    Kind("null-deref", "kasan", lkdtm("EXCEPTION")),
    Kind("write-ro", "kasan", lkdtm("WRITE_RO")),
    Kind("exec-data", "kasan", lkdtm("EXEC_DATA")),
    Kind("access-user", "kasan", lkdtm("ACCESS_USERSPACE")),
    Kind("refcount", "kasan", lkdtm("REFCOUNT_INC_ZERO")),
    Kind("lkdtm-read-after-free", "kasan", lkdtm("READ_AFTER_FREE")),
    Kind("lkdtm-vmalloc-overflow", "kasan", lkdtm("VMALLOC_LINEAR_OVERFLOW")),
    Kind("use-after-free", "kasan", crash("use_after_free")),
    Kind("out-of-bounds", "kasan", crash("out_of_bounds")),
    Kind("double-free", "kasan", crash("double_free")),
    Kind("bad-page-state", "kasan", crash("bad_page_state")),
    Kind("page-dump", "debug", crash("page_dump")),
    Kind("sysrq-locks-tasks-cpus", "debug", "for key in d w l; do echo $key > /proc/sysrq-trigger; done"),
    Kind("sysrq-oom", "kasan", "echo f > /proc/sysrq-trigger"),
    Kind("list-corruption", "debug", lkdtm("CORRUPT_LIST_ADD")),
    Kind("atomic-sleep", "debug", crash("atomic_sleep")),
    Kind("atomic-schedule", "debug", crash("atomic_schedule")),
    Kind("rcu-usage", "debug", crash("rcu_usage"), fresh=True),
    Kind("circular-locks", "debug", crash("circular_locks"), fresh=True),
    Kind("recursive-locks", "debug", crash("recursive_locks"), fresh=True),
    data_race("read-write", "race_read_write"),
    data_race("write-write", "race_write_write"),
    data_race("marked-read", "race_marked_read"),
    data_race("marked-write", "race_marked_write"),
    data_race("assert-writer", "race_assert_writer"),
    data_race("assert-access", "race_assert_access"),
    data_race("assert-bits", "race_assert_bits"),
    data_race("unknown-origin", "race_unknown_origin"),
    # The task stays, the CPU is gone, and in the end the guest is.
    # an oops before, and khungtaskd says nothing any more
    Kind("hung-task", "kasan", f"{_HUNG}; {lkdtm('HUNG_TASK')}", 25, fresh=True),
    Kind(
        "soft-lockup",
        "kasan",
        f"{_SOFT}; {lkdtm('SOFTLOCKUP')}",
        40,
        fresh=True,
        waits_for=b"BUG: soft lockup",
    ),
    # the watchdog's word for it would come first, and the stall count as more of the same
    Kind(
        "rcu-stall",
        "kasan",
        f"echo 0 > /proc/sys/kernel/watchdog; {_STALL}; sleep 1; {lkdtm('SOFTLOCKUP')}",
        60,
        fresh=True,
        waits_for=b"detected stall",
    ),
    Kind("sysrq-crash", "kasan", "echo c > /proc/sysrq-trigger"),
    Kind("panic", "debug", lkdtm("PANIC")),
    Kind("stack-overflow", "kasan", lkdtm("EXHAUST_STACK"), 20),
)


@dataclass(frozen=True, slots=True)
class Recorder:
    """What is needed to boot guests of one lane and to keep what they say."""

    spec: KernelSpec
    kernel: Kernel
    initramfs: Path
    modules: tuple[Path, ...]
    name: str
    to: Path
    stop: Stop

    def record(self, kinds: Sequence[Kind]) -> None:
        """Record each of `kinds`, in as few guests as may be."""
        rest = list(kinds)
        while rest:
            batch = [rest.pop(0)]
            while rest and not rest[0].fresh:
                batch.append(rest.pop(0))
            done = self._guest(batch)
            rest[:0] = batch[done:]

    def _guest(self, kinds: Sequence[Kind]) -> int:
        """Provoke `kinds` in one guest until it is lost; return how many had their turn."""
        choice = AccelChoice(Accel.TCG, "recording", host_slowness())
        done = 0
        with tempfile.TemporaryDirectory() as directory:
            where = Path(directory)
            spec = GuestSpec(
                *(self.spec.arch, self.kernel.image, self.initramfs, where, choice, 2, 1024, TOLD, 300),
                files=carried(*self.modules),
            )
            with boot(spec, stop=self.stop) as guest:
                try:
                    self._prepare(guest)
                    for kind in kinds:
                        done += 1
                        self._provoke(guest, kind)
                        self._keep(kind, guest.console_log)
                except GuestLostError as error:
                    print(f"{kinds[max(done - 1, 0)].name}: the guest was lost: {error.reason}", flush=True)
                    done = max(done, 1)
            self._keep(kinds[done - 1], where / "console.log")
        return done

    def _prepare(self, guest: Guest) -> None:
        guest.run(
            f"cp {GUEST_DIR}/*.ko /tmp/; mount -t debugfs none /sys/kernel/debug 2>/dev/null; "
            "echo 0 > /proc/sys/kernel/panic_on_oops; insmod /tmp/lkdtm.ko",
            60,
        )

    @staticmethod
    def _provoke(guest: Guest, kind: Kind) -> None:
        """Do it in the background (it may end the shell, or never come back), and wait for the end of the report."""
        guest.run(f"echo '{MARK}{kind.name}' >/dev/kmsg", 20)
        guest.run(f"( {kind.line} ) </dev/null >/dev/null 2>&1 &", 60)
        slowness = min(guest.slowness, PATIENCE)
        end = time.monotonic() + kind.seconds * slowness
        size, since = 0, time.monotonic()
        while time.monotonic() < end:
            guest.check()
            said = part(guest.console_log.read_bytes(), kind.name)
            if len(said) != size:
                size, since = len(said), time.monotonic()
            elif time.monotonic() - since > QUIET * slowness and over(said, kind.waits_for):
                return
            time.sleep(0.5)

    def _keep(self, kind: Kind, console: Path) -> None:
        said = part(console.read_bytes(), kind.name)
        if not said or CANNOT in said:
            print(f"{kind.name}: this kernel cannot", flush=True)
            return
        log = self.to / f"{self.name}-{kind.name}.log"
        log.write_bytes(said)
        found = "; ".join(f"{splat.form}: {splat.title}" for splat in scan(log).splats)
        print(f"{kind.name}: {log.name}, {len(said)} bytes: {found or 'NO REPORT'}", flush=True)


def over(said: bytes, waits_for: bytes) -> bool:
    """Say whether a kind's part of the console holds what was waited for: a report."""
    return CANNOT in said or (waits_for in said and bool(scan(io.BytesIO(said)).splats))


def part(log: bytes, kind: str) -> bytes:
    """Return the banner of a console, and what it said from the mark of `kind` to the next mark."""
    lines = log.splitlines(keepends=True)
    marks = [number for number, line in enumerate(lines) if MARK.encode() in line]
    mine = [number for number in marks if re.search(rf"{MARK}{kind}\s*$".encode(), lines[number])]
    if not mine:
        return b""
    end = next((number for number in marks if number > mine[0]), len(lines))
    banner = [line for line in lines[: mine[0]] if b"Linux version" in line][:1]
    return b"".join([*banner, *lines[mine[0] : end][:LINES]])


def modules_of(builder: KernelBuilder, spec: KernelSpec, kernel: Kernel, to: Path) -> tuple[Path, ...]:
    """Build lkdtm and our own module for `kernel`, against the objects of its lane."""
    job = builder._resolve(spec)
    lane = LaneTree(builder.place.cache / "lanes" / job.request.lane)
    with locked(lane.root / "lock", f"lane {lane.root.name}", builder.place.stop, print):
        config = lane.objects / ".config"
        if not kernel.config or not config.is_file() or config.read_bytes() != kernel.config.read_bytes():
            raise UsageError("the lane's objects are gone or another kernel's", where=str(lane.root))
        make = KernelMake(lane.work, lane.objects, job.tools, to / "build.log", builder.jobs, builder.place)
        shutil.copytree(CRASH, to / "crash")
        shutil.copytree(lane.work / "drivers" / "misc" / "lkdtm", to / "lkdtm")
        with (to / "lkdtm" / "Makefile").open("a") as stream:
            stream.write("ccflags-y += -ffile-prefix-map=$(M)=drivers/misc/lkdtm\n")
            # x86: exported only for kernels that have lkdtm built in; none of KINDS comes there
            stream.write("CFLAGS_bugs.o += -Dnative_write_cr4=lkdtm_write_cr4\n")
        with (to / "lkdtm" / "bugs.c").open("a") as stream:
            stream.write("void lkdtm_write_cr4(unsigned long cr4);\nvoid lkdtm_write_cr4(unsigned long cr4) { }\n")
        make(f"M={to / 'lkdtm'}", "CONFIG_LKDTM=m", "modules")
        make(f"M={to / 'crash'}", "modules")
    return to / "lkdtm" / "lkdtm.ko", to / "crash" / "guprace_crash.ko"


def main() -> None:
    """Provoke each kind that the lane's flavour can report, and keep what the console said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("lane", help="a lane of configs/suite.yaml, such as 6.12/arm64/kasan")
    parser.add_argument("--only", default="*", help="a glob over kinds")
    parser.add_argument("--to", type=Path, default=DATA)
    asked = parser.parse_args()
    project, stop = Project(), Stop()
    place = Workplace(cache_root(os.environ), os.environ, stop)
    cells = [c for c in load_plan(project.configs / "suite.yaml", project).cells if c.lane == asked.lane]
    if not cells:
        parser.error(f"configs/suite.yaml has no lane {asked.lane}")
    spec = cells[0].kernel
    builder = KernelBuilder(place, project, os.cpu_count() or 1)
    kernel = builder.build(spec)
    image = build_image(spec.arch, cache=place.cache, project=project, stop=stop, environ=os.environ)
    asked.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        modules = modules_of(builder, spec, kernel, Path(directory))
        name = asked.lane.replace("/", "-")
        recorder = Recorder(spec, kernel, image.initramfs, modules, name, asked.to, stop)
        wanted = [kind for kind in KINDS if fnmatchcase(spec.flavour, kind.flavours)]
        recorder.record([kind for kind in wanted if fnmatchcase(kind.name, asked.only)])


if __name__ == "__main__":
    main()
