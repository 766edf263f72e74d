# SPDX-License-Identifier: GPL-2.0-only
"""Reports cut out of consoles: whole, once, and only where the kernel itself printed one."""

from __future__ import annotations

import io
import json
import time
from itertools import islice, pairwise, product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.race.collect import Mark
from orchestrator.splat.lines import MAX_LINE, LineReader
from orchestrator.splat.message import parse
from orchestrator.splat.model import Phase, Scan, SplatKind
from orchestrator.splat.present import as_dict
from orchestrator.splat.scan import MAX_SPLATS, Marks, Scanner, scan
from orchestrator.splat.title import normal

DATA = Path(__file__).parents[1] / "data" / "splat"
REAL = (DATA / "x86_64-6.1-kcsan-pin_vs_munmap.log").read_bytes()
REAL_MARKS = Marks("0123abcd", "0123abce")


def of(text: str | bytes, marks: Marks | None = None) -> Scan:
    return scan(io.BytesIO(text.encode() if isinstance(text, str) else text), marks)


def stamped(lines: str, caller: str = "  T812") -> str:
    return "".join(f"[   41.{n:06d}][{caller}] {line}\n" for n, line in enumerate(lines.strip("\n").split("\n")))


BAR = "=" * 66
KCSAN = f"""
{BAR}
BUG: KCSAN: data-race in gup_pte_range / zap_pte_range

write (marked) to 0xffff8881034c7a40 of 8 bytes by task 813 on cpu 1:
 zap_pte_range+0x4f1/0xd20
 unmap_vmas+0x8d/0xd0

read to 0xffff8881034c7a40 of 8 bytes by task 812 on cpu 3:
 gup_pte_range+0x1c2/0x5b0
 internal_get_user_pages_fast+0x9a/0x1e0

Reported by Kernel Concurrency Sanitizer on:
CPU: 3 PID: 812 Comm: gup_race Not tainted 6.1.0 #1
{BAR}
"""
KASAN = f"""
{BAR}
BUG: KASAN: use-after-free in gup_pgd_range+0x739/0x770
Read of size 8 at addr ffff8800b46111c0 by task pin_vs_munmap/99

CPU: 0 PID: 99 Comm: pin_vs_munmap Not tainted 6.1.0 #1
Call Trace:
 <TASK>
 dump_stack_lvl+0x34/0x44
 gup_pgd_range+0x739/0x770
 </TASK>
{BAR}
"""
WARNING = """
------------[ cut here ]------------
WARNING: CPU: 1 PID: 77 at mm/gup.c:123 try_grab_folio+0x1c/0x90
Modules linked in: guprace_probe(O)
CPU: 1 PID: 77 Comm: x Tainted: G           O       6.1.0 #1
RIP: 0010:try_grab_folio+0x1c/0x90
Call Trace:
 gup_pte_range+0x1c2/0x5b0
---[ end trace 0000000000000000 ]---
"""


def test_the_real_console_of_a_stock_kcsan_kernel_is_cut_into_its_reports() -> None:
    found = of(REAL, REAL_MARKS)
    assert [(s.kind, s.phase, s.whole) for s in found.splats] == [
        (SplatKind.KCSAN, Phase.RACE, True),
        (SplatKind.KCSAN, Phase.RACE, True),
        (SplatKind.KCSAN, Phase.RACE, True),
        (SplatKind.PANIC, Phase.AFTER, True),
    ]
    assert found.marks == ("begin", "end")
    assert (found.boots, found.dropped) == (1, 0)
    second = found.splats[1]
    assert second.functions == ("internal_get_user_pages_fast", "lru_add_fn")
    assert second.accesses == ("read (marked)", "write")
    assert second.stacks[0][:3] == ("internal_get_user_pages_fast", "pin_user_pages_fast", "probe_ioctl")
    lines = REAL.decode().splitlines()
    assert "=====" in lines[second.start_line - 1]
    assert "BUG: KCSAN" in lines[second.start_line]
    assert "=====" in lines[second.end_line - 1]
    assert "probe.munmap.trials" not in second.text


def test_the_real_consoles_give_the_json_that_is_beside_them() -> None:
    for log in sorted(DATA.glob("*.log")):
        expected = json.loads(log.with_suffix(".json").read_text())
        assert as_dict(scan(log)) == expected, log.name


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=len(REAL) - 1), max_size=40))
def test_any_division_of_the_input_gives_the_same_reports(cuts: list[int]) -> None:
    scanner = Scanner(REAL_MARKS)
    places = [0, *sorted(cuts), len(REAL)]
    for start, end in pairwise(places):
        scanner.feed(REAL[start:end])
    assert scanner.finish() == of(REAL, REAL_MARKS)


