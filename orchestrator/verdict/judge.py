# SPDX-License-Identifier: GPL-2.0-only
"""Judge one cell. Pure: the same facts give the same verdict, on any machine, at any time.

A verdict starts as LOST. The rules are tried in this order, and the first that applies decides:

1. An oracle's hit, or a kernel report that is new: FAIL, for a control CAUGHT, even if the guest was lost, the host
   failed afterwards or one of our readers did not survive the rest (the reason says so). The report of the loss
   itself (a bare panic, a lockup, a stall) is no such report. On a control no lockup or stall is one, survived or
   not, since a busy host can cause it; nor is what came before the race, nor what the unbroken kernel gives as well.
   Known issues and background races never decide anything. A control whose kernel is not the one built catches
   nothing. Of the kernel's own selftests a failed test is a finding too; on a control one that passed on the stock
   kernel.
2. The build, the host or the user stopped it: BROKEN, with the fault.
3. The guest was lost: LOST with its reason.
4. There is no result: LOST.
5. The result cannot be trusted: BROKEN. Incomplete KTAP or a bail out, a kernel whose configuration is not the
   one built, KCSAN off or idle in a KCSAN kernel, a blind console, dropped messages, more reports than are kept, a
   taint nothing explains; on a control a lockup or stall, a race that was ended early by a taint that is no catch,
   or a test of the kernel's own that failed, and of which the stock kernel's run says nothing.
6. All subtests were skipped, or there is nothing to run in this cell: SKIP.
7. The race did not happen: VACUOUS. No valid trial in a subtest that ran (where none are counted, since no race is
   needed: no check), or a counter below the floor that the selftest set for it.
8. What is left is clean: PASS with its bound, and with the faults of the kernel that the selftest met and judged
   nothing by; for a control, MISSED.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from orchestrator.guest.model import LostReason
from orchestrator.race.model import Ending, RaceResult
from orchestrator.splat.model import Phase, Splat, SplatKind, Standing
from orchestrator.verdict.counted import left_out
from orchestrator.verdict.facts import Facts, failed_subtests, hit_count
from orchestrator.verdict.finding import finding
from orchestrator.verdict.happened import below_floor, counted, idle
from orchestrator.verdict.model import Fault, Outcome, Verdict
from orchestrator.verdict.statistics import rounded_up, rule_of_three
from orchestrator.verdict.trust import doubts, tainted
from orchestrator.verdict.upstream import claim, in_words, new_failures, old_failures, unproven
from orchestrator.words import plural

MAX_REASON = 2000
MAX_TITLES = 50

# What a guest says, too, that a busy host lets wait.
_STALLS = frozenset({SplatKind.SOFT_LOCKUP, SplatKind.WORKQUEUE_LOCKUP, SplatKind.RCU_STALL, SplatKind.HUNG_TASK})
# How a guest that stops says so: on its own each of these is the loss, not a finding.
LAST_WORDS = _STALLS | {SplatKind.PANIC, SplatKind.REBOOT}


def judge(facts: Facts) -> Verdict:
    """Return the verdict on one cell."""
    rules = (_found, _troubled, _lost, _absent, _doubtful, _skipped, _vacuous, _clean)
    for rule in rules:
        if verdict := rule(facts):
            return _completed(facts, verdict)
    return _completed(facts, Verdict(Outcome.LOST, "no rule applies", fault=Fault.HOST))


def _completed(facts: Facts, verdict: Verdict) -> Verdict:
    race, evidence = facts.said, facts.evidence
    seconds = evidence.race_seconds if evidence else facts.ended_after or 0.0
    found = verdict.outcome in (Outcome.FAIL, Outcome.CAUGHT) and (_told(facts) or _shown(facts))
    reported = min((splat.since for splat in _shown(facts) if splat.since is not None), default=None)
    return replace(
        verdict,
        reason=verdict.reason[:MAX_REASON],
        trials=race.total("trials") if race else 0,
        hits=hit_count(race),
        lost=facts.loss.reason if facts.loss else None,
        splats=tuple(splat.title for splat in new_splats(facts))[:MAX_TITLES],
        evidence=facts.files,
        last_lines=facts.loss.last_lines if facts.loss else (),
        race_seconds=seconds,
        found=finding(race, seconds, facts.ended_after if facts.loss else None, reported) if found else None,
    )


def new_splats(facts: Facts) -> tuple[Splat, ...]:
    """Return the reports that decide: new ones other than the loss itself.

    For a control, those of the race only that nothing but its kernel can have caused.
    """
    found = [splat for splat in facts.splats if splat.standing is Standing.NEW]
    if facts.loss or facts.control:
        found = [splat for splat in found if splat.kind not in LAST_WORDS]
    if facts.control:
        found = [s for s in found if s.phase is not Phase.BOOT and s.title not in facts.baseline]
    return tuple(found)


def _shown(facts: Facts) -> tuple[Splat, ...]:
    """Return the reports that decide and are the race's: not from before it, nor what a busy host can cause, too."""
    return tuple(s for s in new_splats(facts) if s.phase is not Phase.BOOT and s.kind not in LAST_WORDS)


