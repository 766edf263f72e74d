# SPDX-License-Identifier: GPL-2.0-only
"""Nothing tracked says which machine it was written on: no mirror host, no directory above the checkout."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from orchestrator.paths import Project

ROOT = Project().root
APT = (Path("/etc/apt/sources.list"), *Path("/etc/apt").rglob("*.list"), *Path("/etc/apt").rglob("*.sources"))
PROXIES = tuple(Path("/etc/apt").rglob("*.conf")) + tuple(Path("/etc/apt/apt.conf.d").glob("*"))
PIP = (Path("/etc/pip.conf"), Path("~/.config/pip/pip.conf").expanduser(), Path("~/.pip/pip.conf").expanduser())
HOST = re.compile(r"\b(?:https?|ftp|mirror\+http)://(?:[^/@\s]*@)?([\w.-]+)")
# Shorter than this, a directory such as /src is a word that any file may say.
LEAST_PATH = 5
# Every machine has these: whoever clones there has named nothing of his own (hier(7)).
EVERYWHERE = frozenset({"/usr/src", "/usr/local", "/usr/local/src", "/var/tmp"})


def hosts_in(text: str) -> set[str]:
    """Return the hosts of the addresses in a configuration file, but for those in its comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", "//", ";"))]
    return {host.lower() for host in HOST.findall("\n".join(lines))}


def configured_hosts() -> set[str]:
    """Return the hosts that this machine's apt and pip take packages from."""
    found: set[str] = set()
    for path in {*APT, *PROXIES, *PIP}:
        if path.is_file():
            found |= hosts_in(path.read_text(errors="replace"))
    return found - {"localhost", "127.0.0.1"}


def private_pattern(checkout: Path, hosts: set[str]) -> re.Pattern[str]:
    """Return what matches a host or the directory above the checkout, and nothing when there is neither."""
    parent = str(checkout.resolve().parent)
    words = [re.escape(host) for host in sorted(hosts)]
    if len(parent) >= LEAST_PATH and parent not in EVERYWHERE:
        words.append(rf"(?<![\w./-]){re.escape(parent)}(?![\w-])")
    return re.compile("|".join(words) or r"(?!)", re.IGNORECASE)


def tracked() -> list[Path]:
    """Return the files that git tracks, as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: nothing says which files are tracked")
    names = listed.stdout.decode().split("\0")
    return [path for name in names if name and (path := ROOT / name).is_file() and not path.is_symlink()]


def test_no_tracked_file_names_this_machine() -> None:
    private = private_pattern(ROOT, configured_hosts())
    found = []
    for path in tracked():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if private.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_a_checkout_in_a_directory_that_every_machine_has_forbids_no_word() -> None:
    assert not private_pattern(Path("/var/tmp/guprace"), set()).search('for base in ("/tmp", "/var/tmp"):')
    assert private_pattern(Path("/var/tmp/mine/guprace"), set()).search("cd /var/tmp/mine")


def test_hosts_are_read_from_both_formats_of_apt_and_from_pip() -> None:
    text = """\
# http://forge.example.org/about-this-file
deb [signed-by=/x] http://mirror.example.org/debian bookworm main
URIs: https://user:secret@apt.example.net:8443/debian
extra-index-url = https://pypi.example.com/simple
"""
    assert hosts_in(text) == {"mirror.example.org", "apt.example.net", "pypi.example.com"}


@pytest.mark.parametrize(
    ("line", "private"),
    [
        ("apt from mirror.example.org please", True),
        ("cd /home/somebody/src/guprace", True),
        ("path=/home/somebody/src", True),
        ("/home/somebody/srcs/x", False),
        ("see tests/home/somebody/src", False),
        ("nothing of the kind", False),
    ],
)
def test_a_private_name_is_seen(line: str, private: bool) -> None:
    pattern = private_pattern(Path("/home/somebody/src/guprace"), {"mirror.example.org"})
    assert bool(pattern.search(line)) is private
