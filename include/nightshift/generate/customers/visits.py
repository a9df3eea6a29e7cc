"""Visits of customers as prompts show them: who, what they saw, and a line of searches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache

import polars as pl

from nightshift.generate.customers.shown import common_segments, line_of
from nightshift.generate.hashing import stable_hash
from nightshift.generate.text.cleaning import gives_orders, words
from nightshift.generate.text.queries import QUERY_PATTERN, Pair, read_query
from nightshift.generate.text.search_log import shared_searches
from nightshift.generate.text.templates import Fields, prompt_file
from nightshift.snapshot import Snapshot

MIN_SEARCHES = 2
"""One search is a query, not a visit."""
_MIN_VISITS = 20
"""With fewer of the shop's own the same ones would stand in every prompt."""
_MAX_VISITS = 200
_BREAK = ";"
_SEEN_CHARS = 50
VISIT_PATTERN = f"{QUERY_PATTERN}({_BREAK}{QUERY_PATTERN})+"
"""A line behind a prompt that can be the searches of a visit."""


def customer_line(
    segment: str | None, category: str | None, price_band: str | None, seen: str | None
) -> str:
    """A customer in a few words; what the shop does not say is left out."""
    parts = [
        line_of(segment or "", _SEEN_CHARS),
        f"likes {category}" if (category := line_of(category or "", _SEEN_CHARS)) else None,
        f"{price_band} prices" if price_band else None,
        f"saw {seen}" if seen else None,
    ]
    return ", ".join(part for part in parts if part) or "anybody"


def read_searches(
    raw: str, seen: str, shots: Sequence[Fields], *, most: int
) -> tuple[list[str], str]:
    """What a model wrote behind a prompt, as searches.

    Args:
        raw: the continuation, one line.
        seen: the product in the prompt, which a search may not merely repeat.
        shots: the examples in the prompt.

    Returns:
        Distinct searches and "", or none and the reason why it is no visit.
    """
    if gives_orders(raw):
        return [], "not_a_visit"
    shown = [Pair(shot["customer"], s) for shot in shots for s in split_line(shot["searches"])]
    found: dict[str, None] = {}
    reason = "too_few_searches"
    for part in split_line(raw):
        query, why = read_query(part, seen, "", shown)
        if query is not None and not _said(query, found):
            found[query] = None
        elif why in ("personal_data", "leaked_example"):
            reason = why
    searches = list(found)[:most]
    return (searches, "") if len(searches) >= MIN_SEARCHES else ([], reason)


def split_line(line: str) -> list[str]:
    return [part for part in (p.strip() for p in line.split(_BREAK)) if part]


def _said(query: str, found: dict[str, None]) -> bool:
    """The same words in another order are the same search."""
    return any(set(words(query)) == set(words(other)) for other in found)


@cache
def shipped_visits() -> tuple[Fields, ...]:
    """Hand-written visits to many kinds of shops."""
    return tuple(dict(json.loads(line)) for line in prompt_file("visits.jsonl").splitlines())


def shop_visits(snapshot: Snapshot, *, searchers: int) -> list[Fields]:
    """Visits from the shop's own search log: a customer's searches of one day, two or more.

    Drawn by a hash of the visit, so that they hardly change from night to night; empty where there
    are fewer than twenty. No withheld item is shown, no user's key, no segment of a few customers,
    and no query that fewer than `searchers` typed.
    """
    log = shared_searches(snapshot, searchers).drop_nulls("user_key")
    users = snapshot.users.select("user_key", segment=common_segments(snapshot))
    visits = (
        log.sort("user_key", "occurred_at", "query")
        .group_by("user_key", day=pl.col("occurred_at").dt.date(), maintain_order=True)
        .agg(queries=pl.col("query").unique(maintain_order=True), item_id=pl.col("item_id").first())
        .filter(pl.col("queries").list.len() >= MIN_SEARCHES)
        .join(users, on="user_key", how="left")
        .join(
            snapshot.items.filter(~pl.col("withheld")).select(
                "item_id", "title", "category", "price_band"
            ),
            on="item_id",
            how="left",
        )
    )
    keys = [f"{user} {day}" for user, day in visits.select("user_key", "day").iter_rows()]
    ordered = visits.with_columns(hash=pl.Series(stable_hash(keys), dtype=pl.UInt64)).sort("hash")
    found: list[Fields] = []
    for row in ordered.iter_rows(named=True):
        seen = line_of(row["title"] or "", _SEEN_CHARS, sizes=False)
        searches, _ = read_searches(f"{_BREAK} ".join(row["queries"]), seen or "", [], most=4)
        if searches:
            who = customer_line(row["segment"], row["category"], row["price_band"], seen)
            found.append({"customer": who, "searches": f"{_BREAK} ".join(searches)})
        if len(found) == _MAX_VISITS:
            break
    return found if len(found) >= _MIN_VISITS else []
