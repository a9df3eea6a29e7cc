"""Attributes of items (category, brand, price band) as rows of one trainable table.

Feature hashing (Weinberger et al., 2009, "Feature Hashing for Large Scale Multitask Learning"): a
value's row is its hash, so no vocabulary is kept, and a brand listed tomorrow needs no new weights.
Row 0 is no attribute: its vector is zero and never learns.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import polars as pl

ATTRIBUTES = ("category", "brand", "price_band")
"""Columns of contracts.ITEMS, in the order of `attribute_codes`."""
ROWS = 8192
"""Of the table. With a thousand values known, a new one meets the row of a known one in one case of
eight; untouched rows cost nothing in a file and 256 bytes each in memory."""

Codes = npt.NDArray[np.int32]


def attribute_codes(items: pl.DataFrame) -> Codes:
    """The row of each attribute of each item, 0 where it has none: [items, attributes].

    Args:
        items: contracts.ITEMS, in item-code order; values are compared without case and the space
            around them.
    """
    return np.stack([_rows(items[name].cast(pl.String)) for name in ATTRIBUTES], axis=1)


def _rows(values: pl.Series) -> Codes:
    told = values.str.strip_chars().str.to_lowercase().replace("", None)
    distinct = told.drop_nulls().unique()
    rows = pl.Series([_row(values.name, value) for value in distinct], dtype=pl.Int32)
    codes: Codes = told.replace_strict(distinct, rows, default=0, return_dtype=pl.Int32).to_numpy()
    return codes


def _row(name: str, value: str) -> int:
    """Where this value of this attribute lies, on every machine and for ever."""
    digest = hashlib.blake2b(f"{name}\x1f{value}".encode(), digest_size=8).digest()
    return 1 + int.from_bytes(digest, "big") % (ROWS - 1)
