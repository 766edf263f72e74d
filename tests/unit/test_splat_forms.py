# SPDX-License-Identifier: GPL-2.0-only
"""Every form of kernel report has its kind, its title and its culprit."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.splat.alarm import hits
from orchestrator.splat.grammar import grammars
from orchestrator.splat.model import Form, Splat, SplatKind
from orchestrator.splat.present import as_dict
from orchestrator.splat.scan import Scanner, scan
from orchestrator.splat.skip import innocent, plain, queue
from orchestrator.splat.title import normal

DATA = Path(__file__).parents[1] / "data" / "splat" / "forms.txt"


def console(text: str, caller: str = "   T77") -> str:
    return "".join(f"[   41.{n:06d}][{caller}] {line}\n" for n, line in enumerate(text.strip("\n").split("\n")))


def forms() -> Iterator[tuple[Form, str, str]]:
    for entry in DATA.read_text().split("\n## ")[1:]:
        head, _, text = entry.partition("\n")
        form, _, title = head.partition(": ")
        yield Form(form), title, text


FORMS = list(forms())
KASAN, KASAN_TITLE = FORMS[0][2], FORMS[0][1]
WARNING = next(text for form, _, text in FORMS if form is Form.WARNING)
OOM = next(text for form, _, text in FORMS if form is Form.OOM)


def one(text: str) -> Splat:
    (splat,) = scan(io.BytesIO(text.encode())).splats
    return splat


@pytest.mark.parametrize(("form", "title", "text"), FORMS, ids=[title for _, title, _ in FORMS])
def test_every_form_has_its_kind_and_title(form: Form, title: str, text: str) -> None:
    splat = one(console(text))
    assert (splat.form, splat.title) == (form, title)
    assert splat.kind is form.kind
    for prefixless in (text, text.replace("\n", "\r\n")):
        assert one(prefixless).title == title


def test_every_header_is_noticed_at_first_look() -> None:
    for _, _, text in FORMS:
        assert hits(text, marks=False), text
    for grammar in grammars():
        assert hits(grammar.needle, marks=False) or hits(f"BUG: WARNING: INFO: {grammar.needle}", marks=False), (
            grammar.needle
        )


def test_the_first_look_names_the_lines() -> None:
    assert hits("a\nBUG: x\nb\nWARNING: y BUG\nguprace: mark z", marks=True) == {1, 3, 4}
    assert hits("nothing\nhere", marks=True) == frozenset()


def test_all_reports_of_one_console_are_told_apart() -> None:
    whole = "".join(console(f"{text}\nquiet\n" + "chatter\n" * 40) for _, _, text in FORMS)
    found = [splat.title for splat in scan(io.BytesIO(whole.encode())).splats]
    assert found == list(dict.fromkeys(title for _, title, _ in FORMS))


MIX = "".join(console(text, f"{'CT'[n % 2]}{n % 5}".rjust(6)) for n, (_, _, text) in enumerate(FORMS)).encode()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=len(MIX) - 1), max_size=60))
def test_any_division_of_the_input_gives_the_same_reports(cuts: list[int]) -> None:
    scanner = Scanner()
    for start, end in pairwise([0, *sorted(cuts), len(MIX)]):
        scanner.feed(MIX[start:end])
    assert scanner.finish() == scan(io.BytesIO(MIX))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(MIX.splitlines(keepends=True)), max_size=200),
    st.binary(max_size=60),
    st.integers(min_value=1, max_value=4000),
)
def test_any_order_of_lines_in_any_pieces_is_read(lines: list[bytes], junk: bytes, size: int) -> None:
    text = b"".join(lines) + junk + b"".join(lines[::-1])
    scanner = Scanner()
    for start in range(0, len(text), size):
        scanner.feed(text[start : start + size])
    assert scanner.finish() == scan(io.BytesIO(text))


def test_a_panic_that_only_follows_from_a_report_is_part_of_it() -> None:
    after = one(console(WARNING.strip() + "\nKernel panic - not syncing: kernel: panic_on_warn set ..."))
    assert (after.title, after.panicked) == ("WARNING in culprit", True)
    alone = one(console("Kernel panic - not syncing: kernel: panic_on_warn set ..."))
    assert alone.kind is SplatKind.PANIC


def test_a_panic_of_its_own_stays_one_of_its_own() -> None:
    both = scan(io.BytesIO(console(WARNING.strip() + "\nKernel panic - not syncing: sysrq triggered crash").encode()))
    assert [splat.kind for splat in both.splats] == [SplatKind.WARNING, SplatKind.PANIC]


def test_a_reboot_that_nothing_announced_is_a_report() -> None:
    boot = "[    0.000000] Linux version 6.1.0 (x) #1\n" + "".join(
        f"[    1.{n:06d}] chatter {n}\n" for n in range(40)
    )
    (splat,) = scan(io.BytesIO((boot * 2).encode())).splats
    assert (splat.form, splat.title, splat.start_line) == (Form.REBOOT, "unexpected kernel reboot", 42)
    assert scan(io.BytesIO(("SeaBIOS\nBooting from ROM..\n" + boot).encode())).splats == ()


def test_a_report_of_the_second_boot_says_so() -> None:
    boot = "[    0.000000] Linux version 6.1.0 (x) #1\n" + "".join(
        f"[    1.{n:06d}] chatter {n}\n" for n in range(40)
    )
    report = console(WARNING)
    found = scan(io.BytesIO((boot + boot + report).encode()))
    assert [(splat.title, splat.boot) for splat in found.splats] == [
        ("unexpected kernel reboot", 1),
        ("WARNING in culprit", 2),
    ]


def test_an_oom_kill_is_a_remark_and_no_report() -> None:
    said = as_dict(scan(io.BytesIO(console(OOM).encode())))
    assert (said["reports"], [remark["title"] for remark in said["remarks"]]) == ([], ["out of memory: killed racer"])


def test_cpu_and_task_are_read() -> None:
    splat = one(console(KASAN))
    assert (splat.cpu, splat.task, splat.pid) == (1, "racer", 77)


def test_a_console_that_ends_within_a_header_is_said_to_be_cut() -> None:
    splat = one(f"{QUIET}[   41.000000] BUG:\n")
    assert (splat.title, splat.corrupted) == ("BUG: corrupted", "its header was cut")
    for more in (QUIET, console(KASAN)):
        assert "BUG: corrupted" not in [s.title for s in scan(io.BytesIO(f"BUG: \n{more}".encode())).splats]


def test_a_report_without_a_stack_is_said_to_be_corrupted() -> None:
    splat = one(console("general protection fault: 0000 [#1] SMP\nModules linked in:"))
    assert (splat.title, splat.corrupted, splat.whole) == ("general protection fault in corrupted", "no stack", False)
    assert splat.alt_titles == ("bad-access in corrupted",)


def test_dropped_messages_within_a_report_corrupt_it() -> None:
    text = console(KASAN).replace("Allocated by", "x\n** 7 printk messages dropped **\nAllocated by")
    assert one(text).corrupted == "messages were dropped within"


def test_a_replayed_line_replaces_the_one_that_was_cut() -> None:
    lines = console(KASAN).splitlines(keepends=True)
    cut = lines[1][:60] + "\n** replaying previous printk message **\n"
    assert one("".join([lines[0], cut, *lines[1:]])).title == KASAN_TITLE


def test_two_messages_on_one_line_are_pulled_apart() -> None:
    text = console(KASAN).splitlines(keepends=True)
    assert one("".join(["[   40.000000] a driver without newline" + text[0], *text[1:]])).title == KASAN_TITLE


def test_a_lockup_is_also_called_after_where_the_cpu_stood() -> None:
    said = {name for form, _, text in FORMS if form is Form.SOFT_LOCKUP for name in one(console(text)).alt_titles}
    assert "BUG: soft lockup in spinner" in said
    assert "BUG: hard lockup in culprit" in said


def test_that_a_stack_ran_over_stands_in_the_report_that_noticed_it() -> None:
    said = [text for _, _, text in FORMS if "Thread overran stack" in text]
    assert len(said) == 2
    for text in said:
        assert "\nThread overran stack, or stack corrupted\n" in one(console(text)).text


def test_a_stack_that_overflows_again_is_another_report() -> None:
    text = next(text for _, _, text in FORMS if "do_IRQ: stack overflow" in text)
    assert one(console(f"{text}\n{text}")).count == 2


QUIET = "".join(f"[   40.{n:06d}] chatter {n}\n" for n in range(20))


def test_a_program_of_go_that_died_on_a_busy_console_is_told() -> None:
    text = next(text for form, _, text in FORMS if form is Form.USERSPACE)
    splat = one(QUIET + text)
    assert (splat.title, splat.start_line, splat.kind) == ("go runtime error", 23, SplatKind.INFO)


def test_what_programs_call_fatal_is_no_report() -> None:
    for text in (
        "fatal error: cannot create timer (-22)\n",
        "panic: 1\n",
        "BUG: KASAN: use-after-free in f+0x1/0x2\n",
    ):
        assert scan(io.BytesIO((QUIET + text).encode())).splats == ()
    assert scan(io.BytesIO(b"fatal error: cannot create timer (-22)\n")).splats == ()


@pytest.mark.parametrize(
    "line",
    [
        "traps: racer[77] general protection fault ip:401000 sp:7ffc error:0 in racer[401000+1000]",
        "traps: racer[77] trap invalid opcode ip:401000 sp:7ffc error:0 in racer[401000+1000]",
        "racer[77] control protection ip:401000 sp:7ffc ssp:0 error:1(near ret)",
        "racer[77]: segfault at 8 ip 0000000000401000 sp 00007ffc error 4 in racer[401000+1000]",
        "x86/split lock detection: #AC: crashing the kernel on kernel split_locks and warning on user-space ones",
        "rcu: RCU CPU stall warnings timeout set to 100 (rcu_cpu_stall_timeout).",
        "Kernel command line: oops=panic panic_on_warn=1 softlockup_panic=1",
        "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.234 msecs",
        "WARNING: Spectre v2 mitigation leaves CPU vulnerable to RETBleed attacks, data leaks possible!",
        "BUG: not creating mapping for 0x12 at 0x34 in user region",
        "kasan: KernelAddressSanitizer initialized (generic)",
        "not ok 1 BUG: KASAN: use-after-free in f+0x1/0x2",
        "lkdtm: FAIL: survived BUG!",
        "systemd[1]: WARNING: x failed to start because of y",
        "mce: [Hardware Error]: Machine check events logged",
        "WARNING: workqueue cpumask: online intersect > possible intersect",
        "INFO: task racer:77 is blocked on a mutex likely owned by task other:78.",
        "EXT4-fs (loop0): INFO: recovery required on readonly filesystem",
    ],
)
def test_what_only_looks_like_a_report_is_none(line: str) -> None:
    text = QUIET + f"[   41.000000] {line}\n" + QUIET
    assert scan(io.BytesIO(text.encode())).splats == ()


def test_a_report_ends_with_its_last_line() -> None:
    for _, title, text in FORMS:
        shown = console(f"{text.strip()}\nquiet\nquiet").splitlines()
        splat = one("\n".join(shown))
        last = shown[splat.end_line - 1]
        assert last.endswith((splat.text.splitlines()[-1], "=" * 20)), title
        assert not last.endswith("quiet"), title


def test_a_panic_that_follows_from_what_is_not_there_is_said_to_be_cut() -> None:
    assert one(console("Kernel panic - not syncing: Fatal exception")).corrupted == "what it follows from is not here"
    assert one(console("Kernel panic - not syncing: sysrq triggered crash")).corrupted == ""


# By family: lib/, the locks, work queues, reporting, allocators, the entry code of any architecture.
HELPERS = """
memcpy __pi_memmove memcpy_erms bcmp strlcat strim sized_strscpy hex2bin kstrtou32 _parse_integer_limit vsscanf
mac_address_string ip6_compressed_string crc16 crc_t10dif_update do_csum __siphash_unaligned xxh64
list_sort plist_del klist_remove rb_last __rb_insert_augmented find_last_bit test_and_set_bit arch_atomic_inc
bitmap_find_next_zero_area_off xa_store rhashtable_insert_slow copyin_nofault rep_stos_alternative __put_user_4
__raw_spin_lock_irqsave raw_spin_rq_lock_nested rt_mutex_slowlock rtlock_slowlock percpu_down_write downgrade_write
reacquire_held_locks check_wait_context lock_release __lock_acquire ww_mutex_lock bit_spin_lock.part.0
__kmalloc_noprof kvmalloc_node kfree kvfree_call_rcu alloc_pages_mpol_noprof kmem_cache_alloc_noprof
__queue_work mod_delayed_work_on cancel_delayed_work_sync disable_work_sync kthread_flush_work prepare_to_swait_event
__kasan_report __asan_load8 kasan_check_range dump_backtrace show_regs _dev_alert __dynamic_dev_dbg should_failslab
asm_exc_page_fault do_el1_undef el1h_64_sync_handler do_PrefetchAbort __und_svc bad_page_fault do_dat_exception
handle_tlb_protect exc_general_protection do_hash_fault __do_kernel_fault
__list_add_valid kobject_put device_release refcount_warn_saturate
_new_vmalloc_restore_context_a0 __cant_sleep __raw_copy_user __copy_tofrom_user_base probe_kernel_read ksize
kvrealloc_noprof kmalloc_large_node kmalloc_trace __cfi_check_fail __cfi_slowpath_diag report_cfi_failure
mte_check_tfsr_el1 kobject_cleanup handle_misaligned_access __div0 __aeabi_uldivmod div64_u64_rem __udivdi3
f2fs_down_write reiserfs_write_lock bpf_prog_array_copy_to_user __snd_printk sort_r kthread_park
"""
GUILTY = """
gup_fast get_user_pages_fast __get_user_pages zap_pte_range try_grab_folio do_munmap folio_add_lru
remove_wait_queue kfree_skb sk_skb_reason_drop bitmap_ip_add atomic_open alloc_workqueue kobject_add_internal
lock_sock_nested lock_mount ftrace_free_mem rht_deferred_worker folio_end_read copy_siginfo_to_user
list_lru_add do_exit seq_read tty_release ocfs2_get_refcount_tree xfs_refcount_finish_one rb_insert_bss
folio_clear_dirty_for_io __folio_set_anon page_fault_can_be_fast
list_del_event copy_from_read_buf do_raw_setsockopt print_bpf_insn entry_lru_isolate find_first_extent_bit
drm_atomic_add_affected_planes kmalloc_oob_right kmalloc_node_oob_right krealloc_more_oob_helper
kmem_cache_double_free ksize_uaf slab_build_skb extent_write_locked_range handle_sysrq xchg_nr_deferred
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Memory failure on page 1a2b3", "Memory failure on page ADDR"),
        ("inode 12345 of ext4 is dead", "inode NUM of ext4 is dead"),
        ("x at mm/gup.c:77!", "x at mm/gup.c:LINE!"),
        ("x at rust/kernel/sync.rs:7:9", "x at rust/kernel/sync.rs:LINE"),
        ("f+0x12/0x34 of ffff888100000000", "f of ADDR"),
    ],
)
def test_a_title_leaves_out_what_differs_from_run_to_run(said: str, told: str) -> None:
    assert normal(said) == told


