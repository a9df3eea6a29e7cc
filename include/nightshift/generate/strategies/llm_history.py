"""Histories of customers that are not there yet: what they would search for, and find.

A customer is made up from the shop's own mix of segments, favourite categories and price bands,
and from one product of such a category; a language model writes what that customer types into the
search box; each search is answered by the nearest item. A new customer's first clicks come so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.customers.made_up import (
    UNKNOWN,
    customer_hashes,
    draw_conditions,
    wishes,
)
from nightshift.generate.customers.shown import ItemLines
from nightshift.generate.customers.visits import (
    MIN_SEARCHES,
    VISIT_PATTERN,
    customer_line,
    read_searches,
    shipped_visits,
    shop_visits,
)
from nightshift.generate.hashing import combine, gumbel
from nightshift.generate.neighbours import TextIndex
from nightshift.generate.shortage import items_by_shortage
from nightshift.generate.strategies.bases.prompted import PromptedStrategy, Row
from nightshift.generate.text.nearest_examples import nearest_examples
from nightshift.generate.text.templates import Fields
from nightshift.generate.text.variants import most_popular_variant
from nightshift.text.encoder import encoder_digest

_EXAMPLES = 6
"""Worked examples that the prompts of a shop without a search log are drawn from."""
_POPULARITY_POWER = 0.5
"""A product is seen as often as the root of its events says: also those of the long tail are."""
_SEEN = 102
"""Salt of the draw of the product that a customer saw."""
_DECIMALS = 3


class LlmHistory(PromptedStrategy):
    name = "llm_history"
    version = "1"
    produces = "sequence"
    prompt_name = "customer_searches"
    asks_about_items = False
    pattern = VISIT_PATTERN

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        return wishes(self.sources, self.own_settings["customers"])

    def missing(self) -> str | None:
        """A shop without any customer has no mix to draw new ones from."""
        return None if self.sources.snapshot.users["events"].sum() else "the shop has no customer"

    def examples(self) -> tuple[Sequence[Fields], str]:
        return self._examples

    @cached_property
    def _examples(self) -> tuple[Sequence[Fields], str]:
        snapshot = self.sources.snapshot
        own = shop_visits(snapshot, searchers=self.sources.settings.generate.min_searchers)
        if own:
            return own, "shop"
        return nearest_examples(shipped_visits(), "customer", snapshot, _EXAMPLES), "shipped"

    @cached_property
    def _lines(self) -> ItemLines:
        return ItemLines(self.sources)

    def asked(self, targets: pl.DataFrame) -> pl.DataFrame:
        keys = targets["user_key"].to_list()
        drawn = draw_conditions(self.sources, keys).with_columns(
            pl.col("segment", "category", "price_band").replace(UNKNOWN, None)
        )
        rows = self.sources.texts[1]
        items = self._seen(keys, drawn["category"], drawn["price_band"])
        seen = [None if item < 0 else self._lines[int(rows[item])] for item in items]
        who = drawn.select("segment", "category", "price_band").iter_rows()
        lines = [
            customer_line(segment, category, band, saw)
            for (segment, category, band), saw in zip(who, seen, strict=True)
        ]
        known = self.sources.snapshot.items["item_id"].gather(np.maximum(items, 0))
        return drawn.select(
            pl.lit(None, pl.String).alias("item_id"),
            "user_key",
            targets["budget"],
            pl.Series("customer", lines),
            pl.Series("seen", [line or "" for line in seen]),
            pl.Series("seen_item", known),
            pl.Series("readable", [line is not None for line in seen]),
        )

    def reads(self, targets: pl.DataFrame) -> Any:
        """With what answers the searches: the encoder, all vectors, and whatever was bought."""
        encoder = encoder_digest(self.sources.settings)
        return [*super().reads(targets), self.sources.digest, encoder]

    def _seen(
        self, keys: Sequence[str], categories: pl.Series, bands: pl.Series
    ) -> npt.NDArray[np.int64]:
        """The item code that each customer saw, -1 for none: of the category and price band if any.

        Drawn by the root of its events, so that tail items are seen, too.
        """
        items = self._items
        popular = _POPULARITY_POWER * np.log1p(self.sources.snapshot.item_events)
        places: dict[tuple[str | None, str | None], npt.NDArray[np.int64]] = {}
        found = np.full(len(keys), -1, dtype=np.int64)
        noise = customer_hashes(keys, self.seed, _SEEN)
        for row, like in enumerate(zip(categories, bands, strict=True)):
            if like not in places:
                places[like] = _of(items, *like)
            codes = places[like]
            if len(codes):
                draws = gumbel(combine(noise[row], self.sources.item_hashes[codes]))
                found[row] = codes[np.argmax(popular[codes] + draws)]
        return found

    @cached_property
    def _items(self) -> pl.DataFrame:
        """`item`, `category`, `price_band` of the items with usable text."""
        described = self.sources.snapshot.items.select("item_id", "category", "price_band")
        return items_by_shortage(self.sources).join(described, on="item_id").sort("item")

    def read(self, raw: str, row: Row, shots: Sequence[Fields]) -> Row | str:
        most = self.own_settings["searches"]
        searches, reason = read_searches(raw, row["seen"], shots, most=most)
        if reason:
            return reason
        told = {"customer": row["customer"], "saw": row["seen_item"], "made_up": row["user_key"]}
        return {"text": "; ".join(searches), "searches": searches} | told

    @cached_property
    def _index(self) -> tuple[TextIndex, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The texts that can be found, the item that stands for each, and its events."""
        vectors, row_of_item = self.sources.texts
        events = self.sources.snapshot.item_events
        allowed = np.zeros(len(vectors), dtype=np.bool_)
        allowed[row_of_item[self._items["item"].to_numpy()]] = True
        item_of_text = most_popular_variant(row_of_item, events, len(vectors))
        return TextIndex(vectors, allowed), item_of_text, events[item_of_text]

    def finish(self, rows: list[Row], dropped: Counter[str]) -> list[Row]:
        """Each search answered by an item; who finds the same as another one is dropped."""
        index, item_of_text, events = self._index
        flat = [search for row in rows for search in row["searches"]]
        if not flat:
            return []
        texts, cosines = index.answer(self.sources.encoder.encode(flat), events)
        item_ids = self.sources.snapshot.items["item_id"]
        ends = np.cumsum([len(row["searches"]) for row in rows])[:-1]
        finished, known = [], set()
        for row, found, near in zip(
            rows, np.split(texts, ends), np.split(cosines, ends), strict=True
        ):
            good = near >= self.own_settings["min_similarity"]
            items = tuple(dict.fromkeys(item_of_text[found[good]].tolist()))
            if len(items) < MIN_SEARCHES:
                dropped["too_few_items"] += 1
            elif items in known:
                dropped["duplicate"] += 1
            else:
                known.add(items)
                path = item_ids.gather(list(items)).to_list()
                scores = {
                    "similarity": round(float(near[good].mean()), _DECIMALS),
                    "answered": round(float(good.mean()), _DECIMALS),
                }
                finished.append(
                    {name: row[name] for name in ("searches", "customer", "saw", "made_up")}
                    | {"item_id": path[-1], "context_items": path[:-1], "scores": scores}
                    | {"user_key": None, "text": None}
                )
        return finished


def _of(items: pl.DataFrame, category: str | None, band: str | None) -> npt.NDArray[np.int64]:
    """Codes of the items of a category and price band; of all where no item is such."""
    same = pl.lit(True)
    if category is not None:
        same &= pl.col("category") == category
    if band is not None:
        same &= (pl.col("price_band") == band).fill_null(False)
    found = items.filter(same)
    return (found if found.height else items)["item"].to_numpy().astype(np.int64)
