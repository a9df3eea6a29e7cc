"""Arms that take turns, and the ratios of their pairs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.common import say

_RESAMPLES, _SEED = 2000, 5


def take_turns(
    arms: Mapping[str, Callable[[], float]], repeats: int, *, per: int
) -> dict[str, list[float]]:
    """Rates of every arm, repeat by repeat, in another order each time; the first is not counted.

    Args:
        arms: each runs once and returns its seconds.
        per: what one run does (users), for a rate per second.
    """
    rates: dict[str, list[float]] = {name: [] for name in arms}
    for repeat in range(repeats + 1):
        order = list(arms) if repeat % 2 == 0 else list(arms)[::-1]
        for name in order:
            rate = per / arms[name]()
            if repeat:
                rates[name].append(rate)
    for name, found in rates.items():
        say(f"  {name}: {statistics.median(found):,.0f} users/s")
    return rates


def rows(
    rates: Mapping[str, Sequence[float]],
    pairs: Sequence[tuple[str, str]],
    *,
    slice_: str,
    n: int,
) -> Iterator[dict[str, Any]]:
    """Result rows: medians of the arms; of pairs the median ratio, less one, with its interval."""
    for name, found in rates.items():
        yield {
            "arm": name,
            "slice": slice_,
            "metric": "users_per_second",
            "value": round(statistics.median(found), 1),
            "range": [round(min(found), 1), round(max(found), 1)],
            "n": n,
            "repeats": len(found),
        }
    for arm, against in pairs:
        if arm not in rates or against not in rates:
            continue
        both = np.array([rates[arm], rates[against]])
        ratios = both[0] / both[1]
        low, high = interval(ratios)
        say(f"  {arm} / {against}: {np.median(ratios):.2f} [{low:.2f}, {high:.2f}]")
        yield {
            "arm": arm,
            "against": against,
            "slice": slice_,
            "metric": "users_per_second",
            "value": round(float(np.median(both[0] - both[1])), 1),
            "relative": round(float(np.median(ratios)) - 1, 4),
            "ci95": [round(low - 1, 4), round(high - 1, 4)],
            "n": n,
            "repeats": len(ratios),
        }


def interval(values: Any) -> tuple[float, float]:
    """95 % of the median, by a bootstrap of the repeats (Efron, 1979)."""
    generator = np.random.default_rng(_SEED)
    drawn = generator.choice(np.asarray(values), (_RESAMPLES, len(values)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(low), float(high)
