# SPDX-License-Identifier: GPL-2.0-only
"""`guprace triage`: a console's reports, or how two runs differ in them, as tables or as JSON."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from orchestrator.errors import ExitCode, UsageError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
RUN = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(name="triage")
@click.argument("log", type=click.Path(exists=True, allow_dash=True, path_type=Path), default="-")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for other tools.")
@click.option("--vmlinux", type=FILE, help="The kernel, with debug info: frames get file and line.")
@click.option("--module", "modules", type=FILE, multiple=True, help="A module's .ko, for its frames. Repeatable.")
@click.option("--known", type=FILE, help="Known issues; default: the project's configs/known-issues.yaml.")
@click.option(
    "--diff", nargs=2, type=RUN, help="Two run directories: which reports are new, gone, more or less often."
)
def command(
    log: Path,
    as_json: bool,
    vmlinux: Path | None,
    modules: tuple[Path, ...],
    known: Path | None,
    diff: tuple[Path, Path] | None,
) -> int:
    """Cut the kernel's reports out of a console LOG (`-`: stdin), and say of what kind they are and whom to blame.

    LOG may be compressed (gzip, xz, bzip2), or the directory of a cell. What lies beside a cell's console is used:
    which kernel it was, what KCSAN counted, and the kernel's own vmlinux from the cache, if it was built with debug
    information.

    \b
    Examples:
      guprace triage console.log --vmlinux vmlinux
      guprace triage oops.log.xz
      guprace triage runs/20261126-091500-suite/6.12/arm64/kcsan/pin_vs_munmap
      dmesg | guprace triage --json | jq '.reports[].title'
      guprace triage --diff runs/before runs/after

    Exit code 0 whether there are reports or not: what they mean for a kernel is for `guprace run` to judge.
    """
    if modules and not vmlinux:
        raise UsageError("--module is of use with --vmlinux only", hint="name the kernel that loaded it, too")
    if diff:
        # Parsed as LOG where there is one word more than --diff takes.
        if click.get_current_context().get_parameter_source("log") is ParameterSource.COMMANDLINE:
            raise UsageError(f"--diff compares two runs, and reads no console: {log}", hint="leave one of them out")
        _show_difference(*diff, as_json)
    else:
        _show_console(log, as_json, vmlinux, modules, known)
    return int(ExitCode.OK)


def _show_console(
    log: Path, as_json: bool, vmlinux: Path | None, modules: tuple[Path, ...], known: Path | None
) -> None:
    import json
    import os
    from datetime import UTC, datetime

    from orchestrator.paths import Project, cache_root
    from orchestrator.report.beside import beside, console_of
    from orchestrator.report.console import read_console, reading_data, with_symbols
    from orchestrator.report.terminal import Output
    from orchestrator.report.triage import none_in, report_rows, show_reports
    from orchestrator.runner.lists import GUP_PATH, KNOWN_ISSUES
    from orchestrator.splat.policy import load_known, load_path
    from orchestrator.splat.present import notes

    configs = Project().configs
    path, issues = load_path(configs / GUP_PATH), load_known(known or configs / KNOWN_ISSUES)
    console = console_of(log)
    more = beside(console, cache_root(os.environ), Project())
    with click.open_file(str(console), "rb") as stream:
        name = "FILE" if str(console) == "-" else str(console)
        reading = read_console(stream, path, issues, datetime.now(UTC).date(), more.subject, more.races, name)
    if vmlinux:
        reading = with_symbols(reading, vmlinux, {each.stem: each for each in modules})
    elif more.vmlinux:
        reading = with_symbols(reading, more.vmlinux, more.modules)
    if as_json:
        click.echo(json.dumps(reading_data(reading), indent=1))
    else:
        rows = report_rows(reading.found.splats, path, reading.located)
        said = [*([reading.races.text] if reading.races else []), *([reading.cut] if reading.cut else [])]
        show_reports(rows, Output(), [*notes(reading.found), *said], none_in(reading.found))


def _show_difference(before: Path, after: Path, as_json: bool) -> None:
    from orchestrator.report.diff import diff_json, raced
    from orchestrator.report.terminal import Output
    from orchestrator.report.triage import show_diff
    from orchestrator.runner.rundir import open_run
    from orchestrator.splat.compare import Unit, compare

    comparison = compare(raced(open_run(before)), raced(open_run(after)), Unit.CELLS)
    if as_json:
        click.echo(diff_json(comparison), nl=False)
    else:
        show_diff(comparison, Output())
