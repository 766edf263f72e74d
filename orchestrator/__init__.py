# SPDX-License-Identifier: GPL-2.0-only
"""Guprace: race GUP-fast on real kernels and say what a clean run is worth."""
