# SPDX-License-Identifier: GPL-2.0-only
"""Stack frames in a report's text, and whom among them to blame."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from orchestrator.splat.grammar import Blame, Grammar, pattern
from orchestrator.splat.skip import anchor, innocent, machinery, passes_on, plain, queue, wrapper

MAX_FRAMES = 64
# So many lines, or frames, a thing may stand away from where it belongs.
_NEAR = 3
# So many frames at most are the reporter's own, down to who called into KASAN.
_REPORTERS = 8

_NAME = r"(?P<f>[A-Za-z_][\w.$]*|<[\w:<>, &*$\[\]]+>(?:::[\w{}#:]+)*|\.[\w.]+)"
_ADDRESS = r"(?:\(?\[?<(?:[0-9a-fx]+|\(_*ptrval_*\))>\]?\s*|\[[0-9a-f]{8,16}\]\s+){0,2}"
_TAGS = r"(?:</?[A-Z_#]+>\s*)*"
FRAME = re.compile(
    rf"\s*(?:#\d+:?\s+)?{_TAGS}{_ADDRESS}(?P<unsure>\? )?\(?{_NAME}\+0x[0-9a-f]+/0x[0-9a-f]+\)?"
    r"(?:\s(?!\(unreliable)|$)"
)
_FROM = re.compile(rf"\s*(?:\[<[0-9a-f]+>\]\s*)?(?P<unsure>\? )?\(?{_NAME}\)? from (?:\[<|\(|\w)")
_INLINE = re.compile(rf"\s*(?P<unsure>\? )?{_NAME} \S+:\d+ \[inline\]")
# scripts/decode_stacktrace.sh has `(file:line)` in the offset's place, and one more for every function inlined there.
_PLACES = r" \([\w./+-]+\.(?:[chS]|rs):\d+[^()]*(?:\(discriminator \d+\)[^()]*)*\)"
_DECODED = re.compile(rf"\s*(?P<unsure>\? )?{_NAME}{_PLACES}(?: [\w-]+)?(?: \([A-Z]+\))?\s*$")
_PC = re.compile(
    rf"(?:[RE]?IP: (?:[0-9a-f]{{4}}:)?(?:\s*{_ADDRESS})|pc : |[Pp][Cc] is at |TPC: <|PC: {_ADDRESS}|epc : "
    rf"|NIP \[\w+\] |Krnl PSW.*\()\s*{_NAME}"
    rf"(?:\+0x|{_PLACES})"
)
_PC_LINE = re.compile(r"(?:[RE]?IP: |pc : |PC is at |epc : |NIP \[)")
_TRACE = re.compile(r"\s*(?:Call Trace|Call trace|Backtrace|backtrace|stack backtrace)\b.*:")
_STACK_BACKTRACE = re.compile(r"\s*stack backtrace:")
_LAST_FUNCTION = re.compile(rf"\s*(?:last function: |.* workfn=){_NAME}")
_BECAME_SAFE = re.compile(r"\s*\.\.\. which became \S+-irq-safe at:")
_ALLOCATED = "page last allocated via order"
# Where everybody on the stack is innocent, the outermost is named.
_OUTERMOST = frozenset({Blame.PC, Blame.HEADER_FIRST})
_AFTERWARDS = re.compile(
    r"\s*(?:(?:Allocated|Freed) by task|Allocated:|Freed:|The buggy address|Uninit was|Memory state around|"
    r"Last potentially|Showing all locks|Object at |kfence-#\d+|allocated by task|freed by task|"
    r"Kernel panic - not syncing|---\[ end|Local variable|page last (?:allocated|free)|page_owner)"
)
# Where a task that does not run stands (kernel/sched/core.c, arch/*/kernel/process.c).
_ASLEEP = re.compile(r"_*(?:switch_to|context_switch|schedule|preempt_schedule)\w*")
# KASAN's report shows who called into it: kasan_report(), __asan_load8(), __hwasan_check_x0() ...
_ASAN = re.compile(r"\w*asan_")
_CALL_TRACE = re.compile(r"\s*Call [Tt]race:")
# What announces a stack; its frames begin within so many lines (registers, an x86 `<TASK>`, others' chatter between).
_STACKS = (
    _CALL_TRACE,
    re.compile(r"\s*stack backtrace:"),
    re.compile(r"Allocated(?::| by task \d+(?::| on cpu ))"),
    re.compile(r"Freed(?::| by task \d+(?::| on cpu ))"),
)
_WITHIN = 15
# sysvec_apic_timer_interrupt() and its kin: RCU looks for stalls on x86's tick.
_TICK = re.compile(r".*apic_timer_interrupt(?:\+0x| \()")
# What an oops or a panic prints behind the stack.
_BEHIND = re.compile(
    r"Kernel panic|Code: |---\[ end|Modules linked|Kernel Offset|Rebooting|CPU: \d|RIP: |BUG: |={20}"
)
_SYSCALL = re.compile(r"(?:^|_)(?:sys|SyS|SYSC)_")
_AT = re.compile(rf".* at: *(?:\[<[0-9a-fx]+>\] *)?(?:\[<[0-9a-fx]+>\] *)?(?:{_NAME}(?:\+0x|\s|$))?")


def _frame(line: str) -> re.Match[str] | None:
    if "+0x" in line:
        return _FROM.match(line) or FRAME.match(line) if " from " in line else FRAME.match(line)
    if " from " in line:
        return _FROM.match(line)
    return _DECODED.match(line) if " (" in line else None


def _shown(line: str) -> re.Match[str] | None:
    return _INLINE.match(line) if "[inline]" in line else _frame(line)


def traced(lines: Iterable[str]) -> bool:
    """Say whether any of `lines` is a frame."""
    return any(_frame(line) for line in lines)


def beheaded(lines: Sequence[str]) -> bool:
    """Say whether a stack is missing: none below the first `Call Trace:`, or where KASAN was to show one."""
    start = next((number for number, line in enumerate(lines) if _CALL_TRACE.match(line)), len(lines))
    if any(_BEHIND.match(line) for line in lines[start + 1 : start + 2]):
        return True
    starts = (next((n for n, line in enumerate(lines) if begin.match(line)), None) for begin in _STACKS)
    return any(start is not None and not _has_frames(lines[start + 1 : start + _WITHIN]) for start in starts)


def _has_frames(lines: Iterable[str]) -> bool:
    return any(_shown(line) or "(stack is not available)" in line for line in lines)


def functions(lines: Iterable[str]) -> tuple[str, ...]:
    """Return the functions of the frames in `lines`, in their order, without those the unwinder was unsure of."""
    return _names(lines, _shown)


def _outlined(lines: Iterable[str]) -> tuple[str, ...]:
    """Leave out what was inlined: a report is called the same whether its console was symbolised or not."""
    return _names(lines, _frame)


def _names(lines: Iterable[str], frame_of: Callable[[str], re.Match[str] | None]) -> tuple[str, ...]:
    found = []
    for line in lines:
        frame = frame_of(line)
        if frame and not frame["unsure"]:
            found.append(frame["f"])
            if len(found) == MAX_FRAMES:
                break
    return tuple(found)


def blamed(grammar: Grammar, header: re.Match[str], lines: Sequence[str]) -> str:
    """Return the function to blame for a report, or an empty string."""
    if grammar.blame is Blame.NOBODY:
        return ""
    if grammar.blame is Blame.STALL:
        return _representative(lines)
    if grammar.blame is Blame.INTERRUPTED:
        return _representative(_interrupted(lines)) or _representative(lines)
    if grammar.blame is Blame.DEEP:
        stack = [line for line in lines if _frame(line)]
        return _recursing(stack) or _representative(stack)
    if grammar.blame is Blame.LAST_FUNCTION:
        return next((plain(found["f"]) for line in lines if (found := _LAST_FUNCTION.match(line))), "")
    named = _named(grammar, header, lines)
    if grammar.blame is Blame.HEADER:
        return named
    candidates = [plain(name).lstrip(".") for name in _candidates(grammar.blame, named, lines)]
    if grammar.blame is Blame.SLEEPER:
        return _sleeper(candidates, grammar.skip)
    guilty = _guilty(candidates, grammar.skip)
    if not guilty and grammar.blame in _OUTERMOST and (shown := _outlined(_stack(lines))):
        return plain(shown[-1])
    return guilty


def _guilty(candidates: Sequence[str], skip: str) -> str:
    """Return the first who does not only help; whom a work queue or a timer called helps nobody."""
    for callee, name in pairwise(["", *candidates]):
        if not innocent(name, skip):
            return callee if callee and passes_on(name) and wrapper(callee, skip) else name
    return ""


def _named(grammar: Grammar, header: re.Match[str], lines: Sequence[str]) -> str:
    """Return the function that the header names: of a symbolised one's lines the last, which was not inlined."""
    for line in lines[1:]:
        if not header.string.endswith("[inline]"):
            break
        header = pattern(grammar.header).match(line) or header
        if header.string != line:
            break
    return header.groupdict().get("f") or ""


