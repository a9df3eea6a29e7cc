"""HTML in shop texts: entities and tags, by vectorised expressions."""

from __future__ import annotations

import html

import polars as pl

_ENTITY = r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
TAG = r"</?[A-Za-z][^<>]{0,500}>|<!--.{0,500}?-->"


def unescape(texts: pl.Series) -> pl.Series:
    """`&amp;#39;` and the like as characters; entities that were escaped twice as well.

    >>> unescape(pl.Series(["Fish &amp;amp; chips", None])).to_list()
    ['Fish & chips', None]
    """
    for _ in range(2):
        found = texts.str.extract_all(_ENTITY).explode(empty_as_null=True).drop_nulls().unique()
        if found.is_empty():
            break
        tokens = found.sort().to_list()
        # Only distinct entities pass through Python; the texts stay in Polars.
        texts = texts.str.replace_many(tokens, [html.unescape(token) for token in tokens])
    return texts
