# SPDX-License-Identifier: GPL-2.0-only
"""A report while it is being read, and what becomes of it: a Splat, or nothing when it was a mere quotation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from orchestrator.splat import kcsan
from orchestrator.splat.frames import beheaded, functions, traced
from orchestrator.splat.grammar import Blame, Grammar, pattern
from orchestrator.splat.model import ASIDE, Form, Phase, Splat, SplatKind
from orchestrator.splat.rust import demangle
from orchestrator.splat.title import Name, mixed, strangers, titles

MAX_LINES = 800
# What is kept of a report: its lines' beginnings while it is read, then so much text. Bounds the memory of a flood.
MAX_WIDTH = 1000
MAX_TEXT = 64 * 1024
# So many lines of its own without anything of a report end a report without bars.
SLACK = 30
# A panic behind one of these is no part of it.
_NO_STACK = ASIDE | {Form.PANIC, Form.REMARK, Form.OTHER}
# Where such a report looks for whom to blame, it shows one task.
_ONE_TASK = frozenset({Blame.PC, Blame.HEADER_FIRST})
# A quotation is found out after so many lines.
_QUOTED = 3

BAR = re.compile(r"={20,}\s*$")
# A frame of a stack, not the place where the CPU stood; arm of 6.1 has no words before the first.
_ADDRESS = r"(?:\[<?[(\w)]{4,20}>?\] ?)"
_STACK_FRAME = re.compile(rf"\s*{_ADDRESS}{{0,2}}(?:\? )?(?:\(?\w+\)? from {_ADDRESS}?)?\(?[A-Za-z_.][\w.$]*\+0x")
END = re.compile(r"---\[ end (?:trace|Kernel panic)|Rebooting in \d+ seconds|Kernel Offset:")
_LAST_BEGINS = frozenset("=-RK")
_PIECE = re.compile(
    r".*(?:\+0x[0-9a-f]+/0x|is trying to|lock|\[inline\]|\(\S+\.(?:[chS]|rs):\d)"
    r"|(?:CPU|PID|Hardware name|Call [Tt]race|Code|Modules linked|RIP|RSP|R[A-D]X|CR2|pc|lr|sp|x\d+|Stack|Comm)\b"
    r"|(?:Workqueue|Tainted|FS|Oops|Internal error|Backtrace|NMI backtrace|Sending NMI|task|page|flags|raw)\b"
    r"|(?:Read of|Write of)\b| *(?:</?(?:TASK|IRQ|NMI)>|\[<[0-9a-f]+>\]|#\d: | #\d+ |->|other info|stack backtrace)"
    r"|  ?(?:comm \"|hex dump|backtrace|Tainted|Not tainted|[0-9a-f]{2} [0-9a-f]{2} )|rcu: "
    r"|R\d\d: |value changed|Uninit | +last function: |(?:read|write|assert|race at)\b.* by "
    r"|(?:INFO|Object|Bytes b4|Redzone|Padding|FIX|Kernel panic)\b"
)
_CPU = re.compile(
    r"CPU: (?P<cpu>\d+) (?:UID: \d+ )?PID: (?P<pid>\d+) Comm: (?P<task>.{1,40}?) (?:Not tainted|Tainted)"
)
_WARN_CPU = re.compile(r"WARNING: .*CPU: (?P<cpu>\d+) PID: (?P<pid>\d+)")
_WARN_LATE = re.compile(r"WARNING: .*, CPU#(?P<cpu>\d+): (?P<task>.{1,40})/(?P<pid>\d+)")
_HUNG = re.compile(r"INFO: task (?P<task>.{1,40}):(?P<pid>\d+) ")
_LOCKUP = re.compile(r".*lockup - CPU#(?P<cpu>\d+) stuck .*?(?:\[(?P<task>.{1,40}):(?P<pid>\d+)\])?$")
_BY_TASK = re.compile(r".* by task (?P<task>.{1,40})/(?P<pid>\d+)\s*$")
_LEAVES = re.compile(r"(?P<task>.{1,40})/(?P<pid>\d+) is leaving the kernel with locks")
_COMM = re.compile(r' *comm "(?P<task>.{1,40}?)", pid (?P<pid>\d+)')
_SHOWN = re.compile(r"task:(?P<task>\S.{0,40}?) +state:\S+ .*pid:(?P<pid>\d+)")
_RSS = re.compile(r".* Comm:(?P<task>.{1,40}) Pid:(?P<pid>\d+)\s*$")
# One of these is in each of the above.
_SAYS_WHO = ("PU", "task", "omm", "leaving")


@dataclass(slots=True)
class Report:
    """A report that has begun: its form, its header, and the lines so far (the header first)."""

    grammar: Grammar
    header: re.Match[str]
    start: int
    phase: Phase
    lines: list[str]
    last: int
    boot: int = 1
    bar: int = 0
    stamped: bool = False
    since: float | None = None
    stackless: bool = True
    useful: int = 1
    # the console's line of the last useful one
    end: int = field(init=False)
    closed: bool = False
    needed: bool = False
    dropped: bool = False
    disturbed: bool = False
    panicked: bool = False
    orphaned: bool = False
    needs: re.Pattern[str] | None = field(init=False)

    def __post_init__(self) -> None:
        """Remember what the body must hold."""
        self.end = self.last
        self.needs = pattern(self.grammar.needs) if self.grammar.needs else None

    def add(self, number: int, text: str) -> bool:
        """Take the next line of this report; say whether that was its last."""
        self.last = number
        if self.grammar.form is Form.LEAK:  # kmemleak's own prefix, on every line that it prints itself
            text = text.removeprefix("kmemleak: ")
        self.lines.append(text[:MAX_WIDTH])
        count = len(self.lines)
        if "+0x" in text:
            self.useful, self.end = count, number
            self.stackless = self.stackless and not _STACK_FRAME.match(text)
        elif _PIECE.match(text):
            self.useful, self.end = count, number
            self.stackless = self.stackless and not text.startswith(("Call ", "Backtrace"))
        if not self.needed and self.needs is not None and self.needs.search(text):
            self.needed = True
        if text[:1] in _LAST_BEGINS:
            self.closed = END.match(text) is not None or (self.grammar.bars and self._is_bar(text))
        return self.closed or count >= MAX_LINES or (count - self.useful > SLACK and not self.grammar.bars)

    @property
    def awaits_stack(self) -> bool:
        """Say whether its stack is still to come, so that a panic is part of it: panic() prints the stack then."""
        return self.stackless and self.grammar.blame is not Blame.NOBODY and self.grammar.form not in _NO_STACK

    @staticmethod
    def piece(text: str) -> bool:
        """Say whether a line looks like part of a report."""
        return "+0x" in text or _PIECE.match(text) is not None

    def _is_bar(self, text: str) -> bool:
        # KASAN of 4.x has SLUB's report within its own, between longer bars.
        return text[:1] == "=" and BAR.match(text) is not None and (not self.bar or len(text.rstrip()) == self.bar)

    def body(self) -> list[str]:
        """Return the lines, without what follows the last that looks like a report's."""
        return self.lines if self.closed or self.grammar.bars else self.lines[: self.useful]

    def quotation(self) -> bool:
        """Say whether it is no report: a header without its body, but with other lines."""
        if self.grammar.last:
            return any(line.strip() for line in self.lines[1:])
        return self.needs is not None and not self.needed and len(self.lines) > _QUOTED

    def name(self) -> Name:
        """Return what the finished report is called, and whom it blames."""
        return titles(self.grammar, self.header, self.body())

    def splat(self, name: Name) -> Splat:
        """Return the finished report."""
        grammar, body = self.grammar, self.body()
        title, others, blame = name
        fields = kcsan.fields(title, body, self.closed) if grammar.form is Form.KCSAN else None
        stacks = tuple(access.stack for access in fields.accesses) if fields else ()
        corrupted = self._corrupted(body, bool(blame))
        cpu, task, pid = self.who()
        return Splat(
            kind=grammar.form.kind,
            title=title,
            start_line=self.start,
            end_line=self.last if self.closed or grammar.bars else self.end,
            text="\n".join(line for line in body if line[:1] != "=" or not BAR.match(line))[:MAX_TEXT],
            functions=blame,
            stacks=stacks or tuple(filter(None, (tuple(map(demangle, functions(body))),))),
            accesses=tuple(access.words for access in fields.accesses) if fields else (),
            whole=not corrupted,
            phase=self.phase,
            form=grammar.form,
            what=self.header.groupdict().get("what") or "",
            alt_titles=others,
            corrupted=corrupted,
            cpu=cpu,
            task=task,
            pid=pid,
            boot=self.boot,
            panicked=self.panicked,
            kcsan=fields,
            since=self.since,
        )

    def _corrupted(self, body: list[str], blame: bool) -> str:
        if self.grammar.cut:
            return self.grammar.cut
        said = self.header.groupdict().get("what")
        if (said is not None and not said.strip()) or (self.grammar.more and len(body) == 1):
            return "its header was cut" if len(body) > 1 else "nothing follows its header"
        if self.orphaned:
            return "what it follows from is not here"
        if self.dropped:
            return "messages were dropped within"
        if self.disturbed:
            return "another report began within"
        if self.grammar.blame in _ONE_TASK and mixed(body):
            return "another task's report within"
        if self.grammar.blame is not Blame.NOBODY:
            if strangers(body) and self.grammar.form.kind is SplatKind.LOCKDEP:
                return "another task's stack within"
            if not self.grammar.bare and not traced(body):
                return "no stack"
            if not self.grammar.bare and beheaded(body):
                return "a stack is missing"
            if not blame:
                return "no frame to blame"
        if self.grammar.bars and not self.closed and self.grammar.form is not Form.UBSAN:
            return "cut before its end"
        return ""

    def who(self) -> tuple[int | None, str, int | None]:
        """Return CPU, task and pid, as far as the report says them."""
        cpu, task, pid = None, "", None
        for line in self.body()[:60]:
            if not any(word in line for word in _SAYS_WHO):
                continue
            for who in (_CPU, _WARN_LATE, _WARN_CPU, _HUNG, _LOCKUP, _BY_TASK, _LEAVES, _COMM, _SHOWN, _RSS):
                if found := who.match(line):
                    groups = found.groupdict()
                    cpu = int(groups["cpu"]) if cpu is None and groups.get("cpu") else cpu
                    task = task or groups.get("task") or ""
                    pid = int(groups["pid"]) if pid is None and groups.get("pid") else pid
            if cpu is not None and task:
                break
        return cpu, task, pid
