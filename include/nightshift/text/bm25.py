"""BM25 (Robertson & Zaragoza, 2009) over the texts of a catalogue, by bm25s (Lù, 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

PLAIN, PLURAL = "none", "plural"
STEMS = (PLAIN, PLURAL)
"""How words are cut: not at all, or English plurals to singulars."""
_SHORTEST = 4
"""Letters of a word that may lose its s: `gas` and `bus` stay."""


def singular(word: str) -> str:
    """An English plural without its ending (Harman, 1991, "How effective is suffixing?")."""
    if len(word) < _SHORTEST:
        return word
    if word.endswith("ies") and not word.endswith(("eies", "aies")):
        return word[:-3] + "y"
    if word.endswith("es") and not word.endswith(("aes", "ees", "oes")):
        return word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")):
        return word[:-1]
    return word


class Bm25:
    """An index over texts: k1 = 1.5, b = 0.75, words of at least two letters or digits."""

    def __init__(self, texts: Sequence[str], stem: str = PLAIN) -> None:
        import bm25s

        self.stem, self._items = stem, len(texts)
        tokens = _tokens(texts, stem)
        self._index: Any = None
        if any(tokens):
            self._index = bm25s.BM25()
            self._index.index(tokens, show_progress=False)

    def scores(self, queries: Sequence[str]) -> Floats:
        """[queries, items]; a row of zeros for a query without a known word."""
        found = np.zeros((len(queries), self._items), dtype=np.float32)
        if self._index is None or not len(queries):
            return found
        for row, words in enumerate(_tokens(queries, self.stem)):
            known = [word for word in words if word in self._index.vocab_dict]
            if known:
                found[row] = self._index.get_scores(known)
        return found


class Indexes:
    """The catalogue's indexes, one for each way of cutting words, each made when asked for."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._made: dict[str, Bm25] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, stem: str) -> Bm25:
        if stem not in self._made:
            self._made[stem] = Bm25(self.texts, stem)
        return self._made[stem]


def scaled(words: Floats) -> Floats:
    """BM25 of each query in [0, 1]: over its best item; zeros stay."""
    top = words.max(axis=1, keepdims=True, initial=0.0)
    out: Floats = np.divide(words, top, out=np.zeros_like(words), where=top > 0)
    return out


def _tokens(texts: Sequence[str], stem: str) -> list[list[str]]:
    import bm25s

    tokens: list[list[str]] = bm25s.tokenize(
        list(texts), stopwords=None, return_ids=False, show_progress=False
    )
    if stem == PLURAL:
        cut = {word: singular(word) for words in tokens for word in words}
        tokens = [[cut[word] for word in words] for words in tokens]
    return tokens
