# SPDX-License-Identifier: GPL-2.0-only
"""Rust's mangled names are read; what only looks like one is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.splat.fingerprint import normal
from orchestrator.splat.rust import MAX_NAME, demangle

NAMES = {
    "_RNvCscSpY9Juk0HT_7___rustc17rust_begin_unwind": "__rustc::rust_begin_unwind",
    "_RNvMs3_NtCshgDM7dBCdno_11rust_binder7processNtB5_7Process10update_ref": (
        "<rust_binder::process::Process>::update_ref"
    ),
    "_RNvXs1b_NtCs9jEwPDbx20M_4core3fmtRNtNtNtB8_5panic10panic_info9PanicInfoNtB6_7Display3fmt": (
        "<&core::panic::panic_info::PanicInfo as core::fmt::Display>::fmt"
    ),
    "_RINvNtC3std3mem8align_ofjdE.llvm.77": "std::mem::align_of::<usize, f64>",
    "_RNvNtCs1234_7mycrate3foo3bar": "mycrate::foo::bar",
    "_ZN4core9panicking9panic_fmt17h0123456789abcdefE": "core::panicking::panic_fmt",
    "_ZN53_$LT$foo..Bar$u20$as$u20$core..ops..Drop$LT$T$GT$$GT$4drop17h0123456789abcdefE.llvm.77": (
        "<foo::Bar as core::ops::Drop<T>>::drop"
    ),
    "_ZN3foo3barE": "foo::bar",
    "_Z8probe_itiii": "probe_it",
}


@pytest.mark.parametrize("mangled", NAMES)
def test_mangled_names_are_put_into_words(mangled: str) -> None:
    assert demangle(mangled) == NAMES[mangled]


@pytest.mark.parametrize(
    "name", ["zap_pte_range", "_R", "_RB_", "_RNvC", "_RNvC99a", "_RNvB0_1a", "_ZN3foo3bar", "_ZN3fo", "_Z9", "_ZL"]
)
def test_other_names_stay_as_they_are(name: str) -> None:
    assert demangle(name) == name


@given(st.text(alphabet="RNvXMYCITAFDBEsu0123456789_abz", max_size=300))
def test_any_name_is_read_in_bounded_time_and_space(rest: str) -> None:
    assert len(demangle("_R" + rest)) <= max(MAX_NAME, len(rest) + 2)


@given(st.text(alphabet="ENL0123456789_$u71b.GT", max_size=300))
def test_any_older_name_is_read_and_brings_no_control_character(rest: str) -> None:
    assert demangle("_ZN" + rest).isprintable()


def test_a_rust_function_is_one_name_to_the_fingerprint() -> None:
    assert normal("<a::B as c::D>::f") == "<a::B as c::D>::f"
