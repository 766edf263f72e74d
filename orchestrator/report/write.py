# SPDX-License-Identifier: GPL-2.0-only
"""Write the reports of a run into its directory: from what is there, finished or not, as often as one likes."""

from __future__ import annotations

from dataclasses import replace

from orchestrator import records
from orchestrator.errors import UsageError
from orchestrator.paths import Project
from orchestrator.report.html import html
from orchestrator.report.junit import junit_xml
from orchestrator.report.known import audit_of
from orchestrator.report.ktap import ktap
from orchestrator.report.power import is_power_run, write_power_reports
from orchestrator.report.view import view
from orchestrator.runner.rundir import RunDir
from orchestrator.splat.audit import Audited


def write_reports(run: RunDir) -> None:
    """Write junit.xml, report.ktap and index.html, each atomically; of a power run what report/power.py makes of it.

    Raises:
        HostError: there is no plan to read, or the disk is full.
    """
    if is_power_run(run):
        write_power_reports(run)
        return
    seen = replace(view(run), known=_known(run))
    records.write_atomically(run.root / "junit.xml", junit_xml(seen))
    records.write_atomically(run.root / "report.ktap", ktap(seen))
    records.write_atomically(run.root / "index.html", html(seen))


def _known(run: RunDir) -> tuple[Audited, ...]:
    """Return what the run says of the known issues; a list that cannot be read stops no report."""
    try:
        return audit_of(run, Project())
    except UsageError:
        return ()
