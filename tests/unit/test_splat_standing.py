# SPDX-License-Identifier: GPL-2.0-only
"""What a report means: new, known or background."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.paths import Project
from orchestrator.splat.model import Splat, SplatKind, Standing
from orchestrator.splat.policy import load_known, load_path
from orchestrator.splat.scan import scan
from orchestrator.splat.standing import GupPath, KnownIssue, Subject, by_standing, classify

PATH = load_path(Project().configs / "gup-path.yaml")
KNOWN = load_known(Project().configs / "known-issues.yaml")
STOCK = Subject("6.1.192", "x86_64", "kcsan", "pin_vs_munmap")
TODAY = date(2026, 11, 23)
DATA = Path(__file__).parents[1] / "data" / "splat"
WALK = ("internal_get_user_pages_fast", "pin_user_pages_fast", "probe_ioctl")
ZAP = ("unmap_page_range", "unmap_vmas", "__vm_munmap")


def race(*accesses: tuple[str, tuple[str, ...]], what: str = "data-race") -> Splat:
    names = tuple(stack[0] for _, stack in accesses)
    return Splat(
        SplatKind.KCSAN,
        f"KCSAN: {what} in {' / '.join(names)}",
        1,
        2,
        "",
        functions=names,
        stacks=tuple(stack for _, stack in accesses),
        accesses=tuple(access for access, _ in accesses),
    )


def standing(splat: Splat, subject: Subject = STOCK, today: date = TODAY) -> Standing:
    (placed,) = classify((splat,), PATH, KNOWN, subject, today)
    assert placed.why or placed.standing is Standing.NEW
    return placed.standing


def test_a_race_between_two_others_is_background() -> None:
    assert standing(race(("write", ZAP), ("read", ("lru_add_fn", "lru_add_drain")))) is Standing.BACKGROUND


@pytest.mark.parametrize(
    ("ours", "theirs"), [("read", "write"), ("write", "read (marked)"), ("write", "write"), ("read", "read-write")]
)
def test_a_race_inside_the_walk_is_new(ours: str, theirs: str) -> None:
    assert standing(race((ours, WALK), (theirs, ZAP))) is Standing.NEW
    assert standing(race((theirs, ZAP), (ours, WALK))) is Standing.NEW


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("read (marked)", "write"),
        ("read-write (marked)", "read"),
        ("read", "write (marked)"),
        ("read (reordered)", "write (marked)"),
    ],
)
def test_what_stock_kernels_do_by_design_is_known(ours: str, theirs: str) -> None:
    assert standing(race((ours, WALK), (theirs, ZAP))) is Standing.KNOWN
    assert standing(race((theirs, ZAP), (ours, WALK))) is Standing.KNOWN


def test_what_the_slow_path_does_below_a_walker_is_background() -> None:
    slow = ("do_anonymous_page", "handle_mm_fault", "__get_user_pages", "internal_get_user_pages_fast")
    assert standing(race(("write", slow), ("read", ZAP))) is Standing.BACKGROUND


def test_an_interrupt_on_top_of_the_walk_is_background() -> None:
    tick = ("tick_sched_timer", "__sysvec_apic_timer_interrupt", "sysvec_apic_timer_interrupt", *WALK)
    assert standing(race(("write", tick), ("read", ZAP))) is Standing.BACKGROUND


def test_compiler_clones_are_the_same_function() -> None:
    assert PATH.holds(("gup_pte_range.isra.0", "x"))
    assert PATH.holds(("_compound_head", "try_get_folio.part.3"))
    assert not PATH.holds(("gup_test_ioctl",))


def test_a_failed_assertion_is_never_background() -> None:
    assert standing(race(("write", ZAP), ("read", ZAP), what="assert: race")) is Standing.NEW


def test_a_race_cut_before_its_stacks_is_new() -> None:
    assert standing(replace(race(("write", ZAP), ("read", ZAP)), stacks=(), accesses=())) is Standing.NEW


def test_a_race_that_lost_one_stack_is_placed_by_the_function_its_header_names() -> None:
    whole = race(("write (marked)", ZAP), ("read", WALK))
    assert standing(replace(whole, stacks=(ZAP,))) is Standing.NEW
    two_others = race(("write", ZAP), ("read", ("lru_add_fn", "lru_add_drain")))
    assert standing(replace(two_others, stacks=(ZAP,))) is Standing.BACKGROUND


def test_a_drivers_remark_is_background() -> None:
    assert standing(Splat(SplatKind.INFO, "WARNING: this board is not supported", 1, 1, "")) is Standing.BACKGROUND


def test_every_other_kind_is_new() -> None:
    assert standing(Splat(SplatKind.WARNING, "WARNING in unrelated", 1, 2, "", ("unrelated",))) is Standing.NEW


def test_an_expired_entry_matches_nothing_and_says_so() -> None:
    splat = race(("read", WALK), ("write (marked)", ZAP))
    (placed,) = classify((splat,), PATH, KNOWN, STOCK, date(2031, 1, 1))
    assert placed.standing is Standing.NEW
    assert "expired on 2027-11-30" in placed.why


ISSUE = KnownIssue("x", SplatKind.KCSAN, "reason", "link", date(2030, 1, 1), functions=("lru_*", "gup_pte_range"))


@pytest.mark.parametrize(
    ("change", "matches"),
    [
        ({}, True),
        ({"functions": ("gup_pte_range", "lru_*")}, True),
        ({"functions": ("lru_*", "other")}, False),
        ({"functions": ("lru_*",)}, False),
        ({"kind": SplatKind.KASAN}, False),
        ({"title": "*no such*"}, False),
        ({"since": "6.1", "before": "6.2"}, True),
        ({"since": "6.2"}, False),
        ({"before": "6.1.192"}, False),
        ({"flavours": ("debug",)}, False),
        ({"arches": ("x86_64",)}, True),
        ({"scenarios": ("pin_vs_dax", "pin_vs_m*")}, True),
        ({"scenarios": ("pin_vs_dax",)}, False),
    ],
)
def test_a_known_issue_matches_by_everything_it_says(change: dict[str, object], matches: bool) -> None:
    splat = race(("read", ("gup_pte_range",)), ("write", ("lru_add_fn",)))
    issue = replace(ISSUE, **change)  # type: ignore[arg-type]
    assert issue.matches(splat, GupPath(("gup_*",), ()), STOCK) is matches


def test_a_version_nobody_knows_is_in_no_range() -> None:
    splat = race(("read", ("gup_pte_range",)), ("write", ("lru_add_fn",)))
    assert not replace(ISSUE, since="5.0").matches(splat, PATH, replace(STOCK, version=""))


# A stock 6.1.192 under TCG, pin_vs_munmap for 100 s, then sysrq-c.
def test_the_reports_of_a_stock_kernel_fail_nothing_but_the_panic() -> None:
    found = classify(scan(DATA / "x86_64-6.1-kcsan-pin_vs_munmap.log").splats, PATH, KNOWN, STOCK, TODAY)
    assert {s.title: s.standing for s in found} == {
        "KCSAN: data-race in lru_add_fn / probe_ioctl [guprace_probe]": Standing.BACKGROUND,
        "KCSAN: data-race in internal_get_user_pages_fast / lru_add_fn": Standing.KNOWN,
        "KCSAN: data-race in internal_get_user_pages_fast / unmap_page_range": Standing.KNOWN,
        "kernel panic: sysrq triggered crash": Standing.NEW,
    }


GOOD = "{id: x, kind: KCSAN, reason: r, link: l, expires: 2027-01-01"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "not YAML: while parsing a flow node, expected the node content, but found '<stream end>' ({}:1:2)"),
        ("- id: x\n", "missing key 'kind' ({}:1:3: entries[0])"),
        (f"- {GOOD}, tittle: x}}", "unknown key 'tittle' ({}:1:65: entries[0]); did you mean 'title'?"),
        (f"- {GOOD}, rate: 2}}", "2 must be less than or equal to 1 ({}:1:71: entries[0].rate)"),
        (f"- {GOOD}, arches: [arm]}}", "unknown architecture 'arm' ({}:1:74: entries[0].arches[0]); did you"),
        (f"- {GOOD}, kernels: {{since: 6.1}}}}", "6.1 is a number here ({}:1:82: entries[0].kernels.since); quote"),
        (f"- {GOOD}, frames: {{outer: [x]}}}}", "unknown key 'outer' ({}:1:74: entries[0].frames); "),
        (f"- {GOOD}}}\n- {GOOD}}}", "id 'x' twice, first in line 1 ({}:2:8: entries[1].id)"),
        ("- {id: x, kind: KCSAM, reason: r, link: l, expires: 2027-01-01}", "unknown kind 'KCSAM' ({}:1:17: "),
        ("- {id: x, kind: BUG, reason: r, link: l, expires: soon}", "'soon' is no day ({}:1:51: entries[0].expires)"),
        ("- {id: x, kind: BUG, reason: r, link: l, expires: 2027-01-01, other: [read]}", "the kind is BUG ({}:1:3"),
    ],
)
def test_a_bad_list_of_known_issues_says_where(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "known.yaml"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_known(file)
    assert says.replace("{}", str(file)) in str(caught.value)


def test_everything_that_is_wrong_in_a_list_is_said_at_once(tmp_path: Path) -> None:
    file = tmp_path / "known.yaml"
    file.write_text("- {id: x}\n- {id: y, kind: KCSAN, reason: r, link: l, expires: 2027-13-01}\n")
    with pytest.raises(UsageError, match="5 problems in"):
        load_known(file)


def test_an_entry_has_everything_that_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "known.yaml"
    file.write_text(
        """
