"""The prompt showing through: a template's labels, chat markers, instructions, small talk."""

from __future__ import annotations

import polars as pl

_PATTERNS = {
    "label": (
        r"(?i)^\W*(?:(?:search\s+)?quer(?:y|ies)|search|products?|items?|title|text|category|brand"
        r"|descriptions?|paraphrases?|in\s+other\s+words|(?:customer\s+)?reviews?|ratings?|stars"
        r"|advertisements?|ads?|ad\s+copy|slogan|tagline|customers?|users?|interests?|history"
        r"|wanted|wants|bought|next|choice|assistant|system|human|examples?|input|output"
        r"|questions?|answers?|response|prompt|instructions?|note|q|a|b)\s*\d*\s*[:：=]"
        # Inside a text only what no shop writes there: "size:" is a size, "review:" is a prompt.
        r"|\b(?:product|search|query|review|rating|advertisement|customers|interests|assistant"
        r"|in\s+other\s+words)\s*[:：]"
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
        r"|\b(?:write|generate|give|list|return)\b.{0,20}\b(?:quer(?:y|ies)|json|examples?|reviews?"
        r"|descriptions?|advertisements?)\b"
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
