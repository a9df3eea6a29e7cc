"""Texts to tokens, for all engines the same way."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

NEWLINE = "Ċ"
"""How byte-level BPE vocabularies (Radford et al., 2019) write a line break."""
_SPECIAL = ("<|im_end|>", "<|endoftext|>", "</s>")


class Tokens:
    """The tokenizer of one model folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "tokenizer.json"

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, nothing put in front or behind."""
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [e.ids for e in encoded]

    def names(self, ids: Sequence[int]) -> list[str]:
        """Ids as the vocabulary's strings."""
        return [self._tokenizer.id_to_token(i) for i in ids]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        decoded: list[str] = self._tokenizer.decode_batch(
            [list(row) for row in ids], skip_special_tokens=True
        )
        return decoded

    @cached_property
    def line_ends(self) -> list[int]:
        """Every token that holds a line break or ends the text."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        return sorted(i for t, i in vocabulary.items() if NEWLINE in t or t in _SPECIAL)

    @cached_property
    def text_ends(self) -> list[int]:
        """Every token that ends the text."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        return sorted(vocabulary[t] for t in _SPECIAL if t in vocabulary)
