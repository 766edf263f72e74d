# SPDX-License-Identifier: GPL-2.0-only
"""The same report of two builds has one fingerprint; another report has another."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.splat.fingerprint import DIGITS, fingerprint, normal, pair_of
from orchestrator.splat.model import Splat, SplatKind

NAMES = st.sampled_from(
    ["gup_pte_range", "try_get_folio", "zap_pte_range", "lru_add_fn", "probe_ioctl", "vfs_read", "do_wp_page"]
)
STACKS = st.lists(NAMES, min_size=1, max_size=8).map(tuple)
SUFFIXES = st.sampled_from(["", ".isra.0", ".constprop.3", ".part.0.isra.1", ".cold", ".llvm.8812345", ".lto_priv.2"])
OFFSETS = st.builds(lambda a, b: f"+{a:#x}/{b:#x}", st.integers(0, 4000), st.integers(1, 9000))


def report(kind: SplatKind, *stacks: tuple[str, ...], title: str = "") -> Splat:
    functions = tuple(stack[0] for stack in stacks) if kind is SplatKind.KCSAN else stacks[0][:1] if stacks else ()
    named = f"{kind} in {' / '.join(functions)}"
    return Splat(kind, title or named, 1, 9, "text", functions=functions, stacks=stacks)


def rebuilt(data: st.DataObject, stack: tuple[str, ...]) -> tuple[str, ...]:
    """Return the stack as another build would print it."""
    modules = st.sampled_from(["", " [guprace_probe]"])
    return tuple(f + data.draw(SUFFIXES) + data.draw(OFFSETS) + data.draw(modules) for f in stack)


@settings(deadline=None)
@given(st.sampled_from([SplatKind.KASAN, SplatKind.WARNING, SplatKind.OOPS]), STACKS, st.data())
def test_a_rebuild_does_not_change_a_fingerprint(
    kind: SplatKind, stack: tuple[str, ...], data: st.DataObject
) -> None:
    first, second = report(kind, stack), report(kind, rebuilt(data, stack))
    moved = replace(second, start_line=data.draw(st.integers(1, 10**6)), count=7, text="other", whole=False)
    assert fingerprint(first) == fingerprint(moved)


@settings(deadline=None)
@given(STACKS, STACKS, st.data())
def test_the_sides_of_a_data_race_have_no_order(
    left: tuple[str, ...], right: tuple[str, ...], data: st.DataObject
) -> None:
    first = report(SplatKind.KCSAN, left, right)
    second = report(SplatKind.KCSAN, rebuilt(data, right), rebuilt(data, left))
    assert fingerprint(first) == fingerprint(second)
    assert pair_of(first) == pair_of(second) == tuple(sorted((left[0], right[0])))


@settings(deadline=None)
@given(STACKS, STACKS)
def test_other_frames_make_another_fingerprint(left: tuple[str, ...], right: tuple[str, ...]) -> None:
    def inner(stack: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(stack))[:3]

    same = fingerprint(report(SplatKind.KASAN, left)) == fingerprint(report(SplatKind.KASAN, right))
    assert same == (inner(left) == inner(right))


def test_functions_that_only_report_or_lock_are_no_part_of_it() -> None:
    plain = report(SplatKind.KASAN, ("gup_pte_range", "gup_pmd_range"))
    noisy = replace(plain, stacks=(("dump_stack_lvl", "kasan_report", "_raw_spin_lock", *plain.stacks[0]),))
    assert fingerprint(plain) == fingerprint(noisy)


def test_a_report_of_such_functions_alone_is_still_told_from_others() -> None:
    locks = [report(SplatKind.LOCKDEP, (name, "down_read")) for name in ("_raw_spin_lock", "mutex_lock")]
    assert fingerprint(locks[0]) != fingerprint(locks[1])


def test_the_kind_is_part_of_it() -> None:
    stack = ("gup_pte_range",)
    assert fingerprint(report(SplatKind.KASAN, stack)) != fingerprint(report(SplatKind.OOPS, stack))


def test_far_callers_are_no_part_of_it() -> None:
    inner = ("gup_pte_range", "gup_pmd_range", "internal_get_user_pages_fast")
    paths = [report(SplatKind.KASAN, (*inner, "pin_user_pages_fast", caller)) for caller in ("io_sqe", "vmsplice")]
    assert fingerprint(paths[0]) == fingerprint(paths[1])


def test_a_report_without_frames_is_named_by_its_title_without_numbers() -> None:
    pages = [report(SplatKind.BAD_PAGE, title=f"BUG: Bad page state pfn:{n:#x} order {n}") for n in (4096, 77)]
    assert fingerprint(pages[0]) == fingerprint(pages[1])
    assert fingerprint(pages[0]) != fingerprint(report(SplatKind.BAD_PAGE, title="BUG: Bad page map"))


def test_a_race_whose_stacks_were_cut_has_its_pair() -> None:
    cut = replace(report(SplatKind.KCSAN, ("b",), ("a",)), stacks=())
    assert fingerprint(cut) == fingerprint(replace(cut, functions=("a+0x1/0x2", "b.isra.0")))
    assert pair_of(cut) == ("a", "b")


def test_a_system_call_has_one_name_everywhere() -> None:
    names = ("__x64_sys_munmap", "__arm64_sys_munmap", "__se_sys_munmap", "__do_sys_munmap")
    assert {normal(name) for name in names} == {"sys_munmap"}


# Written down, because files of earlier runs hold it: if this changes, RECIPE must.
def test_the_fingerprint_of_a_report_never_changes() -> None:
    found = fingerprint(report(SplatKind.KCSAN, ("lru_add_fn",), ("gup_pte_range", "gup_pmd_range")))
    assert len(found) == DIGITS
    assert found == "4f0a4f13b9984290"