def test_single_bytes_give_the_same_reports() -> None:
    text = (stamped(KCSAN) + stamped(KASAN)).encode()
    scanner = Scanner()
    for byte in text:
        scanner.feed(bytes([byte]))
    assert scanner.finish() == of(text)


MANGLED = [
    lambda b: b.replace(b"\n", b"\r\n"),
    lambda b: b.replace(b"BUG:", b"\x1b[31mBUG:\x1b[0m"),
    lambda b: b.replace(b"[   41", b"<4>[   41"),
    lambda b: b"\x1bc\x1b[?7l\x1b[2J\x1b[0mSeaBIOS\r\nBooting from ROM..\x00\xff\r\n" + b,
    lambda b: b.replace(b"\n", b"\n\0", 3),
    lambda b: b"guest login: " + b,
]


@pytest.mark.parametrize("mangle", MANGLED)
def test_noise_of_consoles_changes_nothing(mangle: object) -> None:
    text = stamped(KCSAN) + stamped(KASAN) + stamped(WARNING)
    assert callable(mangle)
    found = of(mangle(text.encode()))
    assert [s.title for s in found.splats] == [
        "KCSAN: data-race in gup_pte_range / zap_pte_range",
        "KASAN: use-after-free Read in gup_pgd_range",
        "WARNING in try_grab_folio",
    ]
    assert all(s.whole for s in found.splats)
    assert all("\x1b" not in s.text and "\r" not in s.text for s in found.splats)


def test_two_cpus_that_print_at_once_are_pulled_apart() -> None:
    first, second = stamped(KCSAN, "  T812").splitlines(), stamped(KASAN, "  C1").splitlines()
    mixed = [line for pair in zip(first, second, strict=False) for line in pair] + first[len(second) :]
    found = {s.kind: s for s in of("\n".join(mixed) + "\n").splats}
    assert found[SplatKind.KCSAN].text == of(stamped(KCSAN)).splats[0].text
    assert found[SplatKind.KASAN].text == of(stamped(KASAN)).splats[0].text
    assert all(s.whole for s in found.values())


def test_a_cpu_that_was_asked_where_it_stands_goes_on_with_the_report() -> None:
    asked = stamped(
        "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\nSending NMI from CPU 1 to CPUs 0:", "  C1"
    )
    answer = """
NMI backtrace for cpu 0
CPU: 0 PID: 99 Comm: x Not tainted 6.1.0 #1
RIP: 0010:spinner+0x1/0x2
Call Trace:
 spinner+0x1/0x2
 __x64_sys_munmap+0x1/0x2
"""
    other = stamped("a driver's chatter\n" * 2, "  C1")
    (splat,) = of(asked + stamped(answer, "  C0") + other).splats
    assert (splat.title, splat.corrupted, splat.pid) == ("INFO: rcu detected stall in sys_munmap", "", 99)
    (alone,) = of(asked + other + stamped(answer, "  C0")).splats
    assert alone.corrupted == "no stack"


def test_every_leak_is_a_report() -> None:
    leaks = "".join(
        f'BUG: memory leak\nunreferenced object 0xffff88810ee1c600 (size 256):\n  comm "x", pid 99\n  backtrace:\n'
        f"    [<ffffffff8147ed3b>] kmemdup+0x1b/0x40\n    [<ffffffff8147ed3c>] {name}+0x1b/0x40\n\n"
        for name in ("first_user", "other_user")
    )
    assert [splat.title for splat in of(leaks).splats] == ["memory leak in first_user", "memory leak in other_user"]


COPIED = [
    "[Fri Nov 27 18:38:44 2026] ",
    "[Fri Nov  6 18:38:44 2026] [   T77] ",
    "[Nov27 18:38] ",
    "[  +0.000012] ",
    "[  123.456789 <    0.000012>] ",
    "[<    0.000012>] ",
    "[   T77] ",
    "kern  :warn  : [  123.456789] ",
    "kern  :warn  : [Fri Nov 27 18:38:44 2026] ",
    "2026-11-27T18:38:44,123456+00:00 ",
    "Nov 27 18:38:44 host kernel: ",
    "Nov 27 18:38:44.123456 host kernel: ",
    "2026-11-27T18:38:44+0000 host kernel: ",
    "2026-11-27T18:38:44.123456+00:00 host kernel: [  123.456789] ",
    "1764268724.123456 host kernel: ",
    "[  123.456789] host kernel: ",
    "2026-11-27T18:38:44.1234567Z ",
    "4,1234,123456789,-;",
    "4,1234,123456789,-,caller=T77;",
    "[  123.456789] c3     77 ",
    "[  123.456789]  [3:          racer:   77] ",
    "[  123.456789] (3)[77:racer]",
    "<4>[  123.456789] (3)[77:racer]",
    "[  123.456789,0] ",
]


