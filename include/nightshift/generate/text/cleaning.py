"""Shop text is data: what is taken out of it before a prompt, and looked for behind one."""

from __future__ import annotations

import re
import unicodedata

_PERSONAL = re.compile(
    r"""
      [\w.+-]{1,64}@[\w-]+(\.[\w-]+)+            # e-mail
    | \b(https?://|www\.)\S+                     # address
    | \b[\w-]{1,63}\.(com|net|org|info|biz|io|co|ru|de|fr|uk|cn)\b(/\S*)?
    | (?<![\w.])\+?\d[\d\s().-]{7,40}\d(?![\w.]) # telephone, card or account number
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CHAT_TOKENS = re.compile(
    r"<\|.{0,40}?\|>|</?s>|\[/?INST\]|<<?/?SYS>>?|<(?:start|end)_of_turn>|<\|?/?(?:im_start|im_end"
    r"|endoftext|eos|bos|system|user|assistant|product|review|instructions?)\|?/?>",
    re.IGNORECASE,
)
_FENCES = re.compile(r"[#=*~_-]{3,}|`+|[<>]{2,}|\|{2,}|\"{3,}|'{3,}")
_ORDERS = re.compile(
    r"""
      \b(ignor|disregard|forget|override|olvid|oublie|vergiss|missach)\w*\b.{0,60}
      (instru|anweisung|prompt|previous|above|\brule|regel|anterior|pr[ée]c[ée]dent|vorherig|consign
       |istruzioni|opdracht)
    | \b(system|developer)\s+(prompt|message)\b
    | \byou\s+are\s+(now\s+)?(an?\s+)?(ai|assistant|language\s+model|chatbot)\b
    | \b(act|respond|reply|answer)\s+(as|only\s+with|with\s+only)\b
    | \b(repeat|print|reveal|output|say)\b.{0,40}\b(prompt|instructions|examples|above)\b
    | \bas\s+an?\s+(ai|assistant|language\s+model)\b
    | 忽略.{0,12}(指令|指示|说明|提示|以上|之前) | 無視.{0,12}(指示|命令) | (指示|命令).{0,8}無視
    | (игнорируй|забудь).{0,40}(инструкц|указан) | تجاهل.{0,30}(تعليمات|التعليمات)
    | निर्देश.{0,20}(अनदेखा|नज़रअंदाज़) | (지시|명령).{0,10}무시 | zignoruj.{0,40}instrukcj
    | (önceki|yukarıdaki).{0,20}(talimat|komut)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LABELS = re.compile(
    r"""
    \b(products?|items?|search|quer(?:y|ies)|reviews?|ratings?|stars|descriptions?|texts?
     |in\ other\ words|advertisements?|ads?|customers?|interests?|histor(?:y|ies)|wanted|wants
     |bought|answers?|questions?|examples?|instructions?|prompts?|inputs?|outputs?|notes?
     |system|user|assistant|human|[abq])
    (?:\s*[:：﹕꞉∶])+
    """,
    re.VERBOSE | re.IGNORECASE,
)
_JOINERS = re.compile(r"(?<=[\x00-\u02ff])[\u200c\u200d]+|[\u200c\u200d]+(?=[\x00-\u02ff]|$)")
"""Joiners belong to Persian, Hindi and emoji; among Latin letters they only hide a word."""
_MARKS = re.compile(r"([\u0300-\u036f]{2})[\u0300-\u036f]+")
_UPPER_SHARE = 0.7
"""Catalogues in capitals are read as shouting and spelt out letter by letter."""
_LOOKED_AT = 20
"""Times the wanted length: what lies behind is neither read nor shown."""
_ORDERS_LOOKED_AT = 20_000
"""Characters of a text in which orders are looked for; a prompt shows far fewer."""


def has_personal_data(text: str) -> bool:
    """E-mail and web addresses, telephone, card and account numbers."""
    return _PERSONAL.search(text) is not None


def gives_orders(text: str) -> bool:
    """Does a text try to speak to a language model (in chat markup, or in some languages)?

    A second line of defence: the first is that an answer must parse as what was asked for.
    """
    seen = text[:_ORDERS_LOOKED_AT]
    if _CHAT_TOKENS.search(seen) is not None:
        return True
    return _ORDERS.search(_visible(unicodedata.normalize("NFKC", seen))) is not None


def has_labels(text: str) -> bool:
    """Does a text hold a label of our prompts ("Review:"), as if it were one?"""
    return _LABELS.search(text) is not None


def clean(text: str, max_chars: int) -> str:
    """One line of plain words, at most `max_chars` long, cut between words.

    Without control characters, chat markup, fences, labels of our prompts, and personal data.
    """
    text = unicodedata.normalize("NFKC", text[: _LOOKED_AT * max_chars])[: _LOOKED_AT * max_chars]
    text = _visible(text)
    text = _PERSONAL.sub(" ", _FENCES.sub(" ", _CHAT_TOKENS.sub(" ", text)))
    text = _LABELS.sub(lambda match: match[1] + " ", text)
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


def _visible(text: str) -> str:
    """Without what nobody sees: formats vanish, controls become spaces; heaps of marks shrink."""
    shown = (
        c
        if c in "\u200c\u200d" or (kind := unicodedata.category(c))[0] != "C"
        else ("" if kind == "Cf" else " ")
        for c in text
    )
    return _MARKS.sub(r"\1", _JOINERS.sub("", "".join(shown)))
