"""From a blend to a training set: what the trainer sees of an arm. It does not know which."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.histories import Histories
from nightshift.recommend.training.steps import TrainingSet
from nightshift.recommend.training.windows import SampleRows, SampleWindows, Windows
from nightshift.snapshot import Snapshot

_LEAST_ITEMS = 2
"""Of a sequence: one item has nothing in front of it."""


def training_set(snapshot: Snapshot, samples: pl.DataFrame, *, max_length: int) -> TrainingSet:
    """All real rows, the arm's hard negatives, and its synthetic sequences."""
    histories = snapshot.histories
    return TrainingSet(
        windows=Windows.cover(histories, max_length),
        negative_pool=known_items(histories),
        hard=hard_negatives(snapshot, samples),
        extra=sequences(snapshot, samples, max_length=max_length),
    )


def known_items(histories: Histories) -> npt.NDArray[np.int64]:
    """Codes of the items with events, ascending."""
    return np.unique(histories.items).astype(np.int64)


def sequences(
    snapshot: Snapshot, samples: pl.DataFrame, *, max_length: int
) -> SampleWindows | None:
    """Sequences as windows in which every position is a target.

    Items that left the catalogue are left out; what is shorter than two items then is dropped.
    """
    codes = snapshot.item_codes
    rows = samples.filter((pl.col("kind") == "sequence") & (pl.col("weight") > 0))
    flat = (
        rows.with_row_index("row")
        .select("row", "weight", "item_id", pl.col("context_items").fill_null([]))
        .select("row", "weight", item_id=pl.concat_list("context_items", "item_id"))
        .explode("item_id")
        .join(codes, on="item_id", how="inner", maintain_order="left")
        .filter(pl.len().over("row") >= _LEAST_ITEMS)
    )
    if not flat.height:
        return None
    kept, row = np.unique(flat["row"].to_numpy(), return_inverse=True)
    nothing = np.zeros(flat.height, dtype=np.int64)  # when something was done was never said
    histories = Histories.from_codes(row, flat["item"].to_numpy(), nothing, n_users=len(kept))
    weights = rows["weight"].cast(pl.Float32).to_numpy()[kept]
    return SampleWindows(Windows.cover(histories, max_length), weights)


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
