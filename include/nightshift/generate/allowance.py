"""What one shard may spend, and what it has spent: the hard stop at the budget.

Shards run side by side and know nothing of each other, so each has a part of the budget of its own,
written into the plan. What one shard leaves is not shared out again.

A chunk counts at what it took when it was made, also where it is found in the lake. So a shard that
is run again stops where it stopped, and a killed one goes as far as an unbroken one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from nightshift.generate.budget import Bid
from nightshift.generate.strategies.base import Chunk
from nightshift.prices import Rates
from nightshift.settings import Budget

_CHUNK_SECONDS = 0.1
"""Every chunk takes so long beside its samples: read, write, start. About."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """A shard's part of the night's budget."""

    samples: int
    tokens: int
    seconds: float
    money: float | None = None
    """None: there is no limit, or no price to count by."""


@dataclass(slots=True)
class Spent:
    """What the chunks of a shard came to so far."""

    rates: Rates = field(default_factory=Rates)
    samples: int = 0
    tokens: int = 0
    seconds: float = 0.0
    money: float = 0.0

    def add(self, chunk: Chunk) -> None:
        self.samples += chunk.samples.num_rows
        self.tokens += chunk.tokens
        self.seconds += chunk.seconds
        self.money += self.rates.money(
            seconds=chunk.seconds, tokens=chunk.tokens, prompt_tokens=chunk.prompt_tokens
        )

    def reaches(self, allowed: Allowance) -> str | None:
        """The part of the budget that is used up: no further chunk is made then."""
        for what in ("samples", "tokens", "seconds", "money"):
            spent, limit = getattr(self, what), getattr(allowed, what)
            if limit is not None and spent and spent >= limit:
                return what
        return None


def allowances(
    targets: pl.DataFrame, bids: Mapping[str, Bid], budget: Budget
) -> dict[str, Allowance]:
    """Each shard's part: by what its samples are estimated to cost, of the whole budget.

    Samples are those that are planned. A strategy that says it writes no tokens has none, and ends
    after the first chunk that does.

    Args:
        targets: contracts.TARGETS with their shards.
    """
    shards = targets.group_by("shard", maintain_order=True).agg(
        pl.col("strategy").first(), pl.col("budget").sum(), chunks=pl.col("chunk").n_unique()
    )
    rows = list(shards.iter_rows())
    tokens = {shard: samples * bids[name].price.tokens for shard, name, samples, _ in rows}
    seconds = {
        shard: samples * bids[name].price.seconds + chunks * _CHUNK_SECONDS
        for shard, name, samples, chunks in rows
    }
    money = {shard: samples * bids[name].money for shard, name, samples, _ in rows}
    at_work = {name for _, name, _, _ in rows}
    learning = sum(bids[name].price.fit_seconds for name in at_work)
    paid = sum(bids[name].learning for name in at_work)
    token_parts = _parts(tokens, budget.tokens)
    second_parts = _parts(seconds, max(budget.seconds - learning, 0.0))
    money_parts = _parts(money, max((budget.money or 0.0) - paid, 0.0))
    limited = budget.money is not None and any(money.values())
    return {
        shard: Allowance(
            samples=samples,
            tokens=int(token_parts[shard]),
            seconds=round(second_parts[shard], 3),
            money=round(money_parts[shard], 9) if limited else None,
        )
        for shard, _, samples, _ in rows
    }


def _parts(costs: Mapping[str, float], total: float) -> dict[str, float]:
    whole = sum(costs.values())
    return {shard: total * cost / whole if whole else 0.0 for shard, cost in costs.items()}