@pytest.mark.parametrize("prefix", COPIED)
def test_whatever_tool_copied_the_log_its_reports_are_found(prefix: str) -> None:
    copied = "".join(
        f"{prefix}{line}\n" for line in ["chatter"] * 20 + WARNING.strip().split("\n") + ["chatter"] * 20
    )
    (splat,) = of(copied).splats
    assert splat.text == of(stamped(WARNING)).splats[0].text


@pytest.mark.parametrize("line", [1, 3, 5])
def test_what_another_context_said_behind_a_lost_newline_is_no_part_of_a_report(line: int) -> None:
    lines = stamped(KCSAN).split("\n")
    whole = of("\n".join(lines)).splats[0]
    lines[line] += "[   41.000200][   T12] eth0: link up"
    (splat,) = of("\n".join(lines)).splats
    assert (splat.title, splat.text, splat.whole) == (whole.title, whole.text, whole.whole)


def test_the_same_report_again_is_counted_not_kept() -> None:
    (splat,) = of(stamped(KCSAN) * 7).splats
    assert splat.count == 7
    assert splat.start_line == 1


def test_a_report_that_was_cut_is_kept_and_said_not_to_be_whole() -> None:
    (splat,) = of(stamped(KCSAN[: KCSAN.index("Reported")])).splats
    assert not splat.whole


QUOTES = [
    "TAP version 14\n# grep -c 'BUG: KCSAN' /tmp/dmesg: 0\nok 1 - gup race: no KCSAN report seen\n",
    "# hit probe.munmap splat BUG: KCSAN: data-race in a / b\n",
    stamped("pin_vs_munmap: BUG: KASAN: use-after-free in nothing, just words"),
    stamped("BUG: KCSAN: data-race in a / b\nthat was a quotation\nand goes on\nand on\nand on"),
    stamped("x\n" * 20) + "BUG: KASAN: use-after-free in gup_pgd_range+0x1/0x2\nRead of size 8 at addr 0 by task x\n",
    "<12>[   41.1][  T99] Kernel panic - not syncing: said a process\n",
    "user  :warn  : [   41.100000] Kernel panic - not syncing: said a process\n",
    "user  :warn  : [Fri Nov 27 18:38:44 2026] Kernel panic - not syncing: said a process\n",
    "12,1234,123456789,-;Kernel panic - not syncing: said a process\n",
    stamped("INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.356 msecs"),
    stamped("WARNING: the mand mount option is being deprecated and"),
]


@pytest.mark.parametrize("text", QUOTES)
def test_text_that_merely_quotes_a_report_is_none(text: str) -> None:
    assert of(text).splats == ()


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("Kernel panic - not syncing: Attempted to kill init!", "kernel panic: Attempted to kill init!"),
        ("BUG: Bad page state in process x  pfn:12345", "BUG: Bad page state"),
        ("BUG: Bad rss-counter state mm:00000000 type:MM_ANONPAGES val:1", "BUG: Bad rss-counter state"),
        ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [x:1]", "BUG: soft lockup"),
        ("rcu: INFO: rcu_sched self-detected stall on CPU", "INFO: rcu detected stall"),
        ("INFO: task khugepaged:31 blocked for more than 120 seconds.", "INFO: task hung"),
        ("WARNING: suspicious RCU usage", "WARNING: suspicious RCU usage"),
        ("WARNING: mm/gup.c:77 at try_grab_folio+0x1/0x2, CPU#0: x/99", "WARNING in try_grab_folio"),
        ("WARNING: [nr <= 0] mm/gup.c:77 at 0x0, CPU#0: x/99", "WARNING"),
        ("WARNING: possible circular locking dependency detected", "WARNING: possible circular locking"),
        ("BUG: sleeping function called from invalid context at mm/gup.c:1", "BUG: sleeping function called"),
    ],
)
def test_one_line_is_enough_to_be_noticed(line: str, title: str) -> None:
    (splat,) = of(stamped(line)).splats
    assert splat.title.startswith(title)


