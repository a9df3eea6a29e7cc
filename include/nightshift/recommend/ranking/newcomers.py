"""Places of a list that are kept for items nobody has bought yet.

Where customers buy again, what they know fills every list, and an item that is new today is shown
to nobody: no event will ever say whether it is good. A shop may keep every n-th place for such an
item, the best of them for this customer. What it costs is measured, since what is judged is what
is served.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from nightshift.histories import Histories
from nightshift.ranking import Codes, Mask, Scores, top_of_tiles


@dataclass(frozen=True, slots=True)
class Newcomers:
    """The new items of a catalogue, and how often a place is theirs."""

    every: int
    codes: npt.NDArray[np.int64]  # [new], ascending
    is_new: Mask  # [items]
    place: Codes  # [items] where an item stands in `codes`, -1 where it is not new

    @classmethod
    def of(cls, known: Mask, every: int) -> Self:
        """`known` are the items with events: [items]."""
        codes, place = np.flatnonzero(~known), np.full(len(known), -1, dtype=np.int32)
        place[codes] = np.arange(len(codes))
        return cls(every, codes, ~known, place)

    def listed(
        self,
        best: tuple[Codes, Scores],
        scores_of: Callable[[slice], Scores],
        users: Histories,
        *,
        candidates: Mask | None,
        exclude_seen: bool,
        tile: int,
    ) -> tuple[Codes, Scores]:
        """`best` [users, k] with the kept places filled.

        Args:
            scores_of: the users' scores of a slice of `codes`.
            tile: see `top_of_tiles`.
        """
        wanted = best[0].shape[1] // self.every
        if not wanted or not len(self.codes):
            return best
        found, scores = top_of_tiles(
            scores_of,
            replace(users, items=self.place[users.items]),
            len(self.codes),
            wanted,
            candidates=None if candidates is None else candidates[self.codes],
            exclude_seen=exclude_seen,
            tile=tile,
        )
        codes = np.where(found >= 0, self.codes[np.maximum(found, 0)], -1).astype(np.int32)
        return kept_places(best, (codes, scores), self.is_new, self.every)


def kept_places(
    listed: tuple[Codes, Scores], newcomers: tuple[Codes, Scores], new: Mask, every: int
) -> tuple[Codes, Scores]:
    """Lists with n new items in their first n times `every` places, at the least.

    A new item that ranks higher by itself keeps its rank; the others' order does not change.

    Args:
        listed: codes and scores of the k best of all [users, k], best first.
        newcomers: of the best new items alone [users, k // every or more], best first.
        new: [items].
    """
    codes, k = listed[0], listed[0].shape[1]
    here = new[np.maximum(codes, 0)] & (codes >= 0)
    count = here.sum(axis=1)
    firsts, first_scores = _behind(listed, newcomers, here)
    nth = np.arange(firsts.shape[1])
    # Where each of the new ones stands by itself; those that are not on the list stand behind it.
    by_rank = np.argsort(~here, axis=1, kind="stable")
    by_rank = np.where(nth[:k] < count[:, None], by_rank, k)
    stands = np.full(firsts.shape, k)
    stands[:, :k] = by_rank
    places = np.minimum(stands, every * (nth + 1) - 1)
    places[firsts < 0] = k
    taken = np.zeros((len(codes), k + 1), dtype=bool)
    np.put_along_axis(taken, np.minimum(places, k), True, axis=1)
    taken = taken[:, :k]
    others = np.argsort(here, axis=1, kind="stable")
    return tuple(  # type: ignore[return-value]
        np.where(
            taken,
            np.take_along_axis(mine, np.maximum(taken.cumsum(axis=1) - 1, 0), axis=1),
            np.take_along_axis(
                np.take_along_axis(old, others, axis=1),
                np.maximum((~taken).cumsum(axis=1) - 1, 0),
                axis=1,
            ),
        )
        for mine, old in zip((firsts, first_scores), listed, strict=True)
    )


def _behind(
    listed: tuple[Codes, Scores], newcomers: tuple[Codes, Scores], here: Mask
) -> tuple[Codes, Scores]:
    """New items in order: those on the list, then the best of the others, then -1: [users, k + q].

    The list's own come first, whatever rounding says: both are the best of the same scores.
    """
    codes = np.concatenate([listed[0], newcomers[0]], axis=1)
    scores = np.concatenate([listed[1], newcomers[1]], axis=1)
    again = (newcomers[0][:, :, None] == listed[0][:, None, :]).any(axis=2)
    keep = np.concatenate([here, ~again & (newcomers[0] >= 0)], axis=1)
    order = np.argsort(~keep, axis=1, kind="stable")
    keep = np.take_along_axis(keep, order, axis=1)
    return (
        np.where(keep, np.take_along_axis(codes, order, axis=1), np.int32(-1)),
        np.where(keep, np.take_along_axis(scores, order, axis=1), np.float32(-np.inf)),
    )
