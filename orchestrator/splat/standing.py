# SPDX-License-Identifier: GPL-2.0-only
"""What a report means: new, known, or a background data race. Decided by data, never by the verdict.

The kernels under KCSAN are built with KCSAN_STRICT and report many data races of stock kernels that have nothing to
do with GUP-fast. The policy:

* A data race is *background* when no access was made by GUP-fast: neither stack, followed from the access outwards,
  meets a function of the walk (`walkers` in configs/gup-path.yaml) before one that has left it (`detours`: the slow
  path with its locks, page faults, interrupts).  It is counted and shown and fails nothing: what is under test is
  whether the walk tolerates what others do, and a race between two others says nothing of it.
* A data race inside the walk is *new*, and fails a clean cell, unless configs/known-issues.yaml has it for this
  kernel: there stand the plain accesses that stock kernels make by design, each with its reason.
* A failed assertion (ASSERT_EXCLUSIVE) is the kernel's own claim: never background.
* A data race whose text was cut before its stacks cannot be placed: new. With one stack lost, the function that the
  header names stands for it.
* A remark (a driver's own `WARNING: ...` in words, a test program's last words) is no report of a bug: background.
* Every other kind of report is new unless it is known. An expired entry matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase

from orchestrator.splat.model import Splat, SplatKind, Standing
from orchestrator.splat.skip import innocent


@dataclass(frozen=True, slots=True)
class GupPath:
    """Which functions are GUP-fast's walk, and which are met when it has been left; glob patterns."""

    walkers: tuple[str, ...]
    detours: tuple[str, ...]

    def holds(self, stack: Sequence[str]) -> bool:
        """Say whether the access at the inner end of `stack` was made by the walk."""
        for function in stack:
            if _any(function, self.detours):
                return False
            if _any(function, self.walkers):
                return True
        return False


@dataclass(frozen=True, slots=True)
class KnownIssue:
    """One entry of known-issues.yaml.

    `functions` are glob patterns: for a pair both must match, in either order. `walker` and `other` are glob patterns
    over what a KCSAN report calls the access made by GUP-fast and the other one (`read`, `write (marked)`).
    `any_frames`: each must match some function of the report's stacks; `inner_frames`: the innermost functions of one
    stack, in this order, functions never to blame (splat/skip.py) aside.
    `since` and `before` bound the kernel version (None: open); `flavours`, `arches` and `scenarios` (glob patterns)
    empty: any. `expires` is the last day on which it counts. `rate` is the share of cells that are expected to show
    it (None: nobody measured it); splat/audit.py says when it is seen significantly more often, or not at all.
    """

    id: str
    kind: SplatKind
    reason: str
    link: str
    expires: date
    title: str = "*"
    functions: tuple[str, ...] = ()
    any_frames: tuple[str, ...] = ()
    inner_frames: tuple[str, ...] = ()
    walker: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    since: str | None = None
    before: str | None = None
    flavours: tuple[str, ...] = ()
    arches: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    rate: float | None = None

    def matches(self, splat: Splat, path: GupPath, subject: Subject) -> bool:
        """Say whether this entry covers `splat` on that kernel, its expiry aside."""
        return self.describes(splat, path) and self.concerns(subject)

    def describes(self, splat: Splat, path: GupPath) -> bool:
        """Say whether this entry is about such a report, on whatever kernel."""
        return (
            splat.kind is self.kind
            and fnmatchcase(splat.title, self.title)
            and _pair_matches(self.functions, splat.functions)
            and self._frames_match(splat)
            and self._accesses_match(splat, path)
        )

    def concerns(self, subject: Subject) -> bool:
        """Say whether this entry speaks of that kernel in that race."""
        return (
            _in_range(subject.version, self.since, self.before)
            and (not self.flavours or subject.flavour in self.flavours)
            and (not self.arches or subject.arch in self.arches)
            and (not self.scenarios or _any(subject.scenario, self.scenarios))
        )

    def _frames_match(self, splat: Splat) -> bool:
        everywhere = [function for stack in splat.stacks for function in stack]
        if not all(any(_any(function, (pattern,)) for function in everywhere) for pattern in self.any_frames):
            return False
        return not self.inner_frames or any(_begins(stack, self.inner_frames) for stack in splat.stacks)

    def _accesses_match(self, splat: Splat, path: GupPath) -> bool:
        if not self.walker and not self.other:
            return True
        made = list(zip(splat.accesses, splat.stacks, strict=False))
        if len(made) != 2:
            return False
        return any(
            path.holds(ours[1]) and _any_access(ours[0], self.walker) and _any_access(theirs[0], self.other)
            for ours, theirs in (made, made[::-1])
        )


