"""What a customer may take next: a few candidates by retrieval, from which a judge chooses.

Half of them are text neighbours of the customer's items among the items that are short of events,
a quarter text neighbours among all, the rest is popular in the customer's categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.customers import ItemLines
from nightshift.generate.neighbours import DECIMALS, TextIndex
from nightshift.generate.probe import text_profiles
from nightshift.generate.shortage import items_by_shortage
from nightshift.generate.sources import Sources
from nightshift.generate.variants import most_popular_variant

_PER_ITEM = 10
"""Text neighbours looked at for each item of the history that is shown."""
_SHORT_SHARE, _POPULAR_SHARE = 0.5, 0.25


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item that the customer never had, and how near it is to what the customer took."""

    text: int
    item: int
    similarity: float
    """Cosine with the customer's text profile."""


class Funnel:
    """Retrieval for one shop; what does not depend on the customer is looked up once."""

    def __init__(self, sources: Sources, lines: ItemLines, size: int) -> None:
        self._sources, self._lines, self._size = sources, lines, size
        vectors, self._row_of_item = sources.texts
        events = sources.snapshot.item_events
        self._item_of_text = most_popular_variant(self._row_of_item, events, len(vectors))
        short = items_by_shortage(sources).filter(pl.col("shortage") > 0)["item"].to_numpy()
        said = items_by_shortage(sources)["item"].to_numpy()
        self._short = TextIndex(vectors, self._only(self._row_of_item[short]))
        self._all = TextIndex(vectors, self._only(self._row_of_item[said]))
        self._popular = self._by_category()

    def candidates(
        self, users: npt.NDArray[np.int64], shown: list[dict[int, str]]
    ) -> list[list[Candidate]]:
        """Of each user, the nearest to the user's text profile first: [users].

        Args:
            shown: text rows of each user's history in the prompt: what neighbours are looked for.
        """
        histories = self._sources.snapshot.histories.take(users)
        profiles = text_profiles(self._sources, histories)
        asked = np.unique([text for found in shown for text in found]).astype(np.int32)
        near = {
            "short": self._near(self._short, asked),
            "all": self._near(self._all, asked),
        }
        found = []
        for row, (user, own) in enumerate(zip(users.tolist(), shown, strict=True)):
            had = set(self._row_of_item[histories.of(row)].tolist())
            by_place = {
                name: _breadth_first([rows[text] for text in own]) for name, rows in near.items()
            }
            filled = self._filled(by_place["short"], by_place["all"], self._of(user), had)
            texts = np.array(filled, dtype=np.int64)
            cosines = (self._sources.texts[0][texts] @ profiles[row]).round(DECIMALS)
            order = np.lexsort((texts, -cosines))
            found.append(
                [
                    Candidate(int(texts[i]), int(self._item_of_text[texts[i]]), float(cosines[i]))
                    for i in order.tolist()
                ]
            )
        return found

    @staticmethod
    def _near(index: TextIndex, texts: npt.NDArray[np.int32]) -> dict[int, list[int]]:
        """Neighbours of each text, the nearest first; -1 where there is none."""
        rows, _ = index.nearest(texts, _PER_ITEM, min_similarity=-1.0)
        return dict(zip(texts.tolist(), rows.tolist(), strict=True))

    def _filled(
        self, short: list[int], near: list[int], popular: list[int], had: set[int]
    ) -> list[int]:
        """Each source up to its share, then whatever there is of the others."""
        chosen: dict[int, None] = {}
        shares = (_SHORT_SHARE, 1 - _SHORT_SHARE - _POPULAR_SHARE, _POPULAR_SHARE, 1.0)
        for source, share in zip((short, near, popular, near + popular), shares, strict=True):
            until = min(len(chosen) + max(1, int(share * self._size)), self._size)
            for text in source:
                if len(chosen) == until:
                    break
                if text not in had and self._lines[text] is not None:
                    chosen[text] = None
        return list(chosen)

    def _of(self, user: int) -> list[int]:
        """Texts that are popular in the user's categories; in the shop where it has none."""
        categories = self._sources.snapshot.users["top_categories"][user].to_list()
        lists = [self._popular.get(name, []) for name in categories] or [self._popular[None]]
        return _breadth_first(lists)

    def _by_category(self) -> dict[str | None, list[int]]:
        """The texts with the most events of the last week, then of all time, best first."""
        items = (
            self._sources.snapshot.items.with_row_index("item")
            .with_columns(row=pl.Series(self._row_of_item))
            .filter((pl.col("events") > 0) & ~pl.col("withheld"))
            .sort(["events_7d", "events", "item"], descending=[True, True, False])
            .unique("row", keep="first", maintain_order=True)
        )
        grouped = items.group_by("category", maintain_order=True).agg(
            pl.col("row").head(self._size)
        )
        by_category: dict[str | None, list[int]] = dict(grouped.iter_rows())
        return by_category | {None: items["row"].head(self._size).to_list()}

    def _only(self, rows: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        allowed = np.zeros(len(self._item_of_text), dtype=np.bool_)
        allowed[rows] = True
        return allowed


def _breadth_first(lists: list[list[int]]) -> list[int]:
    """The first of each list, then the second of each … without repeats and without -1."""
    longest = max(map(len, lists), default=0)
    found = (one[k] for k in range(longest) for one in lists if k < len(one))
    return list(dict.fromkeys(text for text in found if text >= 0))
