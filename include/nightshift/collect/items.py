"""The catalogue as the night may see it: cleaned texts, plausible prices, withheld or not."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import polars as pl

from nightshift.collect import window
from nightshift.collect.events import NIGHT_ITEMS
from nightshift.collect.texts import READ_AHEAD, clean, joined
from nightshift.collect.window import Window

if TYPE_CHECKING:
    from nightshift.settings import CollectSettings
    from nightshift.store.arrow import Session

TEXTS = ("title", "brand", "category", "description")

_STATEMENT = f"""
    select distinct on (item_id) item_id, withheld, price, listed_at,
           {", ".join(f"left({name}, :read_ahead) as {name}" for name in TEXTS)}
    from ({window.ITEMS}) i join {NIGHT_ITEMS} n using (item_id)
    order by item_id, title, description, price, listed_at"""  # noqa: S608


def read(
    session: Session, seen: Window, rules: CollectSettings, changed: Counter[str]
) -> pl.DataFrame:
    """Sorted by item_id: ids, texts, `text`, price, listed_at, withheld.

    `changed` counts cut texts and prices that cannot be (they become null).
    """
    limit = rules.max_text_chars
    frames = []
    for batch in session.batches(_STATEMENT, before=seen.before, read_ahead=READ_AHEAD * limit):
        frame = pl.from_arrow(batch)
        assert isinstance(frame, pl.DataFrame)
        frame = frame.with_columns(clean(frame[name], limit, changed) for name in TEXTS)
        plausible = frame["price"].is_between(0, rules.max_price, closed="right")
        changed["price"] += int((~plausible).sum())
        frames.append(
            frame.with_columns(
                joined(frame, list(TEXTS), limit).fill_null("").alias("text"),
                price=pl.when(plausible).then(pl.col("price")),
            )
        )
    return pl.concat(frames).sort("item_id")
