"""Placebos: as many extra rows as the challenger gets, with nothing learnt in them.

A strategy earns credit only for what it adds over these.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.snapshot import Snapshot

_MAX_CONTEXT = 30
Ints = npt.NDArray[np.int64]


def random_pairs(snapshot: Snapshot, samples: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The challenger's contexts and targets, paired at random; its sequences' items, shuffled."""
    interactions, sequences = _of(samples, "interaction"), _of(samples, "sequence")
    order = np.random.default_rng(seed).permutation(interactions.height)
    paired = interactions.with_columns(item_id=interactions["item_id"][order])
    whole = sequences.select(items=pl.col("context_items").list.concat(pl.concat_list("item_id")))
    flat = whole.with_row_index("row").explode("items")
    order = np.random.default_rng([seed, 1]).permutation(flat.height)
    shuffled = flat.with_columns(items=flat["items"][order])
    again = shuffled.group_by("row", maintain_order=True).agg(
        context_items=pl.col("items").slice(0, pl.len() - 1), item_id=pl.col("items").last()
    )
    mixed = sequences.with_columns(again["context_items"], again["item_id"])
    return _named(pl.concat([paired, mixed]), "random_pairs")


def upsample(snapshot: Snapshot, samples: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Real (history, next item) rows drawn again, as many and as heavy as the challenger's.

    A sequence's stand-in is no longer than the sequence. Where there are fewer real rows than
    samples, rows are drawn more than once; without any, none.
    """
    interactions, sequences = _of(samples, "interaction"), _of(samples, "sequence")
    long = np.full(interactions.height, _MAX_CONTEXT, dtype=np.int64)
    short = sequences["context_items"].list.len().to_numpy().astype(np.int64)
    parts = [
        _real(snapshot, interactions, long, np.random.default_rng(seed)),
        _real(snapshot, sequences, short, np.random.default_rng([seed, 1])),
    ]
    return _named(pl.concat(parts), "upsample")


def _real(
    snapshot: Snapshot, samples: pl.DataFrame, longest: Ints, rng: np.random.Generator
) -> pl.DataFrame:
    """A real row for each sample, its context no longer than `longest` [samples]."""
    histories = snapshot.histories
    inside = np.ones(len(histories.items), dtype=bool)
    inside[histories.indptr[:-1][histories.lengths > 0]] = False  # nothing lies in front of these
    places = np.flatnonzero(inside)
    wanted = samples.height if len(places) else 0
    chosen = np.sort(rng.choice(places, wanted, replace=wanted > len(places)))
    users = np.searchsorted(histories.indptr, chosen, side="right") - 1
    first = np.maximum(chosen - longest[:wanted], histories.indptr[users])
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
    return samples.head(len(chosen)).with_columns(
        item_id=ids[histories.items[chosen]],
        user_key=snapshot.users["user_key"][users],
        context_items=grouped["context_items"],
    )


def _of(samples: pl.DataFrame, kind: str) -> pl.DataFrame:
    return samples.filter(pl.col("kind") == kind)


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
