# SPDX-License-Identifier: GPL-2.0-only
"""What a QEMU command line of ours says, as far as the fake needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

BEHAVIOURS = {
    "at the start": ("no-start", "kvm-fails"),
    "at boot": ("panic-at-boot", "hang-at-boot", "init-fails", "reset-at-boot", "wrong-host-key", "deaf"),
    "at any time": ("log-ssh",),
    "in the race": (
        *("panic-mid-race", "die", "reboot", "silent-mid-race", "soft-lockup", "rcu-stall", "hung-task"),
        *("flood", "garbage", "long-if-broken"),
    ),
    "the result": (
        *("hit", "vacuous", "bail-out", "truncated", "taint", "config-lost", "kcsan-off"),
        *("insmod-fails", "bad-sync", "cut-answer"),
    ),
}
"""What FAKEQEMU may ask for. `deaf`: SSH never answers. `log-ssh`: what is asked by SSH goes to stderr."""
_KNOWN = {"ok"}.union(*BEHAVIOURS.values())


@dataclass(frozen=True, slots=True)
class Options:
    """One start of the fake. `behaviours` come from the environment variable FAKEQEMU."""

    arch: str
    kernel: Path
    initramfs: Path
    cmdline: str
    kvm: bool
    console_socket: Path | None
    console_file: Path
    qmp_socket: Path | None
    behaviours: frozenset[str]


def parse(program: str, argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read `argv`; an option that the real QEMU would miss is a KeyError, so the fake fails as well."""
    arch = "arm64" if "aarch64" in program else "x86_64"
    single: dict[str, str] = {}
    chardevs: dict[str, dict[str, str]] = {}
    for option, value in zip(argv, [*argv[1:], ""], strict=True):
        if option == "-chardev":
            kind, *rest = re.split(r"(?<!,),(?!,)", value)
            fields = dict(one.split("=", 1) for one in rest)
            chardevs[fields["id"]] = {"kind": kind, **{k: v.replace(",,", ",") for k, v in fields.items()}}
        elif option.startswith("-"):
            single[option] = value
    console = chardevs["console"]
    file = console["path"] if console["kind"] == "file" else console["logfile"]
    return Options(
        arch=arch,
        kernel=Path(single["-kernel"]),
        initramfs=Path(single["-initrd"]),
        cmdline=single["-append"],
        kvm=single["-accel"].startswith("kvm"),
        console_socket=Path(console["path"]) if console["kind"] == "socket" else None,
        console_file=Path(file),
        qmp_socket=Path(chardevs["qmp"]["path"]) if "qmp" in chardevs else None,
        behaviours=behaviours(environ.get("FAKEQEMU", ""), arch),
    )


def behaviours(text: str, arch: str) -> frozenset[str]:
    """Read `ok,hit,arm64/die`: names for every guest, or for guests of one architecture.

    One that nobody knows is a ValueError: a test that asks for it would show nothing.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := {name.rpartition("/")[2] for name in names} - _KNOWN:
        raise ValueError(f"FAKEQEMU: nobody knows {', '.join(sorted(unknown))}; see BEHAVIOURS in {__file__}")
    return frozenset(name.rpartition("/")[2] for name in names if "/" not in name or name.partition("/")[0] == arch)
