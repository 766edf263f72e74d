# SPDX-License-Identifier: GPL-2.0-only
"""The choice of the accelerator: what rules KVM out, what the timing says, and that it is made once."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from orchestrator.errors import HostError
from orchestrator.guest import accel
from orchestrator.guest.accel import Timing, choose, decide, kvm_obstacle
from orchestrator.guest.machines import ARM64, X86_64, Machine
from orchestrator.guest.model import AccelChoice
from orchestrator.matrix.plan import Accel, Arch
from orchestrator.proc import Stop
from tests.unit.guest_house import fake_spec

NATIVE = Arch.ARM64 if platform.machine() == "aarch64" else Arch.X86_64
FOREIGN = Arch.X86_64 if NATIVE is Arch.ARM64 else Arch.ARM64


@pytest.fixture
def kvm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a /dev/kvm that can be opened."""
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accel, "KVM", device)
    monkeypatch.setattr(accel, "kvm_obstacle", lambda machine, host: kvm_obstacle(machine, host, device))
    return device


def pick(tmp_path: Path, wanted: Accel, arch: Arch = NATIVE) -> AccelChoice:
    spec = fake_spec(tmp_path / "room", arch)
    return choose(
        wanted, arch, spec.kernel, spec.initramfs, cache=tmp_path / "cache", stop=Stop(), environ=dict(os.environ)
    )


@pytest.mark.parametrize(
    ("kvm_seconds", "taken", "why"),
    [
        (0.4, Accel.KVM, "KVM booted in 0.4 s, TCG booted in 1.9 s"),
        (2.5, Accel.TCG, "TCG booted in 1.9 s, KVM booted in 2.5 s"),
        (None, Accel.TCG, "KVM is of no use (not booted after 3.0 s), TCG booted in 1.9 s"),
    ],
)
def test_the_faster_one_is_taken_and_the_reason_says_both(kvm_seconds: float | None, taken: Accel, why: str) -> None:
    problem = "" if kvm_seconds else "not booted after 3.0 s"
    choice = decide(Timing("host", "qemu", 1.9, kvm_seconds, problem), slowness=1.5)
    assert (choice.accel, choice.why) == (taken, why)
    assert choice.slowness == (1.0 if taken is Accel.KVM else 1.5)


def test_a_foreign_guest_a_missing_and_a_closed_device_rule_kvm_out(tmp_path: Path) -> None:
    assert kvm_obstacle(ARM64, "x86_64") == "arm64 guest on an x86_64 host"
    assert kvm_obstacle(X86_64, "x86_64", tmp_path / "kvm") == f"no {tmp_path}/kvm on this host"
    (tmp_path / "kvm").touch()
    assert kvm_obstacle(X86_64, "x86_64", tmp_path / "kvm") == ""


def test_auto_times_both_once_and_remembers(
    kvm: Path,
    tmp_path: Path,
    fake_qemu: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = pick(tmp_path, Accel.AUTO)
    assert "KVM booted in" in first.why
    assert "TCG booted in" in first.why
    monkeypatch.setattr(accel, "_time", lambda *_: pytest.fail("timed again"))
    assert pick(tmp_path, Accel.AUTO).why == first.why


def test_an_unreadable_record_is_measured_again(
    kvm: Path,
    tmp_path: Path,
    fake_qemu: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    pick(tmp_path, Accel.AUTO)
    (record,) = (tmp_path / "cache" / "accel").iterdir()
    record.write_text("{")
    assert "booted in" in pick(tmp_path, Accel.AUTO).why
    assert f"{record}: not a whole record: " in caplog.text


@pytest.mark.parametrize(
    ("script", "kept"),
    [
        ("kill -KILL $$", False),
        ("echo 'qemu-system-x: terminating on signal 15 from pid 7 (oomd)' >&2; exit 0", False),
        ("echo 'error: failed to set MSR 0x10a' >&2; kill -ABRT $$", True),
    ],
)
def test_what_somebody_ended_is_no_measurement_and_what_qemu_ended_itself_is(
    tmp_path: Path, kvm: Path, fake_qemu: Path, monkeypatch: pytest.MonkeyPatch, script: str, kept: bool
) -> None:
    real = accel.probe_argv

    def argv(machine: Machine, wanted: Accel, *rest: Path) -> list[str]:
        return real(machine, wanted, *rest) if wanted is Accel.TCG else ["sh", "-c", script]

    monkeypatch.setattr(accel, "probe_argv", argv)
    assert pick(tmp_path, Accel.AUTO).accel is Accel.TCG
    assert bool(list((tmp_path / "cache").glob("accel/*.json"))) is kept


def test_kvm_that_opens_and_never_boots_loses(
    kvm: Path,
    tmp_path: Path,
    fake_qemu: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKEQEMU", "kvm-fails")
    monkeypatch.setattr(accel, "KVM_LEAST_SECONDS", 0.5)
    choice = pick(tmp_path, Accel.AUTO)
    assert choice.accel is Accel.TCG
    assert "KVM is of no use (not booted after" in choice.why


def test_a_kernel_that_boots_under_neither_is_no_measurement(
    kvm: Path,
    tmp_path: Path,
    fake_qemu: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FAKEQEMU", "no-start")
    choice = pick(tmp_path, Accel.AUTO)
    assert choice.accel is Accel.TCG
    assert "did not boot" in choice.why
    assert not (tmp_path / "cache" / "accel").exists()


def test_what_is_asked_for_is_taken_or_refused(tmp_path: Path, fake_qemu: Path) -> None:
    assert pick(tmp_path, Accel.TCG).why == "asked for"
    with pytest.raises(HostError, match=r"no KVM: .* guest on an .* host"):
        pick(tmp_path, Accel.KVM, FOREIGN)


def test_a_missing_qemu_is_told_with_the_package_to_install(tmp_path: Path) -> None:
    spec = fake_spec(tmp_path / "room")
    with pytest.raises(HostError, match="apt-get install qemu-system-arm"):
        choose(
            Accel.AUTO, Arch.ARM64, spec.kernel, spec.initramfs,
            cache=tmp_path, stop=Stop(), environ={"PATH": "/nonexistent"},
        )  # fmt: skip


def test_slowness_is_never_below_one() -> None:
    assert accel.host_slowness() >= 1.0
