"""Facts in a text: numbers with their units, attributes, names. Which were lost, which made up.

Strict and literal on purpose: a text about an item that says another number, colour or name than
the item's own text is wrong, however well it reads.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from nightshift.text.attributes import AUDIENCE, CANONICAL, COMMON, STOP_WORDS, UNITS

_NUMBER = re.compile(r"(\d+(?:[.,]\d+)*)\s*-?\s*(fl\.?\s*oz|[^\W\d_]+|%|\"|″|'|′)?")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_FROM_TWO = "two three four five six seven eight nine ten eleven twelve"
_SPELT = {word: str(number) for number, word in enumerate(_FROM_TWO.split(), start=2)} | {
    "dozen": "12",
    "hundred": "100",
    "thousand": "1000",
}
_SPELT_WORD = re.compile(rf"\b({'|'.join(_SPELT)})\b")
_NAME = re.compile(r"(?<![.!?:;\"“»] )(?<!^)\b[^\W\d_a-z][^\W\d_]+(?:['’-][^\W\d_]+)*")
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_MIN_CONTENT = 3

Quantities = Counter[tuple[str, str]]
"""(value, canonical unit or "") -> how often."""


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text)
    return re.sub(r"[^\W\D]", lambda digit: str(unicodedata.decimal(digit[0])), text)


def quantities(text: str) -> Quantities:
    """Numbers with the unit behind them; spelt-out ones too ("set of three").

    >>> sorted(quantities("Set of three, 16 OZ, 1,000 pcs"))
    [('1000', 'count'), ('16', 'oz'), ('3', '')]
    """
    text = _THOUSANDS.sub("", _plain(text).lower())
    text = _SPELT_WORD.sub(lambda word: _SPELT[word[1]], text)
    found: Quantities = Counter()
    for value, unit in _NUMBER.findall(text):
        found[(_value(value), UNITS.get(re.sub(r"[\s.]", "", unit), ""))] += 1
    return found


def _value(digits: str) -> str:
    digits = digits.replace(",", ".")
    return digits.rstrip("0").rstrip(".") if digits.count(".") == 1 else digits


def attributes(text: str) -> set[str]:
    """Colours, materials, sizes, flavours and the like, by one spelling each."""
    return {CANONICAL[word] for word in _words(text) if word in CANONICAL}


def _audience(text: str) -> set[str]:
    return {AUDIENCE[word] for word in _words(text) if word in AUDIENCE}


def content_words(text: str) -> set[str]:
    """Words that carry meaning, lower case and without the plural's s."""
    return {stem(word) for word in _words(text) if word not in STOP_WORDS and len(word) > 2}


def lost_fact(text: str, given: str) -> str | None:
    """`lost_number`, `changed_unit` or `lost_attribute`: what of `given` the text does not say."""
    said, wanted = quantities(text), quantities(given)
    values = Counter(value for value, _ in said.elements())
    if Counter(value for value, _ in wanted.elements()) - values:
        return "lost_number"
    units = Counter({pair: n for pair, n in wanted.items() if pair[1]})
    if units - said:
        return "changed_unit"
    if attributes(given) - attributes(text) or _audience(given) - _audience(text):
        return "lost_attribute"
    return None


def invented_fact(text: str, source: str) -> str | None:
    """What of the text its source does not say; None when all is said there.

    `invented_number`, `changed_unit`, `invented_attribute` or `invented_name`.
    """
    said, known_numbers = set(quantities(text)), set(quantities(source))
    if {value for value, _ in said} - {value for value, _ in known_numbers}:
        return "invented_number"
    units = {unit for _, unit in said - known_numbers} - {""}
    if units - {UNITS[word] for word in _words(source) if word in UNITS}:
        return "changed_unit"
    if attributes(text) - attributes(source):
        return "invented_attribute"
    known = {stem(word) for word in _words(source)}
    names = [part for name in _NAME.findall(text.strip()) for part in _words(name)]
    strange = [n for n in names if stem(n) not in known and n not in COMMON]
    return "invented_name" if strange else None


def _words(text: str) -> list[str]:
    return [word.lower().replace("’", "'") for word in _WORD.findall(_plain(text))]


def stem(word: str) -> str:
    """A lower-case word without the plural's or the genitive's s."""
    word = word.removesuffix("'s")
    if len(word) > _MIN_CONTENT and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word
