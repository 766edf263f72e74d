# SPDX-License-Identifier: GPL-2.0-only
"""The fixture `guprace`: the command line in the test's own process, for what needs neither guests nor signals."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli.main import main

Guprace = Callable[..., tuple[int, str]]


@pytest.fixture
def guprace(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Guprace:
    """Run a command line, with `stdin` to read; return its exit code and all that it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GUPRACE_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["guprace", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, captured.out + captured.err

    return run
