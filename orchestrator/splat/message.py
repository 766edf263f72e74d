# SPDX-License-Identifier: GPL-2.0-only
"""A console line taken apart: printk's prefixes, and the message behind them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PREFIX = re.compile(
    r"""(?:<(?P<level>\d{1,4})>)?                    # console_msg_format=syslog, or dmesg -r
        (?:.{0,80}?(?:kernel|login):\s?)?              # a syslog daemon's own prefix, or a getty's
        \s?(?P<stamp>\[\s{0,9}\d{1,9}\.\d{1,9}\])    # CONFIG_PRINTK_TIME
        (?:\s?[\[(]\s{0,9}(?P<caller>[TC]\d+)[\])])? # CONFIG_PRINTK_CALLER
        [ ]?""",
    re.VERBOSE | re.IGNORECASE,
)
_LEVEL = re.compile(r"<(?P<level>\d{1,4})>")
_USER_FACILITY = 8


@dataclass(frozen=True, slots=True)
class Message:
    """One line: the text behind the prefixes, who printed it (`T123`, `C1` or empty), whether it bore a time stamp.

    `user` is True when the level says that a process wrote it to /dev/kmsg (facility 1).
    """

    text: str
    caller: str = ""
    stamped: bool = False
    user: bool = False


def parse(line: str) -> Message:
    """Take one clean console line apart."""
    found = _PREFIX.match(line)
    if found:
        return Message(line[found.end() :], found["caller"] or "", True, _is_user(found["level"]))
    level = _LEVEL.match(line)
    if level:
        return Message(line[level.end() :], user=_is_user(level["level"]))
    # printk.time=0 leaves some consoles one blank in front of every message.
    return Message(line.removeprefix(" ") if line[:2] != "  " else line[1:])


def _is_user(level: str | None) -> bool:
    return level is not None and int(level) >= _USER_FACILITY
