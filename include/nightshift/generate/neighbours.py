"""Text neighbours by cosine, in blocks: memory stays flat in the size of the catalogue."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BLOCK_BYTES = 64 << 20
DECIMALS = 4
"""Cosines are compared after rounding: the last bits of a product depend on the thread count."""

_TIE_DECIMALS = 2
_TIE = 10.0**-_TIE_DECIMALS


class TextIndex:
    """The distinct texts that may be answered, searched exactly."""

    def __init__(self, vectors: npt.NDArray[np.float32], allowed: npt.NDArray[np.bool_]) -> None:
        """
        Args:
            vectors: unit vectors of the distinct texts, [texts, width].
            allowed: which texts may be answered, [texts].
        """
        self.vectors = vectors
        self.rows = np.flatnonzero(allowed).astype(np.int32)
        self._candidates = np.ascontiguousarray(vectors[self.rows])

    def nearest(
        self, queries: npt.NDArray[np.int32], k: int, *, min_similarity: float
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The k most similar other texts of each query text, best first.

        Returns:
            Text rows [queries, k] with -1 where fewer reach `min_similarity`, and their cosines.
        """
        k = min(k, len(self.rows))
        rows = np.full((len(queries), k), -1, dtype=np.int32)
        similarities = np.zeros((len(queries), k), dtype=np.float32)
        if k == 0:
            return rows, similarities
        step = max(1, _BLOCK_BYTES // (4 * len(self.rows)))
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            rows[block], similarities[block] = self._nearest(queries[block], k)
        missing = similarities < min_similarity
        rows[missing] = -1
        similarities[missing] = 0
        return rows, similarities

    def answer(
        self, queries: npt.NDArray[np.float32], popularity: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The text that answers each query: the most popular of those that are the nearest.

        Args:
            queries: unit vectors, [queries, width].
            popularity: [texts] decides between texts whose cosines agree to two decimals.

        Returns:
            Text rows [queries], -1 where there is none to answer with, and their cosines.
        """
        rows = np.full(len(queries), -1, dtype=np.int32)
        similarities = np.zeros(len(queries), dtype=np.float32)
        if not len(self.rows):
            return rows, similarities
        counts = popularity[self.rows]
        less_than_a_tie = _TIE / 2 * counts / max(int(counts.max()), 1)
        step = max(1, _BLOCK_BYTES // (8 * len(self.rows)))
        for start in range(0, len(queries), step):
            block = slice(start, start + step)
            cosines = (queries[block] @ self._candidates.T).round(DECIMALS)
            best = np.argmax(cosines.round(_TIE_DECIMALS) + less_than_a_tie, axis=1)
            rows[block] = self.rows[best]
            similarities[block] = np.take_along_axis(cosines, best[:, None], axis=1)[:, 0]
        return rows, similarities

    def _nearest(
        self, queries: npt.NDArray[np.int32], k: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        cosines = np.round(self.vectors[queries] @ self._candidates.T, DECIMALS)
        cosines[queries[:, None] == self.rows[None, :]] = -np.inf  # a text is not its neighbour
        best = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        best.sort(axis=1)  # equal cosines: the lower row first
        found = np.take_along_axis(cosines, best, axis=1)
        order = np.argsort(-found, axis=1, kind="stable")
        best = np.take_along_axis(best, order, axis=1)
        return self.rows[best], np.take_along_axis(found, order, axis=1)
