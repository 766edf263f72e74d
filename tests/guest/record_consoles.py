# SPDX-License-Identifier: GPL-2.0-only
"""Have real kernels report on purpose, and keep their consoles.

    python -m tests.guest.record_consoles LANE [--only GLOB] [--to DIR]

LANE is architecture/flavour of tests/data/splat/crash.yaml, such as arm64/kasan. Each kind gets a guest of its own;
its console, from the boot on, goes to `<arch>-6.1-<flavour>-<kind>.log` (default: in tests/data/splat/real). Which
kinds a kernel can do it says itself: what it does not know is said and left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path

from orchestrator.guest.accel import host_slowness
from orchestrator.guest.boot import boot
from orchestrator.guest.guest import Guest
from orchestrator.guest.model import AccelChoice, GuestLostError, GuestSpec
from orchestrator.image.build import build_image
from orchestrator.kernel.build import KernelBuilder
from orchestrator.kernel.source import Workplace
from orchestrator.matrix.load import load_plan
from orchestrator.matrix.plan import Accel
from orchestrator.paths import Project, cache_root
from orchestrator.proc import Stop

DATA = Path(__file__).resolve().parents[1] / "data" / "splat"
PROVOKE = "/sys/kernel/debug/provoke-crash/DIRECT"


def lkdtm(crash: str) -> str:
    """Return the shell line that has lkdtm do it; status 3 where this kernel has no such crash."""
    return f"grep -qx {crash} {PROVOKE} || exit 3; echo {crash} > {PROVOKE}"


KINDS: dict[str, tuple[str, float]] = {
    "sysrq-panic": ("echo c > /proc/sysrq-trigger", 10),
    "sysrq-locks": ("echo d > /proc/sysrq-trigger; echo w > /proc/sysrq-trigger; echo l > /proc/sysrq-trigger", 4),
    "bug": (lkdtm("BUG"), 5),
    "warning": (lkdtm("WARNING"), 5),
    "warning-message": (lkdtm("WARNING_MESSAGE"), 5),
    "null-deref": (lkdtm("EXCEPTION"), 5),
    "panic": (lkdtm("PANIC"), 5),
    "stack-overflow": (lkdtm("EXHAUST_STACK"), 10),
    "list-add": (lkdtm("CORRUPT_LIST_ADD"), 5),
    "refcount-saturated": (lkdtm("REFCOUNT_ADD_SATURATED"), 5),
    "refcount-zero": (lkdtm("REFCOUNT_INC_ZERO"), 5),
    "write-ro": (lkdtm("WRITE_RO"), 5),
    "exec-data": (lkdtm("EXEC_DATA"), 5),
    "kasan-read-after-free": (lkdtm("READ_AFTER_FREE"), 5),
    "kasan-slab-overflow": (lkdtm("SLAB_LINEAR_OVERFLOW"), 5),
    "soft-lockup": (f"echo 4 > /proc/sys/kernel/watchdog_thresh; {lkdtm('SOFTLOCKUP')}", 30),
    "rcu-stall": (
        "echo 0 > /proc/sys/kernel/watchdog; echo 6 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout; "
        + lkdtm("SOFTLOCKUP"),
        40,
    ),
    "hung-task": (f"echo 3 > /proc/sys/kernel/hung_task_timeout_secs; {lkdtm('HUNG_TASK')}", 20),
}


def provoke(guest: Guest, line: str, seconds: float) -> int | None:
    """Run the line; None when the guest did not live to tell its status."""
    guest.run("mount -t debugfs none /sys/kernel/debug 2>/dev/null; echo 0 > /proc/sys/kernel/panic_on_oops", 20)
    until = time.monotonic() + seconds
    try:
        done = guest.run(f"( {line} ) & wait $!", seconds)
        while done.status != 3 and time.monotonic() < until:
            guest.check()
            time.sleep(0.2)
    except GuestLostError:
        return None
    return done.status


def main() -> None:
    """Boot a guest for each kind of the lane, and keep what its console said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("lane", help="architecture/flavour, such as arm64/kasan")
    parser.add_argument("--only", default="*")
    parser.add_argument("--to", type=Path, default=DATA / "real")
    asked = parser.parse_args()
    project, stop = Project(), Stop()
    place = Workplace(cache_root(os.environ), os.environ, stop)
    cells = [c for c in load_plan(DATA / "crash.yaml", project).cells if c.id.startswith(f"6.1/{asked.lane}/")]
    if not cells:
        parser.error(f"crash.yaml has no lane {asked.lane}")
    arch = cells[0].kernel.arch
    kernel = KernelBuilder(place, project, os.cpu_count() or 1).build(cells[0].kernel)
    image = build_image(arch, cache=place.cache, project=project, stop=stop, environ=os.environ)
    choice = AccelChoice(Accel.TCG, "recording", host_slowness())
    asked.to.mkdir(parents=True, exist_ok=True)
    for name, (line, seconds) in KINDS.items():
        if not fnmatchcase(name, asked.only):
            continue
        with tempfile.TemporaryDirectory() as directory:
            spec = GuestSpec(arch, kernel.image, image.initramfs, Path(directory), choice, 2, 1024)
            with boot(spec, stop=stop) as guest:
                status = provoke(guest, line, seconds)
            log = Path(directory) / "console.log"
            kept = asked.to / f"{asked.lane.replace('/', '-6.1-')}-{name}.log"
            if status == 3:
                print(f"{name}: this kernel cannot", flush=True)
                continue
            kept.write_bytes(log.read_bytes())
            print(f"{name}: {kept.name}, {kept.stat().st_size} bytes, status {status}", flush=True)


if __name__ == "__main__":
    main()
