# SPDX-License-Identifier: GPL-2.0-only
"""What the fake guest answers to which command: one table, first match wins, extend it here."""

from __future__ import annotations

import base64
import gzip
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.fakes.qemu.guest import FakeGuest

# Real seconds of a fake race, however long it was asked to be; and of one that is to be interrupted.
RACE_SECONDS, LONG_SECONDS = 0.2, 300.0
VMSTAT = "nr_free_pages {free}\nnr_foll_pin_acquired {pins}\nnr_foll_pin_released {pins}\npgfault {faults}\n"


@dataclass(frozen=True, slots=True)
class Call:
    """One command: the guest, the pattern's match, where output goes, and which files the guest has."""

    guest: FakeGuest
    match: re.Match[str]
    out: Callable[[str], None]
    err: Callable[[str], None]
    raced: list[float]
    has: Callable[[str], bool]


def _uname(call: Call) -> int:
    release = "6.1.0-fake"
    call.out(f"{release}\n" if call.match["flag"] == "-r" else f"Linux guprace {release} #1 SMP fake\n")
    return 0


def _cat(call: Call) -> int:
    text = _file(call.guest, call.match["path"], call.raced)
    if text is None:
        call.err(f"cat: can't open '{call.match['path']}': No such file or directory\n")
        return 1
    call.out(text)
    return 0


def _file(guest: FakeGuest, path: str, raced: list[float]) -> str | None:
    races = len(raced)
    match path:
        case "/proc/sys/kernel/tainted":
            return f"{512 if races and guest.does('taint') else 0}\n"
        case "/proc/vmstat":
            return VMSTAT.format(free=200_000 - races, pins=20_000 * races, faults=1000 + 5000 * races)
        case "/proc/cmdline":
            return guest.options.cmdline + "\n"
        case "/proc/version":
            return "Linux version 6.1.0-fake\n"
        case "/sys/kernel/debug/kcsan" if guest.has("KCSAN"):
            enabled = 0 if guest.does("kcsan-off") else 1
            return (
                f"enabled: {enabled}\nused_watchpoints: 0\nsetup_watchpoints: {1000 + 5000 * races}\ndata_races: 0\n"
            )
    return None


def _config(call: Call) -> int:
    text = call.guest.config
    if call.guest.does("config-lost"):
        text = text.replace("CONFIG_NUMA_BALANCING=y", "# CONFIG_NUMA_BALANCING is not set")
    call.out(base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode() + "\n")
    return 0


def _kmsg(call: Call) -> int:
    text = "".join(shlex.split(call.match["text"]))
    call.guest.printk(re.sub(r"^<\d+>", "", text))
    return 0


def _dmesg(call: Call) -> int:
    call.out("\n".join(call.guest.log_lines) + "\n")
    return 0


def _insmod(call: Call) -> int:
    if call.guest.does("insmod-fails") or not call.has(call.match["path"]):
        call.err(f"insmod: can't insert '{call.match['path']}': invalid module format\n")
        return 1
    return 0


def _steps(call: Call) -> int:
    """Run what orchestrator/race/steps.py has one exec do; FAKEQEMU=cut-answer ends it in the middle."""
    steps = list(STEP.finditer(call.match["steps"] + "\n"))
    for number, step in enumerate(steps):
        if call.guest.does("cut-answer") and number == len(steps) - 2:
            return 137
        status = answer(call.guest, step["command"], call.out, call.out, call.raced, call.has)
        call.out(f"\n{step['fence']} {status}\n")
    return 0


def _nothing(call: Call) -> int:
    return 0


def _echo(call: Call) -> int:
    call.out(" ".join(shlex.split(call.match["text"])) + "\n")
    return 0


def _exit(call: Call) -> int:
    return int(call.match["status"])


def _sleep(call: Call) -> int:
    time.sleep(float(call.match["seconds"]))
    return 0