def test_arm64_and_x86_oopses_blame_the_program_counter() -> None:
    arm = """
Unable to handle kernel paging request at virtual address ffff8000deadbeef
Mem abort info:
Internal error: Oops: 96000004 [#1] SMP
CPU: 0 PID: 99 Comm: x Not tainted 6.1.0 #1
pc : gup_pte_range+0x1c/0x90
lr : gup_pgd_range+0x10/0x90
Call trace:
 gup_pte_range+0x1c/0x90
---[ end trace 0000000000000000 ]---
"""
    x86 = """
BUG: kernel NULL pointer dereference, address: 0000000000000008
#PF: supervisor read access in kernel mode
Oops: 0000 [#1] PREEMPT SMP
CPU: 0 PID: 99 Comm: x Not tainted 6.1.0 #1
RIP: 0010:try_get_folio+0x1c/0x90
Call Trace:
 gup_pte_range+0x1c/0x90
---[ end trace 0000000000000000 ]---
"""
    assert [s.title for s in of(stamped(arm) + stamped(x86)).splats] == [
        "BUG: unable to handle kernel paging request in gup_pte_range",
        "BUG: unable to handle kernel NULL pointer dereference in try_get_folio",
    ]


@pytest.mark.parametrize("line", ["a" * 900 + "!+0x1", "[" + "a" * 900 + "+0x1", " [<c0ffee00>] " * 60 + "+0x1"])
def test_a_line_that_is_almost_a_frame_is_read_at_once(line: str) -> None:
    (splat,) = of(stamped(f"BUG: sleeping function called from invalid context at mm/gup.c:1\n{line}")).splats
    assert splat.corrupted == "no stack"


PANIC = "Kernel panic - not syncing: "
NULL_DEREF = """
BUG: kernel NULL pointer dereference, address: 0000000000000008
Oops: 0000 [#1] PREEMPT SMP
CPU: 0 PID: {pid} Comm: x Not tainted 6.1.0 #1
RIP: 0010:gup_pte_range+0x1c/0x90
Call Trace:
 gup_pgd_range+0x1c/0x90
---[ end trace 0000000000000000 ]---
"""


@pytest.mark.parametrize(
    ("pid", "panic", "part"),
    [
        (77, "Aiee, killing interrupt handler!", True),
        (0, "Attempted to kill the idle task!", True),
        (1, "Attempted to kill init! exitcode=0x0000000b", True),
        (1, "Attempted to kill init! exitcode=0x00000009", True),
        (77, "Attempted to kill init! exitcode=0x0000000b", False),
        (1, "Attempted to kill init! exitcode=0x00000100", False),
    ],
)
def test_who_dies_of_an_oops_takes_the_kernel_along(pid: int, panic: str, part: bool) -> None:
    splats = of(stamped(NULL_DEREF.format(pid=pid)) + stamped(PANIC + panic)).splats
    assert len(splats) == 1 if part else [splat.kind for splat in splats] == [SplatKind.OOPS, SplatKind.PANIC]
    assert splats[0].panicked is part


def test_a_panic_of_that_kind_by_itself_is_whole() -> None:
    (splat,) = of(stamped(f"{PANIC}Aiee, killing interrupt handler!\nCall Trace:\n gup_pte_range+0x1c/0x90")).splats
    assert (splat.kind, splat.corrupted) == (SplatKind.PANIC, "")


@pytest.mark.parametrize(
    "before",
    [
        "BUG: Bad rss-counter state mm:0000000012345678 type:MM_ANONPAGES val:1",
        "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 30s!\nShowing busy workqueues:",
        # arm of 6.1 has no words before its stack
        "BUG: sleeping function called from invalid context at mm/gup.c:1\nCPU: 0 PID: 1 Comm: x Not tainted 6.1.0\n"
        " unwind_backtrace from show_stack+0x10/0x14\n show_stack from gup_pte_range+0x1c/0x90",
    ],
)
def test_a_panic_behind_a_report_that_is_whole_is_another(before: str) -> None:
    splats = of(stamped(f"{before}\n{PANIC}VFS: Unable to mount root fs on unknown-block(0,0)")).splats
    assert [splat.title.split(":")[0] for splat in splats] == ["BUG", "kernel panic"]
    assert not splats[0].panicked


