"""Does a judge know what a customer takes next? Asked of items that customers did take.

The last item that a customer took for the first time stands for an item nobody has taken yet: the
history is cut off in front of it, and a judge that sees texts alone must tell it from an item that
is as popular. Nothing after the night's start is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nightshift.generate.customers.judge import Question
from nightshift.generate.customers.shown import MIN_SHOWN, ItemLines, listed, shown_items
from nightshift.generate.hashing import combine, splitmix
from nightshift.generate.neighbours import DECIMALS
from nightshift.generate.sources import Sources
from nightshift.generate.text.variants import most_popular_variant
from nightshift.histories import Histories

_RECENT, _DECAY = 10, 0.7
"""The text-kNN judge's profile: the last ten items, each counting 0.7 of the one after it."""
_AS_POPULAR = 20
"""Texts next to the taken one in popularity, on each side, of which the other is drawn."""
_TRIED = 4
"""Customers looked at for each pair: the items of some say nothing."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Pairs of a taken text and one that is as popular; the taken one is `first`."""

    questions: list[Question]
    users: npt.NDArray[np.int64]  # [n] codes
    taken: npt.NDArray[np.int64]  # [n] text rows
    other: npt.NDArray[np.int64]  # [n]
    text_knn: npt.NDArray[np.float64]  # [n] cosine with the history of `taken` less `other`

    def __len__(self) -> int:
        return len(self.questions)


def right(margin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Per pair 1 where the taken item is ahead, a half where nothing is: their mean is the AUC."""
    return (np.sign(margin) + 1) / 2


def text_profiles(sources: Sources, histories: Histories) -> npt.NDArray[np.float32]:
    """Unit text profile of each history, zero without any: [histories, width]."""
    vectors, row_of_item = sources.texts
    last = histories.last(_RECENT)
    weights = (_DECAY ** np.arange(_RECENT - 1, -1, -1) * (last >= 0)).astype(np.float32)
    mean = np.einsum("hl,hlw->hw", weights, vectors[row_of_item[np.maximum(last, 0)]])
    norm = np.linalg.norm(mean, axis=1, keepdims=True)
    profiles: npt.NDArray[np.float32] = mean / np.maximum(norm, 1e-6)
    return profiles


def draw_probe(
    sources: Sources,
    lines: ItemLines,
    *,
    customers: int,
    most_shown: int,
    disliked: npt.NDArray[np.int64],
) -> Probe:
    """A pair each of up to so many customers, drawn by seed.

    A taken item is warm, is called what nothing was called that the customer had before, and says
    something; in front of it are two readable items or more. Nothing that the customer ever had,
    before or after, is called what the other one is.
    """
    users, ends = _last_new(sources)
    order = _seeded_order(sources, users)[: _TRIED * customers]
    users, ends = users[order], ends[order]
    histories = sources.snapshot.histories
    earlier = _cut(histories, users, ends)
    shown = shown_items(sources, lines, users, earlier, most=most_shown, disliked=disliked)
    others = _Others(sources, lines)
    rows, taken, other = [], [], []
    for row, (user, end) in enumerate(zip(users.tolist(), ends.tolist(), strict=True)):
        item = int(histories.items[end])
        text = int(sources.texts[1][item])
        had = {lines[other] for other in set(sources.texts[1][earlier.of(row)].tolist())}
        if len(shown[row]) < MIN_SHOWN or lines[text] is None or lines[text] in had:
            continue
        against = others.like(item, user, histories.of(user))
        if against is not None:
            rows.append(row)
            taken.append(text)
            other.append(against)
        if len(rows) == customers:
            break
    questions = [
        Question(listed(list(shown[row].values())), lines[t] or "", lines[o] or "")
        for row, t, o in zip(rows, taken, other, strict=True)
    ]
    kept = np.array(rows, dtype=np.int64)
    profiles = text_profiles(sources, earlier.take(kept))
    vectors, at, instead = sources.texts[0], np.array(taken, int), np.array(other, int)
    cosines = [np.einsum("nw,nw->n", profiles, vectors[texts]) for texts in (at, instead)]
    return Probe(
        questions, users[kept], at, instead, (cosines[0] - cosines[1]).round(DECIMALS).astype(float)
    )


def _warm(sources: Sources) -> npt.NDArray[np.bool_]:
    snapshot = sources.snapshot
    warm = snapshot.item_events > sources.settings.generate.tail_events
    found: npt.NDArray[np.bool_] = warm & ~snapshot.withheld
    return found


def _last_new(sources: Sources) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Users, and where in the histories lies the last warm item of a text that was new to them."""
    histories, (vectors, row_of_item) = sources.snapshot.histories, sources.texts
    owners = np.repeat(np.arange(len(histories)), histories.lengths)
    texts = row_of_item[histories.items].astype(np.int64)
    _, firsts = np.unique(owners * len(vectors) + texts, return_index=True)
    warm = _warm(sources)[histories.items[firsts]]
    behind = firsts - histories.indptr[owners[firsts]] >= MIN_SHOWN
    found = np.sort(firsts[warm & behind])
    last = found[np.append(owners[found][1:] != owners[found][:-1], True)] if len(found) else found
    return owners[last], last


def _cut(
    histories: Histories, users: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> Histories:
    """What each user had before the flat position `ends`, exclusive."""
    lengths = ends - histories.indptr[users]
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    rows = np.arange(indptr[-1]) + np.repeat(histories.indptr[users] - indptr[:-1], lengths)
    return Histories(indptr, histories.items[rows], histories.times[rows])


def _seeded_order(sources: Sources, users: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    seeded = splitmix(np.full(len(users), sources.settings.generate.seed, dtype=np.uint64))
    return np.argsort(combine(seeded, sources.user_hashes[users]), kind="stable")


class _Others:
    """Warm items in order of popularity, one of each text, to draw a taken item's match from."""

    def __init__(self, sources: Sources, lines: ItemLines) -> None:
        self._sources, self._lines = sources, lines
        self._events = sources.snapshot.item_events
        vectors, row_of_item = sources.texts
        items = most_popular_variant(row_of_item, self._events, len(vectors))
        items = items[items >= 0]
        items = items[_warm(sources)[items]]
        self._items = items[np.lexsort((sources.item_hashes[items], self._events[items]))]
        self._counts = self._events[self._items]

    def like(self, item: int, user: int, history: npt.NDArray[np.int32]) -> int | None:
        """The text row of an item as popular as this one that the user never had, drawn by seed."""
        place = int(np.searchsorted(self._counts, self._events[item]))
        near = self._items[max(0, place - _AS_POPULAR) : place + _AS_POPULAR]
        rows = self._sources.texts[1]
        had = {self._lines[text] for text in set(rows[history].tolist())} | {None}
        seeds = np.full(len(near), self._sources.settings.generate.seed, dtype=np.uint64)
        whose = combine(splitmix(seeds), self._sources.user_hashes[[user] * len(near)])
        order = np.argsort(combine(whose, self._sources.item_hashes[near]), kind="stable")
        texts = rows[near[order]].tolist()
        return next((text for text in texts if self._lines[text] not in had), None)
