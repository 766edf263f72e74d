# SPDX-License-Identifier: GPL-2.0-only
"""Have a distribution's kernel report on purpose, and keep what its console said.

    python -m tests.guest.record_prebuilt KERNEL NAME MODULE.ko... [--only GLOB] [--to DIR]

As record_consoles.py, for an x86_64 kernel that is a package and needs modules for its network: no SSH, the init in
the initramfs does it. The modules are lkdtm and tests/guest/crash, built against the package's headers
(`make -C <headers> M=<drivers/misc/lkdtm> CONFIG_LKDTM=m modules`; native_write_cr4() is not exported there).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from orchestrator.image import cpio
from orchestrator.image.build import build_image
from orchestrator.matrix.plan import Arch
from orchestrator.paths import Project, cache_root
from orchestrator.proc import Stop
from orchestrator.splat.scan import scan
from tests.guest.record_consoles import CANNOT, DATA, MARK, Kind, crash, lkdtm, part

BOOT_SECONDS = 240
_HUNG = "echo 3 > /proc/sys/kernel/hung_task_timeout_secs"
_SOFT = "echo 4 > /proc/sys/kernel/watchdog_thresh"
KINDS = (
    Kind("warning", "", lkdtm("WARNING_MESSAGE"), 3),
    Kind("refcount", "", lkdtm("REFCOUNT_INC_ZERO"), 3),
    Kind("bug", "", lkdtm("BUG"), 3),
    Kind("null-deref", "", lkdtm("EXCEPTION"), 3),
    Kind("write-ro", "", lkdtm("WRITE_RO"), 3),
    Kind("exec-data", "", lkdtm("EXEC_DATA"), 3),
    Kind("list-corruption", "", lkdtm("CORRUPT_LIST_ADD"), 3),
    Kind("usercopy", "", lkdtm("USERCOPY_SLAB_SIZE_TO"), 3),
    Kind("fortify", "", lkdtm("FORTIFY_STR_OBJECT"), 3),
    Kind("page-dump", "", crash("page_dump"), 3),
    Kind("atomic-schedule", "", crash("atomic_schedule"), 3),
    Kind("sysrq-oom", "", "echo f > /proc/sysrq-trigger", 8),
    Kind("hung-task", "", f"{_HUNG}; {lkdtm('HUNG_TASK')}", 40),
    Kind("soft-lockup", "", f"{_SOFT}; {lkdtm('SOFTLOCKUP')}", 16),
    Kind("rcu-stall", "", "echo 6 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", 30),
    Kind("sysrq-crash", "", "echo c > /proc/sysrq-trigger", 5),
    Kind("stack-overflow", "", lkdtm("EXHAUST_STACK"), 5, fresh=True),
    Kind("panic", "", lkdtm("PANIC"), 5, fresh=True),
)


def init(kinds: Sequence[Kind], modules: Sequence[Path]) -> bytes:
    """Return the guest's init: it provokes one kind after the other, and powers off."""
    lines = [
        "#!/bin/busybox sh",
        "export PATH=/usr/sbin:/usr/bin:/sbin:/bin",
        "mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev; mount -t tmpfs none /tmp",
        "mount -t debugfs none /sys/kernel/debug",
        *(f"mv /root/{module.name} /tmp/; insmod /tmp/{module.name}" for module in modules),
    ]
    for kind in kinds:
        lines += [f"echo '{MARK}{kind.name}' > /dev/kmsg", f"( {kind.line} ) &", f"sleep {kind.seconds:.0f}"]
    return "\n".join([*lines, "poweroff -f", ""]).encode()


def console(kernel: Path, initramfs: Path, seconds: float) -> bytes:
    """Boot, wait for the end, and return what the console said."""
    told = "console=ttyS0 ignore_loglevel printk.devkmsg=on nokaslr panic=-1 rdinit=/root/record no_timer_check"
    argv = [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-machine", "q35", "-accel", "tcg", "-cpu", "max"),
        *("-smp", "2", "-m", "1024", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-kernel", str(kernel), "-initrd", str(initramfs), "-append", told),
    ]
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=seconds).stdout
    except subprocess.TimeoutExpired as late:
        return late.stdout or b""


def main() -> None:
    """Provoke each kind that this kernel can report, and keep what the console said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("kernel", type=Path)
    parser.add_argument("name", help="begins the names of the logs, such as 6.1-x86_64-debian")
    parser.add_argument("modules", type=Path, nargs="+")
    parser.add_argument("--only", default="*")
    parser.add_argument("--to", type=Path, default=DATA)
    asked = parser.parse_args()
    image = build_image(Arch.X86_64, cache=cache_root(os.environ), project=Project(), stop=Stop(), environ=os.environ)
    asked.to.mkdir(parents=True, exist_ok=True)
    rest = [kind for kind in KINDS if fnmatchcase(kind.name, asked.only)]
    while rest:
        batch = [rest.pop(0)]
        while rest and not rest[0].fresh:
            batch.append(rest.pop(0))
        with tempfile.TemporaryDirectory() as directory:
            initramfs = Path(directory) / "initramfs"
            files = {f"/root/{module.name}": module.read_bytes() for module in asked.modules}
            script = cpio.OverlayFile(init(batch, asked.modules), 0o755)
            plain = cpio.decompressed(image.initramfs)
            initramfs.write_bytes(cpio.concatenate(plain, cpio.overlay_cpio({**files, "/root/record": script})))
            log = console(asked.kernel, initramfs, BOOT_SECONDS + 4 * sum(kind.seconds for kind in batch))
        for kind in batch:
            said = part(log, kind.name)
            if not said or CANNOT in said:
                print(f"{kind.name}: this kernel cannot", flush=True)
                continue
            where = asked.to / f"{asked.name}-{kind.name}.log"
            where.write_bytes(said)
            found = "; ".join(f"{splat.form}: {splat.title}" for splat in scan(where).splats)
            print(f"{kind.name}: {where.name}, {len(said)} bytes: {found or 'NO REPORT'}", flush=True)


if __name__ == "__main__":
    main()
