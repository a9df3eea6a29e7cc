"""Item vectors as an export stores them: float32, float16, or int8 with a scale for each row.

The scale is symmetric, of each row's largest entry, so that zero stays zero and no row is
coarse for another's sake.
"""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch

from nightshift.ranking import held_block
from nightshift.recommend.model.features import Floats

Arrays = dict[str, npt.NDArray[Any]]
_LEVELS = 127
"""Of int8, the same on both sides of zero."""
_AT_ONCE = 1024
"""Rows whose integer sums are held at a time: more leave the cache before they are scaled."""


class Table(Protocol):
    """Rows of one width, in some precision."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def rows(self, codes: npt.NDArray[np.integer]) -> Floats:
        """These rows in float32: [*codes, width]."""
        ...

    def product(self, queries: Floats, items: slice) -> Floats:
        """Inner products with some rows: [n, width] → [n, rows of the slice].

        In the thread's buffer (`ranking.held_block`): the next product overwrites it.
        """
        ...

    def arrays(self, name: str) -> Arrays:
        """As they are stored."""
        ...


class FloatTable:
    """Float32, or float16 that is widened where it is read: half the size, the same products."""

    def __init__(self, values: npt.NDArray[np.floating]) -> None:
        self.values = values

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape[0], self.values.shape[1]

    def rows(self, codes: npt.NDArray[np.integer]) -> Floats:
        found: Floats = self.values[codes].astype(np.float32, copy=False)
        return found

    def product(self, queries: Floats, items: slice) -> Floats:
        rows = torch.from_numpy(self.values[items]).float()
        out = held_block(len(queries), len(rows))
        found: Floats = torch.mm(torch.from_numpy(queries), rows.T, out=out).numpy()
        return found

    def arrays(self, name: str) -> Arrays:
        return {name: self.values}


class Int8Table:
    """Int8 with a float32 scale for each row.

    A product quantises its queries row by row as well, multiplies integers into exact 32-bit sums,
    and scales those: dynamic quantisation, which needs no data to calibrate on.
    """

    def __init__(self, values: npt.NDArray[np.int8], scales: Floats) -> None:
        self.values, self.scales = values, scales

    @classmethod
    def of(cls, rows: Floats) -> Self:
        return cls(*quantised(rows))

    @property
    def shape(self) -> tuple[int, int]:
        return self.values.shape[0], self.values.shape[1]

    def rows(self, codes: npt.NDArray[np.integer]) -> Floats:
        found: Floats = self.values[codes] * self.scales[codes][..., None]
        return found

    def product(self, queries: Floats, items: slice) -> Floats:
        values, scales = quantised(queries)
        asked, rows = torch.from_numpy(values), torch.from_numpy(self.values[items])
        steps = torch.from_numpy(self.scales[items])
        out = held_block(len(asked), len(rows))
        for start in range(0, len(rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            torch.mul(torch._int_mm(asked, rows[part].T), steps[part], out=out[:, part])
        found: Floats = out.mul_(torch.from_numpy(scales)[:, None]).numpy()
        return found

    def arrays(self, name: str) -> Arrays:
        return {name: self.values, f"{name}.scales": self.scales}


def quantised(rows: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Int8 [n, width] and scales [n], so that int8 times its scale is within half a scale."""
    highest = np.abs(rows).max(axis=1, initial=0.0)
    scales = (np.maximum(highest, np.finfo(np.float32).tiny * _LEVELS) / _LEVELS).astype(np.float32)
    return np.rint(rows / scales[:, None]).astype(np.int8), scales


def stored_table(arrays: Arrays, name: str) -> Table:
    """What `Table.arrays` gave.

    Raises:
        KeyError: there is no such table.
        ValueError: it is not one, or its scales are not its own.
    """
    values = arrays[name]
    if values.ndim != 2:
        raise ValueError(f"{name} has {values.ndim} dimensions, not 2")
    if values.dtype != np.int8:
        return FloatTable(values)
    scales = arrays[f"{name}.scales"]
    if scales.shape != (len(values),):
        raise ValueError(f"{name} has {len(values)} rows and scales of shape {scales.shape}")
    return Int8Table(values, scales)
