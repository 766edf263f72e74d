# SPDX-License-Identifier: GPL-2.0-only
"""Patches: applied to a copy of the files they touch, so that a bad one leaves nothing behind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from orchestrator.errors import BuildError, HostError, UsageError
from orchestrator.proc import Completed, Stop, run

_FAILED = re.compile(r"^error: patch failed: (.+):(\d+)$", re.MULTILINE)
_HUNK = re.compile(r"^@@ -(\d+)")
# Not inside any repository: a checkout around the staging directory must not change what `git apply` does.
_ISOLATED = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "LC_ALL": "C"}


def touched(patch: Path, stop: Stop, environ: dict[str, str]) -> tuple[str, ...]:
    """Return the files that a patch (-p1) creates, changes, renames or deletes.

    Raises:
        UsageError: it is missing or no patch, or reaches outside the tree.
    """
    if not patch.is_file():
        raise UsageError("no such patch", where=str(patch))
    names = set()
    for side in ((), ("-R",)):
        done = _git_apply(["--numstat", "-z", *side, str(patch.absolute())], Path("/"), stop, environ)
        if done.returncode != 0:
            raise UsageError(f"not a patch that git apply can read: {done.stderr.strip()}", where=str(patch))
        names |= {field.split("\t")[-1] for field in done.stdout.split("\0") if field.split("\t")[-1]}
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UsageError(f"the patch reaches outside the tree: {name}", where=str(patch))
    return tuple(sorted(names))


def apply_all(patches: Sequence[Path], staging: Path, stop: Stop, environ: dict[str, str]) -> None:
    """Apply `patches` in order to the files in `staging`.

    Raises:
        BuildError: one does not apply; names the patch, the file and the hunk.
    """
    for patch in patches:
        done = _git_apply(["--verbose", "--whitespace=nowarn", str(patch.absolute())], staging, stop, environ)
        if done.returncode != 0:
            raise _does_not_apply(patch, done.stderr)


def _git_apply(arguments: list[str], cwd: Path, stop: Stop, environ: dict[str, str]) -> Completed:
    env = {**environ, **_ISOLATED, "GIT_CEILING_DIRECTORIES": str(cwd.parent)}
    return run(["git", "apply", *arguments], stop=stop, seconds=60, cwd=cwd, env=env, check=False)


def _does_not_apply(patch: Path, stderr: str) -> BuildError:
    match = _FAILED.search(stderr)
    if not match:
        return BuildError(f"the patch does not apply:\n{stderr.strip()}", where=str(patch))
    name, line = match.group(1), int(match.group(2))
    number, header, at = _hunk(patch, name, line)
    wanted = stderr.split("error: while searching for:\n", 1)[-1].split("\nerror:", 1)[0]
    shown = "\n".join(f"    {text}" for text in wanted.splitlines()[:8])
    return BuildError(
        f"hunk {number} of {name} does not apply: {header}\n  the tree has no such lines:\n{shown}",
        where=f"{patch}:{at}",
        hint="rebase the patch onto this source",
    )


def _hunk(patch: Path, name: str, line: int) -> tuple[int, str, int]:
    """Find the hunk of file `name` that starts at old line `line`: its number, header, line in the patch."""
    count, current = 0, ""
    try:
        text = patch.read_text(errors="replace")
    except OSError as error:
        raise HostError(str(error), where=str(patch)) from error
    for at, content in enumerate(text.splitlines(), 1):
        if content.startswith("--- "):
            current, count = content[4:].split("\t")[0].partition("/")[2], 0
        elif match := _HUNK.match(content):
            count += 1
            if current == name and int(match.group(1)) == line:
                return count, content, at
    return 0, f"at line {line}", 1
