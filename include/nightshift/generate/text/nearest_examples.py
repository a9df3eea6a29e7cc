"""Which of the shipped examples a shop's prompts should be drawn from: those of its own trade."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from nightshift.generate.text.cleaning import words
from nightshift.generate.text.templates import Fields
from nightshift.snapshot import Snapshot

_DECIMALS = 6


def nearest_examples(
    examples: Sequence[Fields], field: str, snapshot: Snapshot, most: int
) -> list[Fields]:
    """The `most` examples whose words are the commonest in the shop's titles and categories.

    By the mean of log(1 + items that say the word), so neither an encoder nor a model is asked.

    Args:
        field: which of the examples' texts is compared.
    """
    said = (
        snapshot.items.select(
            pl.concat_str("title", "category", separator=" ", ignore_nulls=True)
            .str.to_lowercase()
            .str.extract_all(r"\w+")
            .list.unique()
            .alias("word")
        )
        .explode("word")
        .drop_nulls()
        .group_by("word")
        .len()
    )
    count: dict[str, int] = dict(said.iter_rows())
    known = np.array(
        [np.mean([np.log1p(count.get(w, 0)) for w in words(e[field])]) for e in examples]
    ).round(_DECIMALS)
    best = np.argsort(-known, kind="stable")[:most]
    return [examples[i] for i in sorted(best.tolist())]
