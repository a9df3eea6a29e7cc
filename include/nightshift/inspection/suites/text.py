"""What the kinds share that are texts about an item: one line, in any language, of the item."""

from __future__ import annotations

import numpy as np
import polars as pl

from nightshift.inspection.detectors.copies import copies_title, is_first
from nightshift.inspection.detectors.fold import fold
from nightshift.inspection.detectors.history_centre import history_centres
from nightshift.inspection.detectors.leakage import leakage
from nightshift.inspection.detectors.letters import letter_share
from nightshift.inspection.detectors.markup import markup
from nightshift.inspection.detectors.personal import personal_data
from nightshift.inspection.detectors.relevance import relevance
from nightshift.inspection.detectors.repetition import repetition
from nightshift.inspection.detectors.unprintable import unprintable
from nightshift.inspection.facts import UNKNOWN, Facts
from nightshift.inspection.rules import Rules, between, is_null, is_true, not_null
from nightshift.inspection.suites import common
from nightshift.settings import InspectionSettings

_LOOKED_AT = 4
"""Times the allowed length: what lies behind is not looked at, the text is too long anyway."""


def features(
    samples: pl.DataFrame,
    facts: Facts,
    settings: InspectionSettings,
    *,
    max_chars: int,
    source: str = "item_id",
) -> pl.DataFrame:
    """The common flags, and what the detectors say of each text.

    Args:
        max_chars: a longer text fails, and is looked at no further than four times that.
        source: the column that says what a text is about: `item_id`, or `user_key`.
    """
    found = common.features(samples, facts, settings).with_columns(
        text_chars=pl.col("text").str.strip_chars().str.len_chars(),
        head=pl.col("text").str.head(_LOOKED_AT * max_chars),
    )
    head = pl.col("head")
    found = found.with_columns(
        folded=fold(head),
        unprintable=unprintable(head),
        letter_share=letter_share(head).round(4),
        repetition=repetition(head),
        markup=markup(head),
        leakage=leakage(head),
        personal_data=personal_data(found["head"]),
        not_the_title=~copies_title(head, pl.col("title")),
        no_user=pl.col("user_key").is_null(),
    )
    return found.with_columns(
        text_is_first=is_first(found, source, "folded"),
        relevance=_relevance(found, facts, max_chars, source),
    )


def _relevance(found: pl.DataFrame, facts: Facts, max_chars: int, source: str) -> pl.Series:
    """Cosine with the source; null for what other rules reject: it never meets the encoder.

    The source is the item, or what the user had; null as well where a text is about neither.
    """
    code = "user" if source == "user_key" else "item"
    sound = found.with_row_index("place").filter(
        pl.col("text_chars").is_between(1, max_chars)
        & (pl.col(code) != UNKNOWN)
        & (pl.col("unprintable") == 0)
        & pl.all_horizontal(pl.col("repetition", "markup", "leakage", "personal_data").is_null())
    )
    cosines = np.full(found.height, np.nan)
    if sound.height:
        codes = sound[code].to_numpy()
        sources = facts.vectors[codes] if code == "item" else history_centres(facts, codes)
        vectors = facts.embed(sound["text"].to_list())
        cosines[sound["place"].to_numpy()] = relevance(vectors, sources)
    return pl.Series(cosines, nan_to_null=True)


def rules(
    settings: InspectionSettings, *, min_chars: int, max_chars: int, min_letter_share: float
) -> Rules:
    """Of the text itself; what it is about, its label and its user are the kind's own."""
    return (
        not_null("text_missing", "text_chars", "there is a text"),
        between("text_length", "text_chars", min_chars, max_chars, "the length of its kind"),
        between("text_unprintable", "unprintable", 0, 0, "only what a keyboard gives"),
        between("text_few_letters", "letter_share", min_letter_share, 1.0, "it is writing"),
        is_null("text_repetition", "repetition", "nothing is said over and over"),
        is_null("text_markup", "markup", "no address, markup or code"),
        is_null("text_prompt_leak", "leakage", "nothing of the prompt shows through"),
        is_null("personal_data", "personal_data", "no personal data"),
        *is_true("text_copies_title", "not_the_title", "it is not the title"),
        *is_true("duplicate", "text_is_first", "no earlier sample: same words, same source"),
        between("low_relevance", "relevance", settings.min_relevance, 1.0, "near its item"),
    )
