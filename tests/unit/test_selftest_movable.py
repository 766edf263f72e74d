# SPDX-License-Identifier: GPL-2.0-only
"""admission's look at movable zones, on a fake probe module: it says something only where pages come from one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.test_selftest_lib import KSELFTESTS, make

FAKE = Path(__file__).parents[1] / "fakes" / "probe_device.c"
WRAPPED = "LDFLAGS += -Wl,--wrap=open,--wrap=ioctl,--wrap=fopen,--wrap=pagemap_read\n"
NORMAL = "Node 0, zone   Normal\n        spanned  1000\n  start_pfn:           0\n"
MOVABLE = "Node 0, zone  Movable\n        spanned  1000\n  start_pfn:           1000\n"
EMPTY = "Node 0, zone  Movable\n        spanned  0\n  start_pfn:           0\n"
INSIDE, OUTSIDE = "1500", "500"

Admission = Callable[[str, str, str], str]


@pytest.fixture(scope="module")
def admission(tmp_path_factory: pytest.TempPathFactory) -> Admission:
    """Return what tells probe.small's output, by a machine's zones, where its pages are and where its pins."""
    if shutil.which("gcc") is None or shutil.which("make") is None:
        pytest.skip("needs gcc and make on the host")
    root = tmp_path_factory.mktemp("movable")
    shutil.copytree(KSELFTESTS, root / "tree", ignore=shutil.ignore_patterns("build"))
    shutil.copy(FAKE, root / "tree" / "lib")
    with (root / "tree" / "Makefile").open("a") as makefile:
        makefile.write(WRAPPED)
    make(root / "out", f"{root}/out/admission", tree=root / "tree")

    def tell(zones: str, place: str, pin: str) -> str:
        environ = {**os.environ, "FAKE_ZONEINFO": zones, "FAKE_PLACE": place, "FAKE_PIN": pin}
        command = [str(root / "out" / "admission"), "--seconds", "0.1", "--only", "probe.small"]
        said = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environ).stdout
        if "needs two CPUs" in said:
            pytest.skip("this host has one CPU")
        assert "# counter probe.small.tables " in said, said
        return said

    return tell


def test_pages_that_leave_the_movable_zone_are_the_evidence(admission: Admission) -> None:
    said = admission(NORMAL + MOVABLE, INSIDE, OUTSIDE)
    assert "# floor probe.small.moved 1\n" in said
    assert "# counter probe.small.moved " in said
    assert "vacuous: probe.small.moved" not in said
    assert "# hit probe.small movable" not in said


def test_a_pin_that_stays_in_the_movable_zone_is_a_hit(admission: Admission) -> None:
    assert "# hit probe.small movable " in admission(NORMAL + MOVABLE, INSIDE, INSIDE)


def test_where_no_page_was_in_the_movable_zone_nothing_is_proven(admission: Admission) -> None:
    said = admission(NORMAL + MOVABLE, OUTSIDE, OUTSIDE)
    assert "# vacuous: probe.small.moved is 0, not 1 or more" in said


@pytest.mark.parametrize("zones", [NORMAL, NORMAL + EMPTY])
def test_without_a_movable_zone_it_is_said_that_nothing_is_asked(admission: Admission, zones: str) -> None:
    said = admission(zones, OUTSIDE, OUTSIDE)
    assert "# probe.small: no movable zone: whether long-term pins leave one is not asked\n" in said
    assert "probe.small.moved" not in said
