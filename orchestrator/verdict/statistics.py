# SPDX-License-Identifier: GPL-2.0-only
"""What so many trials are worth: bounds on the rate of hits per trial."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import ROUND_CEILING, Context, Decimal

_STEPS = 200
_TINY = 1e-300


def rule_of_three(trials: int) -> float | None:
    """Return the 95 % upper bound on the rate after `trials` trials without a hit: 3/n, at most 1; None for no trial.

    Source: Hanley and Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983).
    """
    return min(1.0, 3.0 / trials) if trials > 0 else None


def rounded_up(value: float, digits: int) -> float:
    """Return a bound to so many digits, never less: `rounded_up(0.00149, 1)` is 0.002; at least 1e-300."""
    # What is a tenth in decimal is a little more or less in binary: that little must not cost a digit.
    exact = Decimal(f"{max(value, _TINY):.12g}")
    return float(Context(prec=digits, rounding=ROUND_CEILING).plus(exact))


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval for the rate behind `hits` in `trials`.

    Raises ValueError unless 0 <= hits <= trials and trials > 0.  Source: Clopper and Pearson, Biometrika 26 (1934).
    """
    if not 0 <= hits <= trials or trials <= 0:
        raise ValueError(f"{hits} hits in {trials} trials")
    tail = (1.0 - confidence) / 2.0
    low = 0.0 if hits == 0 else _solve(lambda p: incomplete_beta(hits, trials - hits + 1, p), tail)
    high = 1.0 if hits == trials else _solve(lambda p: incomplete_beta(hits + 1, trials - hits, p), 1.0 - tail)
    return low, high


def event_rate(events: int, exposure: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval for the rate of a Poisson process with `events` in `exposure` (as seconds).

    Raises ValueError unless events >= 0 and exposure > 0.  Source: Garwood, Biometrika 28 (1936).
    """
    if events < 0 or exposure <= 0.0:
        raise ValueError(f"{events} events in {exposure}")
    tail = (1.0 - confidence) / 2.0
    return least_rate(events, exposure, 1.0 - tail), _solve_mean(events, tail) / exposure


def least_rate(events: int, exposure: float, confidence: float = 0.95) -> float:
    """Return the one-sided lower bound on the rate of a Poisson process; 0 for no event. Raises as `event_rate`."""
    if events < 0 or exposure <= 0.0:
        raise ValueError(f"{events} events in {exposure}")
    return _solve_mean(events - 1, confidence) / exposure if events else 0.0


def poisson_at_most(events: int, mean: float) -> float:
    """Return the probability of at most `events` when `mean` are expected."""
    if mean <= 0.0:
        return 1.0
    return min(1.0, math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(events + 1)))


def _solve_mean(events: int, probability: float) -> float:
    """Return the mean under which at most `events` come with `probability`."""
    high = 1.0
    while poisson_at_most(events, high) > probability:
        high *= 2.0
    return _solve(lambda mean: 1.0 - poisson_at_most(events, mean), 1.0 - probability, high)


def incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), to about 1e-12.

    By its continued fraction (DLMF 8.17.22), evaluated with Lentz's method.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - incomplete_beta(b, a, 1.0 - x)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) / (a * _fraction(a, b, x))


def _fraction(a: float, b: float, x: float) -> float:
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, 20_000):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / _away_from_zero(1.0 + term * d)
        c = _away_from_zero(1.0 + term / c)
        value *= c * d
        if abs(c * d - 1.0) < 1e-13:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _solve(rising: Callable[[float], float], target: float, high: float = 1.0) -> float:
    low = 0.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if rising(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
