"""The shop's own searches before the night, as far as a language model may be shown them.

What one customer typed may say who that customer is (Barbaro & Zeller, 2006, on AOL's log), and a
model repeats what it was shown. So a query counts only when several customers typed it.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from nightshift.generate.hashing import stable_hash
from nightshift.generate.text.cleaning import clean, gives_orders
from nightshift.generate.text.queries import Pair, guess_intent, read_query, shipped_pairs, shown
from nightshift.snapshot import Snapshot

MIN_PAIRS = 20
"""With fewer the same examples would stand in every prompt."""
_MAX_PAIRS = 200
_MAX_OF_ITEM = 10
_QUERY_CHARS = 60
_GOOD_GRADE = 0.75
"""Share of the best grade from which a graded item answers its query."""


def shared_searches(snapshot: Snapshot, searchers: int) -> pl.DataFrame:
    """The searches whose query at least so many customers typed.

    Guests are no customers: nobody knows how many they are. A log that names nobody at all is taken
    as it is; what is in it is the shop's own choice, as judged pairs are.
    """
    log = snapshot.searches.drop_nulls("query")
    if log["user_key"].is_null().all():
        return log
    return log.filter(pl.col("user_key").drop_nulls().n_unique().over("query") >= searchers)


def example_pairs(
    snapshot: Snapshot, max_chars: int, *, searchers: int
) -> tuple[tuple[Pair, ...], str]:
    """Pairs for prompts and where they come from: "shop" or "shipped"."""
    pairs = shop_pairs(snapshot, max_chars, most=_MAX_PAIRS, searchers=searchers)
    if len(pairs) < MIN_PAIRS:
        return shipped_examples(max_chars), "shipped"
    return pairs, "shop"


def shipped_examples(max_chars: int) -> tuple[Pair, ...]:
    """The hand-written pairs, their products as long as a prompt shows them."""
    return tuple(replace(pair, text=shown(pair.text, max_chars)) for pair in shipped_pairs())


def shop_pairs(
    snapshot: Snapshot, max_chars: int, *, most: int, searchers: int, per_query: int = 1
) -> tuple[Pair, ...]:
    """What customers typed and which items answered it; none withheld, nothing personal.

    The sample is drawn by a hash of the query, so that it hardly changes from night to night.

    Args:
        searchers: customers who typed a query, at least.
        per_query: items that one query may stand with.
    """
    pairs: list[Pair] = []
    for query, title, text in _searches(snapshot, per_query, searchers).iter_rows():
        if gives_orders(text) or gives_orders(query):
            continue
        product = shown(text, max_chars)
        parsed, _ = read_query(query, product, title, [])
        if parsed is not None:
            pairs.append(Pair(product, parsed, guess_intent(parsed, product)))
        if len(pairs) == most:
            break
    return tuple(pairs)


def _searches(snapshot: Snapshot, per_query: int, searchers: int) -> pl.DataFrame:
    """Answered queries with their items: `query`, `title`, `text`, in the order of a hash."""
    nth = pl.int_range(pl.len()).over("query")
    return (
        _answered(shared_searches(snapshot, searchers), snapshot)
        .filter(nth < per_query)
        .select("query", "title", "text")
    )


def _answered(searches: pl.DataFrame, snapshot: Snapshot) -> pl.DataFrame:
    """Answered queries: `query`, `item_id`, `title`, `text`, in the order of hashes of both."""
    searches = searches.filter(pl.col("item_id").is_not_null())
    if searches.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(("query", "item_id", "title", "text"), pl.String))
    best = searches["grade"].max()
    good = pl.col("grade").is_null()
    if isinstance(best, (int, float)):
        good |= pl.col("grade") >= _GOOD_GRADE * best
    answered = searches.filter(good).select("query", "item_id").unique()
    joined = answered.join(
        snapshot.items.filter(~pl.col("withheld")).select(
            "item_id", pl.col("title").fill_null(""), "text"
        ),
        on="item_id",
    ).drop_nulls("text")
    return (
        joined.with_columns(
            of_query=pl.Series(stable_hash(joined["query"].to_list())),
            of_item=pl.Series(stable_hash(joined["item_id"].to_list())),
        )
        .sort("of_query", "of_item")
        .select("query", "item_id", "title", "text")
    )


def queries_of_items(snapshot: Snapshot) -> dict[str, list[str]]:
    """The shop's own queries for each item that is not withheld, in the order of a hash.

    For who makes variants of them without a language model: no prompt may show them.
    """
    found: dict[str, list[str]] = {}
    for query, item_id, title, text in _answered(snapshot.searches, snapshot).iter_rows():
        if gives_orders(query) or gives_orders(text):
            continue
        parsed, reason = read_query(clean(query, _QUERY_CHARS), text, title, [])
        if reason == "copy_of_title":  # somebody typed the title; a word of it will be another
            parsed = clean(query, _QUERY_CHARS).lower()
        if parsed is not None:
            of_item = found.setdefault(item_id, [])
            if parsed not in of_item and len(of_item) < _MAX_OF_ITEM:
                of_item.append(parsed)
    return found
