# SPDX-License-Identifier: GPL-2.0-only
"""Frozen dataclasses to JSON files and back, atomically: the only way anything enters a run or the cache."""

from __future__ import annotations

import errno
import functools
import os
import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import HostError

T = TypeVar("T")


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` by temporary file, fsync and rename, so that a file that exists is complete.

    Raises:
        HostError: the disk is full or the directory cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(fd, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise disk_error(error, path) from error


def disk_error(error: OSError, path: Path) -> HostError:
    """Turn an OSError about `path` into a HostError that says what to do next."""
    hint = "free some space, or move the cache with GUPRACE_CACHE=DIR" if error.errno == errno.ENOSPC else ""
    return HostError(f"{error.strerror or error}", where=str(path), hint=hint)


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the adapter for a type: making one costs milliseconds, using it microseconds."""
    return TypeAdapter(kind)


def dumps(value: Any) -> bytes:
    """Return `value` (a dataclass, or plain data) as indented JSON with a final newline."""
    return _adapter(cast(Hashable, type(value))).dump_json(value, indent=2) + b"\n"


def save(path: Path, value: Any) -> None:
    """Write a dataclass to `path` as JSON, atomically. Raises HostError as `write_atomically` does."""
    write_atomically(path, dumps(value))


def load(path: Path, kind: type[T]) -> T:
    """Read a dataclass of type `kind` from the JSON file `path`.

    Raises:
        HostError: the file is missing, unreadable or not such a record.
    """
    try:
        return cast(T, _adapter(cast(Hashable, kind)).validate_json(path.read_bytes()))
    except FileNotFoundError as error:
        raise HostError("no such file", where=str(path)) from error
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise HostError(f"not a readable {kind.__name__} record: {first}", where=str(path)) from error