def _race(call: Call) -> int:
    """Run a scenario: canned KTAP; hits when FAKEQEMU asks for them, or the fake kernel is a broken one."""
    guest, name = call.guest, call.match["name"]
    if not call.has(f"/guprace/{name}"):
        call.err(f"sh: /guprace/{name}: not found\n")
        return 127
    if name == "sync_test":
        return _sync_test(call)
    call.raced.append(0.0)
    seed = call.match["seed"] or "0x5eed"
    call.out(f"KTAP version 1\n# scenario {name}\n# param seed {seed}\n# param seconds 1\n1..2\n")
    time.sleep(RACE_SECONDS / 2)
    guest.trouble()
    time.sleep(LONG_SECONDS if guest.broken and guest.does("long-if-broken") else RACE_SECONDS / 2)
    if guest.does("bail-out"):
        call.out("Bail out! fork: Resource temporarily unavailable\n")
        return 1
    hit = guest.does("hit") or guest.broken
    unmaps = 3 if guest.does("vacuous") else 4000
    failed = 0
    for number, subtest in enumerate((f"probe.{name.rpartition('_')[2]}", f"vmsplice.{name.rpartition('_')[2]}"), 1):
        bad = hit and number == 2
        call.out(f"# subtest {subtest}\n")
        if bad:
            failed = 1
            call.out(f"# hit {subtest} foreign_stamp expected mapping 7, observed mapping 12 page 3\n")
            call.out(f"# counter {subtest}.first_hit_ms 90\n")
        counters = {
            "trials": unmaps,
            "pins": 20_000,
            "unmaps": unmaps,
            "backoffs": 12,
            "preempted": 1,
            "race_ms": 500,
        }
        call.out(f"# floor {subtest}.unmaps 100\n")
        call.out("".join(f"# counter {subtest}.{key} {value}\n" for key, value in counters.items()))
        if guest.does("truncated") and number == 2:
            return 0
        call.out(f"not ok {number} {subtest} # foreign_stamp: 1 hits\n" if bad else f"ok {number} {subtest}\n")
    call.out(f"# totals pass:{2 - failed} fail:{failed} skip:0\n")
    return failed


def _sync_test(call: Call) -> int:
    """Run the synchroniser's self-test: it passes unless FAKEQEMU asks for bad-sync."""
    bad = call.guest.does("bad-sync")
    told = "# hit steered sync expected coverage in percent in [100, 100], observed 35\n" if bad else ""
    result = "not ok 1 steered # sync: 1 hit" if bad else "ok 1 steered"
    call.out(f"KTAP version 1\n# scenario sync_test\n1..1\n{told}# counter steered.trials 900\n{result}\n")
    call.out(f"# totals pass:{1 - bad} fail:{int(bad)} skip:0\n")
    return int(bad)


Handler = Callable[[Call], int]

STEP = re.compile(r"(?P<command>.+?)\nprintf '\\n%s\\n' \"(?P<fence>\w+ \w+) \$\?\"\n", re.DOTALL)

ANSWERS: tuple[tuple[re.Pattern[str], Handler], ...] = tuple(
    (re.compile(pattern, re.DOTALL), handler)
    for pattern, handler in (
        (r"exec 2>&1 # [^\n]*\n(?P<steps>.*)", _steps),
        (r"uname (?P<flag>-[a-z]+)", _uname),
        (r"(?:cat|base64) /proc/config\.gz", _config),
        (r"cat (?P<path>\S+)", _cat),
        (r"echo (?P<text>.*?) ?> ?/dev/kmsg", _kmsg),
        (r"dmesg", _dmesg),
        (r"true|sync|dmesg -c", _nothing),
        (r"insmod (?P<path>\S+)", _insmod),
        (r"/guprace/(?P<name>\w+) --seconds (?P<seconds>\S+)(?: --seed (?P<seed>\S+))?(?: --first-hit)?", _race),
        (r"echo 1 >/\S+", _nothing),
        (r"echo (?P<text>.*)", _echo),
        (r"exit (?P<status>\d+)", _exit),
        (r"sleep (?P<seconds>[\d.]+)", _sleep),
    )
)


def answer(
    guest: FakeGuest,
    command: str,
    out: Callable[[str], None],
    err: Callable[[str], None],
    raced: list[float],
    has: Callable[[str], bool],
) -> int:
    """Run `command` by the table and return its exit status; an unknown one is 127, as in a shell."""
    line = command.removesuffix("\nexit $?").strip()
    for pattern, handler in ANSWERS:
        if match := pattern.fullmatch(line):
            return handler(Call(guest, match, out, err, raced, has))
    err(f"fakeqemu: no answer to {line!r}: add it to tests/fakes/qemu/answers.py\n")
    return 127
