# SPDX-License-Identifier: GPL-2.0-only
"""One of the kernel's own selftests in one booted guest: made ready as run_vmtests.sh does, run, and read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator import records
from orchestrator.matrix.plan import Accel
from orchestrator.race.model import RaceResult
from orchestrator.race.session import GUEST_DIR, transcribe
from orchestrator.race.steps import Shell, Step
from orchestrator.race.tap import begin_line, end_line, read_upstream
from orchestrator.race.upstream_build import Upstream

# run_vmtests.sh: hugetlb pages of 256 MiB in all, and at least two for each processor.
RESERVE = """(
size=$(awk '/^Hugepagesize:/ { print $2 }' /proc/meminfo)
[ -n "$size" ] || exit 0
want=$((262144 / size)) least=$((2 * $(grep -c ^processor /proc/cpuinfo)))
[ $want -ge $least ] || want=$least
echo 3 >/proc/sys/vm/drop_caches
echo $want >/proc/sys/vm/nr_hugepages
)"""
# Many tests want swap, which upstream's runner expects to be on.
SWAP = """[ -b /dev/ram0 ] && mkswap /dev/ram0 && swapon /dev/ram0"""
# The tree's limit is for hardware; an emulated processor is slower than that by far (docs/performance.md).
EMULATED = 4.0
# A limit of 0 means none upstream.
LONGEST_SECONDS = 3600.0


def upstream_steps(what: Upstream) -> tuple[Step, ...]:
    """Return what gives the program swap, and its hugetlb pages: as many as there are, it skips what lacks some."""
    reserve = (Step("reserve", RESERVE),) if what.program.huge_pages else ()
    return (Step("swap", SWAP), *reserve)


def deadline_of(what: Upstream, accel: Accel) -> float:
    """Return the seconds, at reference speed, that one run may take: the tree's own limit, longer if emulated."""
    limit = what.timeout * (EMULATED if accel is Accel.TCG else 1.0)
    return min(limit or LONGEST_SECONDS, LONGEST_SECONDS)


def run_upstream(guest: Shell, what: Upstream, accel: Accel, tap: Path, tell: Callable[[str], None]) -> RaceResult:
    """Run the program with each of its arguments in turn; what it prints goes to the file `tap` line by line.

    Raises:
        GuestLostError: the guest stopped answering, or a run took longer than its deadline.
        HostError: `tap` cannot be written.
    """
    name, deadline = what.program.name, deadline_of(what, accel)
    for arguments in what.arguments:
        _note(tap, begin_line(name, arguments))
        # stderr too, as upstream's runner reads it; the program's own files belong to its directory.
        command = f"cd {GUEST_DIR} && ./{name} {arguments} 2>&1"
        done = transcribe(guest, command, deadline, tap, tell)
        _note(tap, end_line(done.status))
    return read_upstream(tap.read_text(encoding="utf-8"), name)


def _note(tap: Path, line: str) -> None:
    """Write a line of guprace's own."""
    try:
        with tap.open("a", encoding="utf-8") as stream:
            stream.write(f"{line}\n")
    except OSError as error:
        raise records.disk_error(error, tap) from error
