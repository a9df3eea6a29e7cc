"""The prompt showing through: a template's labels, chat markers, instructions, small talk."""

from __future__ import annotations

import polars as pl

_PATTERNS = {
    "label": (
        r"(?i)^\W*(?:(?:search\s+)?quer(?:y|ies)|search|product|item|title|description|category"
        r"|brand|customer|user|assistant|system|human|example|input|output|question|answer"
        r"|response|prompt|instructions?|note|q|a)\s*\d*\s*[:：=]"
    ),
    "marker": (
        r"(?i)<\|?/?(?:s|im_start|im_end|endoftext|eos|bos|user|assistant|system)\|?>"
        r"|\[/?inst\]|<</?sys>>|^\s*#{2,}|###|^\s*(?:\d+[.)]|[-*•])\s+.*\s(?:\d+[.)]|[-*•])\s"
        r"|<<<|>>>|-{4,}|={4,}"
    ),
    "instruction": (
        r"(?i)\b(?:ignore|disregard|forget)\b.{0,30}\b(?:previous|above|prior|earlier|all)\b"
        r"|\b(?:previous|above)\s+(?:instructions?|prompts?|examples?)\b"
        r"|\byou\s+are\s+(?:a|an|now)\b.{0,40}\b(?:assistant|model|bot|ai|shop)\b"
        r"|\b(?:write|generate|give|list|return)\b.{0,20}\b(?:quer(?:y|ies)|json|examples?)\b"
    ),
    "small talk": (
        r"(?i)\bas\s+an?\s+(?:ai|language|large)\b|\blanguage\s+model\b|\bi(?:'m| am)\s+sorry\b"
        r"|\bi\s+can(?:no|')t\s+(?:help|assist|provide)\b|^\W*(?:sure|certainly|of course)\s*[,!.]"
        r"|\bhere\s+(?:is|are)\s+(?:a|an|some|the|your|\d+)\b|\bsearch\s+quer(?:y|ies)\s+(?:for|that|is|are)\b"
        r"|\ba\s+(?:customer|user|shopper)\s+(?:would|might|could|may)\b"
    ),
}


def leakage(text: pl.Expr) -> pl.Expr:
    """`label`, `marker`, `instruction` or `small talk`; null when there is none."""
    found: pl.Expr = pl.lit(None, pl.String)
    for name, pattern in reversed(_PATTERNS.items()):
        found = pl.when(text.str.contains(pattern)).then(pl.lit(name)).otherwise(found)
    return found