def test_only_the_runs_own_marks_count() -> None:
    text = (
        stamped(WARNING)
        + stamped("guprace: mark begin feed")
        + stamped("guprace: mark begin 0b5e")
        + stamped(KCSAN)
        + stamped("guprace: mark end feed")
        + stamped(KASAN)
        + stamped("guprace: mark end e4d0")
        + stamped("Kernel panic - not syncing: late")
    )
    found = of(text, Marks("0b5e", "e4d0"))
    assert [(s.kind, s.phase) for s in found.splats] == [
        (SplatKind.WARNING, Phase.BOOT),
        (SplatKind.KCSAN, Phase.RACE),
        (SplatKind.KASAN, Phase.RACE),
        (SplatKind.PANIC, Phase.AFTER),
    ]
    assert found.marks == ("begin", "end")


def test_a_report_says_how_long_after_the_mark_it_came() -> None:
    text = (
        "[    3.000000][   T1] guprace: mark begin 0b5e\n"
        "[    7.500000][   T9] BUG: Bad page state in process a  pfn:1\n"
        "[    9.000000][   T1] guprace: mark end e4d0\n"
    )
    before = "[    2.000000][   T9] BUG: Bad rss-counter state mm:1 type:MM_FILEPAGES val:1\n"
    found = of((before + text).encode(), Marks("0b5e", "e4d0"))
    assert [splat.since for splat in found.splats] == [None, 4.5]
    assert [splat.since for splat in of((before + text).encode()).splats] == [None, None]


def test_the_mark_that_a_race_writes_is_the_line_that_the_scanner_looks_for() -> None:
    assert of(stamped(Mark("begin", "ab12").text), Marks("ab12", "")).marks == ("begin",)


def test_dropped_messages_and_second_boots_are_counted() -> None:
    text = "** 17 printk messages dropped **\n" + stamped("Linux version 6.1.0 (x) #1") * 2
    assert (of(text).dropped, of(text).boots) == (17, 2)


def test_messages_dropped_during_boot_are_not_held_against_the_race() -> None:
    lost = "** 17 printk messages dropped **\n"
    text = lost + stamped(Mark("begin", "0b5e").text) + lost.replace("17", "3")
    assert of(text, Marks("0b5e", "e4d0")).dropped == 3


def test_a_flood_of_titles_is_bounded_and_counted() -> None:
    words = ("".join(pair) for pair in product("abcdefghijklmnopqrst", repeat=2))
    flood = "".join(stamped(f"Kernel panic - not syncing: {word}") for word in islice(words, MAX_SPLATS + 50))
    found = of(flood)
    assert (len(found.splats), found.omitted) == (MAX_SPLATS, 50)


def test_a_line_without_end_is_capped_and_does_not_pile_up() -> None:
    reader = LineReader()
    for _ in range(100):
        assert reader.block(b"x" * 100_000) is None
    line = reader.block(b"\n")
    assert line == "x" * MAX_LINE


def test_a_quiet_flood_is_read_fast() -> None:
    line = b"[   12.345678][  T123] EXT4-fs (vda): mounted filesystem with ordered data mode\n"
    scanner, started = Scanner(), time.process_time()
    for _ in range(40):
        scanner.feed(line * 6000)
    assert scanner.finish().lines == 240_000
    assert time.process_time() - started < 5, "20 MB took more than 5 s of CPU"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_no_bytes_make_the_scanner_raise(data: bytes) -> None:
    of(data)
    of(stamped(KCSAN).encode() + data + stamped(KASAN).encode())


def test_blanks_around_a_title_s_words_are_no_part_of_it() -> None:
    for text, plain in [
        ("VFS: unable to mount root", "VFS: unable to mount root"),
        ("Attempted to kill init! exitcode=0x00000009 \t ", "Attempted to kill init!"),
        ("page allocation failure, error code -12", "page allocation failure"),
        ("Fatal  ...  ", "Fatal"),
        ("a" + " " * 4000 + "b", "a" + " " * 4000 + "b"),
    ]:
        assert normal(text) == plain


def test_prefixes_are_taken_apart() -> None:
    for line, text, caller in [
        ("[   41.000731][  T812] hello", "hello", "T812"),
        ("<6>[   41.000731][    C1]  frame", " frame", "C1"),
        ("[   41.000731]  [3:    kworker/3:1: 1234] hello", "hello", "T1234"),
        ("[   41.000731] c3   1234 hello", "hello", "T1234"),
        ("<4>[   41.000731] (3)[1234:kworker/3:1]hello", "hello", "T1234"),
        ("[   41.000731] hello", "hello", ""),
        ("hello", "hello", ""),
        (" hello", "hello", ""),
    ]:
        message = parse(line)
        assert (message.text, message.caller) == (text, caller)
