# SPDX-License-Identifier: GPL-2.0-only
"""Could that be chance? Exact tests on counts, and what many of them at once are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Two tables as likely as each other must compare equal though their logarithms were rounded.
_ROUNDING = 1e-7
_EPSILON = 4e-16


def fisher_exact(seen_a: int, total_a: int, seen_b: int, total_b: int) -> float:
    """Return the two-sided p-value that `seen_a` of `total_a` and `seen_b` of `total_b` have the same rate.

    The sum over all tables with these margins that are no likelier than the one observed. 1.0 when a total is 0:
    nothing can be said.  Raises ValueError unless 0 <= seen <= total.  Source: Fisher, "Statistical Methods for
    Research Workers" (1934), 21.02.
    """
    if not (0 <= seen_a <= total_a and 0 <= seen_b <= total_b):
        raise ValueError(f"{seen_a} of {total_a}, {seen_b} of {total_b}")
    seen, total = seen_a + seen_b, total_a + total_b
    low, high = max(0, seen - total_b), min(seen, total_a)
    if low == high:
        return 1.0
    whole = _log_choose(total, seen)
    logs = [_log_choose(total_a, k) + _log_choose(total_b, seen - k) - whole for k in range(low, high + 1)]
    limit = logs[seen_a - low] + max(_ROUNDING, _EPSILON * math.lgamma(total + 1))
    return min(1.0, math.fsum(math.exp(each) for each in logs if each <= limit))


def at_least(seen: int, total: int, rate: float) -> float:
    """Return the probability of `seen` or more in `total` when each shows it with probability `rate`.

    Raises ValueError unless 0 <= seen <= total and 0 <= rate <= 1.
    """
    if not (0 <= seen <= total and 0.0 <= rate <= 1.0):
        raise ValueError(f"{seen} of {total} at {rate}")
    if seen == 0 or rate == 1.0:
        return 1.0
    if rate == 0.0:
        return 0.0
    log_yes, log_no = math.log(rate), math.log1p(-rate)
    terms = (math.exp(_log_choose(total, k) + k * log_yes + (total - k) * log_no) for k in range(seen, total + 1))
    return min(1.0, math.fsum(terms))


def holm(values: Sequence[float]) -> tuple[float, ...]:
    """Return the p-values corrected for being many (family-wise), each at the place of its own.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statist. 6 (1979).
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    corrected, worst = [1.0] * len(values), 0.0
    for rank, index in enumerate(order):
        worst = max(worst, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = worst
    return tuple(corrected)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
