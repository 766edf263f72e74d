# SPDX-License-Identifier: GPL-2.0-only
"""`guprace completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from orchestrator.errors import ExitCode, HostError


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script for SHELL: verbs, options and cell ids.

    \b
    Examples:
      eval "$(guprace completion bash)"
      guprace completion fish > ~/.config/fish/completions/guprace.fish
    """
    found = get_completion_class(shell)
    if found is None:
        raise HostError(f"click knows no completion for {shell}")
    root = click.get_current_context().find_root().command
    click.echo(found(root, {}, "guprace", "_GUPRACE_COMPLETE").source())
    return int(ExitCode.OK)