- id: x
  kind: KASAN
  reason: r
  link: l
  expires: 2027-01-01
  frames: {inner: [a, b*], any: [c]}
  kernels: {since: "6.1", before: "6.12"}
  arches: [arm64]
  scenarios: [pin_vs_*]
  rate: 0.25
"""
    )
    (issue,) = load_known(file)
    assert (issue.inner_frames, issue.any_frames) == (("a", "b*"), ("c",))
    assert (issue.since, issue.before, issue.arches, issue.rate) == ("6.1", "6.12", ("arm64",), 0.25)
    assert issue.scenarios == ("pin_vs_*",)


@pytest.mark.parametrize(
    ("change", "matches"),
    [
        ({"any_frames": ("probe_*", "pin_user*")}, True),
        ({"any_frames": ("probe_*", "zap_*")}, False),
        ({"inner_frames": ("internal_get_user_pages_fast", "pin_*")}, True),
        ({"inner_frames": ("pin_user_pages_fast",)}, False),
        ({"inner_frames": ("internal_get_user_pages_fast", "*", "*", "*", "*")}, False),
    ],
)
def test_a_known_issue_matches_frames_anywhere_or_at_the_inner_end(change: dict[str, object], matches: bool) -> None:
    stack = ("kasan_report", "internal_get_user_pages_fast.isra.0", *WALK[1:])
    splat = Splat(SplatKind.KASAN, "KASAN: use-after-free Read in x", 1, 2, "", ("x",), (stack,))
    issue = KnownIssue("x", SplatKind.KASAN, "reason", "link", date(2030, 1, 1))
    assert replace(issue, **change).matches(splat, PATH, STOCK) is matches  # type: ignore[arg-type]


def test_no_list_of_known_issues_is_an_empty_one(tmp_path: Path) -> None:
    assert load_known(tmp_path / "absent.yaml") == ()
    with pytest.raises(UsageError):
        load_path(tmp_path / "absent.yaml")


def report_of(accesses: tuple[str, str], stacks: tuple[tuple[str, ...], tuple[str, ...]]) -> str:
    lines = [f"BUG: KCSAN: data-race in {stacks[0][0]} / {stacks[1][0]}", ""]
    for cpu, (access, stack) in enumerate(zip(accesses, stacks, strict=True)):
        lines += [f"{access} to 0xffff888000123448 of 8 bytes by task {90 + cpu} on cpu {cpu}:"]
        lines += [*(f" {function}+0x1a/0x350" for function in stack), ""]
    lines += ["Reported by Kernel Concurrency Sanitizer on:", "CPU: 0 PID: 90 Comm: pin Not tainted 6.1.192 #1"]
    bar = "=" * 66
    return "".join(f"[    3.000000] {line}\n" for line in (bar, *lines, bar))


FLUSH = ("ptep_clear_flush", "zap_pte_range", *ZAP)
BY_DESIGN = report_of(("read", "write (marked)"), (WALK, FLUSH))
BY_NOBODYS = report_of(("read", "write"), (WALK, FLUSH))
BY_OTHERS = report_of(("write", "read"), (("lru_add_fn", "lru_add_drain"), ("folio_ref_zap", "shrink_folio_list")))
BY_WALK = report_of(("write", "write"), (("lru_add_fn", "lru_add_drain"), ("folio_ref_zap", *WALK)))


@pytest.mark.parametrize(
    ("harmless", "harmful"),
    [(BY_DESIGN, BY_NOBODYS), (BY_NOBODYS, BY_DESIGN), (BY_OTHERS, BY_WALK), (BY_WALK, BY_OTHERS)],
)
def test_what_the_walk_did_does_not_hide_behind_a_harmless_report(harmless: str, harmful: str) -> None:
    console = io.BytesIO((harmless + harmful + harmless).encode())
    splats = scan(console, tell_apart=by_standing(PATH, KNOWN)).splats
    found = classify(splats, PATH, KNOWN, STOCK, TODAY)
    assert len({splat.title for splat in found}) == 1
    assert sorted(splat.count for splat in found) == [1, 2]
    assert [splat.standing for splat in found].count(Standing.NEW) == 1
