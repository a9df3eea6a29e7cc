"""Loops, as language models fall into them: of characters, of words, of phrases."""

from __future__ import annotations

import polars as pl

from nightshift.inspection.detectors.fold import fold

_MAX_RUN = 4  # "loooong" is typed by people, a fifth o is not; digits and spaces are free
_MIN_WORDS = 4  # fewer words may repeat: "baby, baby", "duran duran"
_MIN_WORD_SHARE = 0.5
_MIN_TRIGRAM_CHARS = 12
_MIN_TRIGRAM_SHARE = 0.45  # natural texts of 12 to 80 characters lie above 0.7


def repetition(text: pl.Expr) -> pl.Expr:
    """`characters`, `words` or `phrases`: what repeats too often; null when nothing does.

    Phrases are found by the share of distinct character trigrams, so a loop shows in scripts
    without spaces too.
    """
    folded = fold(text)
    characters = text.str.split("")
    runs = characters.list.eval(
        pl.element().rle().struct.field("len")
        * pl.element().rle().struct.field("value").str.contains(r"[^\p{Nd}\s]").cast(pl.UInt32)
    ).list.max()
    words = folded.str.split(" ")
    trigrams = folded.str.split("").list.eval(
        pl.concat_str(pl.element(), pl.element().shift(-1), pl.element().shift(-2)).drop_nulls()
    )
    few_words = (words.list.len() >= _MIN_WORDS) & (
        words.list.n_unique() <= _MIN_WORD_SHARE * words.list.len()
    )
    few_trigrams = (folded.str.len_chars() >= _MIN_TRIGRAM_CHARS) & (
        trigrams.list.n_unique() < _MIN_TRIGRAM_SHARE * trigrams.list.len()
    )
    return (
        pl.when(runs > _MAX_RUN)
        .then(pl.lit("characters"))
        .when(few_words)
        .then(pl.lit("words"))
        .when(few_trigrams)
        .then(pl.lit("phrases"))
    )
