"""How near a text is to the item it was written for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_DECIMALS = 4
"""Half-precision vectors carry no more; rounding keeps the threshold off the last bits."""


def relevance(
    texts: npt.NDArray[np.float32], items: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Cosine of each pair of rows; both [rows, width], unit length. [rows]"""
    cosines: npt.NDArray[np.float64] = np.einsum("ij,ij->i", texts, items, dtype=np.float64).round(
        _DECIMALS
    )
    return cosines.clip(-1.0, 1.0)
