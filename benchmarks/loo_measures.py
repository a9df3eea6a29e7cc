"""Leave-one-out: every history without its newest items, and what a list is worth against them."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift import metrics
from nightshift.histories import Histories

K = 10


@dataclass(frozen=True, slots=True)
class Split:
    """Flat items of all users, oldest first, and where each user's lie."""

    items: npt.NDArray[np.int32]
    indptr: npt.NDArray[np.int64]

    names: npt.NDArray[np.int64]
    """The file's own ids of the items, ascending: a code is a place here."""

    @classmethod
    def read(cls, path: Path) -> Split:
        """A user a line, items in order; or a CSV of user_id, item_id, timestamp.

        Users with fewer than three events have nothing to learn from, and are left out.
        """
        if ".csv" in path.suffixes:
            frame = pl.read_csv(path).sort("user_id", "timestamp", maintain_order=True)
            lists = frame.group_by("user_id", maintain_order=True).agg("item_id")["item_id"]
            rows = [row.to_numpy() for row in lists if len(row) > 2]
        else:
            opened = gzip.open if path.suffix == ".gz" else open
            with opened(path, "rt") as lines:
                rows = [np.array(line.split()[1:], dtype=np.int64) for line in lines]
        ends = np.cumsum([0, *(len(row) for row in rows)])
        names, codes = np.unique(np.concatenate(rows), return_inverse=True)
        return cls(codes.astype(np.int32), ends, names)

    @property
    def n_items(self) -> int:
        return len(self.names)

    def times(self, copies: int) -> Split:
        """The same users so many times, as if each were several people."""
        lengths = np.tile(np.diff(self.indptr), copies)
        ends = np.concatenate([[0], np.cumsum(lengths)])
        return Split(np.tile(self.items, copies), ends, self.names)

    def before(self, last: int) -> Histories:
        """Every history without its `last` newest items."""
        lengths = np.diff(self.indptr) - last
        users = np.repeat(np.arange(len(lengths)), lengths)
        rows = np.arange(lengths.sum()) + np.repeat(
            self.indptr[:-1] - np.cumsum(lengths) + lengths, lengths
        )
        nothing = np.zeros(len(rows), dtype=np.int64)
        return Histories.from_codes(users, self.items[rows], nothing, n_users=len(lengths))

    def target(self, last: int) -> npt.NDArray[np.int32]:
        """The item behind `before(last)`: [users]."""
        return self.items[self.indptr[1:] - last]


def judged(codes: npt.NDArray[np.int32], target: npt.NDArray[np.int32]) -> dict[str, float]:
    """Recall@10 and NDCG@10 of one item a user, in lists [users, 10 or more]."""
    hit = metrics.hits(codes[:, :K], np.arange(len(codes) + 1), target)
    one = np.ones(len(codes), dtype=np.int64)
    return {
        f"recall@{K}": float(metrics.recall(hit, one).mean()),
        f"ndcg@{K}": float(metrics.ndcg(hit, one).mean()),
    }
