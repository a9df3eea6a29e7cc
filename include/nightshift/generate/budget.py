"""Splitting one night's budget over the strategies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nightshift.generate.strategies.base import Price
from nightshift.settings import Budget


@dataclass(frozen=True, slots=True)
class Bid:
    """What one strategy could make, and at what price."""

    wanted: int
    price: Price
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Grant:
    """How many samples a strategy may make, and what cut it, if anything did."""

    samples: int
    cut_by: str | None = None


def split(bids: Mapping[str, Bid], budget: Budget) -> dict[str, Grant]:
    """Tokens over the language models, then samples by share, then seconds.

    What one strategy leaves goes to the others.
    Tokens are bounded at their most per sample, so that the bound holds whatever the model says.
    When seconds are short, the strategy that is dearest per sample gives way first.
    """
    most = _within_tokens(bids, budget.tokens)
    capped = {n: Bid(most.get(n, bid.wanted), bid.price, bid.share) for n, bid in bids.items()}
    samples = water_fill(capped, budget.samples)
    granted = {}
    for name, bid in bids.items():
        by = "samples" if samples[name] < capped[name].wanted else "tokens"
        granted[name] = Grant(samples[name], by if samples[name] < bid.wanted else None)
    over = sum(bids[n].price.seconds * g.samples for n, g in granted.items()) - budget.seconds
    for name in sorted(bids, key=lambda n: (-bids[n].price.seconds, n)):
        seconds = bids[name].price.seconds
        if over <= 0 or not seconds:
            break
        given_up = min(granted[name].samples, -int(-over // seconds))
        over -= given_up * seconds
        granted[name] = Grant(granted[name].samples - given_up, "seconds")
    return granted


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


def _within_tokens(bids: Mapping[str, Bid], tokens: int) -> dict[str, int]:
    """The most samples of each strategy with a language model that the tokens allow."""
    models = {
        name: Bid(int(bid.wanted * bid.price.tokens), bid.price, bid.share)
        for name, bid in bids.items()
        if bid.price.tokens
    }
    granted = water_fill(models, tokens)
    return {name: int(granted[name] // bid.price.tokens) for name, bid in models.items()}
