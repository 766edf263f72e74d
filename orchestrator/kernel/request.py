# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel was asked for and which one answered: hits without a source tree, misses explained."""

from __future__ import annotations

import itertools
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator import records
from orchestrator.errors import UsageError
from orchestrator.kernel.cache import digest_of, file_digest
from orchestrator.kernel.make import FLAGS
from orchestrator.matrix.plan import KernelSpec


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that decides a kernel, by name: what `build --why` compares.

    `components` maps a readable name (`source`, `patch M01-6.1.patch`, `fragment flavour debug.config`, `toolchain`,
    `flags`) to a version or digest; `kernel` is the digest of the kernel it led to, empty before that is known.
    """

    lane: str
    components: dict[str, str]
    kernel: str = ""

    @property
    def digest(self) -> str:
        """The name of this request."""
        return digest_of([self.lane, self.components])


def describe(spec: KernelSpec, lane: str, identity: str, toolchain: str) -> Request:
    """Return the request for `spec`. Raises HostError when a patch or fragment cannot be read."""
    components = {"source": identity, "toolchain": toolchain, "flags": " ".join(FLAGS)}
    for number, patch in enumerate(spec.patches, 1):
        components[f"patch {number} {patch.name}"] = file_digest(patch)
    for fragment in spec.fragments:
        components[_unused(f"fragment {fragment.role} {fragment.path.name}", components)] = file_digest(fragment.path)
    return Request(lane, components)


def check_unchanged(spec: KernelSpec, request: Request) -> None:
    """Raise UsageError if a patch or fragment, which was read by now, is not the one that `request` names any more.

    A kernel waits for its lane, and what is edited meanwhile would be built under the name of what it was. Raises
    HostError when one cannot be read.
    """
    parts = request.components
    now = describe(spec, request.lane, parts["source"], parts["toolchain"])
    if changed := compare(parts, now.components):
        raise UsageError(
            f"changed while a kernel was being made of it: {'; '.join(changed)}",
            where=spec.name,
            hint="leave it alone and run the same command again",
        )


def _unused(name: str, taken: Container[str]) -> str:
    """Return `name`, with a number behind it where another file of the same name has it."""
    numbered = (f"{name} ({number})" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests answered so far, one record each."""

    root: Path

    def answer(self, request: Request) -> str:
        """Return the digest of the kernel that answers `request`, empty if nobody asked before."""
        known = records.recall(self.root / f"{request.digest}.json", Request)
        return known.kernel if known else ""

    def remember(self, request: Request, kernel: str) -> None:
        """Record that `kernel` (its digest) answers `request`."""
        records.save(self.root / f"{request.digest}.json", Request(request.lane, request.components, kernel))

    def differences(self, request: Request) -> tuple[str, ...]:
        """Compare with the most similar request of the same lane: one line for each component that differs."""
        if not self.root.is_dir():
            return ("nothing was ever built here",)
        known = [records.recall(path, Request) for path in sorted(self.root.glob("*.json"))]
        same = [old for old in known if old and old.lane == request.lane]
        lines = [compare(old.components, request.components) for old in same]
        return min(lines, key=len) if lines else (f"first kernel of lane {request.lane}",)


def compare(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """Return a line for each name whose value differs."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            lines.append(f"{name}: added")
        elif name not in new:
            lines.append(f"{name}: removed")
        elif old[name] != new[name]:
            lines.append(f"{name}: {_short(old[name])} -> {_short(new[name])}")
    return tuple(lines)


def _short(value: str) -> str:
    return value if len(value) <= 60 else f"{value[:24]}..."
