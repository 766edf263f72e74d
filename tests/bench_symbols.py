# SPDX-License-Identifier: GPL-2.0-only
"""Measure symbols: `python -m tests.bench_symbols VMLINUX [--frames N] [--functions M] [--check]`.

Takes frames at random from a vmlinux (any ELF file with DWARF) and resolves them in one pass.
With `--check` the answers are compared with binutils' `addr2line -fi`, whose time is told too.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import time
from pathlib import Path

from orchestrator.proc import Stop, run
from orchestrator.splat.elfimage import opened
from orchestrator.splat.stackframe import Frame
from orchestrator.splat.symbols import Resolved, Symbolizer
from orchestrator.splat.symtab import SymbolTable

SHOWN = 10


def random_frames(path: Path, count: int, functions: int, seed: int) -> list[Frame]:
    """Return `count` frames in `functions` functions of the image."""
    chance = random.Random(seed)
    with opened(path) as image:
        table = SymbolTable(image)
        symbols = [symbol for symbol in image.symbols() if symbol.function and symbol.size > 16]
    chosen = chance.sample(symbols, min(functions, len(symbols)))
    picks = (chance.choice(chosen) for _ in range(count))
    return [Frame(s.name, chance.randrange(1, s.size), table.sizes(s)[0], exact=True) for s in picks]


def by_addr2line(path: Path, resolved: tuple[Resolved, ...], tool: str) -> list[list[str]]:
    """Return what addr2line says of each frame's first place: `function file:line`, innermost first."""
    addresses = [f"{each.places[0].address:#x}" for each in resolved]
    script = f"{tool} -afi -e {path} <<'END'\n" + "\n".join(addresses) + "\nEND\n"
    out = run(["sh", "-c", script], stop=Stop(), seconds=3600.0, env=dict(os.environ)).stdout
    found: list[list[str]] = []
    lines = out.splitlines()
    at = 0
    while at < len(lines):
        if lines[at].startswith("0x"):
            found.append([])
            at += 1
            continue
        found[-1].append(f"{lines[at]} {lines[at + 1].partition(' (discriminator')[0]}")
        at += 2
    return found


def differences(resolved: tuple[Resolved, ...], other: list[list[str]]) -> list[str]:
    """Return the frames of which we say another function or line, with both answers."""
    found = []
    for ours, theirs in zip(resolved, other, strict=True):
        mine = [f"{location.function} {location.place}" for location in ours.places[0].locations]
        same = len(mine) == len(theirs) and all(_same(a, b) for a, b in zip(mine, theirs, strict=True))
        if not same:
            found.append(f"{ours.frame.text} at {ours.places[0].address:#x}\n  we: {mine}\n  it: {theirs}")
    return found


def _same(mine: str, theirs: str) -> bool:
    name, _, place = mine.partition(" ")
    their_name, _, their_place = theirs.partition(" ")
    return name == their_name and os.path.normpath(their_place).endswith(place.removeprefix("../"))


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vmlinux", type=Path)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--functions", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--addr2line", default="addr2line", help="the tool to compare with")
    given = parser.parse_args()
    frames = random_frames(given.vmlinux, given.frames, given.functions, given.seed)
    started, before = time.monotonic(), time.process_time()
    with Symbolizer(given.vmlinux) as symbols:
        opened_after = time.monotonic() - started
        resolved = symbols.resolve(frames)
    took, cpu = time.monotonic() - started, time.process_time() - before
    lines = sum(1 for each in resolved if each.source)
    size = given.vmlinux.stat().st_size / 1e6
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{given.vmlinux.name}: {size:.0f} MB; opened in {opened_after:.2f} s")
    print(f"{len(frames)} frames in {given.functions} functions: {took:.2f} s, CPU {cpu:.2f} s")
    print(f"{lines} with lines; {memory:.0f} MiB resident, most of it the file's pages")
    if given.check:
        clear = tuple(each for each in resolved if len(each.places) == 1)
        started = time.monotonic()
        other = by_addr2line(given.vmlinux, clear, given.addr2line)
        print(f"{given.addr2line}: {time.monotonic() - started:.2f} s")
        differ = differences(clear, other)
        print(f"{len(differ)} of {len(clear)} differ")
        print("\n".join(differ[:SHOWN]))


if __name__ == "__main__":
    main()
