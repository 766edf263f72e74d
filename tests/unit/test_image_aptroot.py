# SPDX-License-Identifier: GPL-2.0-only
"""The private apt root: whose archive it uses, what it says of packages, and that the host is left alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from orchestrator.errors import HostError, UsageError
from orchestrator.kernel.aptroot import AptRoot, GoneError
from orchestrator.kernel.apttext import (
    ArchiveEntry,
    choose_entries,
    config_text,
    host_codename,
    parse_targets,
    signed_by,
    sources_text,
)
from orchestrator.kernel.source import ArchiveTree, Workplace, resolve
from orchestrator.matrix.plan import DebSource
from orchestrator.proc import Stop
from tests.unit.apt_house import AptHouse

SUITE = "bookworm"


@pytest.fixture
def house(tmp_path: Path) -> AptHouse:
    house = AptHouse(tmp_path / "house", SUITE)
    house.add("linux-source-6.1", "6.1.192-2", "all", {"usr/src/x": "x"})
    house.add("busybox-static", "1:1.35", "arm64", {"bin/busybox": "x"})
    return house


def root(house: AptHouse, tmp_path: Path, suite: str | None = None) -> AptRoot:
    return AptRoot(tmp_path / "apt", suite, ("amd64", "arm64"), Stop(), house.environ)


def entry(uri: str, suite: str, origin: str = "Debian", file: Path = Path("/x")) -> ArchiveEntry:
    return ArchiveEntry(uri, suite, suite, "main", origin, file)


def test_lists_are_fetched_once_and_again_only_when_asked_for(house: AptHouse, tmp_path: Path) -> None:
    apt = root(house, tmp_path)
    apt.ensure()
    apt.ensure()
    assert house.calls("apt-get update") == 1
    before = apt.identity()
    house.newer()
    apt.ensure(refresh=True)
    assert house.calls("apt-get update") == 2
    assert apt.identity() != before


def test_a_root_that_was_moved_is_made_anew(house: AptHouse, tmp_path: Path) -> None:
    root(house, tmp_path).ensure()
    (tmp_path / "apt").rename(tmp_path / "elsewhere")
    moved = AptRoot(tmp_path / "elsewhere", None, ("amd64", "arm64"), Stop(), house.environ)
    moved.ensure()
    assert str(tmp_path / "apt") not in (tmp_path / "elsewhere/apt.conf").read_text()


def test_a_root_behind_a_link_is_configured_by_its_own_path(house: AptHouse, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "apt").symlink_to(tmp_path / "real")
    root(house, tmp_path).ensure()
    (tmp_path / "apt").unlink()
    again = AptRoot(tmp_path / "real", None, ("amd64", "arm64"), Stop(), house.environ)
    assert again.candidate("busybox-static:arm64").version == "1:1.35"


def test_a_package_is_found_with_digest_and_downloaded_whole(house: AptHouse, tmp_path: Path) -> None:
    apt = root(house, tmp_path)
    apt.ensure()
    candidate = apt.candidate("busybox-static:arm64")
    deb = apt.download(candidate, tmp_path / "into")
    assert (candidate.version, candidate.architecture) == ("1:1.35", "arm64")
    assert deb == tmp_path / "into" / "busybox-static_1%3a1.35_arm64.deb"
    assert [path.name for path in (tmp_path / "into").iterdir()] == [deb.name]


def test_an_unknown_package_is_named_with_the_nearest_one(house: AptHouse, tmp_path: Path) -> None:
    apt = root(house, tmp_path)
    apt.ensure()
    with pytest.raises(HostError, match=r"no package 'linux-source-6.2'; did you mean 'linux-source-6.1'\?"):
        apt.candidate("linux-source-6.2")


def test_an_unknown_version_is_told_with_those_there_are(house: AptHouse, tmp_path: Path) -> None:
    apt = root(house, tmp_path)
    apt.ensure()
    with pytest.raises(HostError, match=r"no version '6\.1\.1' of package .*; there is 6\.1\.192-2"):
        apt.candidate("linux-source-6.1", "6.1.1")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (DebSource("linux-source-6.2"), "no package 'linux-source-6.2'; did you mean 'linux-source-6.1'?"),
        (DebSource("zinux"), "no package 'zinux'"),
        (DebSource("linux-source-6.1", "6.1.1"), "no version '6.1.1' of package"),
        (DebSource("linux-source-6.1", None, "trixy"), "no such suite"),
    ],
)
def test_what_an_archive_that_answers_does_not_have_is_the_users_to_name(
    house: AptHouse, tmp_path: Path, source: DebSource, said: str
) -> None:
    if source.suite:
        missing = "E: The repository 'x trixy Release' does not have a Release file.\n404  Not Found"
        (house.root / "update-fails").write_text(missing)
    with pytest.raises(UsageError, match=re.escape(said)):
        resolve(source, Workplace(tmp_path / "cache", house.environ, Stop()))


def test_lists_that_hold_nothing_are_the_hosts_fault(house: AptHouse, tmp_path: Path) -> None:
    (house.root / "records").write_text("")
    with pytest.raises(HostError, match=r"no package 'linux-source-6\.1'"):
        resolve(DebSource("linux-source-6.1"), Workplace(tmp_path / "cache", house.environ, Stop()))


def test_a_file_that_is_gone_says_how_to_get_newer_lists(house: AptHouse, tmp_path: Path) -> None:
    (house.root / "gone").touch()
    apt = root(house, tmp_path)
    apt.ensure()
    with pytest.raises(GoneError, match=r"(?s)package linux-source-6.1:.*404  Not Found.*rm .*/apt/complete"):
        apt.download(apt.candidate("linux-source-6.1"), tmp_path / "into")


@pytest.mark.parametrize(
    "said",
    [
        "E: Failed to fetch scheme://archive/x.deb  Could not connect to archive:80 (192.0.2.1). - connect (111)",
        "E: Failed to fetch scheme://archive/x.deb  Error writing to file - write (28: No space left on device)",
    ],
)
def test_newer_lists_are_not_fetched_for_what_they_do_not_mend(house: AptHouse, tmp_path: Path, said: str) -> None:
    (house.root / "download-fails").write_text(said)
    apt = root(house, tmp_path)
    with pytest.raises(HostError, match=re.escape(said)) as caught:
        apt.with_fresh_lists(lambda: apt.download(apt.candidate("linux-source-6.1"), tmp_path / "into"))
    assert not isinstance(caught.value, GoneError)
    assert house.calls("apt-get update") == 1


def test_a_source_that_is_gone_is_told_with_the_version_there_is(house: AptHouse, tmp_path: Path) -> None:
    apt = root(house, tmp_path)
    apt.ensure()
    found = apt.candidate("linux-source-6.1")
    (house.root / "records").write_text("")
    house.add("linux-source-6.1", "6.1.200-1", "all", {"usr/src/x": "x"})
    tree = ArchiveTree(found.sha256, "linux-source-6.1", deb=found, apt=apt)
    with pytest.raises(HostError, match=r"6\.1\.192-2 is gone from the archive, which has 6\.1\.200-1 now"):
        tree.pristine(Workplace(tmp_path / "cache", os.environ, Stop()))
    assert house.calls("apt-get update") == 2


def test_a_source_that_cannot_be_kept_says_so_and_leaves_the_lists_alone(house: AptHouse, tmp_path: Path) -> None:
    (house.root / "download-fails").write_text("E: write (28: No space left on device)")
    apt = root(house, tmp_path)
    apt.ensure()
    found = apt.candidate("linux-source-6.1")
    tree = ArchiveTree(found.sha256, "linux-source-6.1", deb=found, apt=apt)
    with pytest.raises(HostError, match="No space left on device"):
        tree.pristine(Workplace(tmp_path / "cache", os.environ, Stop()))
    assert house.calls("apt-get update") == 1


def test_a_file_that_is_not_what_the_index_says_is_refused(house: AptHouse, tmp_path: Path) -> None:
    apt = root(house, tmp_path)
    apt.ensure()
    candidate = apt.candidate("linux-source-6.1")
    Path(candidate.filename).write_bytes(b"other")
    with pytest.raises(HostError, match="is not the file the archive's index names"):
        apt.download(candidate, tmp_path / "into")
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(
    ("said", "what", "hint"),
    [
        ("W: GPG error: NO_PUBKEY 0123", "signature cannot be verified", "debian-archive-keyring"),
        ("E: The repository 'x nosuch Release' does not have a Release file.", "no such suite", "spelled right"),
        ("E: Temporary failure resolving", "apt-get update failed", "network"),
    ],
)
def test_a_failed_update_is_told_in_the_users_words(
    said: str, what: str, hint: str, house: AptHouse, tmp_path: Path
) -> None:
    (house.root / "update-fails").write_text(said)
    apt = root(house, tmp_path, "nosuch")
    with pytest.raises(HostError, match=what) as caught:
        apt.ensure()
    assert hint in str(caught.value)
    (house.root / "update-fails").unlink()
    apt.ensure()


def test_the_hosts_suites_are_all_taken_and_other_peoples_archives_are_not() -> None:
    entries = (entry("u:/debian", "bookworm"), entry("u:/security", "bookworm-security"), entry("u:/x", "y", "Z"))
    assert choose_entries(entries, None, SUITE) == entries[:2]


def test_a_foreign_suite_comes_from_the_main_archive_not_from_security() -> None:
    entries = (entry("u:/security", "bookworm-security"), entry("u:/debian", "bookworm"))
    (chosen,) = choose_entries(entries, "sid", SUITE)
    assert (chosen.uri, chosen.suite) == ("u:/debian", "sid")


def test_a_machine_that_never_updated_knows_its_archive_by_the_suites_name() -> None:
    entries = (entry("u:/x", "nodistro", ""), entry("u:/debian", "bookworm", ""))
    assert choose_entries(entries, None, SUITE) == entries[1:]


def test_a_machine_without_debian_gets_an_error_that_says_what_to_do() -> None:
    with pytest.raises(HostError, match="no Debian archive") as caught:
        choose_entries((entry("u:/x", "nodistro", "Somebody"),), None, SUITE)
    assert "sources.list" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "want"),
    [
        ("a.sources", "Types: deb\nURIs: u:/debian/\nSigned-By: /k.gpg\n", "/k.gpg"),
        ("a.sources", "URIs: u:/other\nSigned-By: /o.gpg\n\nURIs: u:/debian\nSigned-By: /k.gpg\n", "/k.gpg"),
        ("a.sources", "URIs: u:/debian\nSigned-By:\n -----BEGIN\n .\n abc\n", "\n -----BEGIN\n .\n abc"),
        ("a.list", "# x\ndeb [arch=amd64 signed-by=/k.gpg] u:/debian bookworm main\n", "/k.gpg"),
        ("a.list", "deb u:/debian bookworm main\n", ""),
    ],
)
def test_the_keyring_is_the_one_the_machine_uses(name: str, text: str, want: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert signed_by(tmp_path / name, "u:/debian") == want


def test_components_of_one_suite_share_one_entry(tmp_path: Path) -> None:
    two = (ArchiveEntry("u:/d", "s", "s", "main", "Debian", tmp_path / "x"),
           ArchiveEntry("u:/d", "s", "s", "contrib", "Debian", tmp_path / "x"))  # fmt: skip
    assert sources_text(two) == "Types: deb\nURIs: u:/d\nSuites: s\nComponents: main contrib\n"


def test_the_hosts_proxies_are_kept_and_its_hooks_are_not(tmp_path: Path) -> None:
    text = config_text(tmp_path, ("arm64",), 'Acquire::http::Proxy "p";\nAPT::Update::Post-Invoke:: "rm -rf /";')
    assert 'Acquire::http::Proxy "p";' in text
    assert "Post-Invoke" not in text
    assert f'Dir::State::status "{tmp_path}/status";' in text


def test_index_targets_without_an_address_are_left_out() -> None:
    text = "Repo-URI: u:/d/\nRelease: s\nComponent: main\nSourcesentry: /f:3\n\nRelease: s\nComponent: main\n"
    assert [(one.uri, one.file) for one in parse_targets(text)] == [("u:/d", Path("/f"))]


def test_the_hosts_codename_is_read_from_os_release(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    assert host_codename(tmp_path / "os-release") == "bookworm"
    assert host_codename(tmp_path / "missing") == ""