@dataclass(frozen=True, slots=True)
class Subject:
    """The kernel that made the reports: its version (`uname -r`, or as far as known), architecture and flavour.

    `scenario` is what was raced on it; empty: nobody knows.
    """

    version: str
    arch: str
    flavour: str
    scenario: str = ""


def classify(
    splats: Iterable[Splat], path: GupPath, known: Sequence[KnownIssue], subject: Subject, today: date
) -> tuple[Splat, ...]:
    """Return the reports with their standing, and why in words."""
    return tuple(_placed(splat, path, known, subject, today) for splat in splats)


def by_standing(path: GupPath, known: Sequence[KnownIssue]) -> Callable[[Splat], Hashable]:
    """Return what tells reports of one title apart by all that their standing may come from, on whatever kernel.

    KCSAN names a race by its two functions: the same pair comes from the walk and from others, by accesses that are
    known and by some that are not. What is counted with a report that fails nothing must not fail anything itself.
    """

    def apart(splat: Splat) -> Hashable:
        return _by_walk(splat, path), tuple(issue.id for issue in known if issue.describes(splat, path))

    return apart


def _placed(splat: Splat, path: GupPath, known: Sequence[KnownIssue], subject: Subject, today: date) -> Splat:
    matching = [issue for issue in known if issue.matches(splat, path, subject)]
    if current := next((issue for issue in matching if issue.expires >= today), None):
        return replace(splat, standing=Standing.KNOWN, why=f"{current.id}: {current.reason} ({current.link})")
    expired = f"known as {matching[0].id}, which expired on {matching[0].expires}" if matching else ""
    if splat.kind is SplatKind.INFO:
        return replace(splat, standing=Standing.BACKGROUND, why="a remark, not a report")
    walk = _by_walk(splat, path)
    if walk is False:
        return replace(splat, standing=Standing.BACKGROUND, why="no access was made by GUP-fast")
    return replace(splat, standing=Standing.NEW, why=expired or ("an access was made by GUP-fast" if walk else ""))


def _by_walk(splat: Splat, path: GupPath) -> bool | None:
    """Say whether GUP-fast made an access of a data race; None: no data race, or one without its stacks."""
    if splat.kind is not SplatKind.KCSAN or " data-race in " not in splat.title or not splat.stacks:
        return None
    return any(path.holds(stack) for stack in (*splat.stacks, *_lost_stacks(splat)))


def _lost_stacks(splat: Splat) -> Iterator[tuple[str]]:
    """Yield what is left of stacks that were cut off: the function that the report's header names."""
    return ((function,) for function in splat.functions if not any(function in stack for stack in splat.stacks))


def _begins(stack: Sequence[str], patterns: tuple[str, ...]) -> bool:
    """Say whether the inner end of `stack` matches, as it stands or without functions that are never to blame."""
    guilty = [function for function in stack if not innocent(function)]
    return any(
        len(inner) >= len(patterns) and all(_any(f, (p,)) for f, p in zip(inner, patterns, strict=False))
        for inner in (stack, guilty)
    )


def _any_access(access: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(access, pattern) for pattern in patterns)


def _any(name: str, patterns: Iterable[str]) -> bool:
    # gcc's clones (.isra.0, .constprop.0, .part.0, .cold) are the same function
    plain = name.partition(".")[0]
    return any(fnmatchcase(plain, pattern) for pattern in patterns)


def _pair_matches(patterns: tuple[str, ...], functions: tuple[str, ...]) -> bool:
    if not patterns:
        return True
    if len(patterns) != len(functions):
        return False
    orders = [functions, functions[::-1]]
    return any(all(_any(f, (p,)) for f, p in zip(order, patterns, strict=True)) for order in orders)


def _in_range(version: str, since: str | None, before: str | None) -> bool:
    if since is None and before is None:
        return True
    at = _numbers(version)
    return bool(at) and (since is None or at >= _numbers(since)) and (before is None or at < _numbers(before))


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
