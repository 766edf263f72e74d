# SPDX-License-Identifier: GPL-2.0-only
"""A private apt root: Debian packages of any suite and architecture, without installing anything on the host.

Own lists, cache and sources, so neither root nor the host's dpkg is involved.  Archive addresses and keyrings
are read from the machine's own apt configuration and never written down in the project.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostError, nearest
from orchestrator.proc import Completed, Deadline, Stop, run
from orchestrator.records import disk_error, write_atomically

UPDATE_SECONDS = 300.0
QUERY_SECONDS = 60.0
DOWNLOAD_SECONDS = 1200.0
# Two processes may want the same root; the other one is at most an update and a download away.
LOCK_SECONDS = UPDATE_SECONDS + DOWNLOAD_SECONDS


@dataclass(frozen=True, slots=True)
class Candidate:
    """A binary package that the archive offers; `sha256` hexadecimal, `size` in bytes, `filename` in the pool."""

    package: str
    version: str
    architecture: str
    sha256: str
    filename: str
    size: int

    @property
    def file_name(self) -> str:
        """The name that apt gives the downloaded file."""
        return f"{self.package}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One entry of the machine's apt sources: archive URI, suite, and the file that says so."""

    uri: str
    suite: str
    codename: str
    component: str
    origin: str
    file: Path


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
    ) -> None:
        # apt.conf holds this path: through somebody's symbolic link it would be gone with the link.
        self.directory = directory.resolve()
        self.suite = suite
        self.architectures = architectures
        self._stop = stop
        self._config = self.directory / "apt.conf"
        self._env = {**environ, "APT_CONFIG": str(self._config), "LC_ALL": "C.UTF-8"}
        self._plain_env = {**environ, "LC_ALL": "C.UTF-8"}

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
            HostError: the archive does not have it any more, or the disk is full.
        """
        target = into / candidate.file_name
        wanted = f"{candidate.package}:{candidate.architecture}={candidate.version}"
        with self._locked(), tempfile.TemporaryDirectory(dir=self.directory, prefix="download.") as scratch:
            self._apt(["apt-get", "download", wanted], DOWNLOAD_SECONDS, cwd=Path(scratch))
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

    def fetch(self, package: str, version: str | None, into: Path) -> tuple[Candidate, Path]:
        """Find and download in one go; lists that turn out to be stale are refreshed once.

        Raises:
            HostError: as `candidate` and `download`, also with fresh lists.
        """
        self.ensure()
        try:
            candidate = self.candidate(package, version)
            return candidate, self.download(candidate, into)
        except HostError:
            self.ensure(refresh=True)
        candidate = self.candidate(package, version)
        return candidate, self.download(candidate, into)

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
        if version and offered:
            return HostError(
                f"no version {version!r} of package {name!r}; there is {', '.join(offered)}", where=where
            )
        names = self._apt(["apt-cache", "pkgnames", name[:4]], QUERY_SECONDS, check=False).stdout.split()
        hint = "name another package or suite (`suite: sid`)"
        return HostError(f"no package {qualified!r}{nearest(name, sorted(names))}", where=where, hint=hint)

    def _apt(self, argv: Sequence[str], seconds: float, *, cwd: Path | None = None, check: bool = True) -> Completed:
        return self._run(argv, seconds, self._env, cwd=cwd, check=check)

    def _run(
        self, argv: Sequence[str], seconds: float, env: Mapping[str, str], cwd: Path | None = None, check: bool = True
    ) -> Completed:
        return run(argv, stop=self._stop, seconds=seconds, env=env, cwd=cwd, check=check)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            stream = (self.directory / "lock").open("ab")
        except OSError as error:
            raise disk_error(error, self.directory) from error
        with stream:
            deadline = Deadline.after(LOCK_SECONDS)
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if deadline.expired:
                        raise HostError(
                            f"another process holds it for {LOCK_SECONDS:.0f} s", where=str(self.directory / "lock")
                        ) from None
                    self._stop.wait(0.05)
            yield


def stanzas(text: str) -> Iterator[dict[str, str]]:
    """Yield the paragraphs of a deb822 text as field to value (continuation lines kept, with their newline)."""
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in block.splitlines():
            if line.startswith("#"):
                continue
            if line[:1] in (" ", "\t") and key:
                fields[key] += "\n" + line
            elif ":" in line:
                key, _, value = line.partition(":")
                fields[key] = value.strip()
        if fields:
            yield fields


def parse_records(text: str) -> tuple[Candidate, ...]:
    """Read the output of `apt-cache show`; records without a SHA256 or file name are no candidates."""
    return tuple(
        Candidate(
            package=one["Package"],
            version=one["Version"],
            architecture=one["Architecture"],
            sha256=one["SHA256"],
            filename=one["Filename"],
            size=int(one.get("Size", "0")),
        )
        for one in stanzas(text)
        if {"Package", "Version", "Architecture", "SHA256", "Filename"} <= one.keys()
    )


def parse_targets(text: str) -> tuple[ArchiveEntry, ...]:
    """Read the output of `apt-get indextargets`, one entry for each package index of a suite."""
    return tuple(
        ArchiveEntry(
            uri=one.get("Repo-URI", "").rstrip("/"),
            suite=one.get("Release", ""),
            codename=one.get("Codename", ""),
            component=one.get("Component", ""),
            origin=one.get("Origin", ""),
            file=Path(one.get("Sourcesentry", "").rpartition(":")[0]),
        )
        for one in stanzas(text)
        if one.get("Repo-URI") and one.get("Component")
    )


def choose_entries(entries: Sequence[ArchiveEntry], suite: str | None, codename: str) -> tuple[ArchiveEntry, ...]:
    """Choose the Debian archive among the machine's entries; a foreign suite comes from the same archive.

    A machine that never ran `apt-get update` does not know origins; then the suite's name has to do.

    Raises:
        HostError: no entry is Debian's.
    """
    debian = [one for one in entries if one.origin == "Debian"]
    debian = debian or [one for one in entries if not one.origin and one.suite.split("-")[0] == codename]
    if not debian:
        raise HostError(
            "no Debian archive among this machine's apt sources (see `apt-get indextargets`)",
            hint="add one below /etc/apt/sources.list.d; or use a `tarball:`, `git:` or `tree:` source",
        )
    if suite is None:
        return tuple(debian)
    main = [one for one in debian if codename in (one.suite, one.codename) and "-" not in one.suite] or debian
    first = main[0]
    return (ArchiveEntry(first.uri, suite, suite, "main", first.origin, first.file),)


def sources_text(entries: Sequence[ArchiveEntry]) -> str:
    """Return the private root's deb822 sources, with each archive's Signed-By as the machine has it."""
    seen: dict[tuple[str, str], list[str]] = {}
    files: dict[tuple[str, str], Path] = {}
    for one in entries:
        components = seen.setdefault((one.uri, one.suite), [])
        if one.component not in components:
            components.append(one.component)
        files[one.uri, one.suite] = one.file
    blocks = []
    for (uri, suite), components in seen.items():
        signed = signed_by(files[uri, suite], uri)
        lines = ["Types: deb", f"URIs: {uri}", f"Suites: {suite}", f"Components: {' '.join(components)}"]
        blocks.append("\n".join([*lines, *([f"Signed-By: {signed}"] if signed else [])]) + "\n")
    return "\n".join(blocks)


def signed_by(file: Path, uri: str) -> str:
    """Return the Signed-By value (a keyring path, or an inline key) that `file` gives for `uri`; may be empty."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    if file.suffix == ".sources":
        for one in stanzas(text):
            if uri in [word.rstrip("/") for word in one.get("URIs", "").split()]:
                return one.get("Signed-By", "")
        return ""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+\[(?P<options>[^]]*)\]\s+(?P<uri>\S+)", line)
        if match and match["uri"].rstrip("/") == uri:
            option = re.search(r"signed-by=(\S+)", match["options"], re.IGNORECASE)
            return option[1].replace(",", " ") if option else ""
    return ""


