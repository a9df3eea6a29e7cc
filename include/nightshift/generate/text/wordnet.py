"""Synonyms out of WordNet 3.0 (Miller, 1995; Fellbaum, 1998): our extract of it, or a whole folder.

Only the first senses of a word are looked at: WordNet lists them by frequency, and the sixth sense
of "cup" sells no cups.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

from nightshift.errors import SettingsError

SENSES = 2
"""First senses of a word in which it may be exchanged."""
_EXTRACT = files("nightshift.generate.text") / "wordnet_synonyms.txt"
_PARTS = ("noun", "adj")
_COMMENT = "#"

Synonyms = dict[str, tuple[str, ...]]
"""A word or phrase, and what may stand for it, nearest sense first."""


@dataclass(frozen=True, slots=True)
class Synset:
    """Words for one thing, each with the number of that sense of it (1: the usual one)."""

    part: str
    topic: str  # number of the lexicographer's file: 06 is noun.artifact
    words: tuple[tuple[str, int], ...]


def files_of(folder: Path) -> list[Path]:
    """What is read of a folder of WordNet's."""
    return [folder / f"{kind}.{part}" for part in _PARTS for kind in ("index", "data")]


def synsets(folder: Path) -> Iterator[Synset]:
    """Every synset of nouns and adjectives with two words or more.

    Raises:
        SettingsError: the folder is not WordNet's.
    """
    files = files_of(folder)
    for part, index, data in zip(_PARTS, files[::2], files[1::2], strict=True):
        try:
            senses = _senses(index)
            lines = data.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"generate.synonyms.wordnet {folder} cannot be read: {error}.",
                hint="name the folder that holds index.noun, data.noun, index.adj and data.adj",
            ) from error
        for line in lines:
            if line.startswith(" "):  # the licence
                continue
            offset, topic, _, count, *rest = line.split(" ")
            lemmas = [lemma.partition("(")[0] for lemma in rest[: 2 * int(count, 16) : 2]]
            words = tuple((w, senses.get((w.lower(), offset), 0)) for w in lemmas)
            if len(words) > 1:
                yield Synset(part, topic, words)


def _senses(path: Path) -> dict[tuple[str, str], int]:
    """(lemma, offset of a synset) -> the number of that sense."""
    found: dict[tuple[str, str], int] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(" "):
            continue
        lemma, _, count, *rest = line.split()
        for number, offset in enumerate(rest[-int(count) :], start=1):
            found[(lemma, offset)] = number
    return found


def common_words(synset: Synset) -> tuple[str, ...]:
    """Its plain words in one of their first senses: lower case, no more than two parts."""
    return tuple(
        word.replace("_", " ")
        for word, sense in synset.words
        if 0 < sense <= SENSES and word.islower() and word.count("_") < 2 and _plain(word)
    )


def _plain(word: str) -> bool:
    return word.replace("_", "").replace("-", "").isalpha()


@cache
def load_synonyms(folder: Path | None) -> Synonyms:
    """From a folder of WordNet's, or from our extract.

    Raises:
        SettingsError: the folder is not WordNet's.
    """
    if folder is not None:
        sets = [common_words(synset) for synset in synsets(folder.expanduser())]
    else:
        lines = _EXTRACT.read_text(encoding="utf-8").splitlines()
        sets = [tuple(line.split(",")) for line in lines if line and not line.startswith(_COMMENT)]
    found: dict[str, dict[str, None]] = {}
    for words in sets:
        for word in words:
            others = found.setdefault(word, {})
            others.update((other, None) for other in words if other != word)
    return {word: tuple(others) for word, others in found.items() if others}
