"""Why an item is recommended: which items of the history carried it, and by which terms.

A score is a sum of terms (`ModelRanker.item_sides`), so its parts are exact. It is also what a
softmax was trained on, which knows no constant: a score of 7 means nothing until one knows what the
other items have. So all that is said here counts from the mean item that may be recommended:

    above(term)     term(user, item) - mean over the candidates of term(user, ·)
    share(term)     |above(term)| / sum over the terms of |above(term)|
    carried by h    above(user, item) - above(user without h, item), all terms together

The last is leave-one-out, exact: the model reads the history once more without the item, every
event with it taken out. Means cost nothing beside it, because a mean of products is a product with
the mean item. The words are those in common with the other carrying items (see `words`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from nightshift.histories import Histories
from nightshift.ranking import Codes, Mask, Scores
from nightshift.recommend.explanations.leave_out import blocks, last_items, without
from nightshift.recommend.explanations.words import Words
from nightshift.recommend.model.features import Floats
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.ranking.counted import Counts

BECAUSE, WORDS = 3, 5
"""Carrying items and words that are kept: what a person reads at a glance."""
_NOBODY = Histories(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
_ROUNDING = 1e-4
"""A contribution below this is what 32 bits leave of nothing."""
_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of one recommendation."""

    item_id: str
    score: float
    because: tuple[tuple[str, float], ...]
    """Items of the history that raised it, and by how much of the score; the most first."""
    words: tuple[str, ...]
    """What its text has in common with theirs, the rarest word first: not a cause."""
    parts: dict[str, float]
    """The terms; they sum to `score`."""
    above_mean: dict[str, float]
    """The terms, less what the mean item has."""
    shares: dict[str, float]
    """The size of each in that, in [0, 1]; they sum to 1, or are all 0."""

    def as_json(self) -> dict[str, Any]:
        """What a JSON encoder takes."""
        return {
            "item_id": self.item_id,
            "score": self.score,
            "because": [{"item_id": item, "contribution": by} for item, by in self.because],
            "words": list(self.words),
            "parts": self.parts,
            "above_mean": self.above_mean,
            "shares": self.shares,
        }


@dataclass(frozen=True, slots=True)
class Explained:
    """Explanations of N items for each of U users, as arrays; a code of -1 is no item."""

    codes: Codes  # [U, N]
    terms: tuple[str, ...]  # T names
    parts: Floats  # [U, N, T]
    means: Floats  # [U, T]
    because: Codes  # [U, N, BECAUSE] item codes, -1 behind the last
    carried: Floats  # [U, N, BECAUSE]
    words: Codes  # [U, N, WORDS] rows of the vocabulary, -1 behind the last

    @property
    def above(self) -> Floats:
        """[U, N, T]."""
        return self.parts - self.means[:, None]

    @property
    def shares(self) -> Floats:
        """[U, N, T]; all 0 where nothing sets an item apart from the mean."""
        size = np.abs(self.above)
        shares: Floats = size / np.maximum(size.sum(axis=2, keepdims=True), 1e-12)
        return shares


