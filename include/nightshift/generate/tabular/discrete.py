"""Columns with few states, and items drawn by the states that they have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

OTHER = "other"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Column:
    """A state for each row, and what the states are called."""

    codes: Codes  # [rows]
    names: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.names)


def discretise(values: pl.Series, weights: Floats, max_states: int) -> Column | None:
    """The heaviest values keep their name, the rest is `other`, none is `unknown`.

    Returns:
        None when less than two states are left: such a column says nothing.
    """
    frame = pl.DataFrame({"value": values.fill_null(UNKNOWN).cast(pl.String), "weight": weights})
    heaviest = (
        frame.group_by("value")
        .agg(pl.col("weight").sum())
        .filter(pl.col("weight") > 0)
        .sort(["weight", "value"], descending=[True, False])["value"]
    )
    names = heaviest.head(max_states).to_list()
    if heaviest.len() > max_states or frame["value"].n_unique() > heaviest.len():
        names.append(OTHER)
    if len(names) < 2:
        return None
    states = pl.DataFrame({"value": names, "state": range(len(names))})
    coded = frame.join(states, on="value", how="left", maintain_order="left")
    codes = coded["state"].fill_null(len(names) - 1).cast(pl.Int64).to_numpy()
    return Column(codes, tuple(names))


class Cells:
    """The items of each combination of states, drawn by their weight."""

    def __init__(self, columns: list[Column], weights: Floats) -> None:
        """
        Args:
            columns: of the items; the last ones are given up first when a cell is empty.
            weights: of the items, positive: [items].
        """
        self._sizes = [column.size for column in columns]
        self._levels = [
            _Level([column.codes for column in columns[:depth]], self._sizes[:depth], weights)
            for depth in range(len(columns), -1, -1)
        ]

    def draw(self, states: list[Codes], numbers: Floats) -> Codes:
        """An item of each row's cell, or of the next larger one that has any: [rows]."""
        items = np.full(len(numbers), -1, dtype=np.int64)
        for level in self._levels:
            empty = items < 0
            if empty.any():
                items[empty] = level.draw([codes[empty] for codes in states], numbers[empty])
        return items


class _Level:
    def __init__(self, codes: list[Codes], sizes: list[int], weights: Floats) -> None:
        self._sizes = sizes
        key = self._key(codes, len(weights))
        self._order = np.argsort(key, kind="stable")
        self._upto = np.concatenate([[0.0], np.cumsum(weights[self._order])])
        counts = np.bincount(key, minlength=int(np.prod(sizes, dtype=np.int64)))
        self._indptr = np.concatenate([[0], np.cumsum(counts)])

    def _key(self, codes: list[Codes], rows: int) -> Codes:
        if not self._sizes:
            return np.zeros(rows, dtype=np.int64)
        key: Codes = np.ravel_multi_index(tuple(codes), tuple(self._sizes)).astype(np.int64)
        return key

    def draw(self, states: list[Codes], numbers: Floats) -> Codes:
        """-1 where the cell is empty."""
        key = self._key(states[: len(self._sizes)], len(numbers))
        first, last = self._indptr[key], self._indptr[key + 1]
        level = self._upto[first] + numbers * (self._upto[last] - self._upto[first])
        place = np.clip(np.searchsorted(self._upto, level, side="right") - 1, first, last - 1)
        items: Codes = np.where(last > first, self._order[np.maximum(place, 0)], -1)
        return items