def test_helpers_are_never_blamed() -> None:
    assert [name for name in HELPERS.split() if not innocent(plain(name))] == []
    assert [name for name in GUILTY.split() if innocent(name) or innocent(name, "free")] == []


def test_a_work_item_helps_nobody_whatever_it_is_called() -> None:
    call = CALL.replace("culprit", "memset") + " dmz_flush_work+0x1/0x2\n"
    assert one(console(f"{call} process_one_work+0x1/0x2\n")).functions == ("dmz_flush_work",)
    assert one(console(f"{call} dmz_reclaim+0x1/0x2\n")).functions == ("dmz_reclaim",)


def test_what_compilers_add_to_a_name_is_left_out() -> None:
    names = ["f.isra.0", "f.constprop.1.isra.2", "f.part.0.cold", "f.llvm.123", "f.cfi_jt", "__pfx_f", "__cfi_f"]
    assert {plain(name) for name in names} == {"f"}
    assert [plain(name) for name in ("__pfx", "__cfi_check_fail")] == ["__pfx", "__cfi_check_fail"]


def test_rusts_own_panics_are_its_callers() -> None:
    for name in (
        "_RNvNtCs9jEwPDbx20M_4core6option13unwrap_failed",
        "_RNvNtCs9jEwPDbx20M_4core6option13expect_failed",
        "_RNvNtNtCs9jEwPDbx20M_4core5slice5index16slice_index_fail",
        "_RNvNtCs9jEwPDbx20M_4core4cell22panic_already_borrowed",
    ):
        assert innocent(name, "rust"), name
    assert not innocent("_RNvMs3_NtCshgDM7dBCdno_11rust_binder7processNtB5_7Process10update_ref", "rust")


