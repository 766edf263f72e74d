# SPDX-License-Identifier: GPL-2.0-only
"""From verdicts to exit codes: of a run, and of one step of `git bisect run`."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from orchestrator.errors import ExitCode
from orchestrator.verdict.model import Fault, Outcome, Verdict
from orchestrator.verdict.power import Row, Status

_BAD = (Outcome.FAIL, Outcome.MISSED, Outcome.VACUOUS)


class BisectCode(IntEnum):
    """What `git bisect run` understands: 125 skips the commit, 128 and above stop the session."""

    GOOD = 0
    BAD = 1
    SKIP = 125
    USAGE = 129
    INTERRUPTED = 130
    HOST = 131


def exit_code(verdicts: Iterable[Verdict | None], interrupted: bool = False) -> ExitCode:
    """Return the exit code of a run: 130, 1, 4, 3, 2 or 0, the first that applies.

    A missing verdict (None) is a cell that never ended: the host's trouble.
    """
    if interrupted:
        return ExitCode.INTERRUPTED
    codes = {_code(verdict) for verdict in verdicts}
    for code in (ExitCode.FAILED, ExitCode.BUILD, ExitCode.HOST, ExitCode.USAGE):
        if code in codes:
            return code
    return ExitCode.OK


def _code(verdict: Verdict | None) -> ExitCode:
    if verdict is None:
        return ExitCode.HOST
    if verdict.outcome.as_expected:
        return ExitCode.OK
    if verdict.outcome in _BAD:
        return ExitCode.FAILED
    by_fault = {Fault.KERNEL: ExitCode.FAILED, Fault.BUILD: ExitCode.BUILD, Fault.USER: ExitCode.USAGE}
    return by_fault.get(verdict.fault, ExitCode.HOST)


def power_code(rows: Iterable[Row], interrupted: bool = False) -> ExitCode:
    """Return a power run's exit code: 130; 1 for a row against its record; 4 not built; 3 not booted, not raced."""
    if interrupted:
        return ExitCode.INTERRUPTED
    found = list(rows)
    if any(row.agrees is False for row in found):
        return ExitCode.FAILED
    statuses = {row.status for row in found}
    if Status.NOT_BUILT in statuses:
        return ExitCode.BUILD
    return ExitCode.OK if statuses <= {Status.CAUGHT, Status.SILENT} else ExitCode.HOST


def bisect_code(verdict: Verdict | None, interrupted: bool = False) -> BisectCode:
    """Return the answer to `git bisect run` for a cell that was expected to be clean.

    0 good, 1 bad (an oracle's hit, a failed test or a new report, in the race), 125 unbuildable, unbootable, vacuous
    or otherwise inconclusive, 129 to 131 the user's or the host's trouble, which stops the session. A report from
    before the race, or of a stall that a busy host can cause, says nothing of what the session looks for: 125.
    """
    if interrupted:
        return BisectCode.INTERRUPTED
    if verdict is None:
        return BisectCode.HOST
    if verdict.outcome is Outcome.PASS:
        return BisectCode.GOOD
    if verdict.outcome in (Outcome.FAIL, Outcome.CAUGHT):
        return BisectCode.BAD if verdict.found else BisectCode.SKIP
    if verdict.fault is Fault.HOST:
        return BisectCode.HOST
    return BisectCode.USAGE if verdict.fault is Fault.USER else BisectCode.SKIP
