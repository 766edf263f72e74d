# SPDX-License-Identifier: GPL-2.0-only
"""What a report is called: syzbot's way, so that a bug has one name, which people can find."""

from __future__ import annotations

import re
from collections.abc import Sequence

from orchestrator.splat.frames import blamed, stuck, traced
from orchestrator.splat.grammar import Blame, Grammar
from orchestrator.splat.model import Form
from orchestrator.splat.rust import demangle
from orchestrator.splat.skip import plain

# A report's title, the other titles under which people may know it, and the functions to blame.
Name = tuple[str, tuple[str, ...], tuple[str, ...]]

MAX_TITLE = 120
NOBODY = "corrupted"

_OFFSET = re.compile(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?")
_NUMBERS = (
    (re.compile(r"(?<=\.[chS]:)\d+(?::\d+)?|(?<=\.rs:)\d+(?::\d+)?"), "LINE"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)[0-9a-f]{8,16}\b|\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{5,7}\b"), "ADDR"),
    (re.compile(r"(?<![A-Za-z0-9_])\d+|\d{3,}(?![A-Za-z])"), "NUM"),
)
_ACCESS_WORD = re.compile(r"(Read|Write) (?:of|at) ")
_HELD = re.compile(r"\d+ locks? held by .{1,40}/(\d+)")
_ASKED = ("NMI backtrace for cpu", "Sending NMI ")
_RAN = re.compile(r"CPU: \d+ (?:UID: \d+ )?PID: (\d+) ")
# What panic() says behind the words that matter.
_TAIL = re.compile(r"(?: ?\.\.\.| exitcode=\S+|, error code \S+)$")
# Why a page's state was printed.
_DUMPED = re.compile(r"page dumped because: (.*)")
# A system call's entry has a name per architecture, and generations of wrappers.
_ENTRY = re.compile(r"__(?:x64|ia32|x32|arm64|riscv|s390x?|ia32_compat|arm64_compat)_((?:compat_)?sys_\w+)")
_WRAPPED = re.compile(r"(?:(?:__(?:se|do)_(?:compat_)?)?sys_|(?:compat_|C_)?S[yY](?:S|SC)_)(?P<call>\w+)")
# A BPF program that was compiled bears the hash of its code (kernel/bpf/core.c, bpf_get_prog_name()).
_JITED = re.compile(r"(bpf_prog_)[0-9a-f]{16}(\w*)\Z")
# Names that differ by kernel or timing for what is one place.
_RENAMED = (
    (re.compile(r"smp_call_function_\w+"), "smp_call_function"),
    (
        re.compile(r"_*synchronize_(?:s?rcu|sched|net|rcu_bh|rcu_tasks)(?:_expedited|_normal|_mult)?"),
        "synchronize_rcu",
    ),
)


def titles(grammar: Grammar, header: re.Match[str], body: Sequence[str]) -> Name:
    """Return a report's title, the other titles under which people may know it, and the functions to blame."""
    groups = {name: text or "" for name, text in header.groupdict().items()}
    if pair := groups.get("pair"):
        return _pair(grammar.title.format_map(groups), pair)
    access = next((found[1] for line in body if (found := _ACCESS_WORD.match(line.strip()))), "")
    if grammar.form is Form.KASAN and not access and "{access}" in grammar.title and groups.get("rest"):
        return _cut(f"KASAN: {groups['what']} in {normal(groups['rest'])}"), (), _only(groups["f"])
    name = demangle(blamed(grammar, header, body))
    shown = {key: normal(text) for key, text in groups.items() if key != "f"}
    if grammar.form in (Form.UBSAN, Form.KASAN):  # a trap and KASan of v4.0 say `shift out of bounds`, with blanks
        shown["what"] = re.sub("[ /]", "-", shown["what"])
    shown |= {
        "access": f" {access}" if access else "",
        "f": name or NOBODY,
        "next": normal(body[1]) if "{next}" in grammar.title and len(body) > 1 else "",
        "reason": _reason(body) if "{reason}" in grammar.title else "",
        "word": groups.get("word", "").lstrip("[ "),
    }
    head = grammar.title.format_map(shown)
    if grammar.blame is Blame.NOBODY:
        return _cut(head), (), ()
    if "{f}" in grammar.title:
        return _cut(head), (), _only(name)
    return _with(grammar, header, body, head, name)


def _with(grammar: Grammar, header: re.Match[str], body: Sequence[str], head: str, name: str) -> Name:
    if grammar.blame in (Blame.LOCK, Blame.BACKTRACE) and (strangers(body) or not (name or traced(body))):
        return _cut(normal(header.string.strip("[ ]"))), (), ()
    if not name:
        bare = grammar.blame is Blame.STACK and "on address" in grammar.header
        other = (f"{grammar.alt} in {NOBODY}",) if grammar.alt else ()
        return _cut(head if bare else f"{head} in {NOBODY}"), other, ()
    better = canonical(name)
    alts = [f"{head} in {other}" for other in _spellings(name) if other != better]
    if grammar.alt:
        alts += [f"{grammar.alt} in {other}" for other in _spellings(name)]
    if grammar.form is Form.SOFT_LOCKUP and (stood := stuck(body)) not in ("", name):
        alts.append(f"{head} in {stood}")
    return _cut(f"{head} in {better}"), tuple(_cut(alt) for alt in alts), (name,)


def _reason(body: Sequence[str]) -> str:
    return normal(next((found[1] for line in body if (found := _DUMPED.match(line))), ""))


def strangers(body: Sequence[str]) -> bool:
    """Say whether the stack belongs to another task than the locks: two reports, mixed."""
    held = next((found[1] for line in body if (found := _HELD.match(line))), "")
    ran = next((found[1] for line in body if (found := _RAN.match(line))), "")
    return bool(held and ran) and held != ran


def mixed(body: Sequence[str]) -> bool:
    """Say whether two tasks show who they are: another's report stands between the lines of this one.

    Where the watchdog, or an oops on its user's wish, shows what all CPUs do, they do that for it.
    """
    ran = {found[1] for line in body if (found := _RAN.match(line))}
    return len(ran) > 1 and not any(line.startswith(_ASKED) for line in body)


def canonical(name: str) -> str:
    """Return the name under which a function is blamed, whatever the architecture and the kernel's age."""
    for names, common in _RENAMED:
        if names.fullmatch(name):
            return common
    if found := _JITED.match(name):
        return f"{found[1]}ADDR{found[2]}"
    if found := _ENTRY.fullmatch(name):
        return found[1]
    if found := _WRAPPED.fullmatch(name):
        return found["call"]
    return name


def _spellings(name: str) -> tuple[str, ...]:
    shorter = canonical(name)
    return tuple(dict.fromkeys((shorter, name, canonical(shorter))))


def _pair(head: str, pair: str) -> Name:
    names = tuple(_OFFSET.sub("", side).strip() for side in pair.split(" / "))
    bare = tuple(plain(re.sub(r" \[\w+\]$", "", name)) for name in names)
    other = f"{head} in {' / '.join(bare)}"
    title = f"{head} in {' / '.join(names)}"
    return title[:200], (other,) if other != title else (), names


def normal(text: str) -> str:
    """Return `text` without what differs from run to run: offsets, addresses, numbers."""
    text = _OFFSET.sub("", _TAIL.sub("", text.rstrip()))
    for numbers, word in _NUMBERS:
        text = numbers.sub(word, text)
    return text.strip()


def _only(name: str) -> tuple[str, ...]:
    return (name,) if name else ()


def _cut(title: str) -> str:
    return title[:MAX_TITLE].rstrip()
