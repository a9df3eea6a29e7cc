"""Personal frequency: what the user buys most often, then what is popular.

The baseline to beat in a shop whose customers come back for the same things (Hu et al., 2020,
"Modeling personalized item frequency information for next-basket recommendation").
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nightshift.histories import Histories
from nightshift.ranking import Codes, Mask, Scores, mask_scores, select_top_k


class PersonalFrequency:
    """Counts of the user's own items; equal counts and the rest by popularity."""

    def __init__(self, prior: npt.NDArray[np.float32]) -> None:
        self.prior = prior

    def top_k(
        self, histories: Histories, k: int, *, candidates: Mask | None, exclude_seen: bool
    ) -> tuple[Codes, Scores]:
        """See `Ranker`."""
        scores = np.tile(self.prior, (len(histories), 1))  # in (0, 1]: below any count
        rows = np.repeat(np.arange(len(histories)), histories.lengths)
        np.add.at(scores, (rows, histories.items), np.float32(1))
        mask_scores(scores, histories, candidates=candidates, exclude_seen=exclude_seen)
        return select_top_k(scores, k)
