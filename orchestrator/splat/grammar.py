# SPDX-License-Identifier: GPL-2.0-only
"""What a form of kernel report is: how it begins, what it is called, where to look for whom to blame.

The forms themselves are tables: forms_memory.py, forms_fault.py, forms_lock.py, forms_other.py. Titles follow
syzbot's conventions (syzkaller.appspot.com), because those are what people search for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from orchestrator.splat.model import Form


class Blame(StrEnum):
    """Where the function to blame stands, in the order of trust; frames.py knows how to look there."""

    HEADER = "header"  # the header names it, and nothing else does
    HEADER_FIRST = "header-first"  # the header's, unless it only helps; then the stack
    PC = "pc"  # the program counter, then the stack
    STACK = "stack"  # the stack only
    SLEEPER = "sleeper"  # who called schedule(): a stack that does not begin there is another's
    OWNER = "owner"  # who allocated the page, where page_owner says so, then the stack
    STACK_FIRST = "stack-first"  # the stack, then what the header named
    BELOW = "below"  # the stack right below the header, then the header's
    BACKTRACE = "backtrace"  # the stack after `stack backtrace:`
    LOCK = "lock"  # where the locks were taken (`at: f+0x1/0x2`), then the stack
    SAFE = "safe"  # the stack on which the lock became irq-safe
    STALL = "stall"  # the representative of a loop: a system call, handler, timer or work on the stack
    INTERRUPTED = "interrupted"  # the same, of what the tick interrupted
    DEEP = "deep"  # who called itself, else the representative: where a stack ran out is chance
    LAST_FUNCTION = "last-function"  # what a work item ran
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Grammar:
    """One form. `needle` is a literal that every header holds, for a fast first look.

    `title` may use the header's groups and `{access}`; ` in {f}` is added when there is somebody to blame, unless it
    says `{f}` itself. `skip` names the further functions of skip.py that this form never blames. `bars` says that the
    report stands between two `=====` lines; `needs` is what some line of its body must match, lest a quotation count;
    `eats` are needles of other headers that continue this report. `alt` begins another title that syzbot accepts for
    it. `stamped`: only a line with a time stamp can be its header. `bare`: it is whole without a stack; `more`: it is
    cut where nothing follows its header; `last`: it is none where anything does. `cut` says why a report that begins
    so is never whole.
    """

    form: Form
    needle: str
    header: str
    title: str
    blame: Blame
    skip: str = ""
    bars: bool = False
    needs: str = ""
    eats: tuple[str, ...] = ()
    alt: str = ""
    stamped: bool = False
    bare: bool = False
    more: bool = False
    last: bool = False
    cut: str = ""


@cache
def pattern(text: str) -> re.Pattern[str]:
    """Compile when first needed: most consoles need few of the forms."""
    return re.compile(text)


@cache
def grammars() -> tuple[Grammar, ...]:
    """Return all forms, the more particular before the more general."""
    from orchestrator.splat import forms_fault, forms_lock, forms_memory, forms_other

    return (
        *forms_memory.FORMS,
        *forms_fault.FORMS,
        *forms_lock.FORMS,
        *forms_other.FORMS,
    )


def header_of(text: str, stamped: bool, user: bool = False) -> tuple[Grammar, re.Match[str]] | None:
    """Return the form whose header `text` (a message without prefixes) begins with, and the match.

    `stamped`: it bore a time stamp. `user`: a program printed it, so that it can only be about programs.
    """
    for grammar in grammars():
        if user and grammar.form is not Form.USERSPACE:
            continue
        if grammar.needle in text and (stamped or not grammar.stamped):
            found = pattern(grammar.header).match(text)
            if found:
                return grammar, found
    return None
