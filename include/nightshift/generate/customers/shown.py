"""What a prompt may show of a customer: a few items in words, the segment, and never a name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.ragged import first_of_groups
from nightshift.generate.shortage import MIN_LETTERS, shortage
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.base import WISHES
from nightshift.generate.text.cleaning import clean, gives_orders, words
from nightshift.histories import Histories
from nightshift.snapshot import Snapshot

_WINDOW = 200
"""Latest events that are looked at; what lies further back says little of tonight."""
_HALF_LIFE = 20
"""An event counts half as much when so many came after it."""
_DECIMALS = 6
"""Of an item's weight: the last bits must not decide an order."""
MIN_SHOWN = 2
"""Items that a history must have to be shown."""
_ITEM_CHARS = 60
_MIN_OF_SEGMENT = 5
"""Customers of a segment that a prompt about one of them may name."""
_SEGMENT_CHARS = 30
_LOOKED_AT = 20
"""Times the length of a line: what lies behind is not looked at."""
_SIZE = re.compile(
    r"""
      (?<!\w)[\d.]+(?:[.,/x&-]\d+)*\s*-?%?
      (?:fl\W{0,2})?(?:oz|ounces?|m?l|k?g|lbs?|ct|pk|count|pcs?|pack|inch|ft|ga|dz|ea|cm|mm)?(?!\w)\.?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_PACKS = re.compile(r"\(?\b(?:pack|set|box|case|lot)s?\s+of\b\s*\)?", re.IGNORECASE)
_DANGLING = re.compile(r"[\s,]*,[\s,]*")
_EMPTY = re.compile(r"\(\W*\)")
_LOW_RATING = 2.0
"""Of five stars: an item rated so was taken, but it is no interest."""
_BREAK = ";"
"""Stands between the items of a line, so it may not stand inside one."""


class ItemLines:
    """What each distinct text of the catalogue is called in a prompt; each is cleaned once.

    Title and category: brands like "private" and sizes say little of a taste, and a small model
    goes on counting from numbers.
    """

    def __init__(self, sources: Sources) -> None:
        rows = sources.texts[1]
        order = np.argsort(rows, kind="stable")
        firsts = order[first_of_groups(rows[order])]
        items = sources.snapshot.items.select(
            pl.concat_str("title", "category", separator=", ", ignore_nulls=True)
        ).to_series()
        self._texts: dict[int, str] = dict(
            zip(rows[firsts].tolist(), items.gather(firsts), strict=True)
        )
        self._lines: dict[int, str | None] = {}

    def __getitem__(self, row: int) -> str | None:
        """The line of a text row; None when the text says nothing, or speaks to a model."""
        if row not in self._lines:
            self._lines[row] = line_of(self._texts[row], _ITEM_CHARS, sizes=False)
        return self._lines[row]


def line_of(text: str, max_chars: int, *, sizes: bool = True) -> str | None:
    """A shop's text as an entry of a prompt's list, or None when it must not be shown.

    No colon is left in it: nothing that looks like a label of the prompt.
    """
    text = text[: _LOOKED_AT * max_chars]
    if gives_orders(text):
        return None
    line = clean(text, _LOOKED_AT * max_chars)
    if not sizes:
        line = _EMPTY.sub(" ", _PACKS.sub(" ", _SIZE.sub(" ", line)))
    line = clean(line, max_chars).replace(_BREAK, ",").replace(":", ",")
    line = _DANGLING.sub(", ", line).strip(" ,.&/+-")
    return line if sum(c.isalpha() for c in line) >= MIN_LETTERS else None


def favourites(
    sources: Sources,
    users: npt.NDArray[np.int64],
    histories: Histories,
    *,
    disliked: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Distinct texts of each user's latest items, by how often and how lately they were taken.

    A text weighs the sum of 2 ** (-age / 20) over the events with it; age 0 is the newest event.

    Args:
        users: codes, [n].
        histories: theirs, or what of them may be looked at, [n].
        disliked: of `disliked_pairs`: left out.

    Returns:
        Row in `users` and text row, sorted by row and falling weight: arrays of one length.
    """
    last = histories.last(_WINDOW)
    row, place = np.nonzero(last >= 0)
    items = last[row, place].astype(np.int64)
    liked = ~contains(disliked, users[row] * sources.snapshot.items.height + items)
    row, place, items = row[liked], place[liked], items[liked]
    vectors, row_of_item = sources.texts
    weight = 2.0 ** (-(_WINDOW - 1 - place) / _HALF_LIFE)
    keys, of_event = np.unique(row * len(vectors) + row_of_item[items], return_inverse=True)
    total = np.bincount(of_event, weights=weight, minlength=len(keys)).round(_DECIMALS)
    row, text = np.divmod(keys, max(len(vectors), 1))
    order = np.lexsort((text, -total, row))
    return row[order], text[order]


def shown_items(
    sources: Sources,
    lines: ItemLines,
    users: npt.NDArray[np.int64],
    histories: Histories,
    *,
    most: int,
    disliked: npt.NDArray[np.int64],
) -> list[dict[int, str]]:
    """The best `most` readable texts of each user as lines, text row -> line: [users].

    Of texts that look the same once they are cleaned the first stays.
    """
    shown: list[dict[int, str]] = [{} for _ in users]
    said: list[set[tuple[str, ...]]] = [set() for _ in users]
    rows, texts = favourites(sources, users, histories, disliked=disliked)
    for row, text in zip(rows.tolist(), texts.tolist(), strict=True):
        line = lines[text] if len(shown[row]) < most else None
        if line is not None and tuple(words(line)) not in said[row]:
            said[row].add(tuple(words(line)))
            shown[row][text] = line
    return shown


def common_segments(snapshot: Snapshot) -> pl.Series:
    """Each user's segment; null where too few share it to hide in it: [users]."""
    size = pl.len().over("segment")
    found = pl.when(size >= _MIN_OF_SEGMENT).then("segment").alias("segment")
    return snapshot.users.select(found).to_series()


def segments_of(snapshot: Snapshot, users: npt.NDArray[np.int64]) -> list[str]:
    """What the shop says of each user and of others, cleaned; empty where nothing: [users]."""
    found = common_segments(snapshot).gather(users)
    return [line_of(text or "", _SEGMENT_CHARS) or "" for text in found]


def disliked_pairs(snapshot: Snapshot) -> npt.NDArray[np.int64]:
    """Sorted user * items + item of what was rated at most 2 of 5, in reviews or rating events."""
    pair = ("user_key", "item_id")
    low = pl.col("rating") <= _LOW_RATING
    reviewed = snapshot.reviews.filter(low).select(pair)
    rated = (
        snapshot.events()
        .filter((pl.col("kind") == "rating") & (pl.col("value") <= _LOW_RATING))
        .select(pair)
        .collect()
    )
    coded = (
        pl.concat([reviewed, rated])
        .join(snapshot.user_codes, on="user_key")
        .join(snapshot.item_codes, on="item_id")
    )
    pairs = coded["user"].to_numpy() * snapshot.items.height + coded["item"].to_numpy()
    return np.unique(pairs.astype(np.int64))


def customers_by_shortage(sources: Sources, budget: int) -> pl.DataFrame:
    """Wishes for customers with at least two items, those with the fewest events first.

    Of one item alone a profile would be its title, and a taste a guess.
    """
    tail = sources.settings.generate.tail_events
    return (
        sources.snapshot.users.with_columns(hash=pl.Series(sources.user_hashes))
        .filter(pl.col("items") >= MIN_SHOWN)
        .sort(["events", "last_event", "hash"], descending=[False, True, False])
        .select(
            pl.lit(None, pl.String).alias("item_id"),
            "user_key",
            shortage(pl.col("events"), tail).alias("shortage"),
            pl.lit(budget, pl.Int64).alias("budget"),
        )
        .select(WISHES)
    )


def contains(
    ordered: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which of `wanted` are in the sorted `ordered`: [wanted]."""
    if not len(ordered):
        return np.zeros(len(wanted), dtype=np.bool_)
    at = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    found: npt.NDArray[np.bool_] = ordered[at] == wanted
    return found


def listed(lines: Sequence[str]) -> str:
    """Entries of a prompt's list in one line."""
    return f"{_BREAK} ".join(lines)
