# SPDX-License-Identifier: GPL-2.0-only
"""Cut kernel reports out of a console: one pass, bounded memory, whatever the guest printed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from orchestrator.splat.frames import FRAME, accesses, blamed, functions
from orchestrator.splat.grammar import NEEDLES, Blame, Grammar, header_of
from orchestrator.splat.lines import CHUNK, LineReader
from orchestrator.splat.message import Message, parse
from orchestrator.splat.model import Phase, Scan, Splat, SplatKind

MAX_SPLATS = 200
MAX_LINES = 400
MAX_OPEN = 32
# So many of its own lines without anything of a report end a report without bars; so many of others' end any.
SLACK = 12
PATIENCE = 3000

_BAR = re.compile(r"={20,}\s*$")
_END = re.compile(r"---\[ end (?:trace|Kernel panic)|Rebooting in \d+ seconds|Kernel Offset:")
_PIECE = re.compile(
    r"\+0x[0-9a-f]+/0x|is trying to|lock"
    r"|^(?:CPU|PID|Hardware name|Call [Tt]race|Code|Modules linked|RIP|RSP|R[A-D]X|CR2|pc|lr|sp|x\d+|Stack|Comm)\b"
    r"|^(?:Workqueue|Tainted|FS|Oops|Internal error|Backtrace|NMI backtrace|Sending NMI|task|page|flags|raw)\b"
    r"|^(?:Read of|Write of)\b|^ *(?:</?(?:TASK|IRQ|NMI)>|\[<[0-9a-f]+>\]|#\d: | #\d+ |->|other info|stack backtrace)"
)
_ACCESS_WORD = re.compile(r"(Read|Write) (?:of|at)")
_DROPPED = re.compile(r"\*\* (\d+) printk messages dropped \*\*|(\d+) (?:printk )?messages dropped")
_BANNER = re.compile(r"Linux version \d+\.\d+")
_MARK = re.compile(r"guprace: mark (begin|end) ([0-9a-f]{1,64})\s*$")
_LOOK_AT = (*NEEDLES, "messages dropped", "Linux version ", "guprace: mark ")


@dataclass(frozen=True, slots=True)
class Marks:
    """The run's own marks, as written to /dev/kmsg: `guprace: mark begin <hex>` and `guprace: mark end <hex>`."""

    begin: str
    end: str

    @staticmethod
    def line(which: str, token: str) -> str:
        """Return the line to write to /dev/kmsg; `which` is `begin` or `end`, `token` a fresh random hex number."""
        return f"guprace: mark {which} {token}"


@dataclass(slots=True)
class _Report:
    grammar: Grammar
    header: re.Match[str]
    start: int
    phase: Phase
    lines: list[str]
    last: int
    useful: int = 1
    closed: bool = False
    needed: bool = False

    def add(self, number: int, text: str) -> None:
        self.last = number
        if len(self.lines) < MAX_LINES:
            self.lines.append(text)
        if _PIECE.search(text):
            self.useful = len(self.lines)
        if self.grammar.needs and not self.needed and self.grammar.needs.search(text):
            self.needed = True

    def body(self) -> list[str]:
        return self.lines if self.closed or self.grammar.bars else self.lines[: self.useful]