def _found(facts: Facts) -> Verdict | None:
    if facts.control and facts.evidence and facts.evidence.config_lost:
        return None
    findings = [text for text in (_told(facts), _splats_in_words(new_splats(facts))) if text]
    if not findings:
        return None
    reason = "; ".join(findings) + _aftermath(facts)
    return Verdict(Outcome.CAUGHT if facts.control else Outcome.FAIL, reason, fault=Fault.KERNEL)


def _told(facts: Facts) -> str:
    """Say what the selftest found: its hits, or the failures that count; empty where it found nothing."""
    race = facts.said
    if race and race.hits:
        return _hits_in_words(race)
    if race and race.upstream:
        return _failures_in_words(facts, race)
    failed = () if facts.control else failed_subtests(race)
    return f"{', '.join(failed)} failed" if failed else ""


def _failures_in_words(facts: Facts, race: RaceResult) -> str:
    """Name the tests of the kernel's own that failed and count; on a control those that the stock kernel passed."""
    failed = tuple(s for s in race.subtests if s.ending is Ending.FAIL)
    counting = new_failures(facts) if facts.control else failed
    passed = ", passed on the stock kernel" if facts.control else ""
    return f"{in_words(counting)}{passed}" if counting else ""


def _hits_in_words(race: RaceResult) -> str:
    counts = Counter(hit.subtest for hit in race.hits)
    first = race.hits[0]
    own = counts.pop(first.subtest)
    told = [f"{first.oracle} in {first.subtest}: {first.text} ({own} {plural(own, 'hit')})"]
    return "; ".join([*told, *(f"{many} more {plural(many, 'hit')} in {name}" for name, many in counts.items())])


def _splats_in_words(splats: tuple[Splat, ...]) -> str:
    shown = [s.title + _remark(s) for s in splats[:3]]
    more = len(splats) - len(shown)
    return "; ".join([*shown, f"and {more} more {plural(more, 'report')}"] if more else shown)


def _remark(splat: Splat) -> str:
    """Say of a report why it need not be the race's; empty where nothing is known against it."""
    if splat.phase is Phase.BOOT:
        return " (before the race)"
    return " (a busy host can cause it, too)" if splat.kind in _STALLS else ""


def _aftermath(facts: Facts) -> str:
    race, told = facts.said, []
    if facts.loss:
        told.append(f"then the guest was lost ({facts.loss.reason}: {facts.loss.detail})")
    if facts.trouble:
        told.append(f"then {facts.trouble.text}")
    if not told and race and race.problem:
        told.append(f"and the selftest's output is no complete result: {race.problem}")
    return "".join(f"; {text}" for text in told)


def _troubled(facts: Facts) -> Verdict | None:
    trouble = facts.trouble
    return Verdict(Outcome.BROKEN, trouble.text, fault=trouble.fault) if trouble else None


def _lost(facts: Facts) -> Verdict | None:
    if not facts.loss:
        return None
    fault = Fault.HOST if facts.loss.reason is LostReason.QEMU_DIED else Fault.KERNEL
    return Verdict(Outcome.LOST, f"{facts.loss.reason}: {facts.loss.detail}", fault=fault)


