# SPDX-License-Identifier: GPL-2.0-only
"""Cut kernel reports out of a console: one pass, bounded memory, whatever the guest printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.splat.alarm import hits
from orchestrator.splat.grammar import Grammar, header_of
from orchestrator.splat.lines import CHUNK, LineReader
from orchestrator.splat.message import KERNELS, Message, parse, parts, second, stamp, stamped
from orchestrator.splat.model import ASIDE, Form, Phase, Scan, Splat, SplatKind
from orchestrator.splat.packed import Readable
from orchestrator.splat.report import BAR, Report

MAX_SPLATS = 200
MAX_OPEN = 32
# So many stamped lines, and what bears no stamp is not the kernel's.
STAMPED = 12
# So many lines of others' end any report; what comes within so many after it may be its consequence.
PATIENCE = 3000
# So many stamped lines show that a kernel had run before the banner of the next.
_ALIVE = 3
# So many headers at most has a report that was symbolised: one per inlined function.
_INLINED = 20
# Every so many lines, reports that nothing was added to are looked for.
_OFTEN = 64
_STAMPS = frozenset({"[", "<"})

_DROPPED = re.compile(r"\*\* (\d+) printk messages dropped \*\*|(\d+) (?:printk )?messages dropped")
_BANNER = re.compile(r"Linux version \d+\.\d+|(?:Decompressing Linux\.\.\..{0,200} )?Booting the kernel\b")
_MARK = re.compile(r"guprace: mark (begin|end) ([0-9a-f]{1,64})\s*$")
# Panics that the kernel comes to because of a report before them.
_CONSEQUENCE = re.compile(
    r"Kernel panic - not syncing: (?:.{0,40}panic_on_\w+ set|k\w{1,8}\.(?:fault=)?panic"
    r"|(?:.{1,60}: )?Fatal [eE]xception|hung_task: blocked tasks|softlockup: hung tasks|RCU Stall|Hard LOCKUP"
    r"|workqueue: (?:\d+ stall|stall lasted)"
    r"|Oops|.{1,20}: system warned too often|.{1,20} stack guard hit|Machine halted|invalid or fatal FRED"
    r"|Fatal hardware|low stack detected by irq handler|Corrupt kernel stack, can't continue)"
)
# The end of whom an oops hit, where nobody can do without him (kernel/exit.c: make_task_dead(), do_exit()).
_DIED = re.compile(
    r"Kernel panic - not syncing: (?:Aiee, killing interrupt handler!"
    r"|Attempted to kill (?:the idle task!|init! exitcode=0x0000000[9b]\b))"
)
_DEADLY = frozenset({SplatKind.OOPS, SplatKind.BUG, SplatKind.KASAN})
_INIT = "Attempted to kill init!"
_QUESTION = "Sending NMI "
_ANSWER = "NMI backtrace for cpu "
# What is shown only where nothing else is.
_WEAK = ASIDE | {Form.INFO, Form.REMARK, Form.OTHER, Form.USERSPACE}


@dataclass(frozen=True, slots=True)
class Marks:
    """The run's own marks, as written to /dev/kmsg: `guprace: mark begin <hex>` and `guprace: mark end <hex>`.

    An empty one was not written yet: no line of the console is it.
    """

    begin: str
    end: str


TellApart = Callable[[Splat], Hashable]
"""What keeps reports of one title apart: those of the same answer are one, the first."""

_Key = tuple[str, Phase, Hashable]


@dataclass(slots=True)
class Scanner:
    """Feed it bytes, then ask for the result. Any division of the input gives the same result."""

    marks: Marks | None = None
    tell_apart: TellApart | None = None
    _reader: LineReader = field(default_factory=LineReader)
    _number: int = 0
    _phase: Phase = Phase.RACE
    _open: dict[str, Report] = field(default_factory=dict)
    _found: dict[_Key, Splat] = field(default_factory=dict)
    _counts: dict[_Key, int] = field(default_factory=dict)
    _beyond: set[int] = field(default_factory=set)
    _seen: list[str] = field(default_factory=list)
    _previous: str = ""
    _stamped: int = 0
    _kernel: bool = False
    _dropped: int = 0
    _boots: int = 0
    _version: str = ""
    _boot_line: int = 0
    _last: _Key | None = None
    _last_line: int = -PATIENCE
    _cut: str = ""
    _line: str = ""
    _began: float | None = None
    # Where the bar is that ended a report: it begins no other.
    _barred: int = 0

    def __post_init__(self) -> None:
        """Before the first mark everything is the boot's."""
        if self.marks:
            self._phase = Phase.BOOT

    def feed(self, chunk: bytes) -> None:
        """Read some more of the console."""
        self._take(self._reader.block(chunk))

    def finish(self) -> Scan:
        """Read what is left and return everything found, in the order of the console."""
        self._take(self._reader.end())
        for caller in list(self._open):
            self._close(caller)
        splats = [replace(splat, count=self._counts[key]) for key, splat in self._found.items()]
        splats.sort(key=lambda splat: splat.start_line)
        return Scan(
            splats=tuple(splats),
            omitted=len(self._beyond),
            dropped=self._dropped,
            lines=self._number,
            boots=self._boots,
            version=self._version,
            marks=tuple(self._seen),
            kernel=self._kernel or bool(splats),
        )

    def _take(self, block: str | None) -> None:
        if block is None:
            return
        alarming = hits(block, self.marks is not None)
        self._kernel = self._kernel or KERNELS.search(block) is not None
        # Most of a console is of no interest: a block without any alarm is only counted.
        if not alarming and not self._open and not self._cut and self._stamped >= STAMPED:
            self._number += block.count("\n") + 1
            self._previous = block[block.rfind("\n") + 1 :]
            return
        for number, line in enumerate(block.split("\n")):
            self._number += 1
            if number in alarming or self._cut or self._open:
                for part in parts(line):
                    if number in alarming or self._cut:
                        self._look(part, number in alarming)
                    elif self._open:
                        self._body(part)
            elif self._stamped < STAMPED and line[:1] in _STAMPS:
                self._stamped += parse(line).stamped
            self._previous = line

    def _body(self, line: str) -> None:
        """Take a line that begins no report while one is open."""
        found = stamped(line)
        if found is None:
            self._look(line, alarming=False)
            return
        self._stamped += 1
        report = self._open.get(found[0]) or self._answered(*found)
        if report and report.add(self._number, found[1]):
            self._close(found[0])
        if self._number % _OFTEN == 0:
            self._expire()

    def _answered(self, caller: str, text: str) -> Report | None:
        """Let a CPU that was asked where it stands (lib/nmi_backtrace.c) go on with the report of who asked."""
        if not text.startswith(_ANSWER):
            return None
        for asker, report in self._open.items():
            if report.stackless and report.lines[-1].startswith(_QUESTION):
                self._open[caller] = self._open.pop(asker)
                return report
        return None

    def _look(self, line: str, alarming: bool) -> None:
        self._line = line
        message = parse(line)
        self._stamped += message.stamped
        report = self._open.get(message.caller) or self._answered(message.caller, message.text)
        header = None
        if alarming:
            if self._notice(message):
                return
            header = None if message.user else header_of(message.text, message.stamped, self._from_user(message))
            if header is None and (later := second(message.text)) and (header := header_of(later.text, True)):
                message, report = later, self._open.get(later.caller)
            if header is None:
                header = self._joined(message)
        elif self._cut:
            header = self._joined(message)
        elif message.text.startswith("** replaying"):
            self._forget_cut()
            return
        if report and not (header and self._begins_another(report, header[0], message)):
            self._continue(report, message)
        elif header:
            self._begin(message, *header)
        if self._number % _OFTEN == 0:
            self._expire()

    def _joined(self, message: Message) -> tuple[Grammar, re.Match[str]] | None:
        """Join a header that a newline within (a task's name may hold one) cut in two."""
        before, self._cut = self._cut, ""
        if before:
            return header_of(before + message.text, message.stamped)
        if message.text.startswith("INFO: task ") and "blocked" not in message.text:
            self._cut = message.text
        return None

    def _from_user(self, message: Message) -> bool:
        return message.user or (self._stamped >= STAMPED and not message.stamped)

    def _notice(self, message: Message) -> bool:
        text = message.text
        if "dropped" in text and (found := _DROPPED.search(text)):
            if self._phase is not Phase.BOOT:
                self._dropped += int(found[1] or found[2])
            for report in self._open.values():
                report.dropped = True
            return True
        if self.marks and (mark := _MARK.match(text)):
            self._mark(mark[1], mark[2])
            return True
        if text.startswith(("Linux version ", "Booting the", "Decompressing")) and _BANNER.match(text):
            if self._from_user(message) and text.startswith("Linux"):
                return False
            self._boot(text)
            return True
        return text.startswith("Kernel panic") and self._consequence(message)

    def _boot(self, text: str) -> None:
        for caller in list(self._open):
            self._close(caller)
        again = self._number - self._boot_line > STAMPED and self._stamped >= _ALIVE
        if again and self._number - self._last_line > PATIENCE:
            title = "unexpected kernel reboot"
            splat = Splat(
                kind=Form.REBOOT.kind,
                title=title,
                start_line=self._number,
                end_line=self._number,
                text=text,
                phase=self._phase,
                form=Form.REBOOT,
                boot=max(self._boots, 1),
            )
            self._keep((title, self._phase, None), Form.REBOOT, lambda: splat)
        if text.startswith("Linux version "):
            self._boots += 1
            self._version = text.split(maxsplit=3)[2]
        self._boot_line = self._number

    def _consequence(self, message: Message) -> bool:
        """A panic because of the report before it is no report of its own."""
        expected = _CONSEQUENCE.match(message.text) is not None or self._died(message)
        report = self._open.get(message.caller)
        if report and report.grammar.form not in ASIDE and (expected or report.awaits_stack):
            report.panicked = True
            self._continue(report, message)
            return True
        if not expected:
            return False
        for report in self._open.values():
            if report.grammar.form not in ASIDE:
                report.panicked = True
                return True
        if self._number - self._last_line <= PATIENCE and self._last and self._last in self._found:
            self._found[self._last] = replace(self._found[self._last], panicked=True)
            return True
        return False

    def _died(self, message: Message) -> bool:
        """Say whether the kernel panics since the report before, an oops, ended whom it cannot do without."""
        if not _DIED.match(message.text):
            return False
        if report := self._open.get(message.caller):
            form, pid = report.grammar.form, report.who()[2]
        elif self._number - self._last_line <= PATIENCE and self._last in self._found:
            splat = self._found[self._last]
            form, pid = splat.form, splat.pid
        else:
            return False
        return form.kind in _DEADLY and (_INIT not in message.text or pid in (1, None))

    def _forget_cut(self) -> None:
        """The message before was cut and now comes whole: drop a report that only it began."""
        for caller, report in list(self._open.items()):
            if report.last == self._number - 1:
                if len(report.lines) == 1:
                    del self._open[caller]
                else:
                    report.lines.pop()

    def _mark(self, which: str, token: str) -> None:
        if not self.marks or token != (self.marks.begin if which == "begin" else self.marks.end):
            return
        self._phase = Phase.RACE if which == "begin" else Phase.AFTER
        if which == "begin":
            self._began = stamp(self._line)
        self._seen.append(which)

    @staticmethod
    def _begins_another(report: Report, grammar: Grammar, message: Message) -> bool:
        if grammar is report.grammar and report.lines[-1].endswith(" [inline]") and len(report.lines) < _INLINED:
            return False  # a symbolised report names every function that was inlined there
        if grammar.form in _WEAK:
            return grammar.form in ASIDE and report.grammar.form in ASIDE
        if grammar.form is Form.SOFT_LOCKUP and report.grammar is grammar and not report.stackless:
            return True  # the watchdog says it again and again, each time in full
        return not any(needle in message.text for needle in report.grammar.eats)

    def _begin(self, message: Message, grammar: Grammar, header: re.Match[str]) -> None:
        if report := self._open.get(message.caller):
            report.disturbed = report.grammar.bars
            self._close(message.caller)
        if len(self._open) >= MAX_OPEN:
            self._close(min(self._open, key=lambda caller: self._open[caller].last))
        start, bar = self._number, 0
        before = parse(self._previous)
        if BAR.match(before.text) and before.caller == message.caller and self._barred != start - 1:
            start, bar = start - 1, len(before.text.rstrip())
        self._open[message.caller] = Report(
            grammar,
            header,
            start,
            self._phase,
            [message.text],
            self._number,
            max(self._boots, 1),
            bar,
            message.stamped,
            self._since(),
            orphaned=_CONSEQUENCE.match(message.text) is not None,
        )

    def _since(self) -> float | None:
        """Return the seconds since the first mark; None before it, or without a clock."""
        now = None if self._began is None else stamp(self._line)
        return None if now is None or self._began is None else round(max(0.0, now - self._began), 6)

    def _continue(self, report: Report, message: Message) -> None:
        own = message.stamped or report.grammar.form is Form.USERSPACE
        if not own and (self._stamped >= STAMPED or (report.stamped and not report.piece(message.text))):
            return
        if report.add(self._number, message.text):
            self._close(message.caller)

    def _expire(self) -> None:
        for caller in [c for c, report in self._open.items() if self._number - report.last > PATIENCE]:
            self._close(caller)

    def _close(self, caller: str) -> None:
        report = self._open.pop(caller)
        if report.closed and report.grammar.bars:
            self._barred = report.last
        if not report.quotation() and not (report.grammar.last and report.last < self._number):
            name, form = report.name(), report.grammar.form
            if self.tell_apart:
                splat = report.splat(name)
                self._keep((name[0], report.phase, self.tell_apart(splat)), form, lambda: splat)
            else:
                self._keep((name[0], report.phase, None), form, lambda: report.splat(name))

    def _keep(self, key: _Key, form: Form, splat: Callable[[], Splat]) -> None:
        """Count a report of a known title, keep one of a new title, as long as there are not too many.

        What the boot said already is new when the race says it again.
        """
        if form not in ASIDE:
            self._last, self._last_line = key, self._number
        if key in self._found:
            self._counts[key] += 1
        elif len(self._found) < MAX_SPLATS:
            self._found[key], self._counts[key] = splat(), 1
        elif len(self._beyond) < 100 * MAX_SPLATS:
            self._beyond.add(hash(key))


def scan(source: Path | Readable, marks: Marks | None = None, tell_apart: TellApart | None = None) -> Scan:
    """Return the kernel reports on a console, from a file or a binary stream.

    With `marks` each report's phase says whether it began before, between or after the run's own marks; without, all
    are taken for the race's. Of reports with the same title only the first is kept, unless `tell_apart` says that
    they differ. Raises OSError when the file cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return scan(stream, marks, tell_apart)
    scanner = Scanner(marks, tell_apart)
    while chunk := source.read(CHUNK):
        scanner.feed(chunk)
    return scanner.finish()