@dataclass(slots=True)
class Scanner:
    """Feed it bytes, then ask for the result. Any division of the input gives the same result."""

    marks: Marks | None = None
    _reader: LineReader = field(default_factory=LineReader)
    _number: int = 0
    _phase: Phase = Phase.RACE
    _open: dict[str, _Report] = field(default_factory=dict)
    _found: dict[str, Splat] = field(default_factory=dict)
    _beyond: set[int] = field(default_factory=set)
    _seen: list[str] = field(default_factory=list)
    _previous: str = ""
    _stamped: int = 0
    _tagged: bool = False
    _dropped: int = 0
    _boots: int = 0

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
        splats = sorted(self._found.values(), key=lambda splat: splat.start_line)
        return Scan(
            splats=tuple(splats),
            omitted=len(self._beyond),
            dropped=self._dropped,
            lines=self._number,
            boots=self._boots,
            marks=tuple(self._seen),
        )

    def _take(self, block: str | None) -> None:
        if block is None:
            return
        # Most of a console is of no interest: a block without any needle is only counted.
        if not self._open and self._stamped >= SLACK and not any(needle in block for needle in _LOOK_AT):
            self._number += block.count("\n") + 1
            self._previous = block[block.rfind("\n") + 1 :]
            return
        for line in block.split("\n"):
            self._number += 1
            if self._open or any(needle in line for needle in _LOOK_AT):
                self._look(line)
            elif self._stamped < SLACK and line[:1] == "[":
                self._stamped += parse(line).stamped
            self._previous = line

    def _look(self, line: str) -> None:
        message = parse(line)
        self._stamped += message.stamped
        self._tagged = self._tagged or bool(message.caller)
        if self._notice(message):
            return
        report = self._open.get(message.caller)
        header = None if self._from_user(message) else header_of(message.text)
        if report and not (header and self._begins_another(report, header[0], message)):
            self._continue(report, message)
        elif header:
            self._begin(message, *header)
        self._expire()

    def _from_user(self, message: Message) -> bool:
        return message.user or (self._stamped >= SLACK and not message.stamped)

    def _notice(self, message: Message) -> bool:
        text = message.text
        if found := _DROPPED.search(text):
            if self._phase is not Phase.BOOT:
                self._dropped += int(found[1] or found[2])
            return True
        if found := _MARK.match(text):
            self._mark(found[1], found[2])
            return True
        if text.startswith("Linux version ") and _BANNER.match(text) and not self._from_user(message):
            self._boots += 1
            for caller in list(self._open):
                self._close(caller)
            return True
        return False

    def _mark(self, which: str, token: str) -> None:
        if not self.marks or token != (self.marks.begin if which == "begin" else self.marks.end):
            return
        self._phase = Phase.RACE if which == "begin" else Phase.AFTER
        self._seen.append(which)

    @staticmethod
    def _begins_another(report: _Report, grammar: Grammar, message: Message) -> bool:
        if report.grammar.bars and not report.closed and grammar.needle in report.grammar.eats:
            return False
        return not any(needle in message.text for needle in report.grammar.eats)

    def _begin(self, message: Message, grammar: Grammar, header: re.Match[str]) -> None:
        if message.caller in self._open:
            self._close(message.caller)
        if len(self._open) >= MAX_OPEN:
            self._close(min(self._open, key=lambda caller: self._open[caller].last))
        start, lines = self._number, [message.text]
        before = parse(self._previous)
        if _BAR.match(before.text) and before.caller == message.caller:
            start -= 1
        self._open[message.caller] = _Report(grammar, header, start, self._phase, lines, self._number)

    def _continue(self, report: _Report, message: Message) -> None:
        if self._stamped >= SLACK and not message.stamped:
            return
        report.add(self._number, message.text)
        if (report.grammar.bars and _BAR.match(message.text)) or _END.search(message.text):
            report.closed = True
            self._close(message.caller)
        elif not report.grammar.bars and len(report.lines) - report.useful > SLACK:
            self._close(message.caller)

    def _expire(self) -> None:
        for caller in [c for c, report in self._open.items() if self._number - report.last > PATIENCE]:
            self._close(caller)

    def _close(self, caller: str) -> None:
        report = self._open.pop(caller)
        splat = _splat(report)
        if splat is None:
            return
        known = self._found.get(splat.title)
        if known:
            self._found[splat.title] = replace(known, count=known.count + 1)
        elif len(self._found) < MAX_SPLATS:
            self._found[splat.title] = splat
        elif len(self._beyond) < 100 * MAX_SPLATS:
            self._beyond.add(hash(splat.title))


def _splat(report: _Report) -> Splat | None:
    """Return the finished report, None for a mere quotation: a header whose body never came, but other lines did."""
    grammar, body = report.grammar, report.body()
    if grammar.needs and not report.needed and len(report.lines) > 3:
        return None
    title, blame = _title(grammar, report.header, body)
    made = accesses(body) if grammar.kind is SplatKind.KCSAN else ()
    stacks = tuple(stack for _, stack in made) if made else tuple(filter(None, (functions(body),)))
    traced = any(FRAME.match(line) for line in body) or grammar.blame is Blame.NOBODY
    return Splat(
        kind=grammar.kind,
        title=title,
        start_line=report.start,
        end_line=report.last if report.closed else min(report.last, report.start + len(body)),
        text="\n".join(line for line in body if not _BAR.match(line)),
        functions=blame,
        stacks=stacks,
        accesses=tuple(what for what, _ in made),
        whole=report.closed if grammar.bars else traced,
        phase=report.phase,
    )


def _title(grammar: Grammar, header: re.Match[str], body: list[str]) -> tuple[str, tuple[str, ...]]:
    groups = {name: text or "" for name, text in header.groupdict().items()}
    if pair := groups.get("pair"):
        names = tuple(re.sub(r"\+0x[0-9a-f]+/0x[0-9a-f]+", "", side).strip() for side in pair.split(" / "))
        return f"{grammar.title.format_map(groups)} in {' / '.join(names)}"[:200], names
    access = next((found[1] for line in body if (found := _ACCESS_WORD.match(line.strip()))), "")
    title = grammar.title.format_map(groups | {"access": f" {access}" if access else ""})
    name = blamed(grammar, header, body)
    return (f"{title} in {name}" if name else title)[:200], (name,) if name else ()


def scan(source: Path | IO[bytes], marks: Marks | None = None) -> Scan:
    """Return the kernel reports on a console, from a file or a binary stream.

    With `marks` each report's phase says whether it began before, between or after the run's own marks; without, all
    are taken for the race's. Raises OSError when the file cannot be read.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            return scan(stream, marks)
    scanner = Scanner(marks)
    while chunk := source.read(CHUNK):
        scanner.feed(chunk)
    return scanner.finish()


def between(path: Path, marks: Marks) -> tuple[Splat, ...]:
    """Return only the reports that began between the marks. Raises OSError."""
    return tuple(splat for splat in scan(path, marks).splats if splat.phase is Phase.RACE)


def blindness(found: Scan) -> str:
    """Say why a console scanned with marks cannot be trusted; empty when it can.

    A mark is a line of level 4 as KCSAN's stacks are: where it shows, they would have shown.
    """
    missing = [which for which in ("begin", "end") if which not in found.marks]
    return f"the {' and the '.join(missing)} mark did not come out of the console" if missing else ""


def titles(splats: Iterable[Splat]) -> frozenset[str]:
    """Return the titles, for comparison with another run."""
    return frozenset(splat.title for splat in splats)
