"""Examples of search queries, what they want, and the strict reading of what a model writes."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache

from nightshift.generate.text.cleaning import clean, has_personal_data, words
from nightshift.generate.text.templates import prompt_file

MAX_CHARS = 60
MAX_WORDS = 8
_MIN_LETTERS = 3
_MIN_COPY = 5
"""This many words verbatim from the product in a row are a copy of its text, not a search."""
_MIN_ROOT = 4
"""Letters of a word that another one begins with when it is made of it: `hair`, `hairspray`."""
_WORD = r"""[^ \t\r\n!"#$*:;<=>?@\[\\\]^`{|}~]+"""
"""Of a search, in any script; what is excluded no search has (`_PLAIN`)."""
QUERY_PATTERN = f"( {_WORD}){{1,{MAX_WORDS}}}"
"""A line behind a prompt that can be a search."""
_NUMBER = re.compile(r"\d+")
_PLAIN = re.compile(r"[\w\s'’&%.,+/()-]+")


_FOR_WHOM = re.compile(r"\b(gifts?|presents?|stocking (filler|stuffer)s?)\b")
_HELPS = re.compile(
    r"""\b(sensitive|itchy|dry|oily|greasy|frizzy|sore|aching|thinning|damaged|smelly|stained
    |leak\w*|broken|stuck|noisy|anti|remov\w+|repellent|relief|treatment|cure|fix|repair|stop|prevent
    |pain|ache|stains?|odou?r|allerg\w+|heartburn|headache|cough|fleas?)\b""",
    re.VERBOSE,
)
_FOR_WHAT = re.compile(
    r"\bfor\s+(?!(wo)?m[ae]ns?\b|kids?\b|boys?\b|girls?\b|babies\b|dogs?\b|cats?\b)"
)
_SENTENCE = re.compile(
    r"\b(it is|it's|this|these|you can|you will|we have|is a|are a|which|please)\b"
)
# What may stand at no end of a search: a fragment of a sentence, cut off by the token limit.
_LOOSE_ENDS = frozenset(
    words("a an the of with and or that is are in at by from to for my your this which")
)
_LOOSE_STARTS = _LOOSE_ENDS - frozenset(words("a an the for my in to"))
# Words that say for whom, when or how a thing is, and not what it is.
_SAYS_NO_PRODUCT = frozenset(
    words(
        """gift gifts present presents idea ideas item items thing things stuff something birthday
        christmas wedding anniversary party school office work home house day days people person
        man men woman women boy boys girl girls kid kids child children mum mom dad him her friend
        friends husband wife teacher best good great nice cheap new small large big size special
        perfect a an the for to of in on at with and or my your"""
    )
)


@dataclass(frozen=True, slots=True)
class Pair:
    """A product as a prompt shows it, and what somebody typed to find it."""

    text: str
    query: str
    intent: str = "any"
    """What it wants: one of the settings' `Intent`."""

    @property
    def fields(self) -> dict[str, str]:
        """As the template takes it."""
        return {"text": self.text, "intent": self.intent, "query": self.query}


@cache
def shipped_pairs() -> tuple[Pair, ...]:
    """Hand-written pairs over many kinds of shops, for a shop without a search log."""
    lines = prompt_file("query_pairs.jsonl").splitlines()
    return tuple(Pair(**json.loads(line)) for line in lines)


def shown(text: str, max_chars: int) -> str:
    """A product as a prompt shows it: clean, and in small letters.

    Searches are typed in small letters, and to a model `sneakers` is one token and `Sneakers`
    another: a small one copies what it sees, and gets the word wrong that it must rewrite.
    """
    return clean(text, max_chars).lower()


def guess_intent(query: str, text: str) -> str:
    """What somebody wanted who typed this and took that product, by simple signs.

    "attribute" where every word is the product's own, "any" where nothing says more. A misspelling
    is not told from a word that the product's text happens to lack.
    """
    if _FOR_WHOM.search(query):
        return "gift"
    if _HELPS.search(query):
        return "problem"
    if _FOR_WHAT.search(query):
        return "use"
    return "attribute" if set(words(query)) <= set(words(text)) else "any"


def read_query(raw: str, text: str, title: str, shots: list[Pair]) -> tuple[str | None, str]:
    """What a model wrote behind a prompt, as a query.

    Args:
        raw: the continuation, one line.
        text: the product as the prompt showed it.
        title: its full title, which a query must not merely repeat.

    Returns:
        The query and "", or None and the reason why it is none.
    """
    query = " ".join(raw.split()).strip("\"'«»“”.,;- ").lower()
    tokens = words(query)
    reason = ""
    if sum(c.isalpha() for c in query) < _MIN_LETTERS:
        reason = "empty"
    elif len(query) > MAX_CHARS or max(len(tokens), len(query.split())) > MAX_WORDS:
        reason = "too_long"
    elif has_personal_data(query):
        reason = "personal_data"
    elif not _PLAIN.fullmatch(query) or {"search", "product", "wanted"} & set(tokens):
        reason = "not_a_query"
    elif tokens[-1] in _LOOSE_ENDS or tokens[0] in _LOOSE_STARTS or _SENTENCE.search(query):
        reason = "fragment"
    elif _SAYS_NO_PRODUCT.issuperset(tokens) and not (
        (set(tokens) - _LOOSE_ENDS) & set(words(f"{text} {title}"))
    ):
        reason = "no_product"
    elif len(set(tokens)) * 3 <= len(tokens) * 2:
        reason = "repetition"
    elif query in {shot.query for shot in shots}:
        reason = "leaked_example"
    elif set(_NUMBER.findall(query)) - set(_NUMBER.findall(f"{text} {title}")):
        reason = "invented_number"
    elif tokens in (words(title), words(text)) or _copies(tokens, words(text)):
        reason = "copy_of_title"
    return (None, reason) if reason else (query, "")


def is_circular(query: str) -> bool:
    """`hairspray for hair`, `dog food for dogs`: what it is for is what it is.

    Customers do type such a thing; a small model writes it when it has nothing to say.
    """
    thing, _, purpose = query.partition(" for ")
    what = words(purpose)
    if len(what) != 1:
        return False
    root = what[0].removesuffix("s")
    return any(
        word.removesuffix("s") == root or (len(root) >= _MIN_ROOT and word.startswith(root))
        for word in words(thing)
    )


def _copies(tokens: list[str], source: list[str]) -> bool:
    n = len(tokens)
    return n >= _MIN_COPY and any(source[i : i + n] == tokens for i in range(len(source) - n + 1))
