# SPDX-License-Identifier: GPL-2.0-only
"""A fake kernel tree: real make, real patches, real incremental builds, in milliseconds and without a compiler.

Its mm/gup.c is made from the context of a mutant's patch, so that the catalogued patch applies to it; an image
built from it says whether the lines that the mutant removes are still there, which the fake QEMU reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_HUNK = re.compile(r"^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")

MAKEFILE = """\
# A fake kernel's Makefile.
.PHONY: allnoconfig olddefconfig Image bzImage modules
allnoconfig olddefconfig Image bzImage modules:
\t@python3 $(CURDIR)/scripts/fakebuild.py $@ "$(CURDIR)" "$(O)" "$(M)" "$(KCONFIG_CONFIG)" "$(KCONFIG_ALLCONFIG)"
"""

BUILD = """\
import pathlib, re, sys
target, src, obj, module, config, allconfig = sys.argv[1:7]
src, obj = pathlib.Path(src), pathlib.Path(obj)
kconfig = (src / "Kconfig").read_text()
if target == "allnoconfig":
    known = set(re.findall(r"^config (\\w+)", kconfig, re.M))
    unmet = set(re.findall(r"^config (\\w+)\\n\\tbool\\n\\tdepends on NEVER", kconfig, re.M))
    keep = [l for l in pathlib.Path(allconfig).read_text().splitlines()
            if (m := re.match(r"(?:# )?CONFIG_(\\w+)", l)) and m[1] in known and m[1] not in unmet]
    (obj / config).write_text("\\n".join(sorted(keep)) + "\\n")
elif target in ("Image", "bzImage"):
    failed = False
    for c in sorted(src.glob("mm/*.c")):
        o = obj / "mm" / (c.stem + ".o")
        o.parent.mkdir(parents=True, exist_ok=True)
        if not o.exists() or o.stat().st_mtime_ns < c.stat().st_mtime_ns or "#error" in c.read_text():
            print(f"  CC      mm/{c.stem}.o", flush=True)
            for n, line in enumerate(c.read_text().splitlines(), 1):
                if line.startswith("#error"):
                    print(f"mm/{c.name}:{n}:2: error: {line}", file=sys.stderr)
                    failed = True
            o.write_bytes(c.read_bytes())
    if failed:
        sys.exit(1)
    needle = (src / "scripts" / "needle").read_text()
    arch = "arm64" if target == "Image" else "x86"
    boot = obj / "arch" / arch / "boot"
    boot.mkdir(parents=True, exist_ok=True)
    whole = needle in (obj / "mm" / "gup.o").read_text()
    text = f"fake kernel {arch}\\nre-read: {'yes' if whole else 'no'}\\n" + (obj / ".config").read_text()
    (boot / target).write_text(text)
    (obj / "vmlinux").write_text(text)
    (obj / "System.map").write_text("")
    release = obj / "include" / "config" / "kernel.release"
    release.parent.mkdir(parents=True, exist_ok=True)
    release.write_text("6.1.0-fake\\n")
elif target == "modules" and module:
    (pathlib.Path(module) / "guprace_probe.ko").write_text("fake module\\n")
"""


def preimage(patch: Path, name: str) -> tuple[str, str]:
    """Return the file `name` as `patch` expects it (blank lines between hunks), and the first removed line."""
    lines: list[str] = []
    needle, current, inside = "", "", False
    for line in patch.read_text().splitlines():
        if line.startswith("--- "):
            current, inside = line[4:].partition("/")[2].split("\t")[0], False
        elif match := _HUNK.match(line):
            inside = current == name
            if inside:
                lines += [""] * (int(match.group(1)) - 1 - len(lines))
        elif inside and line[:1] in (" ", "-", "") and not line.startswith("-- "):
            lines.append(line[1:])
            needle = needle or (line[1:] if line.startswith("-") else "")
    return "\n".join(lines) + "\n", needle


def make_kernel_tree(root: Path, fragments: Iterable[Path], patch: Path, unmet: tuple[str, ...] = ()) -> Path:
    """Write a fake tree to `root` whose Kconfig knows what the `fragments` set; return `root`."""
    gup, needle = preimage(patch, "mm/gup.c")
    symbols = sorted({m for f in fragments for m in re.findall(r"CONFIG_(\w+)", f.read_text())})
    entries = [
        f"config {s}\n\tbool\n" + ("\tdepends on NEVER\n" if s in unmet else '\tprompt "x"\n') for s in symbols
    ]
    files = {
        "Makefile": MAKEFILE,
        "Kconfig": 'mainmenu "fake"\n\n' + "\n".join(entries),
        "scripts/fakebuild.py": BUILD,
        "scripts/needle": needle,
        "mm/gup.c": gup,
        "mm/mmap.c": "/* nothing */\n",
        "include/linux/mm.h": "/* nothing */\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root
