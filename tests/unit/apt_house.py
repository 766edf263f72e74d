# SPDX-License-Identifier: GPL-2.0-only
"""A fake apt on PATH: an archive of real little .deb files, made by the real dpkg-deb."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

FAKE_APT = """\
import os, pathlib, shutil, sys
house = pathlib.Path({house!r})
program, args = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with (house / "calls").open("a") as log:
    log.write(" ".join([program, *args]) + "\\n")
conf = pathlib.Path(os.environ.get("APT_CONFIG", "/nonexistent"))
records = (house / "records").read_text()
stanzas = [s for s in records.split("\\n\\n") if s.strip()]
def field(stanza, name):
    return next(l.partition(": ")[2] for l in stanza.splitlines() if l.startswith(name + ": "))
def matches(wanted):
    bare, _, version = wanted.partition("=")
    name, _, arch = bare.partition(":")
    return [s for s in stanzas if field(s, "Package") == name and (not version or field(s, "Version") == version)
            and (not arch or field(s, "Architecture") in (arch, "all"))]
if program == "apt-config":
    print('Acquire::http::Proxy "proxy-of-the-host";\\nAPT::Update::Post-Invoke:: "rm -rf /";')
elif args[0] == "indextargets":
    sys.stdout.write((house / "targets").read_text())
elif args[0] == "update":
    if (house / "update-fails").exists():
        sys.exit((house / "update-fails").read_text())
    lists = conf.parent / "lists"
    (lists / "archive_dists_suite_InRelease").write_text((house / "release").read_text())
elif args[0] == "show":
    found = [s for wanted in args[1:] if not wanted.startswith("-") for s in matches(wanted)]
    print("\\n\\n".join(found))
    sys.exit(0 if found else "E: No packages found")
elif args[0] == "pkgnames":
    prefix = "".join(args[1:2])
    print("\\n".join(sorted({{field(s, "Package") for s in stanzas if field(s, "Package").startswith(prefix)}})))
elif args[0] == "madison":
    for s in matches(args[1]):
        print(f"{{field(s, 'Package')}} | {{field(s, 'Version')}} | archive")
elif args[0] == "download":
    if (house / "gone").exists():
        (house / "gone").unlink()
        sys.exit("E: Failed to fetch: 404  Not Found")
    if (house / "download-fails").exists():
        sys.exit((house / "download-fails").read_text())
    found = matches(args[1])
    if not found:
        name, _, version = args[1].partition("=")
        sys.exit(f"E: Version '{{version}}' for '{{name}}' was not found")
    shutil.copy(field(found[0], "Filename"), ".")
"""

TARGETS = """\
Repo-URI: scheme://archive/debian/
Release: {suite}
Codename: {suite}
Component: main
Origin: Debian
Sourcesentry: {sources}:1

Repo-URI: scheme://archive/other/
Release: nodistro
Component: main
Origin: Somebody
Sourcesentry: {sources}:7
"""


class AptHouse:
    """The archive; `environ` has the fake in front of PATH."""

    def __init__(self, root: Path, suite: str) -> None:
        self.root = root
        self.debs = root / "debs"
        self.debs.mkdir(parents=True)
        self.sources = root / "debian.sources"
        self.sources.write_text(
            "Types: deb\nURIs: scheme://archive/debian\nSuites: x\nComponents: main\nSigned-By: /the/keyring.gpg\n"
        )
        (root / "targets").write_text(TARGETS.format(suite=suite, sources=self.sources))
        (root / "records").write_text("")
        (root / "release").write_text("release 1\n")
        bin_ = root / "bin"
        bin_.mkdir()
        for name in ("apt-get", "apt-cache", "apt-config"):
            program = bin_ / name
            program.write_text(f"#!{sys.executable} -S\n" + FAKE_APT.format(house=str(root)))
            program.chmod(0o755)
        self.environ = {**os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}

    def add(self, package: str, version: str, arch: str, files: dict[str, str]) -> Path:
        """Put a package into the archive; a target that begins with `->` is a symbolic link."""
        tree = self.root / "trees" / f"{package}-{version}-{arch}"
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            if text.startswith("->"):
                (tree / path).symlink_to(text[2:])
            else:
                (tree / path).write_text(text)
                (tree / path).chmod(0o755)
        control = (
            f"Package: {package}\nVersion: {version}\nArchitecture: {arch}\nMaintainer: x <x@x>\nDescription: x\n"
        )
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN" / "control").write_text(control)
        deb = self.debs / f"{package}_{version.replace(':', '%3a')}_{arch}.deb"
        argv = ["dpkg-deb", "--build", "--root-owner-group", "-Znone", str(tree), str(deb)]
        subprocess.run(argv, check=True, capture_output=True)
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        with (self.root / "records").open("a") as records:
            records.write(
                f"Package: {package}\nVersion: {version}\nArchitecture: {arch}\nFilename: {deb}\n"
                f"Size: {deb.stat().st_size}\nSHA256: {digest}\n\n"
            )
        return deb

    def newer(self) -> None:
        """Let the next update bring other lists."""
        (self.root / "release").write_text((self.root / "release").read_text() + "newer\n")

    def calls(self, what: str) -> int:
        """How many command lines that contain `what` there were."""
        path = self.root / "calls"
        return sum(what in line for line in path.read_text().splitlines()) if path.exists() else 0
