# SPDX-License-Identifier: GPL-2.0-only
"""Read configs/gup-path.yaml and configs/known-issues.yaml: strict, with the place of every error."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from orchestrator.errors import UsageError
from orchestrator.splat.model import SplatKind
from orchestrator.splat.standing import GupPath, KnownIssue


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Path(_Strict):
    walkers: list[str]
    detours: list[str]


class _Kernels(_Strict):
    since: str | None = None
    before: str | None = None


class _Issue(_Strict):
    id: str
    kind: SplatKind
    reason: str
    link: str
    expires: date
    title: str = "*"
    functions: list[str] = []
    walker: list[str] = []
    other: list[str] = []
    kernels: _Kernels = _Kernels()
    flavours: list[str] = []
    arches: list[str] = []


def load_path(file: Path) -> GupPath:
    """Read which functions are under test. Raises UsageError saying what is wrong and where."""
    data = _validated(file, TypeAdapter(_Path))
    return GupPath(tuple(data.walkers), tuple(data.detours))


def load_known(file: Path) -> tuple[KnownIssue, ...]:
    """Read the known issues; a file that is not there holds none. Raises UsageError saying what and where."""
    if not file.exists():
        return ()
    return tuple(_issue(entry) for entry in _validated(file, TypeAdapter(list[_Issue])))


def _issue(entry: _Issue) -> KnownIssue:
    return KnownIssue(
        id=entry.id,
        kind=entry.kind,
        reason=" ".join(entry.reason.split()),
        link=entry.link,
        expires=entry.expires,
        title=entry.title,
        functions=tuple(entry.functions),
        walker=tuple(entry.walker),
        other=tuple(entry.other),
        since=entry.kernels.since,
        before=entry.kernels.before,
        flavours=tuple(entry.flavours),
        arches=tuple(entry.arches),
    )


def _validated(file: Path, adapter: TypeAdapter[Any]) -> Any:
    try:
        return adapter.validate_python(yaml.safe_load(file.read_bytes()))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise UsageError(f"not YAML: {getattr(error, 'problem', error)}", where=where) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{place}: {first['msg']}", where=str(file)) from error
