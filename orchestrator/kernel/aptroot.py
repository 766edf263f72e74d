# SPDX-License-Identifier: GPL-2.0-only
"""A private apt root: Debian packages of any suite and architecture, without installing anything on the host.

Own lists, cache and sources, so neither root nor the host's dpkg is involved.  Archive addresses and keyrings
are read from the machine's own apt configuration (apttext.py) and never written down in the project.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from orchestrator.errors import HostError, nearest
from orchestrator.kernel.apttext import (
    Candidate,
    NotOfferedError,
    choose_entries,
    config_text,
    host_codename,
    is_gone,
    parse_records,
    parse_targets,
    setting,
    sources_text,
    update_error,
)
from orchestrator.kernel.lock import Waits, locked, say_in_log
from orchestrator.proc import Completed, Stop, run
from orchestrator.records import disk_error, write_atomically

T = TypeVar("T")

log = logging.getLogger("guprace.apt")

UPDATE_SECONDS = 300.0
QUERY_SECONDS = 60.0
DOWNLOAD_SECONDS = 1200.0
# Two processes may want the same root; the other one is at most an update and a download away.
LOCK_SECONDS = UPDATE_SECONDS + DOWNLOAD_SECONDS


class GoneError(HostError):
    """The archive gives no package that its lists, as we have them, name."""


class AptRoot:
    """Packages of one suite (None: the host's own suites, with updates and security) for given architectures.

    `directory` is created on `ensure` and can be deleted at any time; `architectures` are Debian's names.
    """

    def __init__(
        self,
        directory: Path,
        suite: str | None,
        architectures: tuple[str, ...],
        stop: Stop,
        environ: Mapping[str, str],
        waits: Waits = say_in_log,
    ) -> None:
        # apt.conf holds this path: through somebody's symbolic link it would be gone with the link.
        self.directory = directory.resolve()
        self.suite = suite
        self.architectures = architectures
        self._stop = stop
        self._waits = waits
        self._config = self.directory / "apt.conf"
        self._env = {**environ, "APT_CONFIG": str(self._config), "LC_ALL": "C.UTF-8"}
        self._plain_env = {**environ, "LC_ALL": "C.UTF-8"}

    def telling(self, waits: Waits) -> AptRoot:
        """Return the same root, which tells `waits` when another guprace must be waited for."""
        other = copy.copy(self)
        other._waits = waits
        return other

    def ensure(self, *, refresh: bool = False) -> None:
        """Make the root usable: configuration always, `apt-get update` only if lists are absent or on `refresh`.

        Raises:
            HostError: no Debian archive is configured, it cannot be reached, or a signature cannot be verified.
        """
        with self._locked():
            if not refresh and self._complete():
                return
            self._update()

    def identity(self) -> str:
        """Return a digest (hexadecimal) of the archive's state: it changes when `ensure` fetched newer lists."""
        digest = hashlib.sha256(" ".join(self.architectures).encode())
        for path in sorted((self.directory / "lists").glob("*Release")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def candidate(self, package: str, version: str | None = None) -> Candidate:
        """Return what the archive offers as `package` (or `package:arch`), the newest unless `version` is given.

        Raises:
            HostError: no such package or version, with the nearest name or the versions there are.
        """
        return self.candidates((package,) if version is None else (f"{package}={version}",))[0]

    def candidates(self, packages: Sequence[str]) -> tuple[Candidate, ...]:
        """Return one candidate for each of `packages` (`name`, `name:arch` or `name=version`), in order.

        Raises:
            HostError: one of them does not exist.
        """
        with self._locked():
            argv = ["apt-cache", "show", "--no-all-versions", *packages]
            found = parse_records(self._apt(argv, QUERY_SECONDS, check=False).stdout)
            return tuple(self._match(wanted, found) for wanted in packages)

    def download(self, candidate: Candidate, into: Path) -> Path:
        """Download one package, verified by apt and against its digest, and return the .deb in `into`.

        Raises:
            GoneError: the archive does not have it any more.
            HostError: the archive cannot be reached, the disk is full, or the file is not what the index names.
        """
        target = into / candidate.file_name
        wanted = f"{candidate.package}:{candidate.architecture}={candidate.version}"
        with self._locked(), tempfile.TemporaryDirectory(dir=self.directory, prefix="download.") as scratch:
            try:
                self._apt(["apt-get", "download", wanted], DOWNLOAD_SECONDS, cwd=Path(scratch))
            except HostError as error:
                if not is_gone(error.what):
                    raise
                hint = f"if its lists are old: rm {self.directory / 'complete'} and run the same command again"
                raise GoneError(error.what, where=f"package {wanted}", hint=hint) from error
            got = Path(scratch) / candidate.file_name
            if not got.is_file():
                raise HostError(f"apt-get download {wanted} gave no {candidate.file_name}", where=str(self.directory))
            with got.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != candidate.sha256:
                    raise HostError(f"{candidate.file_name} is not the file the archive's index names")
            try:
                into.mkdir(parents=True, exist_ok=True)
                shutil.move(got, target)
            except OSError as error:
                raise disk_error(error, target) from error
        return target

    def with_fresh_lists(self, act: Callable[[], T]) -> T:
        """Do `act`, which looks candidates up and downloads them; once more if the lists turn out to be stale.

        Raises:
            HostError: as `ensure`, and what `act` raises.
        """
        self.ensure()
        try:
            return act()
        except GoneError as error:
            log.warning("%s; refreshing the package lists", error.what.splitlines()[0])
        self.ensure(refresh=True)
        return act()

    def _complete(self) -> bool:
        """Whether the lists are there, and the configuration is of this place: a cache may have been moved."""
        if not (self._config.is_file() and (self.directory / "complete").is_file()):
            return False
        return setting("Dir::State", str(self.directory)) in self._config.read_text(
            encoding="utf-8", errors="replace"
        )

    def _update(self) -> None:
        (self.directory / "complete").unlink(missing_ok=True)
        for name in ("lists/partial", "cache/archives/partial", "sources", "parts"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        targets = self._run(["apt-get", "indextargets", "Created-By: Packages"], QUERY_SECONDS, self._plain_env)
        entries = choose_entries(parse_targets(targets.stdout), self.suite, host_codename())
        write_atomically(self.directory / "sources" / "guprace.sources", sources_text(entries).encode())
        dump = self._run(["apt-config", "dump"], QUERY_SECONDS, self._plain_env)
        write_atomically(self.directory / "status", b"")
        write_atomically(self._config, config_text(self.directory, self.architectures, dump.stdout).encode())
        done = self._apt(["apt-get", "update", "-o", "APT::Update::Error-Mode=any"], UPDATE_SECONDS, check=False)
        if done.returncode != 0:
            raise update_error(done, self.suite)
        write_atomically(self.directory / "complete", b"")

    def _match(self, wanted: str, found: Sequence[Candidate]) -> Candidate:
        bare, _, version = wanted.partition("=")
        name, _, arch = bare.partition(":")
        for one in found:
            fits = one.package == name and (not version or one.version == version)
            if fits and (not arch or one.architecture in (arch, "all")):
                return one
        raise self._unknown(name, arch, version)

    def _unknown(self, name: str, arch: str, version: str) -> HostError:
        where = f"apt suite {self.suite or 'of this machine'}"
        qualified = f"{name}:{arch}" if arch else name
        versions = self._apt(["apt-cache", "madison", qualified], QUERY_SECONDS, check=False).stdout
        offered = sorted({line.split("|")[1].strip() for line in versions.splitlines() if line.count("|") >= 2})
        old = f"if its lists are old: rm {self.directory / 'complete'} and run the same command again"
        if version and offered:
            what = f"no version {version!r} of package {name!r}; there is {', '.join(offered)}"
            return NotOfferedError(what, where=where, hint=old)
        names = self._apt(["apt-cache", "pkgnames", name[:4]], QUERY_SECONDS, check=False).stdout.split()
        # Lists that hold nothing at all are no answer.
        known = names or self._apt(["apt-cache", "pkgnames"], QUERY_SECONDS, check=False).stdout.split()
        kind = NotOfferedError if known and name not in known else HostError
        hint = f"name another package or suite (`suite: sid`); {old}"
        return kind(f"no package {qualified!r}{nearest(name, sorted(names))}", where=where, hint=hint)

    def _apt(self, argv: Sequence[str], seconds: float, *, cwd: Path | None = None, check: bool = True) -> Completed:
        return self._run(argv, seconds, self._env, cwd=cwd, check=check)

    def _run(
        self, argv: Sequence[str], seconds: float, env: Mapping[str, str], cwd: Path | None = None, check: bool = True
    ) -> Completed:
        return run(argv, stop=self._stop, seconds=seconds, env=env, cwd=cwd, check=check)

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        what = f"the package lists in {self.directory.name}"
        return locked(self.directory / "lock", what, self._stop, self._waits, seconds=LOCK_SECONDS)
