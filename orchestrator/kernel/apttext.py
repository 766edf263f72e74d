# SPDX-License-Identifier: GPL-2.0-only
"""apt's texts: what the machine's own apt says of archives and packages, and what a private root is told."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import HostError
from orchestrator.proc import Completed

# The archive has no such file, another one in its place, or apt's own lists have no such version any more.
_GONE = re.compile(
    r"\b404 +Not Found|\b410 +Gone|File not found|Hash Sum mismatch|File has unexpected size"
    r"|^E: Version '.*' for '.*' was not found|^E: Can't find a source to download|^E: Unable to locate package",
    re.MULTILINE,
)


class NotOfferedError(HostError):
    """The archive, which has answered, has no such suite, package or version: somebody named it wrong."""


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
    if "does not have a Release file" in said:
        answered = re.search(r"\b404 +Not Found", done.stdout + done.stderr)
        hint = "is the suite spelled right? Debian's are bullseye, bookworm, trixie, forky, sid"
        # Without an answer it may be the network's; and the machine's own suites nobody has named.
        kind = NotOfferedError if suite and answered else HostError
        return kind(f"the archive has no such suite\n{said}", where=where, hint=hint)
    return HostError(f"apt-get update failed\n{said}", where=where, hint="check the network, then try again")


def is_gone(said: str) -> bool:
    """Whether `apt-get download` failed (its words, in an English locale) since our lists name what is no more.

    A network, a proxy or a disk that fails says nothing of the lists, and newer ones would not help.
    """
    return bool(_GONE.search(said))


def host_codename(os_release: Path = Path("/etc/os-release")) -> str:
    """Return the host's VERSION_CODENAME, or an empty string."""
    with contextlib.suppress(OSError):
        for line in os_release.read_text(encoding="utf-8").splitlines():
            if line.startswith("VERSION_CODENAME="):
                return line.partition("=")[2].strip().strip('"')
    return ""
