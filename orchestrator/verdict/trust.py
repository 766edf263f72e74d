# SPDX-License-Identifier: GPL-2.0-only
"""Can a result be trusted? A blind instrument sees nothing, and nothing seen is no pass."""

from __future__ import annotations

from orchestrator.race.model import Evidence
from orchestrator.splat.model import Phase
from orchestrator.splat.races import compare
from orchestrator.verdict.facts import Facts
from orchestrator.verdict.taint import decode, unexplained
from orchestrator.words import plural


def doubts(facts: Facts) -> tuple[str, ...]:
    """Return every reason why the result of a cell cannot be trusted, in words; none: it can."""
    evidence, race = facts.evidence, facts.said
    if evidence is None or race is None:
        return ("no evidence was collected",)
    found = [race.problem] if race.problem else []
    if evidence.config_lost:
        found.append(_config_in_words(evidence.config_lost))
    if facts.kcsan and (why := _kcsan_doubt(evidence) or compare(facts.splats, evidence.kcsan or {}).impossible):
        found.append(why)
    if evidence.console_blind:
        found.append(f"the console is blind: {evidence.console_blind}")
    if facts.dropped:
        found.append(
            f"the kernel dropped {facts.dropped} {plural(facts.dropped, 'message')}: a clean console proves nothing"
        )
    if facts.omitted:
        found.append(
            f"the console has {facts.omitted} more {plural(facts.omitted, 'report')} than are kept and looked at"
        )
    return tuple(found)


def tainted(facts: Facts) -> str:
    """Say which taint bits no report on the console and no module of ours explains; empty when all are explained."""
    if facts.evidence is None:
        return ""
    before, after = facts.evidence.taint
    early = unexplained(before, (s for s in facts.splats if s.phase is Phase.BOOT))
    if early:
        return f"the kernel was tainted before the race: {decode(early)}"
    late = unexplained(after & ~before, facts.splats)
    return f"the race left a taint that no report explains: {decode(late)}" if late else ""


def _config_in_words(lost: tuple[str, ...]) -> str:
    more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    return f"the guest's configuration is not the one built: {', '.join(lost[:5])}{more}"


def _kcsan_doubt(evidence: Evidence) -> str:
    if evidence.kcsan_on is not True:
        return "KCSAN is off in a kernel built with it"
    if (evidence.kcsan or {}).get("setup_watchpoints", 0) <= 0:
        return "KCSAN set up no watchpoint during the race"
    return ""
