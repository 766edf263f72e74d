# SPDX-License-Identifier: GPL-2.0-only
"""`python -m orchestrator` is `guprace`."""

from orchestrator.cli.main import main

if __name__ == "__main__":
    main()
