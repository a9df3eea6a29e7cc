"""Items that share a text are variants of one product: which of them stands for the text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nightshift.generate.ragged import first_of_groups


def most_popular_variant(
    row_of_item: npt.NDArray[np.int32], events: npt.NDArray[np.int64], n_texts: int
) -> npt.NDArray[np.int64]:
    """The item with the most events of each text, equals by code; -1 for no item: [texts]."""
    order = np.lexsort((np.arange(len(events)), -events, row_of_item))
    best = order[first_of_groups(row_of_item[order])]
    item_of_text = np.full(n_texts, -1, dtype=np.int64)
    item_of_text[row_of_item[best]] = best
    return item_of_text
