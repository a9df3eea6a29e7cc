"""The small shop with something changed: texts, segments, categories, histories."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from conftest import sources_of
from nightshift.generate.sources import Sources
from nightshift.histories import Histories
from nightshift.lake import Lake
from nightshift.settings import Settings

_ENCODED = 500
"""Characters of a title; the encoder reads no further."""


def shop_with(
    lake: Lake,
    settings: Settings,
    *,
    engine: object = None,
    titles: dict[int, str] | None = None,
    histories: Sequence[Sequence[int]] | None = None,
    segments: dict[int, str] | None = None,
) -> Sources:
    """The sources with these titles (by item code), first histories and segments (by user code).

    A changed title has a text row of its own, and no category.
    """
    sources = sources_of(lake, settings)
    held = sources.snapshot.__dict__
    if engine is not None:
        sources.__dict__["engine"] = engine
    if titles:
        items = sources.snapshot.items
        named = items["title"].to_list()
        vectors, rows = sources.texts
        rows = rows.copy()
        rows[list(titles)] = len(vectors) + np.arange(len(titles))
        for item, title in titles.items():
            named[item] = title
        heads = [title[:_ENCODED] for title in titles.values()]
        vectors = np.concatenate([vectors, sources.encoder.encode(heads)])
        changed = pl.Series(list(titles), dtype=pl.Int64)
        category = pl.when(pl.int_range(pl.len()).is_in(changed.implode())).then(None)
        held["items"] = items.with_columns(
            title=pl.Series(named), text=pl.Series(named), category=category.otherwise("category")
        )
        sources.__dict__["texts"] = vectors, rows
    if histories is not None:
        whole = sources.snapshot.histories
        parts = [np.array(h, dtype=np.int32) for h in histories]
        parts += [whole.of(user) for user in range(len(histories), len(whole))]
        indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        held["histories"] = Histories(
            indptr.astype(np.int64), np.concatenate(parts), np.arange(indptr[-1])
        )
    if segments:
        users = sources.snapshot.users
        said = [segments.get(user) for user in range(users.height)]
        held["users"] = users.with_columns(segment=pl.Series(said, dtype=pl.String))
    return sources