def _candidates(blame: Blame, named: str, lines: Sequence[str]) -> Iterator[str]:
    if blame is Blame.HEADER_FIRST and named:
        yield named
    if blame is Blame.PC or (blame is Blame.HEADER_FIRST and not named):
        yield from _at_pc(lines)
    if blame is Blame.STACK_FIRST:
        yield from (kasans := _kasans(lines))
        if named and not kasans:
            yield named
    if blame is Blame.LOCK:
        yield from _taken_at(lines)
    if blame is Blame.SAFE:
        yield from _outlined(_from(lines, _BECAME_SAFE))
    if blame in (Blame.BACKTRACE, Blame.LOCK):
        yield from _outlined(_from(lines, _STACK_BACKTRACE))
    elif blame is Blame.OWNER:
        yield from _outlined(_owner(lines))
        yield from _outlined(_stack(lines))
    elif blame is Blame.BELOW:
        yield from _outlined(_before(lines, _AFTERWARDS))
    elif blame is Blame.SLEEPER:
        yield from _sleeping(_outlined(_stack(lines)))
    else:
        yield from _outlined(_stack(lines))
    if blame in (Blame.STACK_FIRST, Blame.BELOW) and named:
        yield named


def _stack(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines from the first `Call Trace:` (if there is one) to what belongs to other stacks."""
    start = next((number for number, line in enumerate(lines) if _TRACE.match(line)), 0)
    return _before(lines[start:], _AFTERWARDS)


def _kasans(lines: Sequence[str]) -> Sequence[str]:
    """Return the functions of the first stack that leads into KASAN: one before it is another report's."""
    starts = [number for number, line in enumerate(lines) if _TRACE.match(line)]
    for start, end in pairwise([*starts, len(lines)]):
        stack = _outlined(_before(lines[start:end], _AFTERWARDS))
        if any(_ASAN.match(name) for name in stack[:_REPORTERS]):
            return stack
    return ()


def _sleeping(stack: Sequence[str]) -> Sequence[str]:
    return stack if any(_ASLEEP.fullmatch(plain(name)) for name in stack[:_NEAR]) else ()


def _sleeper(candidates: Sequence[str], skip: str) -> str:
    """Return what a task that hangs waits for, where many do, else who called into the wait."""
    return next(filter(queue, candidates), "") or next((name for name in candidates if not innocent(name, skip)), "")


def _owner(lines: Sequence[str]) -> Sequence[str]:
    """Return the stack by which the page was allocated, as mm/page_owner.c remembers it; nothing when it does not."""
    start = next((number for number, line in enumerate(lines) if line.startswith(_ALLOCATED)), None)
    if start is None:
        return ()
    upto = next((n for n in range(start + 1, len(lines)) if not _shown(lines[n])), len(lines))
    return lines[start + 1 : upto]


def _before(lines: Sequence[str], end: re.Pattern[str]) -> Sequence[str]:
    upto = next((number for number in range(1, len(lines)) if end.match(lines[number])), len(lines))
    return lines[:upto]


def _from(lines: Sequence[str], begin: re.Pattern[str]) -> Sequence[str]:
    start = next((number for number, line in enumerate(lines) if begin.match(line)), None)
    if start is None:
        start = next((number for number, line in enumerate(lines) if _TRACE.match(line)), len(lines))
    return lines[start:]


def stuck(lines: Sequence[str]) -> str:
    """Return where the CPU stood, unless a helper is there: what people call a loop that stays in one function."""
    return next((name for name in map(plain, _at_pc(lines)) if not innocent(name)), "")


def _at_pc(lines: Sequence[str]) -> Iterator[str]:
    """Yield the functions at the first program counter: several lines where it was inlined."""
    begun = False
    for line in lines:
        if "IP" in line or "pc" in line or "PC" in line or "PSW" in line:
            if found := _PC.match(line.strip()):
                begun = True
                yield found["f"]
                continue
            if _PC_LINE.match(line.strip()):
                begun = True
                continue
        if begun and _TRACE.match(line):
            return


def _taken_at(lines: Sequence[str]) -> Iterator[str]:
    """Yield where the locks that the report is about were taken, the one that made it first."""
    for number, line in enumerate(lines):
        if _STACK_BACKTRACE.match(line) or _TRACE.match(line):
            return
        found = _AT.match(line) if " at:" in line and "[inline]" not in line else None
        if found and found["f"]:
            yield found["f"]
        elif found and number + 1 < len(lines):
            yield from _outlined((lines[number + 1],))


def _recursing(lines: Sequence[str]) -> str:
    """Return the first function that stands twice in a row on a stack: it called itself."""
    names = _all_functions(lines)
    return next((name for name, caller in pairwise(names) if name == caller and not innocent(name)), "")


def _interrupted(lines: Sequence[str]) -> Sequence[str]:
    """Return the lines from the tick's interrupt on: what it interrupted; all of them where no stack shows it."""
    start = next((number for number, line in enumerate(lines) if _TICK.match(line) and functions((line,))), 0)
    return lines[start:]


def _representative(lines: Sequence[str]) -> str:
    """Return who stands for a stall: the first anchor on the stacks, or whom a passer called, or a passer alone."""
    previous = first = entry = passer = spare = ""
    for name in _all_functions(lines):
        if entry and not _SYSCALL.search(name):
            return entry
        if passes_on(name):
            if previous and not machinery(previous) and not passes_on(previous) and not innocent(previous):
                return previous
            passer = passer or ("" if machinery(name) else name)
        elif anchor(name) and _SYSCALL.search(name):
            entry = name  # the outermost of its wrappers
        elif anchor(name):
            return name
        elif not innocent(name, "wait"):
            first = first or ("" if machinery(name) else name)
            spare = spare or name  # an idle worker's stack has nothing else
        previous = name
    return entry or first or passer or spare


def _all_functions(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        frame = _frame(line)
        if frame is None and ("+0x" in line or " (" in line):
            frame = _PC.match(line.strip())
        if frame and not frame.groupdict().get("unsure"):
            yield plain(frame["f"])
