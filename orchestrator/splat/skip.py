# SPDX-License-Identifier: GPL-2.0-only
"""Ask the tables of innocent.py: is a function never to blame, and which of a loop's functions stands for it?"""

from __future__ import annotations

import re
from functools import cache, lru_cache

from orchestrator.splat import innocent as tables

# The same few hundred names stand on every stack.
_ASKED = 4096

_CLONE = re.compile(r"\.(?:isra|constprop|cold|part|llvm|lto_priv|localalias|cfi_jt|cfi|__uniq)(?:\.\d+)*")
# What objtool and kCFI put in front of a function is named after it (CONFIG_PREFIX_SYMBOLS, CONFIG_CFI_CLANG).
_IN_FRONT = re.compile(r"\A__(?:pfx|cfi(?!_check|_slowpath))_(?=[A-Za-z_])")
_BRACED = re.compile(r"\{([^{}]*)\}")


def plain(function: str) -> str:
    """Return the name without what compilers add for clones, parts and the space in front of a function."""
    return _CLONE.sub("", _IN_FRONT.sub("", function, count=1))


@lru_cache(maxsize=_ASKED)
def innocent(function: str, skip: str = "") -> bool:
    """Say whether `function` (a plain name) only works for its caller, in a form that adds the table `skip`."""
    bare = function.lstrip("_")
    return (
        _matches(bare, tables.COMMON) or _matches(bare, tables.TABLES[skip]) or _wrappers().search(bare) is not None
    )


@lru_cache(maxsize=_ASKED)
def wrapper(function: str, skip: str = "") -> bool:
    """Say whether nothing but what its name holds makes `function` innocent: a work item's may hold `flush_work`."""
    bare = function.lstrip("_")
    return innocent(function, skip) and not (_matches(bare, tables.COMMON) or _matches(bare, tables.TABLES[skip]))


@lru_cache(maxsize=_ASKED)
def queue(function: str) -> bool:
    """Say whether all who wait in `function` wait for one thing."""
    return _matches(function.lstrip("_"), tables.QUEUES)


@lru_cache(maxsize=_ASKED)
def anchor(function: str) -> bool:
    """Say whether `function` may stand for a stall."""
    return _matches(function, tables.ANCHORS)


@lru_cache(maxsize=_ASKED)
def passes_on(function: str) -> bool:
    """Say whether `function` only calls what stands for a stall."""
    return _matches(function.lstrip("_"), tables.PASSERS)


@lru_cache(maxsize=_ASKED)
def machinery(function: str) -> bool:
    """Say whether `function` is below or around every stall."""
    return _matches(function.lstrip("_"), tables.MACHINERY)


def _matches(bare: str, table: str) -> bool:
    return bool(table) and _pattern(table).fullmatch(bare) is not None


@cache
def _pattern(table: str) -> re.Pattern[str]:
    words = _words(table)
    but = "|".join(_word(word[1:]) for word in words if word.startswith("!"))
    return re.compile(
        (rf"(?!(?:{but})\Z)" if but else "")
        + f"(?:{'|'.join(_word(word) for word in words if not word.startswith('!'))})"
    )


@cache
def _wrappers() -> re.Pattern[str]:
    return re.compile("|".join(_words(tables.WRAPPERS)))


def _words(table: str) -> list[str]:
    lines = (line for line in table.splitlines() if not line.lstrip().startswith("#"))
    return " ".join(lines).split()


def _word(word: str) -> str:
    word = re.escape(word).replace(r"\*", r"\w*").replace(r"\{", "{").replace(r"\}", "}")
    while found := _BRACED.search(word):
        word = word.replace(found[0], f"(?:{found[1].replace(',', '|')})")
    return word