def test_who_waits_for_another_or_takes_a_lock_for_him_did_not_hang() -> None:
    for name in (
        "console_lock",
        "do_lock_mount",
        "blk_mq_freeze_queue_wait",
        "__down_common",
        "msleep",
        "rcu_barrier",
    ):
        assert innocent(name, "wait"), name
    for name in ("lock_mount", "lock_sock_nested", "hub_event", "exit_mm"):
        assert not innocent(name, "wait"), name
    for name in ("rtnl_lock", "rtnl_lock_killable", "synchronize_rcu", "__synchronize_srcu", "synchronize_net"):
        assert queue(name), name


CALL = "BUG: kernel NULL pointer dereference, address: 0000000000000000\nRIP: 0010:culprit+0x1/0x2\nCall Trace:\n"
TWO = "\nCPU: 0 PID: 1 Comm: a\nCPU: 1 PID: 2 Comm: b"
UBSAN = next(text for form, _, text in FORMS if form is Form.UBSAN)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (CALL + " caller+0x1/0x2", ""),
        (CALL + " <TASK>\n caller+0x1/0x2", ""),
        (CALL + "a driver's chatter\n caller+0x1/0x2", ""),
        (CALL + "Kernel panic - not syncing: Fatal exception\n other+0x1/0x2", "a stack is missing"),
        ("Kernel panic - not syncing: ", "nothing follows its header"),
        ("Kernel panic - not syncing: \nCPU: 0 PID: 1 Comm: init Not tainted 6.1.0 #1", "its header was cut"),
        ("BUG kmalloc-8 (Tainted: G    B         ): Object already free", "nothing follows its header"),
        (UBSAN.strip().removesuffix("=" * 80).rstrip("=\n"), ""),
        (CALL + " caller+0x1/0x2" + TWO, "another task's report within"),
        (CALL + " caller+0x1/0x2\nSending NMI from CPU 0 to CPUs 1:" + TWO, ""),
        (KASAN.strip().rstrip("=\n"), "cut before its end"),
        (KASAN.replace(" other+0x1/0x2", ""), "a stack is missing"),
        (KASAN.replace(" other+0x1/0x2", "(stack is not available)"), ""),
        (KASAN.replace("by task 1:\n other+0x1/0x2", "by task 1 on cpu 0 at 7.000000s:\n"), "a stack is missing"),
    ],
)
def test_a_report_says_why_it_is_not_whole(text: str, because: str) -> None:
    assert one(console(text)).corrupted == because
