"""Item-kNN: cosine of co-occurrence in users' histories (Sarwar et al., 2001; Deshpande & Karypis,
2004), the nearest neighbours of each item only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from nightshift.histories import Histories
from nightshift.ranking import Codes, Mask, Scores, mask_scores, select_top_k

NEIGHBOURS = 100
LAST_LEARNT = 200  # the latest items of a user that co-occur: bounds the work a heavy buyer makes
LAST_ASKED = 50  # the latest items of a user that vote
_BLOCK = 1024  # items whose neighbours are computed at once; 10 bits of the sorting key
_TIE = 1e-6  # weight of popularity: decides among items that nothing votes for


class ItemKnn:
    """An item's score is the sum of its similarities to the user's last items."""

    def __init__(self, histories: Histories, prior: npt.NDArray[np.float32]) -> None:
        self.prior = prior * np.float32(_TIE)
        self.similar = neighbours(incidence(histories, LAST_LEARNT, len(prior)))

    def top_k(
        self, histories: Histories, k: int, *, candidates: Mask | None, exclude_seen: bool
    ) -> tuple[Codes, Scores]:
        """See `Ranker`."""
        votes = incidence(histories, LAST_ASKED, len(self.prior)) @ self.similar
        scores = votes.toarray() + self.prior
        mask_scores(scores, histories, candidates=candidates, exclude_seen=exclude_seen)
        return select_top_k(scores, k)


def incidence(histories: Histories, last: int, n_items: int) -> Any:
    """1 where a user has an item among the last `last`: CSR [users, items] float32."""
    age = np.repeat(histories.indptr[1:], histories.lengths) - np.arange(len(histories.items))
    recent = age <= last
    rows = np.repeat(np.arange(len(histories)), histories.lengths)[recent]
    ones = np.ones(len(rows), dtype=np.float32)
    shape = (len(histories), n_items)
    matrix = sparse.csr_matrix((ones, (rows, histories.items[recent])), shape=shape)
    matrix.data[:] = 1  # an item bought twice co-occurs once
    return matrix


def neighbours(matrix: Any) -> Any:
    """Cosine of the item columns, the best `NEIGHBOURS` of each item, none of itself: CSR."""
    norms = np.sqrt(np.asarray(matrix.sum(axis=0)).ravel())
    scale = np.divide(1, norms, out=np.zeros_like(norms), where=norms > 0).astype(np.float32)
    unit = (matrix @ sparse.diags(scale)).tocsc()
    of_user = unit.tocsr()
    blocks = [
        _keep_best((unit[:, start : start + _BLOCK].T.tocsr() @ of_user).tocsr(), start)
        for start in range(0, unit.shape[1], _BLOCK)
    ]
    return sparse.vstack(blocks, format="csr", dtype=np.float32)


def _keep_best(block: Any, first: int) -> Any:
    """The largest entries of each row, without the diagonal that starts at column `first`.

    Row, falling value and column are packed into one 64-bit key: sorting keys is several times
    faster than sorting by three arrays. The bits of positive floats sort as the floats do.
    """
    rows = np.repeat(np.arange(block.shape[0], dtype=np.uint64), np.diff(block.indptr))
    columns = block.indices.astype(np.uint64)
    other = columns != rows + np.uint64(first)
    width = np.uint64(max(block.shape[1] - 1, 1).bit_length())
    falling = ~block.data.astype(np.float32).view(np.uint32)
    key = (rows << np.uint64(54)) | (falling.astype(np.uint64) << width) | columns
    key = np.sort(key[other])
    row = (key >> np.uint64(54)).astype(np.int64)
    best = np.arange(len(row)) - np.searchsorted(row, np.arange(block.shape[0]))[row] < NEIGHBOURS
    key, row = key[best], row[best]
    value = ~(key >> width).astype(np.uint32)
    column = (key & ((np.uint64(1) << width) - np.uint64(1))).astype(np.int64)
    return sparse.csr_matrix((value.view(np.float32), (row, column)), shape=block.shape)
