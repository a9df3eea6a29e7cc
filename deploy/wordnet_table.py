"""Write `generate/text/wordnet_synonyms.txt`: the part of WordNet 3.0 that a shop has a use for.

    python deploy/wordnet_table.py /usr/share/wordnet      (Debian: apt install wordnet-base)

Kept are nouns for things, food, substances and their looks, and adjectives: synsets with at least
two words in one of their first senses. Of bodies, animals, plants and adjectives only what
WordNet's own texts were tagged with (cntlist.rev): the rest is Latin.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nightshift.generate.text.wordnet import Synset, common_words, synsets

TARGET = Path(__file__).parents[1] / "include/nightshift/generate/text/wordnet_synonyms.txt"
SHOP_TOPICS = {"06", "13"}  # noun.artifact, noun.food
TAGGED_TOPICS = {"00", "05", "07", "08", "20", "25", "27"}
"""adj.all, noun.animal, .attribute, .body, .plant, .shape, .substance"""
_TYPES = {"noun": ("1",), "adj": ("3", "5")}


def tagged(folder: Path) -> set[tuple[str, str, int]]:
    """(lemma, type of synset, number of the sense) that occur in the tagged texts."""
    found = set()
    for line in (folder / "cntlist.rev").read_text(encoding="utf-8").splitlines():
        key, sense, _ = line.split()
        lemma, _, rest = key.partition("%")
        found.add((lemma, rest[0], int(sense)))
    return found


def wanted(synset: Synset, known: set[tuple[str, str, int]]) -> bool:
    if synset.topic in SHOP_TOPICS:
        return True
    types = _TYPES[synset.part]
    return synset.topic in TAGGED_TOPICS and any(
        (word.lower(), kind, sense) in known for word, sense in synset.words for kind in types
    )


def licence(folder: Path) -> str:
    """The head of a data file: WordNet's licence, as it must go with every copy."""
    lines = (folder / "data.noun").read_text(encoding="utf-8").splitlines()
    head = [line.strip().partition(" ")[2].strip() for line in lines if line.startswith(" ")]
    return "\n".join(f"# {line}".rstrip() for line in head)


def main(folder: Path) -> None:
    known = tagged(folder)
    rows = [common_words(synset) for synset in synsets(folder) if wanted(synset, known)]
    lines = dict.fromkeys(",".join(words) for words in rows if len(words) > 1)
    note = (
        "# Synonyms for words of shops: an extract of WordNet 3.0, one set a line.\n"
        "# Written by deploy/wordnet_table.py; changed by leaving out, never by adding.\n#\n"
    )
    text = note + licence(folder) + "\n" + "\n".join(lines) + "\n"
    TARGET.write_text(text, encoding="utf-8")
    print(f"{len(lines):,} sets, {len(text.encode()):,} bytes: {TARGET}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
