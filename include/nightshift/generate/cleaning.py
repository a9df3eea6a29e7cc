"""Shop text is data: what is taken out of it before a prompt, and looked for behind one."""

from __future__ import annotations

import re
import unicodedata

_PERSONAL = re.compile(
    r"""
      [\w.+-]+@[\w-]+(\.[\w-]+)+                 # e-mail
    | \b(https?://|www\.)\S+                     # address
    | \b[\w-]+\.(com|net|org|info|biz|io|co|ru|de|fr|uk|cn)\b(/\S*)?
    | (?<![\w.])\+?\d[\d\s().-]{7,}\d(?![\w.])   # telephone, card or account number
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CHAT_TOKENS = re.compile(r"<\|.{0,40}?\|>|</?s>|\[/?INST\]|<<?/?SYS>>?", re.IGNORECASE)
_ORDERS = re.compile(
    r"""
      \b(ignore|disregard|forget|override)\b.{0,60}\b(instruction|prompt|previous|above|rule)
    | \b(system|developer)\s+(prompt|message)\b
    | \byou\s+are\s+(now\s+)?(an?\s+)?(ai|assistant|language\s+model|chatbot)\b
    | \b(repeat|print|reveal|output|say)\b.{0,40}\b(prompt|instructions|examples|above)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LABELS = re.compile(r"\b(product|search|wanted|query|system|user|assistant)\s*:", re.IGNORECASE)
_UPPER_SHARE = 0.7
"""Catalogues in capitals are read as shouting and spelt out letter by letter."""


def has_personal_data(text: str) -> bool:
    """E-mail and web addresses, telephone, card and account numbers."""
    return _PERSONAL.search(text) is not None


def gives_orders(text: str) -> bool:
    """Does a text try to speak to a language model (in English, or in chat markup)?

    A second line of defence: the first is that an answer must parse as a search query.
    """
    return _ORDERS.search(text) is not None or _CHAT_TOKENS.search(text) is not None


def clean(text: str, max_chars: int) -> str:
    """One line of plain words, at most `max_chars` long, cut between words.

    Without control characters, chat markup, labels of our prompts, and personal data.
    """
    text = unicodedata.normalize("NFKC", text[: 20 * max_chars])
    text = _PERSONAL.sub(" ", _CHAT_TOKENS.sub(" ", text))
    text = _LABELS.sub(lambda match: match[1] + " ", text)
    text = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in text)
    text = " ".join(text.split())
    letters = [c for c in text if c.isalpha()]
    if letters and sum(c.isupper() for c in letters) > _UPPER_SHARE * len(letters):
        text = text.lower()
    if len(text) > max_chars:
        head = text[:max_chars]
        text = (head.rpartition(" ")[0] or head).rstrip(" ,;-")
    return text


def words(text: str) -> list[str]:
    """Lower-case runs of letters and digits."""
    return re.findall(r"\w+", text.lower())
