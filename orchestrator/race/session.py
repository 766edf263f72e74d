# SPDX-License-Identifier: GPL-2.0-only
"""One race in one booted guest: what the guest carries for it, the self-test before it, what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator import records
from orchestrator.errors import GuestUnfitError
from orchestrator.guest.model import CommandResult, GuestFile
from orchestrator.race.ktap import read_ktap
from orchestrator.race.model import Ending, RaceResult
from orchestrator.race.steps import Shell, Step

GUEST_DIR = "/guprace"
# What a scenario may take beyond its seconds of racing (set-up, tear-down), on a guest of reference speed.
RACE_SLACK_SECONDS = 60.0
MAX_KTAP_BYTES = 4 << 20
SELFTEST_SECONDS = 1.0
# Of the synchroniser's self-test, in the cell's directory.
SELFTEST_KTAP = "sync.ktap"


@dataclass(frozen=True, slots=True)
class Order:
    """What to race: scenario, seconds of racing, the seed, and whether the first hit ends it."""

    scenario: str
    seconds: float
    seed: int
    first_hit: bool = False

    @property
    def command(self) -> str:
        """The command in the guest."""
        enough = " --first-hit" if self.first_hit else ""
        return f"{GUEST_DIR}/{self.scenario} --seconds {self.seconds:g} --seed {self.seed:#x}{enough}"

    @property
    def deadline(self) -> float:
        """Seconds, at reference speed, after which the guest counts as silent."""
        return self.seconds + RACE_SLACK_SECONDS


def carried(*files: Path | None) -> tuple[GuestFile, ...]:
    """Return programs and modules as files that a guest has in GUEST_DIR from its start."""
    return tuple(GuestFile(path, f"{GUEST_DIR}/{path.name}") for path in files if path)


def probe_steps(probe: Path | None) -> tuple[Step, ...]:
    """Return what loads the probe module, if there is one for this kernel, from where the guest carries it."""
    if probe is None:
        return ()
    return (Step("insmod", f"insmod {GUEST_DIR}/{probe.name}", must="the probe module does not load"),)


def prove_instruments(guest: Shell, selftest: str, seed: int, ktap: Path) -> None:
    """Run the synchroniser's self-test in this guest; its output goes to the file `ktap`.

    Raises:
        GuestUnfitError: it failed: what this guest and host say of offsets and windows cannot be believed.
        GuestLostError, HostError: as `race`.
    """
    result = race(guest, Order(selftest, SELFTEST_SECONDS, seed), ktap, lambda _: None)
    failed = [f"{s.name} {s.detail}" for s in result.subtests if s.ending is not Ending.PASS]
    wrong = "; ".join(filter(None, [*failed, *(hit.text for hit in result.hits[:3]), result.problem]))
    if wrong:
        hint = "what else runs on the host can do that: docs/scenarios.md, Beside other work"
        raise GuestUnfitError(f"the synchroniser's self-test failed: {wrong}", where=ktap.name, hint=hint)


def race(guest: Shell, order: Order, ktap: Path, tell: Callable[[str], None]) -> RaceResult:
    """Run the scenario; its output goes to the file `ktap` line by line, so that a lost guest leaves it.

    Raises:
        GuestLostError: the guest stopped answering, or the scenario took longer than its deadline.
        HostError: `ktap` cannot be written.
    """
    ktap.unlink(missing_ok=True)
    done = transcribe(guest, order.command, order.deadline, ktap, tell)
    return read_ktap(ktap.read_text(encoding="utf-8"), done.status)


def transcribe(guest: Shell, command: str, seconds: float, into: Path, tell: Callable[[str], None]) -> CommandResult:
    """Run a command; its output is added to the file `into` line by line. Raises as `race`."""
    try:
        # Each line at once: of a guprace that is killed, too, a hit stays.
        with into.open("a", encoding="utf-8", errors="replace", buffering=1) as stream:
            writer = _Writer(stream.write, into, tell)
            return guest.run(command, seconds=seconds, on_line=writer.line)
    except OSError as error:
        raise records.disk_error(error, into) from error


class _Writer:
    """Keeps at most MAX_KTAP_BYTES of what a hostile guest prints."""

    def __init__(self, write: Callable[[str], int], into: Path, tell: Callable[[str], None]) -> None:
        self._write = write
        self._into = into
        self._tell = tell
        self._left = MAX_KTAP_BYTES

    def line(self, text: str) -> None:
        try:
            if self._left > 0:
                self._left -= self._write(text.rstrip("\r\n")[: self._left] + "\n")
        except OSError as error:
            # Told here: who runs the command would take it for an end of the connection, and the guest for lost.
            raise records.disk_error(error, self._into) from error
        if text.startswith(("ok ", "not ok ", "# subtest ")):
            self._tell(text.strip()[:100])
