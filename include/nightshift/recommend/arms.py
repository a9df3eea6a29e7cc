"""From a blend to a training set: what the trainer sees of an arm. It does not know which."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.recommend.train import TrainingSet
from nightshift.recommend.windows import SampleRows, Windows
from nightshift.snapshot import Histories, Snapshot


def training_set(snapshot: Snapshot, samples: pl.DataFrame, *, max_length: int) -> TrainingSet:
    """All real rows, and the arm's hard negatives."""
    histories = snapshot.histories
    return TrainingSet(
        windows=Windows.cover(histories, max_length),
        negative_pool=known_items(histories),
        hard=hard_negatives(snapshot, samples),
    )


def known_items(histories: Histories) -> npt.NDArray[np.int64]:
    """Codes of the items with events, ascending."""
    return np.unique(histories.items).astype(np.int64)


def sample_rows(snapshot: Snapshot, samples: pl.DataFrame, *, max_length: int) -> SampleRows | None:
    """Interactions as contexts of item codes; items that left the catalogue are left out."""
    codes = snapshot.item_codes
    rows = (
        samples.filter((pl.col("kind") == "interaction") & (pl.col("weight") > 0))
        .join(codes, on="item_id", how="inner", maintain_order="left")
        .with_row_index("row")
    )
    if not rows.height:
        return None
    flat = (
        rows.select("row", context=pl.col("context_items").list.tail(max_length))
        .explode("context")
        .join(codes, left_on="context", right_on="item_id", how="inner", maintain_order="left")
    )
    row, item = (
        flat["row"].to_numpy(),
        flat["item"].to_numpy(),
    )
    lengths = np.bincount(row, minlength=rows.height)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    contexts = np.full((rows.height, max(int(lengths.max()), 1)), -1, dtype=np.int32)
    contexts[row, place] = item
    return SampleRows(
        contexts,
        lengths.astype(np.int64),
        rows["item"].to_numpy(),
        rows["weight"].cast(pl.Float32).to_numpy(writable=True),
    )


def hard_negatives(snapshot: Snapshot, samples: pl.DataFrame) -> npt.NDArray[np.int32] | None:
    """The hard negatives of each user as codes, filled with -1: [users, K].

    A sample of an earlier night may name an item that the user has bought since: it is none.
    """
    histories = snapshot.histories
    had = pl.DataFrame(
        {"user": np.repeat(np.arange(len(histories)), histories.lengths), "item": histories.items}
    )
    pairs = (
        samples.filter((pl.col("kind") == "negative") & (pl.col("weight") > 0))
        .join(snapshot.item_codes, on="item_id", how="inner", maintain_order="left")
        .join(snapshot.user_codes, on="user_key", how="inner", maintain_order="left")
        .select("user", "item")
        .unique()
        .join(had, on=["user", "item"], how="anti")
        .sort("user", "item")
    )
    if not pairs.height:
        return None
    users = pairs["user"].to_numpy()
    counts = np.bincount(users, minlength=snapshot.users.height)
    place = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
    table = np.full((snapshot.users.height, int(counts.max())), -1, dtype=np.int32)
    table[users, place] = pairs["item"].to_numpy()
    return table
