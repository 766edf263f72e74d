# SPDX-License-Identifier: GPL-2.0-only
"""Where things are: the project's own data, and the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UsageError

_TREE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Project:
    """The checkout that this package runs from: its configs, recipes and selftests."""

    root: Path = _TREE

    @property
    def configs(self) -> Path:
        """Matrices, Kconfig fragments, mutants."""
        return self.root / "configs"

    @property
    def fragments(self) -> Path:
        """Kconfig fragments: base, one per architecture, one per flavour."""
        return self.root / "configs" / "fragments"

    @property
    def mutants(self) -> Path:
        """Kernels broken on purpose: one YAML record and its patches each."""
        return self.root / "configs" / "mutants"

    @property
    def selftests(self) -> Path:
        """The C side: library, scenarios, probe module."""
        return self.root / "kselftests"

    @property
    def images(self) -> Path:
        """Guest recipe and init."""
        return self.root / "images"


def cache_root(environ: Mapping[str, str]) -> Path:
    """Return the cache directory: `GUPRACE_CACHE`, else `$XDG_CACHE_HOME/guprace`, else `~/.cache/guprace`.

    Raises:
        UsageError: it begins with the home of a user who has none.
    """
    explicit = environ.get("GUPRACE_CACHE")
    base = explicit or environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        found = Path(base).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError(f"no cache directory: {error}", where=base, hint="set GUPRACE_CACHE=DIR") from error
    return found if explicit else found / "guprace"
