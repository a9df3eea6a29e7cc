"""Text-kNN: items whose text is like what the user had last."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nightshift.histories import Histories
from nightshift.ranking import Codes, Mask, Scores, mask_scores, select_top_k

LAST, DECAY = 10, 0.7
"""The rule, fixed beforehand: the last ten items, each weighing 0.7 of the one after it."""


class TextKnn:
    """Cosine of an item's text with the recency-weighted mean of the user's last items' texts."""

    def __init__(self, vectors: npt.NDArray[np.float32], prior: npt.NDArray[np.float32]) -> None:
        self.vectors, self.prior = vectors, prior

    def top_k(
        self, histories: Histories, k: int, *, candidates: Mask | None, exclude_seen: bool
    ) -> tuple[Codes, Scores]:
        """See `Ranker`."""
        last = histories.last(LAST)  # [users, LAST], -1 in front
        weights = DECAY ** np.arange(LAST - 1, -1, -1, dtype=np.float32) * (last >= 0)
        query = np.einsum("ul,uld->ud", weights, self.vectors[np.maximum(last, 0)])
        scores = query.astype(np.float32) @ self.vectors.T
        scores[histories.lengths == 0] = self.prior
        mask_scores(scores, histories, candidates=candidates, exclude_seen=exclude_seen)
        return select_top_k(scores, k)
