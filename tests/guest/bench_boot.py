# SPDX-License-Identifier: GPL-2.0-only
"""How long until a guest answers over SSH: `python -m tests.guest.bench_boot ARCH KERNEL [--rounds 5]`.

Prints one line for each boot and the median.  Needs a kernel image that has been built and a QEMU; the initramfs
comes from the user's cache, or is built.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from orchestrator.guest.accel import host_slowness
from orchestrator.guest.boot import boot
from orchestrator.guest.model import AccelChoice, GuestSpec
from orchestrator.image.build import build_image
from orchestrator.matrix.plan import Accel, Arch
from orchestrator.paths import Project, cache_root
from orchestrator.proc import Stop


def children_seconds() -> float:
    """CPU seconds of the processes that have ended, QEMU among them."""
    times = os.times()
    return times.children_user + times.children_system


def one(spec: GuestSpec) -> tuple[float, float, float, float]:
    """Boot once; return seconds to init's mark, to SSH, to the end, and QEMU's CPU seconds."""
    before, started = children_seconds(), time.monotonic()
    with boot(spec, stop=Stop()) as guest:
        boot_seconds, ssh_seconds = guest.boot_seconds, guest.ssh_seconds
    return boot_seconds, ssh_seconds, time.monotonic() - started, children_seconds() - before


def main() -> None:
    """Read the arguments, boot, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("arch", type=Arch, choices=list(Arch))
    parser.add_argument("kernel", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--accel", type=Accel, default=Accel.TCG)
    options = parser.parse_args()
    image = build_image(
        options.arch, cache=cache_root(os.environ), project=Project(), stop=Stop(), environ=os.environ
    )
    choice = AccelChoice(options.accel, "bench", host_slowness())
    answered = []
    with tempfile.TemporaryDirectory() as directory:
        spec = GuestSpec(options.arch, options.kernel, image.initramfs, Path(directory), choice, 2, 1024)
        for number in range(1, options.rounds + 1):
            ready, ssh, total, cpu = one(spec)
            answered.append(ssh)
            load = os.getloadavg()[0]
            print(
                f"{number}: ready {ready:.2f} s, SSH {ssh:.2f} s, all {total:.2f} s, CPU {cpu:.2f} s, load {load:.1f}"
            )
    print(f"median SSH {statistics.median(answered):.2f} s of {options.rounds}, {options.arch}, {options.accel}")


if __name__ == "__main__":
    main()
