"""Claims that an advertisement must not make unless the shop itself makes them."""

from __future__ import annotations

import re

_CLAIMS = {
    "superlative": (
        r"\b(?:best|finest|greatest|cheapest|unbeatable|unrivall?ed|unmatched|world[- ]class"
        r"|number\s+one|no\.?\s*1|top[- ]rated|favou?rite\s+of\s+all|leading|the\s+only)\b|#\s?1\b"
    ),
    "promise": (
        r"\b(?:guarante\w+|warrant\w+|promis\w+|certified|proven|tested|award\w*|risk[- ]free"
        r"|money[- ]back|forever|never\s+(?:fails?|breaks?)|100\s?%|lifetime|patented)\b"
    ),
    "health": (
        r"\b(?:cures?|heals?|healing|health\w*|medic\w+|therap\w+|clinical\w*|doctors?"
        r"|dermatolog\w+|prevents?|relie(?:f|ves?)|detox\w*|slimming|weight[- ]loss"
        r"|lose\s+weight|burns?\s+fat|anti[- ]?(?:ag(?:e)?ing|bacterial|viral)|immun\w+"
        r"|diseases?|pain|cancer|acne|eczema|stress[- ]free)\b"
    ),
    "price": (
        r"[$€£¥]|\b(?:prices?|priced|cheap\w*|bargains?|deals?|discount\w*|sale|sales|offers?"
        r"|sav(?:e|es|ing|ings)|coupons?|vouchers?|half[- ]price|affordable|inexpensive|dollars?"
        r"|euros?|pence|cents?|free\s+(?:gift|shipping|delivery|of\s+charge)|for\s+free"
        r"|\d+\s?%\s+off|value\s+for\s+money|low\s+cost)\b"
    ),
}
_COMPILED = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _CLAIMS.items()}


def claim(text: str, source: str) -> str | None:
    """`superlative`, `promise`, `health` or `price`: the first claim that the source does not make.

    >>> claim("The best mug", "mug blue"), claim("For your best friend", "Best Friend mug")
    ('superlative', None)
    """
    given = source.lower()
    for name, pattern in _COMPILED.items():
        if any(found[0].lower() not in given for found in pattern.finditer(text)):
            return name
    return None
