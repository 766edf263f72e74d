# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's command line, group by group."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.guest import argv
from orchestrator.guest.machines import ARM64, X86_64, machine_for
from orchestrator.guest.model import AccelChoice, GuestSpec
from orchestrator.matrix.plan import Accel, Arch

SPEC = GuestSpec(
    arch=Arch.X86_64,
    kernel=Path("/k/bzImage"),
    initramfs=Path("/cache/initramfs.cpio.gz"),
    directory=Path("/run/cell"),
    accel=AccelChoice(Accel.TCG, "asked for"),
    vcpus=2,
    memory=1024,
)
ENDS = argv.Endpoints(Path("/w/console"), Path("/run/cell/console.log"), Path("/w/qmp"), Path("/w/initramfs"))


def test_every_architecture_has_a_machine() -> None:
    assert [machine_for(arch).arch for arch in Arch] == list(Arch)


def test_nothing_is_added_by_default_and_a_reset_ends_qemu() -> None:
    args = argv.base_args()
    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(args)
    assert args[args.index("-display") + 1] == "none"
    assert "-nographic" not in args


def test_tcg_runs_one_thread_for_each_vcpu() -> None:
    assert argv.accel_args(Accel.TCG)[1].startswith("tcg,thread=multi")
    assert argv.accel_args(Accel.KVM) == ["-accel", "kvm"]


def test_kvm_gets_the_hosts_processor_and_tcg_the_tables() -> None:
    assert argv.machine_args(X86_64, Accel.KVM)[-1] == "host"
    assert argv.machine_args(ARM64, Accel.TCG) == ["-machine", "virt,gic-version=3", "-cpu", ARM64.cpu_tcg]


@pytest.mark.parametrize(
    ("vcpus", "smp", "nodes"),
    [
        (1, "1,sockets=1", ["cpus=0-0", None]),
        (2, "2,sockets=2", ["cpus=0-0", "cpus=1-1"]),
        (3, "3,sockets=3", ["cpus=0-1", "cpus=2-2"]),
        (4, "4,sockets=2", ["cpus=0-1", "cpus=2-3"]),
    ],
)
def test_each_numa_node_owns_whole_sockets(vcpus: int, smp: str, nodes: list[str | None]) -> None:
    assert argv.cpu_args(vcpus) == ["-smp", smp]
    numa = [arg for arg in argv.memory_args(1024, vcpus) if arg.startswith("node,")]
    assert [next((part for part in arg.split(",") if part.startswith("cpus=")), None) for arg in numa] == nodes


def test_memory_is_shared_out_whole_between_two_nodes() -> None:
    args = argv.memory_args(1025, 2)
    assert args[:2] == ["-m", "1025M"]
    assert [arg.rpartition("=")[2] for arg in args if arg.startswith("memory-backend-ram")] == ["512M", "513M"]


def test_the_guest_has_no_way_out_and_qemu_chooses_a_port_on_loopback() -> None:
    netdev = argv.network_args()[1]
    assert "restrict=on" in netdev.split(",")
    assert "hostfwd=tcp:127.0.0.1:0-:22" in netdev.split(",")


def test_a_comma_in_a_path_does_not_end_the_option() -> None:
    chardev = argv.console_args(Path("/w/a,b/console"))[1]
    assert "path=/w/a,,b/console" in chardev


def test_a_panic_ends_the_guest_and_every_message_reaches_the_console() -> None:
    cmdline = argv.kernel_cmdline(SPEC)
    assert {"console=ttyS0", "oops=panic", "panic=-1", "ignore_loglevel", "printk.devkmsg=on"} <= set(cmdline)
    assert not any(word.startswith(("quiet", "panic_on_warn")) for word in cmdline)


def test_the_watchdogs_wait_longer_on_a_slow_guest_within_the_kernels_limits() -> None:
    for slowness, rcu, watchdog in ((1.0, 21, 10), (3.0, 63, 30), (100.0, 300, 60)):
        cmdline = argv.kernel_cmdline(replace(SPEC, accel=AccelChoice(Accel.TCG, "", slowness)))
        assert f"rcupdate.rcu_cpu_stall_timeout={rcu}" in cmdline
        assert f"watchdog_thresh={watchdog}" in cmdline


def test_the_flavours_words_come_last_so_that_they_win() -> None:
    assert argv.kernel_cmdline(replace(SPEC, cmdline=("page_owner=on",)))[-1] == "page_owner=on"


@pytest.mark.parametrize("arch", list(Arch))
def test_the_command_line_is_its_groups_one_behind_the_other(arch: Arch) -> None:
    spec = replace(SPEC, arch=arch)
    whole = argv.qemu_argv(spec, ENDS)
    machine = machine_for(arch)
    groups = [
        [machine.qemu],
        argv.base_args(),
        argv.name_args(spec.directory),
        argv.machine_args(machine, Accel.TCG),
        argv.accel_args(Accel.TCG),
        argv.cpu_args(2),
        argv.memory_args(1024, 2),
        argv.kernel_args(spec.kernel, ENDS.initramfs, argv.kernel_cmdline(spec)),
        argv.network_args(),
        argv.entropy_args(),
        argv.console_args(ENDS.console),
        argv.qmp_args(ENDS.qmp),
    ]
    assert whole == [arg for group in groups for arg in group]
    assert all(isinstance(arg, str) and arg for arg in whole)
