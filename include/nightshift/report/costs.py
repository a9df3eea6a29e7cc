"""What samples were estimated to cost, what they cost, and what each accepted one cost.

A chunk counts at what it took when it was made, whoever made it: a shard that was killed and went
on is told whole, and so is one whose chunks an earlier night has paid for (`chunks_found`).
The same holds for what a strategy has learnt: once, however many shards and nights use it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from nightshift.manifest import Manifest
from nightshift.prices import estimate_of, in_money
from nightshift.settings import Settings

PER_ACCEPTED = ("seconds", "tokens", "prompt_tokens", "gpu_hours", "money")


@dataclass(slots=True)
class Spent:
    """Of one strategy, over its shards."""

    seconds: float = 0.0
    tokens: int = 0
    prompt_tokens: int = 0
    learning_seconds: float = 0.0
    """Of `seconds`."""
    cached: int = 0
    chunks: int = 0
    chunks_found: int = 0
    gpu_seconds: float = 0.0
    dropped: Counter[str] = field(default_factory=Counter)
    stopped: dict[str, str] = field(default_factory=dict)
    """Shards that ended at their part of the budget, and at which."""
    refused: str | None = None
    fits: set[str] = field(default_factory=set)
    """What was learnt, and has been counted."""

    def add(self, shard: Manifest) -> None:
        stats, run = shard.stats, shard.run
        own = float(run.get("seconds") or 0.0) - float(run.get("fitting_seconds") or 0.0)
        seconds = max(own, float(run.get("making_seconds") or 0.0))
        for key, cost in (run.get("fits") or {}).items():
            if key not in self.fits:
                self.fits.add(key)
                seconds += cost["seconds"]
                self.learning_seconds += cost["seconds"]
                self.prompt_tokens += cost["prompt_tokens"]
        self.seconds += seconds
        self.gpu_seconds += seconds if run.get("gpu") else 0.0
        self.tokens += int(stats.get("tokens") or 0)
        self.prompt_tokens += int(stats.get("prompt_tokens") or 0)
        self.cached += int(run.get("cached") or 0)
        self.chunks += int(run.get("chunks") or 0)
        self.chunks_found += int(run.get("found") or 0)
        self.dropped.update(stats.get("dropped") or {})
        if stats.get("stopped"):
            self.stopped[shard.partition.rpartition("=")[2]] = stats["stopped"]
        self.refused = self.refused or stats.get("refused")


def shard_costs(shards: Iterable[Manifest]) -> dict[str, Spent]:
    """What each strategy's shards took."""
    found: dict[str, Spent] = {}
    for shard in shards:
        found.setdefault(shard.stats["strategy"], Spent()).add(shard)
    return found


def cost_figures(
    spent: Spent | None, estimate: Mapping[str, Any] | None, accepted: int, settings: Settings
) -> dict[str, Any]:
    """One strategy's cost, in all and per accepted sample; None where nothing is known.

    Args:
        estimate: the strategy's row of plan.json.
    """
    figures: dict[str, Any] = dict.fromkeys(
        (
            "seconds",
            "learning_seconds",
            "tokens",
            "prompt_tokens",
            "cached",
            "chunks",
            "chunks_found",
        )
    )
    figures |= {"gpu_hours": None, "money": None}
    if spent is not None:
        figures |= {name: getattr(spent, name) for name in figures if hasattr(spent, name)}
        figures |= in_money(
            settings,
            estimate["model"] if estimate else None,
            seconds=spent.seconds,
            tokens=spent.tokens,
            prompt_tokens=spent.prompt_tokens,
            gpu=spent.gpu_seconds > 0,
        )
    return {
        **figures,
        **{f"{name}_per_accepted": _ratio(figures[name], accepted) for name in PER_ACCEPTED},
        "estimate": estimate_of(estimate, settings) if estimate else None,
    }


def cost_total(rows: Iterable[Mapping[str, Any]], settings: Settings) -> dict[str, Any]:
    """Of the whole night: estimated, spent, per accepted sample.

    Args:
        rows: `cost_figures` with `accepted`.
    """
    rows = list(rows)
    spent = {name: _sum(row[name] for row in rows) for name in PER_ACCEPTED}
    estimates = [row["estimate"] for row in rows if row["estimate"]]
    accepted = sum(row["accepted"] for row in rows)
    return {
        "currency": settings.cost.currency,
        "estimate": {name: _sum(one[name] for one in estimates) for name in PER_ACCEPTED},
        "spent": spent,
        "per_accepted": {name: _ratio(spent[name], accepted) for name in PER_ACCEPTED},
    }


def reasons_for_little(
    name: str,
    *,
    spent: Spent | None,
    lost: Mapping[str, str],
    cut: Iterable[Mapping[str, Any]],
    planned: int | None,
) -> list[str]:
    """Why a strategy made nothing, or less than it was to: in words, the gravest first."""
    why = []
    if name in lost:
        why.append(f"lost: {lost[name]}")
    if spent is not None and spent.refused:
        why.append(f"refused: {spent.refused}")
    if spent is not None and spent.stopped:
        shards = ", ".join(f"{shard} ({said})" for shard, said in sorted(spent.stopped.items()))
        why.append(f"stopped: {shards}")
    if not planned:
        by = [one["why"] for one in cut if one["strategy"] == name]
        why.append(f"no {by[0]} left in the budget" if by else "nothing is short of its samples")
    return why


def _ratio(amount: float | None, number: int) -> float | None:
    return amount / number if amount is not None and number else None


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