def _absent(facts: Facts) -> Verdict | None:
    if facts.skip:
        return Verdict(Outcome.SKIP, facts.skip)
    if facts.evidence is None or facts.said is None:
        return Verdict(Outcome.LOST, "no result: the cell's evidence was never collected", fault=Fault.HOST)
    return None


def _doubtful(facts: Facts) -> Verdict | None:
    found, bits = doubts(facts), tainted(facts)
    found = (*found, *filter(None, (bits, unproven(facts), _survived(facts), _cut_short(facts))))
    fault = Fault.KERNEL if bits else Fault.NONE
    return Verdict(Outcome.BROKEN, "; ".join(found), fault=fault) if found else None


def _survived(facts: Facts) -> str:
    """Name last words that a control survived: no catch, nor a miss, since a soft lockup's taint ends a race."""
    if not facts.control:
        return ""
    new = (s for s in facts.splats if s.standing is Standing.NEW and s.phase is not Phase.BOOT)
    told = tuple(s for s in new if s.kind in LAST_WORDS)
    return f"{_splats_in_words(told)}: no catch, and no race that missed" if told else ""


def _cut_short(facts: Facts) -> str:
    """Name the taint that ended a control's race where no report was a catch: known, background, or the stock's."""
    race = facts.said
    if not (facts.control and facts.first_hit and race):
        return ""
    where = next((s.name for s in race.subtests if race.of(s.name, "first_taint_ms") is not None), "")
    if not where:
        return ""
    after = (race.of(where, "first_taint_ms") or 0) / 1000
    reports = ", ".join(s.title for s in facts.splats if s.phase is not Phase.BOOT)
    return f"a taint ended the race {after:.1f} s into {where}: no catch ({reports or 'no report'}), nor a miss"


def _skipped(facts: Facts) -> Verdict | None:
    race = facts.said
    if not race or not race.subtests or any(s.ending is not Ending.SKIP for s in race.subtests):
        return None
    reasons = sorted({s.detail or "no reason given" for s in race.subtests})
    return Verdict(Outcome.SKIP, "; ".join(reasons))


def _vacuous(facts: Facts) -> Verdict | None:
    race = facts.said
    if not race:
        return None
    found = [text for _, text in below_floor(race)]
    if unmet := idle(race):
        found.append(f"no valid trial in {', '.join(unmet)}")
    if not found:
        return None
    return Verdict(Outcome.VACUOUS, f"the race did not happen: {'; '.join(found)}", fault=Fault.NONE)


def _clean(facts: Facts) -> Verdict | None:
    race = facts.said
    if not race:
        return None
    trials, checks = counted(race, "trials"), counted(race, "checks")
    if not trials and not checks:
        return None
    # A trial of one subtest is no trial of another: the one with the fewest bounds what all of them say.
    weakest = min(trials, key=trials.__getitem__, default="")
    bound = rule_of_three(trials.get(weakest, 0))
    claims = []
    if bound is not None:
        done = sum(trials.values())
        claims.append(f"{done} {plural(done, 'trial')}, at most {rounded_up(bound, 2):.1e} per trial (95 %)")
        if len(trials) > 1:
            claims[0] += f" of the weakest of {len(trials)} subtests, {weakest} with {trials[weakest]}"
    if checks:
        done = sum(checks.values())
        claims.append(f"{done} {plural(done, 'check')} that {plural(done, 'needs', 'need')} no race")
    said = claim(race) if race.upstream else f"0 hits in {'; in '.join(claims)}"
    if old := old_failures(facts):
        said += f"; as on the stock kernel {in_words(old)}"
    if facts.control:
        return Verdict(Outcome.MISSED, f"the broken kernel was not caught: {said}", bound=bound)
    if facts.counted:
        said += f"; {left_out(facts.counted)}"
    return Verdict(Outcome.PASS, said + _shown_only(facts), bound=bound, counted=facts.counted)


def _shown_only(facts: Facts) -> str:
    counts = {st: sum(s.count for s in facts.splats if s.standing is st) for st in Standing}
    shown = [(n, standing) for standing, n in counts.items() if n and standing is not Standing.NEW]
    parts = [f"{n} {standing} {plural(n, 'report')}" for n, standing in shown]
    return f"; {', '.join(parts)} shown, not counted against it" if parts else ""
