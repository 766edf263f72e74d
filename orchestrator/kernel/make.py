# SPDX-License-Identifier: GPL-2.0-only
"""Every call of the kernel's make: same variables, same clean environment, one log."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import BuildError, HostError, UsageError
from orchestrator.kernel.source import Workplace
from orchestrator.kernel.toolchain import Tools
from orchestrator.proc import failure, run

# What makes two builds of one digest identical (Documentation/kbuild/reproducible-builds.rst).  An empty
# LOCALVERSION keeps setlocalversion from adding "+" for a commit without a tag.
FLAGS = (
    "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_USER=guprace",
    "KBUILD_BUILD_HOST=guprace",
    "KBUILD_BUILD_VERSION=1",
    "LOCALVERSION=",
)
# Guests race meanwhile, and a vCPU that waits for a compiler makes a race vacuous. Every session has a scheduling
# group of its own, where the kernel has CONFIG_SCHED_AUTOGROUP: there the group's nice counts (sched(7)), elsewhere
# make's.
YIELDING = (
    "bash",
    "-c",
    '{ echo 10 >/proc/self/autogroup; } 2>/dev/null; exec nice -n 10 "$@"',
    "guprace-build",
)
BUILD_SECONDS = 3 * 3600.0
INTERRUPT_SECONDS = 3.0
_KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH", "CCACHE_DISABLE")
_ERROR = re.compile(r"(?i)\berror: |undefined reference|^ERROR: modpost|No rule to make target")
# How compilers, linkers, scripts, shells and make end a line where the host failed them: strerror()'s words behind a
# colon (gas quotes them, perl and rustc have more behind them), memory, or a program that somebody (the OOM killer)
# killed. Never a line of source that a diagnostic shows (`  30 | #define ENOSPC ...`): a comment may say the same.
_ERRNOS = (
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE,
)  # fmt: skip
_WORDS = "|".join(re.escape(os.strerror(number)) for number in _ERRNOS)
_SAID = (
    rf": '?(?:{_WORDS})(?:'?$| at \S+ line \d+| \(os error \d+\))",
    rf"\[Errno (?:{'|'.join(map(str, _ERRNOS))})\] |: I/O error$|: Cannot fork$",
    r": out of memory allocating \d+ bytes|: memory exhausted$|virtual memory exhausted|LLVM ERROR: out of memory",
    r"\bstd::bad_alloc\b|\bmemory allocation of \d+ bytes failed|^MemoryError$",
    r"(?:Killed|Terminated) signal terminated program|internal compiler error: (?:Killed|Terminated)\b",
    r"unable to execute command: (?:Killed|Terminated)|terminated with signal (?:9|15)\b",
    # make itself of a recipe, and of a shell that died so (128 + 9, 128 + 15).
    r"^make(?:\[\d+\])?: \*\*\* .*\] (?:Killed|Terminated|Error 137|Error 143)$",
)
_HOST = re.compile("|".join(f"(?:{one})" for one in _SAID))
_SOURCE_LINE = re.compile(r"^\s*\d*\s*\|")
_PROGRESS = re.compile(r"^\s+([A-Z][A-Z_0-9]*(?: \[M\])?)\s+(\S+)")


@dataclass(frozen=True, slots=True)
class KernelMake:
    """make for one source tree and one object tree."""

    source: Path
    objects: Path
    tools: Tools
    log_file: Path
    jobs: int
    place: Workplace

    def argv(self, targets: Sequence[str]) -> list[str]:
        """Return the command line for `targets` (and further VAR=value)."""
        maps = f"-ffile-prefix-map={self.source}=. -ffile-prefix-map={self.objects}=."
        variables = [*self.tools.make, *FLAGS, f"KCFLAGS={maps}", f"KAFLAGS={maps}"]
        if shutil.which("ccache", path=self.place.environ.get("PATH")):
            variables.append(f"CC=ccache {self.tools.cc[0]}")
        return ["make", "-C", str(self.source), f"O={self.objects}", f"-j{self.jobs}", *variables, *targets]

    def environment(self) -> dict[str, str]:
        """Return the environment: an outer make's MAKEFLAGS or a user's ARCH must not change a kernel."""
        kept = {name: value for name, value in self.place.environ.items() if name in _KEPT}
        # Depend mode: a miss costs no second preprocessor run.
        return {**kept, "LC_ALL": "C", "CCACHE_DIR": str(self.place.cache / "ccache"), "CCACHE_DEPEND": "1"}

    def __call__(self, *targets: str, report: Callable[[str], None] | None = None) -> None:
        """Make `targets`, telling `report` about once a second what is being compiled.

        Raises:
            BuildError: the kernel does not build; holds the first errors and the log's path.
            HostError: disk or memory is full, somebody killed a compiler, or make itself is missing.
            UsageError: the path of the source or the objects is none that the kernel's make can take.
        """
        for path in (self.source, self.objects):
            _check_path(path, self.place.cache)
        self.objects.mkdir(parents=True, exist_ok=True)
        start = self.log_file.stat().st_size if self.log_file.exists() else 0
        tick = (lambda: report(progress(self.log_file))) if report else None
        done = run(
            [*YIELDING, *self.argv(targets)],
            stop=self.place.stop,
            seconds=BUILD_SECONDS,
            env=self.environment(),
            log_file=self.log_file,
            check=False,
            tick=tick,
            # On SIGTERM make removes what it was just writing; on SIGKILL a half-written object stays.
            grace=INTERRUPT_SECONDS,
        )
        if done.returncode < 0:
            raise failure(done)
        if done.returncode != 0:
            raise build_failure(self.log_file, start, targets, self.source)


def progress(log_file: Path) -> str:
    """Return what the last complete line of a build log says is being made, such as `CC mm/gup.o`."""
    with log_file.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 1024))
        lines = stream.read().decode(errors="replace").splitlines()
    for line in reversed(lines):
        if match := _PROGRESS.match(line):
            return f"{match.group(1)} {match.group(2)}"
    return ""


def host_trouble(text: str) -> str:
    """Return the first line of what a failed build said (LC_ALL=C) that blames the host, empty if none does."""
    lines = (line.strip() for line in text.splitlines() if not _SOURCE_LINE.match(line))
    return next((line for line in lines if _HOST.search(line)), "")


def _check_path(path: Path, cache: Path) -> None:
    # The kernel's Makefile: "source directory cannot contain spaces or colons".
    if re.search(r"[\s:]", str(path)):
        hint = "move the cache with GUPRACE_CACHE=DIR" if path.is_relative_to(cache) else "move it"
        raise UsageError("the kernel's make takes no path with blanks or colons", where=str(path), hint=hint)


def build_failure(log_file: Path, start: int, targets: Sequence[str], source: Path) -> BuildError | HostError:
    """Say why making `targets` of the tree `source` failed, from what make wrote to `log_file` after byte `start`."""
    whole = log_file.read_bytes()
    text = whole[start:].decode(errors="replace")
    if said := host_trouble(text):
        hint = "free some disk space or memory, whichever it was, and run the same command again"
        return HostError(f"the host failed the build: {said}", where=str(log_file), hint=hint)
    lines = text.splitlines()
    errors = [line.strip() for line in lines if _ERROR.search(line)]
    if not errors:
        # No compiler's error: what stands right before make's first complaint.
        first = next((n for n, line in enumerate(lines) if ": *** [" in line), len(lines))
        errors = [line.strip() for line in lines[max(0, first - 3) : first + 1]]
    # Files as the user knows them: whoever opens one of the copy that was built would mend that.
    shown = "\n    ".join(errors[:8]).replace(f"{source}/", "")
    return BuildError(f"make {' '.join(targets)} failed:\n    {shown}", where=str(log_file), log=whole)
