# SPDX-License-Identifier: GPL-2.0-only
"""From fragments to a verified .config in the object tree."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.kernel import fragments, kconfig
from orchestrator.kernel.make import KernelMake
from orchestrator.kernel.toolchain import KERNEL_ARCHES
from orchestrator.matrix.plan import KernelSpec

MERGED = "guprace-merged.config"
CANDIDATE = ".config.guprace"


def configure(spec: KernelSpec, make: KernelMake, report: Callable[[str], None]) -> str:
    """Merge the fragments over allnoconfig, run olddefconfig, verify, and return the final .config.

    .config is replaced only when it differs: its time decides what make rebuilds.

    Raises:
        UsageError: fragments disagree, or one cannot be read.
        BuildError: options did not survive; each with its fragment, line and unmet dependency.
    """
    settings = fragments.merge(spec.fragments)
    make.objects.mkdir(parents=True, exist_ok=True)
    merged = make.objects / MERGED
    symbols = kconfig.read_tree(make.source, KERNEL_ARCHES[spec.arch].srcarch)
    wanted = fragments.required(settings, {name for name, symbol in symbols.items() if symbol.depends})
    merged.write_text(fragments.render(wanted))
    report("olddefconfig")
    make("-s", f"KCONFIG_ALLCONFIG={merged}", f"KCONFIG_CONFIG={CANDIDATE}", "allnoconfig")
    make("-s", f"KCONFIG_CONFIG={CANDIDATE}", "olddefconfig")
    text = (make.objects / CANDIDATE).read_text()
    verify(spec, wanted, symbols, text)
    final = make.objects / ".config"
    if not final.exists() or final.read_text() != text:
        (make.objects / CANDIDATE).replace(final)
    return text


def verify(
    spec: KernelSpec,
    wanted: tuple[fragments.Setting, ...],
    symbols: dict[str, kconfig.Symbol],
    text: str,
) -> None:
    """Raise BuildError naming every wanted setting that the .config `text` contradicts, and why."""
    config = fragments.read_config(text)
    gone = fragments.lost(wanted, config)
    if gone:
        reasons = [
            f"{s.assignment} ({s.where}): {kconfig.why_lost(s.symbol, symbols, config)};"
            f" it is {config.get(s.symbol, 'not set')}"
            for s in gone
        ]
        raise fragments.config_error(reasons, f"{spec.name}/{spec.arch}/{spec.flavour}")