def setting(key: str, value: str) -> str:
    """Return one line of apt.conf."""
    return f'{key} "{value}";'


def config_text(directory: Path, architectures: Sequence[str], dump: str) -> str:
    """Return the private apt.conf: the machine's `Acquire` settings (proxies), everything else our own.

    The machine's configuration parts stay out, since their hooks (APT::Update::Post-Invoke) act on the host.
    """
    kept = [line for line in dump.splitlines() if line.startswith("Acquire::") and "::IndexTargets" not in line]
    ours = {
        "Dir::State": f"{directory}",
        "Dir::State::lists": f"{directory}/lists",
        "Dir::State::status": f"{directory}/status",
        "Dir::Cache": f"{directory}/cache",
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": f"{directory}/sources",
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": f"{directory}/parts",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": f"{directory}/parts",
        "Dir::Log": f"{directory}",
        "Acquire::Languages": "none",
        # The sandbox user could not write below a private directory; apt verifies signatures all the same.
        "APT::Sandbox::User": "root",
        "APT::Architecture": architectures[0],
    }
    lines = [*kept, *(setting(key, value) for key, value in ours.items())]
    lines.append("#clear APT::Architectures;")
    lines.append("APT::Architectures {" + "".join(f' "{one}";' for one in architectures) + " };")
    return "\n".join(lines) + "\n"


def update_error(done: Completed, suite: str | None) -> HostError:
    """Say in the user's words why `apt-get update` failed: signature, unknown suite, or network."""
    said = "\n".join(line for line in done.stderr.splitlines() if line.startswith(("E:", "W:")))[-2000:]
    where = f"apt suite {suite or 'of this machine'}"
    if "NO_PUBKEY" in said or "not signed" in said or "EXPKEYSIG" in said:
        return HostError(
            f"the archive's signature cannot be verified\n{said}",
            where=where,
            hint="install a newer package debian-archive-keyring",
        )
    if "does not have a Release file" in said or "404" in said:
        hint = "is the suite spelled right? Debian's are bullseye, bookworm, trixie, forky, sid"
        return HostError(f"the archive has no such suite\n{said}", where=where, hint=hint)
    return HostError(f"apt-get update failed\n{said}", where=where, hint="check the network, then try again")


def host_codename(os_release: Path = Path("/etc/os-release")) -> str:
    """Return the host's VERSION_CODENAME, or an empty string."""
    with contextlib.suppress(OSError):
        for line in os_release.read_text(encoding="utf-8").splitlines():
            if line.startswith("VERSION_CODENAME="):
                return line.partition("=")[2].strip().strip('"')
    return ""
