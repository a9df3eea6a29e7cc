"""Which of the shop's customer segments buy what is like an item, more than others do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy import sparse

from nightshift.generate.neighbours import TextIndex
from nightshift.generate.sources import Sources
from nightshift.generate.text.cleaning import clean, gives_orders

EVERYBODY = "all customers"
"""Stands where the shop has no segments, or none stands out."""
_MAX_SEGMENTS = 100
_MIN_CUSTOMERS = 30
"""A segment of fewer says more about its customers than about what they like."""
_CHARS = 40
"""Of a segment's name, in a prompt."""
_NEAREST = 20
"""Texts whose buyers are asked."""
_MIN_SIMILARITY = 0.4
_MIN_BUYERS = 5
_PRIOR = 10.0
"""Buyers of the shop's average that are added: a lift of few buyers is no lift (shrinkage)."""
_MIN_LIFT = 1.05


class Segments:
    """Buyers by text and segment, counted once: as large as the distinct pairs of both."""

    def __init__(self, sources: Sources) -> None:
        self._codes = dict(sources.snapshot.item_codes.select("item_id", "item").iter_rows())
        self._vectors, self._row_of_item = sources.texts
        users = sources.snapshot.users
        known = users["segment"].drop_nulls().value_counts(sort=True).sort("count", "segment")
        known = known.filter(pl.col("count") >= _MIN_CUSTOMERS)
        names = known["segment"].tail(_MAX_SEGMENTS).to_list()
        shown = {name: clean(name, _CHARS) for name in names if not gives_orders(name)}
        self.labels = {name: label for name, label in sorted(shown.items()) if label}
        """Each segment, as the shop writes it, and how a prompt does."""
        self.names = list(self.labels)
        code = {name: place for place, name in enumerate(self.names)}
        of_user = np.array([code.get(name, -1) for name in users["segment"]], dtype=np.int64)
        self._buyers = self._count(sources, of_user)
        self._allowed = np.diff(self._buyers.indptr) > 0
        counts = np.bincount(of_user[of_user >= 0], minlength=len(self.names))
        self._usual = counts / max(1, counts.sum())

    def _count(self, sources: Sources, of_user: np.ndarray) -> sparse.csr_array:
        """Distinct customers of each text, by segment: [texts, segments]."""
        histories = sources.snapshot.histories
        users = np.repeat(np.arange(len(histories)), histories.lengths)
        pairs = pl.DataFrame(
            {"text": self._row_of_item[histories.items], "segment": of_user[users], "user": users}
        )
        rows = pairs.filter(pl.col("segment") >= 0).unique()
        shape = (len(self._vectors), max(1, len(self.names)))
        ones = np.ones(rows.height)
        return sparse.csr_array((ones, (rows["text"].to_numpy(), rows["segment"])), shape=shape)

    def of_items(self, item_ids: Sequence[str]) -> dict[str, list[str]]:
        """The segments that stand out among the buyers of the nearest texts, the best first."""
        if not self.names:
            return {item: [] for item in item_ids}
        texts = self._row_of_item[[self._codes[item] for item in item_ids]]
        index = TextIndex(self._vectors, self._allowed)
        near, _ = index.nearest(texts, _NEAREST, min_similarity=_MIN_SIMILARITY)
        found = {}
        for item, own, others in zip(item_ids, texts, near, strict=True):
            rows = np.concatenate([[own], others[others >= 0]])
            counts = np.asarray(self._buyers[rows].sum(axis=0)).ravel()
            lift = (counts + _PRIOR * self._usual) / (counts.sum() + _PRIOR)
            lift = lift / np.maximum(self._usual, 1e-9)
            enough = (counts >= _MIN_BUYERS) & (lift >= _MIN_LIFT)
            order = np.argsort(-np.where(enough, lift, 0.0), kind="stable")
            found[item] = [self.names[i] for i in order if enough[i]]
        return found
