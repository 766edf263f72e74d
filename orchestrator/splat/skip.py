# SPDX-License-Identifier: GPL-2.0-only
"""Functions that report, copy, wait or lock on behalf of others: never the ones to blame. Data."""

from __future__ import annotations

import re
from functools import cache

_REPORTING = (
    r"_*dump_stack.*|show_stack.*|print_.*|panic|_*warn_.*|report_bug|fixup_bug|handle_bug|end_report|die.*|oops_.*",
    r".*kasan.*|.*kcsan.*|.*kmsan.*|.*kfence.*|.*ubsan.*|check_memory_region|_*[atm]san_.*|_*asan_.*|_*hwasan.*",
    r"debug_(?:smp|object|check|print).*|_*debug_.*|_*schedule_bug|trace_.*|unwind.*|arch_stack_walk|stack_trace_.*",
    r"save_stack.*|set_track.*|nmi_.*|arch_trigger.*|trigger_.*|sched_show_task|check_cpu_stall|watchdog.*",
    r"rcu_(?:dump|check|sched_clock|read)\w*|csd_lock.*|stack_overflow.*",
)
_ENTRY = (
    r"exc_.*|asm_exc.*|do_error_trap|do_invalid_op|invalid_op|error_entry|no_context|_*bad_area.*|do_page_fault",
    r"page_fault.*|async_page_fault|do_general_protection|general_protection|_*do_kernel_fault|do_mem_abort",
    r"do_translation_fault|el[01]_.*|el[01]h?_\w+|update_process_times|tick_.*|_*hrtimer.*|_*sysvec.*|asm_sysvec.*",
    r".*apic_timer.*|_*do_softirq.*|irq_exit.*|handle_.*irq.*|ret_from_.*",
)
_WAITING = (
    r"_*(?:raw_)?(?:spin|read|write)_\w*(?:lock|unlock).*|_*raw_\w*lock\w*|do_raw_.*|queued_\w+lock.*|native_queued.*",
    r"pv_.*|_*lock_(?:acquire|release).*|_*lockdep.*|validate_chain.*|check_prev.*|check_noncircular.*|mark_lock.*",
    r".*_lock_irq.*|check_deadlock|_*mutex_\w+|_*rwsem_\w+|_*down_(?:read|write).*|_*down_\w+|up_(?:read|write).*",
    r"rt_mutex.*|_*wait_\w+|do_wait_\w+|schedule\w*|_*schedule|context_switch|io_schedule.*|bit_wait.*",
    r"out_of_line_wait.*|prepare_to_wait.*|preempt_schedule.*|_*might_(?:sleep|fault|resched)|_*cond_resched.*",
    r"dequeue_task.*|_*rcu_(?:lock|unlock).*|rep_nop|cpu_relax|smp_call.*",
)
_HELPING = (
    r"_*(?:mem(?:cpy|set|move|cmp|chr|scan)|str\w+)(?:_orig|_erms|_c|_e)?|_*(?:copy_|get_|put_)(?:to_|from_)?user.*",
    r"_*refcount.*|kref_\w+|_*list_(?:add|del).*|_*kobject_.*|slab_\w+|_*km(?:alloc|em_cache).*|_*kfree.*|kvfree.*",
    r"_*alloc_skb|instrument_.*|arch_atomic.*|atomic\w*_.*|arch_local.*|_*read_once.*|_*write_once.*",
)


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile("|".join((*_REPORTING, *_ENTRY, *_WAITING, *_HELPING)))


def innocent(function: str) -> bool:
    """Say whether `function` only reports, enters, waits or helps, so that its caller is to blame."""
    return _pattern().fullmatch(function) is not None
