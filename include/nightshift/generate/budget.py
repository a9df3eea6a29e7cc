"""Splitting one night's budget over the strategies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from nightshift.generate.strategies.base import Price
from nightshift.prices import Rates
from nightshift.settings import Budget

_PARTS = 10**9
"""Seconds and money are split in whole parts of this size, as samples and tokens are."""


@dataclass(frozen=True, slots=True)
class Bid:
    """What one strategy could make, and at what price."""

    wanted: int
    price: Price
    share: float = 1.0
    rates: Rates = field(default_factory=Rates)

    @property
    def money(self) -> float:
        """Of one sample."""
        price = self.price
        return self.rates.money(
            seconds=price.seconds, tokens=price.tokens, prompt_tokens=price.prompt_tokens
        )

    @property
    def learning(self) -> float:
        """The money that learning costs, before the first sample."""
        price = self.price
        return self.rates.money(seconds=price.fit_seconds, prompt_tokens=price.fit_prompt_tokens)


@dataclass(frozen=True, slots=True)
class Grant:
    """How many samples a strategy may make, and what cut it, if anything did."""

    samples: int
    cut_by: str | None = None


def split(bids: Mapping[str, Bid], budget: Budget) -> dict[str, Grant]:
    """Tokens over the language models, then samples, then seconds, then money; each by share.

    What one strategy leaves goes to the others, so what is cheap is made in full and what is dear
    gets equal parts of the rest. Tokens are bounded at their most per sample, so that the bound
    holds whatever the model says. Learning is paid before the first sample: where the seconds or
    the money do not suffice for it, the strategy whose learning is dearest gives way.
    """
    granted = {name: Grant(bid.wanted) for name, bid in bids.items()}
    granted = _cut(granted, bids, budget.tokens, "tokens", lambda bid: bid.price.tokens)
    granted = _cut(granted, bids, budget.samples, "samples", lambda _: 1.0)
    left, granted = _after_learning(granted, bids, budget.seconds, "seconds")
    granted = _cut(granted, bids, left, "seconds", lambda bid: bid.price.seconds)
    if budget.money is not None:
        left, granted = _after_learning(granted, bids, budget.money, "money")
        granted = _cut(granted, bids, left, "money", lambda bid: bid.money)
    return granted


def _cut(
    granted: Mapping[str, Grant],
    bids: Mapping[str, Bid],
    total: float,
    what: str,
    cost: Callable[[Bid], float],
) -> dict[str, Grant]:
    """No more samples than `total` pays for at `cost` a sample."""
    costs = {name: cost(bid) for name, bid in bids.items() if cost(bid) and granted[name].samples}
    wanted = {
        name: replace(bids[name], wanted=math.ceil(granted[name].samples * one * _PARTS))
        for name, one in costs.items()
    }
    result = dict(granted)
    for name, parts in water_fill(wanted, int(total * _PARTS)).items():
        if parts < wanted[name].wanted:
            samples = int(parts / (costs[name] * _PARTS))
            result[name] = Grant(min(samples, granted[name].samples), what)
    return result


def _after_learning(
    granted: Mapping[str, Grant], bids: Mapping[str, Bid], total: float, what: str
) -> tuple[float, dict[str, Grant]]:
    """What is left of `total` when all have learnt that have anything to make.

    Args:
        what: "seconds" or "money".
    """
    result = dict(granted)
    learning = {
        name: bids[name].learning if what == "money" else bids[name].price.fit_seconds
        for name, grant in granted.items()
        if grant.samples
    }
    while sum(learning.values()) > total:
        dearest = max(learning, key=lambda name: (learning[name], name))
        result[dearest] = Grant(0, what)
        del learning[dearest]
    return total - sum(learning.values()), result


def water_fill(bids: Mapping[str, Bid], total: int) -> dict[str, int]:
    """`total` by share, nobody above what it wants; what is left over is shared out again."""
    granted = dict.fromkeys(bids, 0)
    hungry = [name for name, bid in bids.items() if bid.wanted > 0]
    left = total
    while hungry and left > 0:
        shares = sum(bids[name].share for name in hungry)
        portions = {
            name: min(int(left * bids[name].share / shares), bids[name].wanted - granted[name])
            for name in hungry
        }
        if not any(portions.values()):
            portions[hungry[0]] = 1  # fewer left than strategies: the first one named takes it
        for name, portion in portions.items():
            granted[name] += portion
            left -= portion
        hungry = [name for name in hungry if granted[name] < bids[name].wanted]
    return granted
