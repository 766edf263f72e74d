# SPDX-License-Identifier: GPL-2.0-only
"""Frozen dataclasses to JSON files and back, atomically: the only way anything enters a run or the cache."""

from __future__ import annotations

import errno
import functools
import logging
import os
import tempfile
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from orchestrator.errors import HostError, UsageError

T = TypeVar("T")

log = logging.getLogger("guprace.records")

_WHAT_NEXT = {
    errno.ENOSPC: "free some space, or move the cache with GUPRACE_CACHE=DIR",
    errno.EDQUOT: "free some space, or move the cache with GUPRACE_CACHE=DIR",
    errno.EACCES: "is it yours? the cache is moved by GUPRACE_CACHE=DIR, runs by --runs DIR",
    errno.EROFS: "the cache is moved by GUPRACE_CACHE=DIR, runs by --runs DIR",
    errno.EMFILE: "allow more open files: ulimit -n 4096",
}


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
        finally:
            # Gone by then, unless something went wrong.
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error, path) from error


def disk_error(error: OSError, path: Path) -> HostError:
    """Turn an OSError about `path` into a HostError that says what to do next."""
    return HostError(f"{error.strerror or error}", where=str(path), hint=_WHAT_NEXT.get(error.errno or 0, ""))


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the adapter for a type: making one costs milliseconds, using it microseconds."""
    return TypeAdapter(kind)


def dumps(value: Any) -> bytes:
    """Return `value` (a dataclass, or plain data) as indented JSON with a final newline.

    Raises:
        UsageError: a word of it is not UTF-8: a path, or an argument (what a guest says is made so before).
    """
    try:
        return _adapter(cast(Hashable, type(value))).dump_json(value, indent=2) + b"\n"
    except PydanticSerializationError as error:
        what = f"cannot be written as JSON: {error}"
        raise UsageError(what, hint="is a path or an argument not UTF-8? rename it, or go by a link") from error


def save(path: Path, value: Any) -> None:
    """Write a dataclass to `path` as JSON, atomically. Raises HostError as `write_atomically` does."""
    write_atomically(path, dumps(value))


def load(path: Path, kind: type[T], hint: str = "") -> T:
    """Read a dataclass of type `kind` from the JSON file `path`; `hint` says what to do where it cannot be read.

    Raises:
        HostError: the file is missing, unreadable or not such a record.
    """
    try:
        return cast(T, _adapter(cast(Hashable, kind)).validate_json(path.read_bytes()))
    except FileNotFoundError as error:
        whole = "the directory is not whole: was it copied in part?"
        raise HostError("no such file", where=str(path), hint=hint or whole) from error
    except OSError as error:
        raise disk_error(error, path) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        what = f"not a whole record: {first['msg']}{f' (at {place})' if place else ''}"
        again = (
            "it was cut off, changed by hand, or is of another guprace; what can be made again is, once it is gone"
        )
        raise HostError(what, where=str(path), hint=hint or again) from error


def recall(path: Path, kind: type[T]) -> T | None:
    """Read a record that can be made again: None when it is not there, or is damaged, which the log then says."""
    if not path.is_file():
        return None
    try:
        return load(path, kind)
    except HostError as error:
        log.warning("%s: %s; made again", error.where, error.what)
        return None
