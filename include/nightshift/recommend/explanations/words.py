"""Words that the texts of items have in common.

They are words in common, not a cause: the model reads a text as a whole, through a sentence
encoder, and what a single word did to a score would take that encoder once more for every word
left out. For a person who asks what two products share, the words are the better answer anyhow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.ranking import Codes
from nightshift.recommend.model.features import Floats

_WORD = r"\p{L}[\p{L}\p{N}]+"
"""Two characters or more that begin with a letter: sizes and article numbers say nothing."""
_COMMON = 0.25
"""A word of more than this share of the texts tells no product from another ("the", a unit)."""
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Words:
    """The words of each item, in compressed rows, those alone that can tell something.

    `ids[indptr[i]:indptr[i + 1]]` are the words of item i, as rows of `vocabulary`.
    """

    vocabulary: pl.Series
    rarity: Floats  # [words] log(items / items with the word): inverse document frequency
    indptr: Ints  # [items + 1]
    ids: npt.NDArray[np.int32]

    @classmethod
    def of(cls, texts: pl.Series) -> Self:
        """Of the catalogue's texts, in item-code order; a word of one item alone is shared by none.

        Inverse document frequency: Spärck Jones, 1972.
        """
        items = len(texts)
        said = (
            pl.LazyFrame({"text": texts.cast(pl.String)})
            .with_row_index("item")
            .select(
                "item",
                word=pl.col("text").fill_null("").str.to_lowercase().str.extract_all(_WORD),
            )
            .explode("word")
            .drop_nulls()
            .unique()
        )
        known = (
            said.group_by("word")
            .agg(items=pl.len())
            .filter((pl.col("items") > 1) & (pl.col("items") <= _COMMON * items))
            .sort("word")
            .with_row_index("id")
        )
        rows, table = pl.collect_all(
            [said.join(known.select("word", "id"), on="word").sort("item", "id"), known]
        )
        counts = np.bincount(rows["item"].to_numpy(), minlength=items)
        return cls(
            table["word"],
            np.log(items / np.maximum(table["items"].to_numpy(), 1)).astype(np.float32),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            rows["id"].to_numpy().astype(np.int32),
        )

    def shared(self, items: Codes, others: Codes, most: int) -> Codes:
        """Words that each item shares with any of its others, the rarest first.

        Args:
            items: [pairs] codes, -1 for none.
            others: [pairs, m] codes, -1 for none.

        Returns:
            [pairs, most] rows of `vocabulary`, -1 behind the last.
        """
        width = max(len(self.vocabulary), 1)
        mine = self._spread(items, np.arange(len(items)))
        theirs = self._spread(others.ravel(), np.repeat(np.arange(len(items)), others.shape[1]))
        both = mine[np.isin(mine, theirs)]
        pair, word = both // width, both % width
        order = np.lexsort((word, -self.rarity[word], pair))
        pair, word = pair[order], word[order]
        place = np.arange(len(pair)) - np.searchsorted(pair, pair)
        kept = place < most
        found = np.full((len(items), most), -1, dtype=np.int32)
        found[pair[kept], place[kept]] = word[kept]
        return found

    def _spread(self, items: Codes, pairs: Ints) -> Ints:
        """pair * words + word, for each word of each item."""
        some = items >= 0
        items, pairs = items[some], pairs[some]
        counts = self.indptr[items + 1] - self.indptr[items]
        offset = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        ids = self.ids[np.repeat(self.indptr[items], counts) + offset]
        keys: Ints = np.repeat(pairs, counts) * max(len(self.vocabulary), 1) + ids
        return keys
