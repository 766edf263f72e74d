# SPDX-License-Identifier: GPL-2.0-only
"""Measure: which lines of the walk the suite comes to at all. What no race runs, none can break.

    .venv/bin/python -m tests.guest.cover_walk arm64/plain [--kernel 6.12] [--scenario GLOB] [--seconds 12]

Builds the lane's kernel with gcov (`gcov.config`), races each scenario in a guest of its own, and reads back how
often each line of the files that make the walk was run. Prints, for each function of the walk, how many of its lines
were run, by how many scenarios the rarest of them, and the source of those that none came to. Needs gcov of the
compiler that built the kernel; the notes that it reads lie in the lane's objects, so the kernel must be the last
that was built there (it is, when this has just built it).
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from orchestrator.guest.guest import Guest
from orchestrator.matrix.plan import Arch, Cell, Fragment
from orchestrator.race.session import GUEST_DIR
from tests.guest.lane import ROOT, arguments, lane

GCOV = {Arch.X86_64: "x86_64-linux-gnu-gcov", Arch.ARM64: "aarch64-linux-gnu-gcov"}
# File of the kernel to the functions of it that the walk is made of.
WALK = {
    "mm/gup.c": re.compile(
        r"(internal_get_user_pages_fast|lockless_pages_from_mm|gup_fast|gup_(pgd|p4d|pud|pmd|pte|huge|hugepte)\w*"
        r"|gup_put_folio|try_get_folio|try_grab_folio(_fast)?|undo_dev_pagemap|folio_fast_pin_allowed"
        r"|gup_must_unshare|is_valid_gup_args|(get|pin)_user_pages_fast(_only)?)$|gup_fast_"
    ),
    "arch/arm64/mm/contpte.c": re.compile(r"contpte_ptep_get|__contpte_try|contpte_convert"),
}
PASSED, SKIPPED = 0, 4
Lines = dict[int, int]


def counts(guest: Guest, objects: Path, file: str, gcov: str) -> dict[str, Lines]:
    """Return how often the guest's kernel has run each line of each function of `file` since the last reset."""
    name = str(Path(file).with_suffix(".gcda"))
    read = guest.run(f"base64 /sys/kernel/debug/gcov{objects}/{name}", seconds=60)
    if read.status:
        sys.exit(f"{name}: the guest has no counts of it: {read.stderr.strip()}")
    with tempfile.TemporaryDirectory() as directory:
        notes = Path(directory) / Path(name).name
        notes.write_bytes(base64.b64decode(read.stdout))
        notes.with_suffix(".gcno").write_bytes((objects / name).with_suffix(".gcno").read_bytes())
        argv = [gcov, "--json-format", "--stdout", str(notes)]
        told = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=True)
    if "stamp mismatch" in told.stderr:
        sys.exit(f"{objects} holds another kernel's notes: have the kernel built anew")
    functions: dict[str, Lines] = defaultdict(dict)
    for source in json.loads(told.stdout)["files"]:
        for line in source["lines"] if source["file"].endswith(file) else ():
            lines = functions[line.get("function_name", "")]
            lines[line["line_number"]] = lines.get(line["line_number"], 0) + line["count"]
    return functions


def raced(guest: Guest, cell: Cell, seconds: float, objects: Path) -> Iterator[tuple[str, str, Lines]]:
    """Race a scenario, and yield file, function and counts of the walk."""
    guest.run("echo 1 > /sys/kernel/debug/gcov/reset", seconds=60)
    done = guest.run(f"{GUEST_DIR}/{cell.scenario} --seconds {seconds:g}", seconds=10 * seconds + 240)
    if done.status not in (PASSED, SKIPPED):
        sys.exit(f"{cell.id} did not pass, and what it ran is no measure: {done.stdout.strip().splitlines()[-1:]}")
    for file, wanted in WALK.items():
        if not (objects / file).with_suffix(".gcno").is_file():
            # Another architecture's, or a newer kernel's.
            continue
        for function, lines in counts(guest, objects, file, GCOV[cell.kernel.arch]).items():
            if wanted.match(function):
                yield file, function, lines


def report(tree: Path, seen: dict[tuple[str, str], dict[int, dict[str, int]]]) -> None:
    """Print a row for each function, and what no scenario came to."""
    print("| function | lines | run | by the fewest scenarios |\n|---|---|---|---|")
    for (_, function), lines in sorted(seen.items()):
        run = [len([n for n in by.values() if n]) for by in lines.values()]
        print(f"| `{function}` | {len(run)} | {sum(map(bool, run))} | {min((n for n in run if n), default=0)} |")
    for (file, function), lines in sorted(seen.items()):
        never = sorted(number for number, by in lines.items() if not any(by.values()))
        if never:
            text = (tree / file).read_text().splitlines()
            print(f"\n{function}, {file}: never run")
            for number in never:
                print(f"  {number:5} {text[number - 1].strip()}")


def main() -> None:
    """Build, race all scenarios, print."""
    parser = arguments(__doc__, "6.12", 12.0)
    asked = parser.parse_args()
    here = lane(parser, asked, Fragment(ROOT / "tests" / "guest" / "gcov.config", "user"))
    objects = objects_of(here.cache / "lanes", here.kernel.image.parent / "config")
    seen: dict[tuple[str, str], dict[int, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for cell in here.cells:
        with here.guest(cell) as guest:
            for file, function, lines in raced(guest, cell, asked.seconds, objects):
                for number, count in lines.items():
                    seen[file, function][number][cell.scenario] = count
        print(f"{cell.id}: raced", file=sys.stderr, flush=True)
    report(objects.parent / "src", seen)


def objects_of(lanes: Path, config: Path) -> Path:
    """Return the object tree that holds the kernel with this .config: gcov's notes lie there, and nowhere else."""
    wanted = config.read_bytes()
    for objects in lanes.glob("*/obj"):
        if (objects / ".config").is_file() and (objects / ".config").read_bytes() == wanted:
            return objects
    sys.exit("no lane holds the objects of this kernel any more: remove it from the cache, and have it built anew")


if __name__ == "__main__":
    main()
