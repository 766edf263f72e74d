# SPDX-License-Identifier: GPL-2.0-only
"""`guprace build`."""

from __future__ import annotations

from pathlib import Path

import click

from orchestrator.cli.common import matrix_argument, only_option, plan_of, workplace
from orchestrator.cli.tell import say
from orchestrator.errors import BuildError, ExitCode
from orchestrator.kernel.build import KernelBuilder
from orchestrator.matrix.plan import PrebuiltSource
from orchestrator.runner.lanes import Lane, lanes_of


@click.command("build")
@matrix_argument
@only_option
@click.option("--why", is_flag=True, help="Build nothing: say for each kernel whether it is cached, and if not, why. "
              "Asks apt for a package's version, and fetches its lists if there are none yet.")  # fmt: skip
def command(matrix: Path | None, only: tuple[str, ...], why: bool) -> int:
    """Build the kernels that MATRIX (default: configs/quick.yaml) needs, each into the cache.

    Exit code: 0 all there, 2 usage, 3 host, 4 a kernel did not build (the others are built all the same).

    \b
    Examples:
      guprace build configs/quick.yaml
      guprace build --only 'arm64/*' --why
    """
    plan = plan_of(matrix, only)
    code = ExitCode.OK
    with workplace() as (_, builder):
        for lane in lanes_of(plan.cells):
            if why:
                cached, reasons = builder.why(lane.kernel)
                click.echo(f"{lane.cells[0].lane}: {'hit' if cached else 'miss'}")
                click.echo("\n".join(f"    {reason}" for reason in reasons))
            elif not _build(lane, builder):
                code = ExitCode.BUILD
    return int(code)


def _build(lane: Lane, builder: KernelBuilder) -> bool:
    name = lane.cells[0].lane
    last = ""

    def report(text: str) -> None:
        nonlocal last
        # make names a file a second, or none yet; only the stages are worth a line of their own.
        stage = text.split(" ")[0]
        if stage and stage != last and not stage.isupper():
            say(f"{name}: {text}", err=True)
        last = stage or last

    try:
        kernel = builder.build(lane.kernel, report)
    except BuildError as error:
        # The compiler's words hold lines of the source, and those whatever a patch put there.
        say(f"{name}: {error}", err=True)
        return False
    if isinstance(lane.kernel.source, PrebuiltSource):
        say(f"{name}: prebuilt image {kernel.image}")
        return True
    how = "cached" if kernel.cached else "built"
    say(f"{name}: {how} in {kernel.seconds:.2f} s: {kernel.version} {kernel.image}")
    return True
