# SPDX-License-Identifier: GPL-2.0-only
"""Measure: `git bisect run guprace bisect-step` on a generated repository, with real git, kernels and guests.

    .venv/bin/python -m tests.guest.bench_bisect

A dozen commits on linux-source-6.1; one of them removes the PTE re-read (mutant M01). Ends with 1 if git names
another one.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.kernel.source import ArchiveTree, Workplace, resolve
from orchestrator.matrix.plan import DebSource
from orchestrator.paths import Project, cache_root
from orchestrator.proc import Stop

COMMITS = 12
FILES = ("mm/mmap.c", "mm/memory.c", "mm/rmap.c", "mm/migrate.c", "mm/ksm.c", "kernel/fork.c", "lib/string.c")
IDENTITY = ("-c", "user.name=guprace", "-c", "user.email=guprace@example.org", "-c", "commit.gpgsign=false")


def git(tree: Path, *arguments: str) -> str:
    """Run git and return what it says."""
    argv = ["git", "-C", str(tree), *IDENTITY, *arguments]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def append(path: Path, text: str) -> None:
    """Change a file without writing through its hard link."""
    content = path.read_text()
    path.unlink()
    path.write_text(content + text)


def make_repository(tree: Path, pristine: Path, patch: Path, bad: int) -> str:
    """Make the repository at `tree`, commit number `bad` being the mutant; return that commit."""
    subprocess.run(["cp", "-al", str(pristine), str(tree)], check=True)
    git(tree, "init", "-q", "-b", "main")
    # By force: Debian's packaging leaves a .gitignore that hides everything.
    git(tree, "add", "--all", "--force")
    git(tree, "commit", "-qm", "linux-source-6.1")
    culprit = ""
    for number in range(1, COMMITS + 1):
        if number == bad:
            git(tree, "apply", str(patch))
            git(tree, "commit", "-qam", "mm/gup: simplify the fast path")
            culprit = git(tree, "rev-parse", "HEAD")
        else:
            append(tree / FILES[number % len(FILES)], f"/* commit {number} */\n")
            git(tree, "commit", "-qam", f"commit {number}")
    return culprit


def main() -> None:
    """Generate, bisect, compare."""
    bad = random.SystemRandom().randint(2, COMMITS)
    place = Workplace(cache_root(os.environ), dict(os.environ), Stop())
    source = resolve(DebSource("linux-source-6.1"), place)
    assert isinstance(source, ArchiveTree)
    with tempfile.TemporaryDirectory(dir=place.cache, prefix="bisect-") as temporary:
        tree = Path(temporary) / "linux"
        culprit = make_repository(tree, source.pristine(place), Project().mutants / "M01-6.1.patch", bad)
        print(f"{COMMITS} commits, number {bad} is the culprit: {culprit}", flush=True)
        started = time.monotonic()
        git(tree, "bisect", "start", "HEAD", f"HEAD~{COMMITS}")
        step = [sys.executable, "-m", "orchestrator", "bisect-step", "--tree", ".", "--cell"]
        argv = ["git", "bisect", "run", *step, "arm64/plain/pin_vs_munmap", "--seconds", "10"]
        env = {**os.environ, "PYTHONPATH": str(Project().root)}
        done = subprocess.run(argv, cwd=tree, env=env, check=False, capture_output=True, text=True)
        print(done.stdout, done.stderr)
        named = f"{culprit} is the first bad commit" in done.stdout
        print(f"{'named the culprit' if named else 'WRONG'} in {time.monotonic() - started:.0f} s")
    sys.exit(0 if named else 1)


if __name__ == "__main__":
    main()
