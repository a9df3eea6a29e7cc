"""Ranking the catalogue for queries: words, meaning, what was learnt of searches, who asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from nightshift.errors import BadInput
from nightshift.ranking import Codes, Mask, Scores, select_top_k
from nightshift.recommend.model.checkpoint import Checkpoint
from nightshift.recommend.model.features import Floats
from nightshift.recommend.search.hybrid import (
    Plan,
    SearchModel,
    check_queries,
    nothing_for_empty,
    only_candidates,
    search_scores,
)
from nightshift.recommend.search.queries import Asked, Catalogue, Tower
from nightshift.text.bm25 import Indexes

_BLOCK_CELLS = 8_000_000
"""Scores held at a time (queries x items)."""


class QueryRanker:
    """The search side of a stored model.

    Args:
        vectors: the catalogue's sentence embeddings [items, width].
        items: its vectors as histories are read [items, D].
        search: what was learnt of searches; None: the encoder's cosine and BM25 in equal parts.
    """

    def __init__(
        self, stored: Checkpoint, vectors: Floats, items: Tensor, search: SearchModel | None
    ) -> None:
        self.stored, self.vectors, self.items, self.search = stored, vectors, items, search

    def rank(
        self,
        query_vectors: Floats,
        k: int,
        *,
        texts: Sequence[str] | None = None,
        indexes: Indexes | None = None,
        wishes: Callable[[npt.NDArray[np.int64]], Scores] | None = None,
        candidates: Mask | None = None,
    ) -> tuple[Codes, Scores]:
        """The k best items of each query: codes and scores, both [n, k]; see `search`.

        Args:
            query_vectors: sentence embeddings of the queries [n, width].
            texts: the queries themselves. A blank one finds nothing: codes -1, scores -inf.
            indexes: BM25 over the catalogue's texts in item-code order; with `texts` the ranking is
                the plan's hybrid, without either it is the dense part of it.
            wishes: scores of the catalogue for who asks [rows, items], by rows of the queries.
            candidates: [items] which may be found; None: all.

        Raises:
            BadInput: embeddings of another width or not finite; texts or indexes of another length.
        """
        check_queries(query_vectors, self.vectors.shape[1], texts)
        if indexes is not None and len(indexes) != len(self.items):
            raise BadInput(
                f"BM25 is over {len(indexes)} texts, the model ranks {len(self.items)} items.",
                hint="index the texts of the snapshot that the model was loaded for",
            )
        plan = Plan() if self.search is None else self.search.plan
        tower, catalogue = self._tower, self._searched
        block = max(1, _BLOCK_CELLS // max(4 * len(self.items), 1))  # a search holds four of them
        codes, best = [np.zeros((0, k), np.int32)], [np.zeros((0, k), np.float32)]
        for start in range(0, len(query_vectors), block):
            rows = slice(start, min(start + block, len(query_vectors)))
            said = None if texts is None else texts[rows]
            words = None
            if said is not None and indexes is not None:
                words = indexes[plan.stem].scores(said)
            wanted = None
            if plan.history and wishes is not None:
                wanted = wishes(np.arange(rows.start, rows.stop))
            scores = search_scores(
                catalogue, tower, plan, self._asked(query_vectors[rows]), words, wanted
            )
            found = select_top_k(only_candidates(nothing_for_empty(scores, said), candidates), k)
            codes.append(found[0])
            best.append(found[1])
        return np.concatenate(codes), np.concatenate(best)

    def _asked(self, vectors: Floats) -> Asked:
        features = self.stored.whitening.apply(vectors)
        return Asked(torch.from_numpy(vectors), torch.from_numpy(features))

    @cached_property
    def _searched(self) -> Catalogue:
        return Catalogue(torch.from_numpy(self.vectors), normalize(self.items, dim=-1))

    @cached_property
    def _tower(self) -> Tower:
        projection = self.stored.model.query.weight.detach()
        if self.search is None:
            return Tower.untrained(self.vectors.shape[1], projection.shape[1], projection.shape[0])
        return self.search.tower(projection)
