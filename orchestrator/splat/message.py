# SPDX-License-Identifier: GPL-2.0-only
"""A console line taken apart: printk's prefixes, and the message behind them."""

from __future__ import annotations

import re
from typing import NamedTuple

_STAMP = r"\[ {0,9}\d{1,9}\.\d{1,9}(?:,\d{1,2})?\](?: ?[\[(] {0,9}(?P<caller>[TC]\d+)[\])])?"
# Most lines begin with it; <4> with console_msg_format=syslog, or from dmesg -r; the host from journalctl -o
# short-monotonic.
# Vendors' kernels, from memory (none of these patches is upstream): Pixel's `c3   1234 `, Samsung's
# `[3:  kworker/3:1: 1234] `, MediaTek's `(3)[1234:kworker/3:1]`.
_VENDOR = (
    r"(?:c\d{1,2} (?= {2}|\d{3}) {0,6}(?P<pixel>\d{1,7}) "
    r"| ?\[\d{1,2}: {0,15}[^\]]{1,16}: {0,6}(?P<samsung>\d{1,7})\] "
    r"|(?:<\d>)? ?\(\d{1,2}\)\[(?P<mtk>\d{1,7}):[^\]]{1,24}\])?"
)
_PLAIN = re.compile(rf"(?:<(?P<level>\d{{1,4}})>)?{_STAMP} ?{_VENDOR}(?:[\w.-]{{1,64}}+ kernel: )?")
# Behind what a syslog daemon, a getty, a test runner or a program without newline put there.
_LATER = re.compile(r"\[ {0,9}\d{1,9}\.\d{2,9}(?:,\d{1,2})?\](?: ?[\[(] {0,9}(?P<caller>[TC]\d+)[\])])? ")
_CLOCK = re.compile(r"\[ {0,9}(\d{1,9}\.\d{1,9})(?:,\d{1,2})?\]")
# As syslog daemons, journalctl(1), dmesg(1) and test runners write the time.
_TIME = r"(?:\d{4}[/-]\d\d[/-]\d\d[ T]|[A-Z][a-z]{2} +\d+ )?\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_SYSLOG = re.compile(rf"(?:{_TIME}|\d{{9,10}}\.\d{{1,9}}) (?:\S+ )?kernel(?:\[\d+\])?: ")
_GETTY = re.compile(r"[\w.-]{1,64} login: ")
_LEVEL = re.compile(r"<(?P<level>\d{1,4})>")
_DATED = re.compile(rf"{_TIME}:? ")
# What dmesg(1) has in place of printk's stamp with -T, -e and -d, and printk itself with printk.time=0, is a bracket.
_BRACKET = re.compile(
    r"\[(?:(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} {0,2}\d{1,2} \d\d:\d\d(?::\d\d \d{4})?"
    r"| *\d+\.\d+ < *\d+\.\d+>| {0,9}[+<] *\d+\.\d+>?)\] (?:\[ {0,9}(?P<caller>[TC]\d+)\] )?"
    r"|\[ {0,9}(?P<alone>[TC]\d+)\] "
)
# dmesg -x, and the records of /dev/kmsg, which an extended netconsole sends, too
_FACILITY = re.compile(r"(?P<facility>[a-z]{3,8}\d?) *:(?:emerg|alert|crit|err|warn|notice|info|debug) *: ")
_RECORD = re.compile(r"(?P<level>\d{1,4}),\d+,\d+,[-cf+](?:,caller=(?P<caller>[TC]\d+))?(?:,[^;]{1,80})?;")
# What one line at least of a kernel's log has, in whatever form it came; where in a line does not matter.
KERNELS = re.compile(
    r"\[ {0,9}\d{1,9}\.\d{2,9}(?:,\d{1,2})?\]| kernel(?:\[\d+\])?: |Linux version \d"
    rf"|^(?:{_LEVEL.pattern}|{_FACILITY.pattern}|\d{{1,4}},\d+,\d+,[-cf+][,;]"
    r"|\[(?:(?:[A-Z][a-z]{2} )?[A-Z][a-z]{2} {0,2}\d{1,2} \d\d:\d\d| *\d+\.\d+ <| {0,9}[+<] *\d+\.\d+"
    r"| {0,9}[TC]\d+\] ))",
    re.MULTILINE,
)
_USER_FACILITY = 8
_SPLIT_WITHIN = 400


class Message(NamedTuple):
    """One line: the text behind the prefixes, who printed it (`T123`, `C1` or empty), whether it bore a time stamp.

    `user` is True when the level says that a process wrote it to /dev/kmsg (facility 1).
    """

    text: str
    caller: str = ""
    stamped: bool = False
    user: bool = False


def parse(line: str) -> Message:
    """Take one clean console line apart."""
    if found := _PLAIN.match(line):
        level = found["level"]
        return Message(line[found.end() :], _caller(found), True, level is not None and _is_user(level))
    if found := _FACILITY.match(line):
        return parse(line[found.end() :])._replace(user=found["facility"] != "kern")
    if "[" in line and (found := _LATER.search(line, 0, _SPLIT_WITHIN)):
        return Message(line[found.end() :], found["caller"] or "", True)
    if found := _LEVEL.match(line):
        return Message(line[found.end() :], user=_is_user(found["level"]))
    if found := _RECORD.match(line):
        return Message(line[found.end() :], found["caller"] or "", user=_is_user(found["level"]))
    if found := _BRACKET.match(line):
        return Message(line[found.end() :], found["caller"] or found["alone"] or "")
    if found := _SYSLOG.match(line) or _DATED.match(line) or _GETTY.match(line):
        return Message(line[found.end() :])
    # printk.time=0 leaves some consoles one blank in front of every message.
    return Message(line.removeprefix(" ") if line[:2] != "  " else line[1:])


def stamped(line: str) -> tuple[str, str] | None:
    """Return caller and text of a line that begins with a time stamp, the most of a report, without further ado."""
    found = _PLAIN.match(line)
    return (_caller(found), line[found.end() :]) if found else None


def _caller(found: re.Match[str]) -> str:
    return found["caller"] or next((f"T{pid}" for pid in found.group("pixel", "samsung", "mtk") if pid), "")


def stamp(line: str) -> float | None:
    """Return the kernel's clock (seconds since boot) in front of a line, None where there is none."""
    found = _CLOCK.search(line, 0, _SPLIT_WITHIN)
    return float(found[1]) if found else None


def parts(line: str) -> tuple[str, ...]:
    """Return the messages of a stamped line: two where the newline between them was lost.

    Trusty's driver passes on what its own console says, stamps and all: that is one message.
    """
    first = _PLAIN.match(line)
    later = _LATER.search(line, first.end() + 1, _SPLIT_WITHIN) if first and "trusty: " not in line else None
    return (line[: later.start()], line[later.start() :]) if later else (line,)


def second(text: str) -> Message | None:
    """Return the message that begins within `text`, where the newline between two was lost; None: there is none."""
    found = _LATER.search(text, 0, _SPLIT_WITHIN)
    return Message(text[found.end() :], found["caller"] or "", True) if found else None


def _is_user(level: str) -> bool:
    return int(level) >= _USER_FACILITY
