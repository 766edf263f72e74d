# SPDX-License-Identifier: GPL-2.0-only
"""A small program with inlines, static functions of one name, and assembler: compiled as kernels and modules are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from orchestrator.proc import Stop, run

SOURCES = {
    "walk.h": """
static inline __attribute__((always_inline)) unsigned long head(unsigned long *page)
{
\tunsigned long word = *(volatile unsigned long *)page;
\tif (word & 1)
\t\treturn word - 1;
\treturn word;
}

static inline __attribute__((always_inline)) int grab(unsigned long *page, int refs)
{
\tunsigned long at = head(page);

\tif (!at)
\t\treturn 0;
\t*page = at + refs;
\treturn 1;
}
""",
    "walk.c": """
#include "walk.h"
int twin_a(int x), twin_b(int x);

static __attribute__((noinline)) int helper(int x)
{
\treturn x * 3 + twin_a(x);
}

__attribute__((noinline)) int walk(unsigned long *pages, int n)
{
\tint done = 0;

\tfor (int i = 0; i < n; i++) {
\t\tif (!grab(&pages[i], 2))
\t\t\tbreak;
\t\tdone += helper(i);
\t}
\treturn done;
}

int entry(void)
{
\tstatic unsigned long pages[4];

\treturn walk(pages, 4) + twin_b(3);
}
""",
    "other.c": """
#include "walk.h"

static __attribute__((noinline)) int helper(int x)
{
\tfor (int i = 0; i < x; i++)
\t\tx ^= (x << 3) + (x / 7);
\treturn x;
}

static __attribute__((noinline)) int same(int x) { return *(volatile int *)&x + 1; }

int twin_a(int x) { return helper(x) + same(x); }
""",
    "third.c": """
static __attribute__((noinline)) int same(int x) { return *(volatile int *)&x + 1; }

__attribute__((section(".init.text"))) int twin_b(int x) { return same(x) - 1; }
""",
}


def compiled(directory: Path, compiler: str, *flags: str, module: bool = False) -> Path:
    """Compile the program with `compiler` into an executable, or (module) into one relocatable file."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} here")
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in SOURCES.items():
        (directory / name).write_text(text)
    link = (
        ["-r", "-nostdlib"] if module else ["-nostdlib", "-static", "-no-pie", "-Wl,-e,entry", "-Wl,--build-id=none"]
    )
    files = [name for name in SOURCES if name.endswith(".c")]
    out = "program.ko" if module else "program"
    command(directory, compiler, "-O2", "-ffreestanding", "-fno-pic", *flags, *link, "-o", out, *files)
    return directory / out


def command(directory: Path, *argv: str) -> str:
    """Run a tool and return what it printed."""
    return run(list(argv), stop=Stop(), seconds=60.0, cwd=directory, env=dict(os.environ)).stdout


def addr2line(tool: str, program: Path, addresses: list[int]) -> list[list[tuple[str, str]]]:
    """Return what binutils says of each address: (function, file:line), innermost first, files without directory."""
    if shutil.which(tool) is None:
        pytest.skip(f"no {tool} here")
    lines = command(program.parent, tool, "-afi", "-e", program.name, *(f"{a:#x}" for a in addresses)).splitlines()
    found: list[list[tuple[str, str]]] = []
    at = 0
    while at < len(lines):
        if lines[at].startswith("0x"):
            found.append([])
            at += 1
        else:
            place = lines[at + 1].partition(" (discriminator")[0]
            found[-1].append((lines[at], place.rpartition("/")[2]))
            at += 2
    return found