class Explainer:
    """Explains what one model recommends from one catalogue."""

    def __init__(
        self,
        ranker: ModelRanker,
        texts: pl.Series,
        *,
        candidates: Mask | None = None,
        history: int = 10,
    ) -> None:
        """
        Args:
            texts: of the catalogue, in item-code order.
            candidates: [items] what may be recommended; None: all.
            history: so many of a user's last events are looked at, one item at a time.
        """
        self.ranker, self.history, self.words = ranker, history, Words.of(texts)
        self.item_ids = pl.Series(ranker.stored.item_ids, dtype=pl.String)
        allowed = np.ones(len(self.item_ids), bool) if candidates is None else candidates
        self._weight = (allowed / max(int(allowed.sum()), 1)).astype(np.float32)
        self._centre = {n: self._weight @ side for n, side in ranker.item_sides.items()}
        self.terms = (*self._centre, *ranker.counted_sides(_NOBODY))

    def explain(self, histories: Histories, codes: Codes) -> Explained:
        """Of these items [users, N], -1 for none, of a block of users.

        Beside the items' text features [users, N, P] memory is that of `leave_out.blocks`.

        Raises:
            BadInput: see `ModelRanker.states`.
        """
        parts, means = self._terms(histories, codes)
        because = np.full((*codes.shape, BECAUSE), -1, dtype=np.int32)
        carried = np.zeros(because.shape, dtype=np.float32)
        total = parts.sum(axis=2) - means.sum(axis=1)[:, None]
        looked_at = last_items(histories, self.history)
        for users in blocks(histories, looked_at):
            because[users], carried[users] = self._carrying(
                histories.take(users), codes[users], looked_at[users], total[users]
            )
        others = np.where(because == codes[:, :, None], -1, because)  # all is shared with itself
        shared = self.words.shared(codes.ravel(), others.reshape(-1, BECAUSE), WORDS)
        return Explained(
            codes, self.terms, parts, means, because, carried, shared.reshape(*codes.shape, WORDS)
        )

    def _terms(self, histories: Histories, codes: Codes) -> tuple[Floats, Floats]:
        """Every term of the score: of these items [rows, N, T], of the mean item [rows, T]."""
        wanted = np.maximum(codes, 0)
        parts = np.zeros((*codes.shape, len(self.terms)), dtype=np.float32)
        means = np.zeros((len(codes), len(self.terms)), dtype=np.float32)
        users = self.ranker.user_sides(histories)
        for place, (name, items) in enumerate(self.ranker.item_sides.items()):
            parts[:, :, place] = np.einsum("ud,und->un", users[name], items[wanted])
            means[:, place] = users[name] @ self._centre[name]
        for place, counts in enumerate(
            self.ranker.counted_sides(histories).values(), len(self._centre)
        ):
            parts[:, :, place] = _looked_up(counts, wanted)
            means[:, place] = counts @ self._weight
        parts[codes < 0] = 0
        return parts, means

    def _carrying(
        self, histories: Histories, codes: Codes, looked_at: Codes, total: Scores
    ) -> tuple[Codes, Floats]:
        """The items that raised each score most, and by how much: [users, N, BECAUSE] both.

        Args:
            looked_at: [users, L] items that are left out one at a time, -1 for none.
            total: [users, N] the score above the mean item's, with the whole history.
        """
        owner, place = np.nonzero(looked_at >= 0)
        parts, means = self._terms(without(histories, owner, looked_at[owner, place]), codes[owner])
        lost = total[owner] - (parts.sum(axis=2) - means.sum(axis=1)[:, None])
        by = np.full((*looked_at.shape, codes.shape[1]), -np.inf, dtype=np.float32)  # [users, L, N]
        by[owner, place] = np.where((lost > _ROUNDING) & (codes[owner] >= 0), lost, -np.inf)
        order = np.argsort(-by, axis=1, kind="stable")[:, :BECAUSE]
        most = np.moveaxis(np.take_along_axis(by, order, axis=1), 1, 2)
        items = looked_at[np.arange(len(looked_at))[:, None, None], np.moveaxis(order, 1, 2)]
        because = np.full((*codes.shape, BECAUSE), -1, dtype=np.int32)
        carried = np.zeros(because.shape, dtype=np.float32)
        width = most.shape[2]
        because[:, :, :width] = np.where(np.isfinite(most), items, -1)
        carried[:, :, :width] = np.where(np.isfinite(most), most, 0)
        return because, carried

    def columns(self, found: Explained, kept: Mask) -> dict[str, pl.Series]:
        """`because`, `words` and `shares` of contracts.RECOMMENDATIONS, for `kept` [users, N]."""
        shares = pl.DataFrame(
            {
                name: found.shares[:, :, place][kept].astype(np.float64).round(_DIGITS)
                for place, name in enumerate(self.terms)
            }
        )
        return {
            "because": _names(self.item_ids, found.because[kept]),
            "words": _names(self.words.vocabulary, found.words[kept]),
            "shares": shares.to_struct().struct.json_encode(),
        }

    def one(self, found: Explained, user: int, place: int) -> Explanation:
        """The explanation of one user's item at this place of the list."""
        of = (user, place)
        by = found.carried[of]
        parts, above, shares = (
            dict(zip(self.terms, map(float, values[of]), strict=True))
            for values in (found.parts, found.above, found.shares)
        )
        return Explanation(
            item_id=self.item_ids[int(found.codes[of])],
            score=float(found.parts[of].sum()),
            because=tuple(
                (self.item_ids[int(code)], float(gain))
                for code, gain in zip(found.because[of], by, strict=True)
                if code >= 0
            ),
            words=tuple(self.words.vocabulary[int(word)] for word in found.words[of] if word >= 0),
            parts=parts,
            above_mean=above,
            shares=shares,
        )


def _looked_up(counts: Counts, wanted: Codes) -> Floats:
    """What was counted of the items `wanted` [rows, N]."""
    if not wanted.size:
        return np.zeros(wanted.shape, dtype=np.float32)
    rows = np.repeat(np.arange(len(wanted)), wanted.shape[1])
    found: Floats = np.asarray(counts[rows, wanted.ravel()]).reshape(wanted.shape)
    return found


def _names(table: pl.Series, rows: Codes) -> pl.Series:
    """Rows of a table of names [n, m] as a list each, those below 0 left out."""
    flat = pl.Series(rows.ravel(), dtype=pl.Int64)
    names = pl.concat([table, pl.Series([None], dtype=pl.String)])  # the last row is no name
    named = names.gather(flat.set(flat < 0, len(table)))
    return named.reshape(rows.shape).arr.to_list().list.drop_nulls()
