"""What a customer may take next: a few candidates by retrieval, from which a judge chooses.

Half of them are text neighbours of the customer's items among the items that are short of events,
a quarter text neighbours among all, the rest is popular in the customer's categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.customers.probe import text_profiles
from nightshift.generate.customers.shown import ItemLines
from nightshift.generate.neighbours import DECIMALS, TextIndex
from nightshift.generate.shortage import items_by_shortage
from nightshift.generate.sources import Sources
from nightshift.generate.text.variants import most_popular_variant

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
    short: bool
    """Is it short of events: cold, withheld or of the tail."""


class Funnel:
    """Retrieval for one shop; what does not depend on the customer is looked up once."""

    def __init__(self, sources: Sources, lines: ItemLines, size: int) -> None:
        self._sources, self._lines, self._size = sources, lines, size
        vectors, self._row_of_item = sources.texts
        events = sources.snapshot.item_events
        self._item_of_text = most_popular_variant(self._row_of_item, events, len(vectors))
        said = items_by_shortage(sources)
        short = said.filter(pl.col("shortage") > 0)["item"].to_numpy()
        self._is_short = np.zeros(len(events), dtype=np.bool_)
        self._is_short[short] = True
        stands = self._item_of_text[self._row_of_item]  # of each item: which variant stands for it
        self._short = self._index_of(short[self._is_short[stands[short]]])
        self._all = self._index_of(said["item"].to_numpy())
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
            texts_had = set(self._row_of_item[histories.of(row)].tolist())
            had = {self._lines[text] for text in texts_had} | {None}
            by_place = {
                name: _breadth_first([rows[text] for text in own]) for name, rows in near.items()
            }
            filled = self._filled(by_place["short"], by_place["all"], self._of(user), had)
            texts = np.array(filled, dtype=np.int64)
            cosines = (self._sources.texts[0][texts] @ profiles[row]).round(DECIMALS)
            order = np.lexsort((texts, -cosines))
            found.append(
                [self._candidate(int(texts[i]), float(cosines[i])) for i in order.tolist()]
            )
        return found

    def _candidate(self, text: int, similarity: float) -> Candidate:
        item = int(self._item_of_text[text])
        return Candidate(text, item, similarity, bool(self._is_short[item]))

    @staticmethod
    def _near(index: TextIndex, texts: npt.NDArray[np.int32]) -> dict[int, list[int]]:
        """Neighbours of each text, the nearest first; -1 where there is none."""
        rows, _ = index.nearest(texts, _PER_ITEM, min_similarity=-1.0)
        return dict(zip(texts.tolist(), rows.tolist(), strict=True))

    def _filled(
        self, short: list[int], near: list[int], popular: list[int], had: set[str | None]
    ) -> list[int]:
        """Each source up to its share, then whatever there is of the others.

        What is called as something that the customer had, or as another candidate, tells nobody
        anything new: sizes of one product, say.
        """
        chosen: dict[str | None, int] = {}
        shares = (_SHORT_SHARE, 1 - _SHORT_SHARE - _POPULAR_SHARE, _POPULAR_SHARE, 1.0)
        for source, share in zip((short, near, popular, near + popular), shares, strict=True):
            until = min(len(chosen) + max(1, int(share * self._size)), self._size)
            for text in source:
                if len(chosen) == until:
                    break
                if self._lines[text] not in had:
                    chosen.setdefault(self._lines[text], text)
        return list(chosen.values())

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

    def _index_of(self, items: npt.NDArray[np.integer]) -> TextIndex:
        """The texts of these items."""
        vectors, row_of_item = self._sources.texts
        allowed = np.zeros(len(vectors), dtype=np.bool_)
        allowed[row_of_item[items]] = True
        return TextIndex(vectors, allowed)


def _breadth_first(lists: list[list[int]]) -> list[int]:
    """The first of each list, then the second of each … without repeats and without -1."""
    longest = max(map(len, lists), default=0)
    found = (one[k] for k in range(longest) for one in lists if k < len(one))
    return list(dict.fromkeys(text for text in found if text >= 0))


def best_pairs(found: list[Candidate], wanted: int) -> list[tuple[Candidate, Candidate]]:
    """The best candidate that is short of events against the best other, then the second ones …

    So a judge says of a new item whether it would be taken before a known one. Where there are too
    few of one sort, the best that are left are paired. No candidate is in two pairs.
    """
    short = [candidate for candidate in found if candidate.short]
    others = [candidate for candidate in found if not candidate.short]
    pairs = list(zip(short, others, strict=False))[:wanted]
    left = short[len(pairs) :] + others[len(pairs) :]
    left.sort(key=lambda candidate: -candidate.similarity)
    missing = wanted - len(pairs)
    return pairs + list(zip(left[: 2 * missing : 2], left[1 : 2 * missing : 2], strict=False))
