"""Placebos: as many extra rows as the challenger gets, with nothing learnt in them.

A strategy earns credit only for what it adds over these.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import polars as pl

from nightshift.snapshot import Snapshot

_MAX_CONTEXT = 30


def random_pairs(snapshot: Snapshot, interactions: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The challenger's contexts and targets, paired at random."""
    order = np.random.default_rng(seed).permutation(interactions.height)
    return _named(interactions.with_columns(item_id=interactions["item_id"][order]), "random_pairs")


def upsample(snapshot: Snapshot, interactions: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Real (history, next item) rows drawn again, as many and as heavy as the challenger's.

    Where there are fewer real rows than that, rows are drawn more than once; without any, none.
    """
    histories = snapshot.histories
    inside = np.ones(len(histories.items), dtype=bool)
    inside[histories.indptr[:-1][histories.lengths > 0]] = False  # nothing lies in front of these
    places = np.flatnonzero(inside)
    rng = np.random.default_rng(seed)
    wanted = interactions.height if len(places) else 0
    chosen = np.sort(rng.choice(places, wanted, replace=wanted > len(places)))
    users = np.searchsorted(histories.indptr, chosen, side="right") - 1
    first = np.maximum(chosen - _MAX_CONTEXT, histories.indptr[users])
    lengths = chosen - first
    flat = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    contexts = pl.DataFrame(
        {
            "row": np.repeat(np.arange(len(chosen)), lengths),
            "item": histories.items[np.repeat(first, lengths) + flat],
        }
    )
    ids = snapshot.items["item_id"]
    lists = contexts.with_columns(ids[contexts["item"].to_numpy()].alias("context_items"))
    grouped = lists.group_by("row", maintain_order=True).agg("context_items")
    made = interactions.head(len(chosen)).with_columns(
        item_id=ids[histories.items[chosen]],
        user_key=snapshot.users["user_key"][users],
        context_items=grouped["context_items"],
    )
    return _named(made, "upsample")


def _named(frame: pl.DataFrame, placebo: str) -> pl.DataFrame:
    rows = pl.int_range(pl.len()).cast(pl.String)
    return frame.with_columns(
        strategy=pl.lit(placebo),
        sample_id=pl.concat_str(pl.lit(f"{placebo}-"), rows),
        scores=pl.lit("{}"),
        lineage=pl.lit(json.dumps({"placebo": placebo})),
    )


PLACEBOS: dict[str, Callable[[Snapshot, pl.DataFrame, int], pl.DataFrame]] = {
    "random_pairs": random_pairs,
    "upsample": upsample,
}
