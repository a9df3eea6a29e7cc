"""Addresses, markup and code: text that is not a text."""

from __future__ import annotations

import polars as pl

_PATTERNS = {
    "url": (
        r"(?i)(?:https?|ftp)\s?:\s?//|\bwww\.\S"
        r"|\b[a-z0-9-]+\.(?:com|net|org|info|biz|io|shop|store|co\.uk|de|fr|ru|cn|jp)\b"
    ),
    "html": r"(?i)</?[a-z!?][^<>]*>|<!--|&(?:[a-z]{2,8}|#x?[0-9a-f]{1,6});|\bon\w+\s*=\s*[\"']",
    "code": (
        r"(?i)```|\$\{|\{\{|\}\}|\{%|%\}|=>|\\[nrtx]|\b(?:javascript|data)\s*:\S|\w\(\)"
        r"|\bfunction\s*\(|\bdef\s+\w+\s*\(|\bselect\s.+\sfrom\s|\bdrop\s+table\b"
        r"|\bunion\s+select\b|['\"]\s*or\s+1\s*=\s*1|;\s*(?:rm|curl|wget)\s|\bimport\s+\w+\s*;"
        r"|\[[^\]]*\]\([^)]*\)|^\s*[\[{].*[\]}]\s*$"
    ),
}


def markup(text: pl.Expr) -> pl.Expr:
    """`url`, `html` or `code`; null when there is none."""
    found: pl.Expr = pl.lit(None, pl.String)
    for name, pattern in reversed(_PATTERNS.items()):
        found = pl.when(text.str.contains(pattern)).then(pl.lit(name)).otherwise(found)
    return found
