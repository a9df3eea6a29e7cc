"""Ranking a catalogue with a stored model: the public face of this room.

    score(user, item) = state(user) · (vector(item) + sample delta(item))
                      + beta * similarity(text of the user's last items, text of the item)
                      + gamma * log(1 + decayed count of the user's own events with the item)
                      + follow * how much the item follows the user's last items

Items with few events are ranked nearer to their neighbours in text (see `ranking.neighbours`).
Samples place items (see `samples.deltas`), and texts about an item stand beside its own where it
is ranked (`samples.texts`); a state is read from real vectors alone. The second part lets text
speak for items that nobody has touched; a text about the customer has its share there, and nowhere
else. The third is what a grocer's customers do: buy again. The fourth is what was counted
(`ranking.followers`), where a network generalises. All weights are chosen on validation and belong
to the recipe; gamma is zero where the shop does not repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nightshift.errors import ModelRejected
from nightshift.histories import Histories
from nightshift.ranking import Codes, Mask, Scores, held_block, top_of_tiles
from nightshift.recommend.model.checkpoint import Checkpoint
from nightshift.recommend.model.features import Floats, check_finite
from nightshift.recommend.ranking.counted import Counts, add, counted_sides, total
from nightshift.recommend.ranking.followers import Followers
from nightshift.recommend.ranking.neighbours import leaning
from nightshift.recommend.ranking.newcomers import Newcomers
from nightshift.recommend.ranking.user_side import check_codes, encoded, text_profiles
from nightshift.recommend.samples.texts import Profiles, mixed
from nightshift.recommend.search.hybrid import SearchModel
from nightshift.recommend.search.ranker import QueryRanker
from nightshift.text.bm25 import Indexes

_BLOCK_CELLS = 8_000_000
"""Scores held at a time (users x items of a tile): 32 MB of float32, whatever the catalogue."""
_TILE = 16_384
"""Items whose scores are held at a time: with some 500 users the product is as fast as it gets."""


class _Asked(NamedTuple):
    """A block of users, as the product with the catalogue takes them."""

    states: Floats  # [users, D]
    profiles: Floats | None  # [users, P] times beta
    counted: Counts | None  # [users, items] all counted terms, weighted


class ModelRanker:
    """Ranks with a checkpoint; implements `nightshift.ranking.Ranker`."""

    def __init__(
        self,
        stored: Checkpoint,
        vectors: Floats,
        *,
        beta: float,
        gamma: float = 0.0,
        lean: float = 0.0,
        follow: float = 0.0,
        followers: Followers | None = None,
        new_every: int = 0,
        events: npt.NDArray[np.int64] | None = None,
        profiles: Profiles | None = None,
        user_keys: Sequence[str] = (),
        search: SearchModel | None = None,
    ) -> None:
        """`profiles` are of customers by name; `user_keys` names those that histories have.
        Without `search` a query is ranked by the encoder's cosine and BM25 in equal parts.

        `events` of each item say who leans on its neighbours (see `leaning`), and for whom every
        `new_every`-th place is kept (see `kept_places`); None: nobody. Without `followers` nothing
        follows anything.

        Raises:
            ModelRejected: the embeddings or the followers are not of this catalogue, or the
                embeddings not of the model's encoder.
            BadInput: an item's embedding is not finite.
        """
        if len(vectors) != len(stored.item_ids):
            raise ModelRejected(
                f"The model is laid out for {len(stored.item_ids)} items, "
                f"the sentence embeddings are of {len(vectors)}.",
                hint="read the model, the catalogue and its embeddings of one and the same night",
            )
        check_finite(vectors, stored.item_ids)
        if followers is not None and followers.table.shape != (len(vectors),) * 2:
            raise ModelRejected(
                f"What follows what was counted over {followers.table.shape[0]} items, "
                f"the catalogue has {len(vectors)}.",
                hint="count it in the histories of the model's own snapshot",
            )
        self.stored, self.beta, self.gamma = stored, beta, gamma
        self.lean = lean if events is not None else 0.0
        self.follow = follow if followers is not None else 0.0
        self.followers = followers
        self.features = stored.features(vectors)  # [items, P]
        self.shown = stored.ranked_features(self.features)  # [items, P] as they are ranked
        with torch.inference_mode():
            self.items = stored.items(self.features)
            self.ranked = self.items if stored.texts is None else stored.items(self.shown)
            self.told = stored.of_attributes()
            self.leant = self.ranked
            if events is not None:
                self.leant = leaning(self.ranked, torch.from_numpy(self.shown), events, lean)
            self.placed = self.leant + stored.sample_deltas
        self.newcomers = None
        if events is not None and new_every:
            self.newcomers = Newcomers.of(events > 0, new_every)
        self.queries = QueryRanker(stored, vectors, self.items, search)
        self.profiles = profiles
        if profiles is not None:
            self._said = stored.features(profiles.vectors)  # [profiles, P]
            self._place = profiles.rows_of(user_keys)  # [users]

    def scores(self, histories: Histories) -> Scores:
        """Dense scores [users, items]; memory is the caller's to bound.

        Raises:
            BadInput: see `states`.
        """
        out = torch.empty(len(histories), len(self.items))
        return self._scores(self._asked(histories), slice(0, len(self.items)), out)

    def scores_of(self, histories: Histories) -> Callable[[slice | npt.NDArray[np.int64]], Scores]:
        """Scores of some items, by slice or by code, of a block of users.

        In the thread's buffer (`ranking.held_block`): the next call overwrites them.
        """
        asked, everything = self._asked(histories), range(len(self.items))

        def scores(items: slice | npt.NDArray[np.int64]) -> Scores:
            count = len(everything[items]) if isinstance(items, slice) else len(items)
            return self._scores(asked, items, held_block(len(histories), count))

        return scores

    def _asked(self, histories: Histories) -> _Asked:
        """What scores need of a block of users, worked out once for the whole catalogue."""
        return _Asked(
            self.states(histories),
            np.float32(self.beta) * self.text_profiles(histories) if self.beta else None,
            total(self.counted_sides(histories)),
        )

    def _scores(
        self, asked: _Asked, items: slice | npt.NDArray[np.int64], where: torch.Tensor
    ) -> Scores:
        """Scores of some items, written to `where` [users, items asked for]."""
        with torch.inference_mode():
            torch.mm(torch.from_numpy(asked.states), self.placed[items].T, out=where)
            if asked.profiles is not None:
                # Added up inside the product: no second block is written and read again.
                shown = torch.from_numpy(self.shown[items])
                where.addmm_(torch.from_numpy(asked.profiles), shown.T)
            out: Scores = where.numpy()
        if asked.counted is not None:
            add(asked.counted, items, out)
        return out

    def states(self, histories: Histories) -> Floats:
        """The state after each history: [users, D].

        Raises:
            BadInput: a history holds what is no item of this catalogue.
        """
        check_codes(histories.read, len(self.items))
        model = self.stored.model.eval()

        def encode(codes: Tensor, ends: Tensor, kinds: Tensor, gaps: Tensor) -> Tensor:
            vectors = self.items[codes.clamp_min(0)] * (codes >= 0)[..., None]
            states = model.users(vectors, ends, signals=(kinds, gaps))
            found: Tensor = states[torch.arange(len(codes)), ends]
            return found

        return encoded(histories, model.settings.max_length, model.settings.dim, encode)

    @cached_property
    def item_sides(self) -> dict[str, Floats]:
        """The items' side of each term of the score that is a product: [items, d] by name.

        `score = sum of user side · item side over the names, + counted_sides`. A new term of the
        score needs an entry here and one in `user_sides`, and explanations know it.
        """
        stored = self.stored
        with torch.inference_mode():
            text = stored.of_text(self.features).numpy()
            shown = text if stored.texts is None else stored.of_text(self.shown).numpy()
        sides = {"text": text, "id": self.ranked.numpy() - shown}
        if self.told is not None:
            sides["attributes"] = self.told.numpy()
            sides["id"] -= sides["attributes"]
        if self.lean:
            sides["neighbours"] = (self.leant - self.ranked).numpy()
        if stored.texts is not None or stored.sample_deltas.any():
            sides["samples"] = shown - text + stored.sample_deltas.numpy()
        if self.beta:
            sides["text_similarity"] = self.shown
        return sides

    def user_sides(self, histories: Histories) -> dict[str, Floats]:
        """The users' side of the terms in `item_sides`: [users, d] by name."""
        states = self.states(histories)
        sides = dict.fromkeys(self.item_sides, states)
        if self.beta:
            sides["text_similarity"] = np.float32(self.beta) * self.text_profiles(histories)
        return sides

    def counted_sides(self, histories: Histories) -> dict[str, Counts]:
        """The terms that are counts of few items, weighted: [users, items] by name."""
        return counted_sides(
            histories,
            len(self.items),
            gamma=self.gamma,
            follow=self.follow,
            followers=self.followers,
        )

    def text_similarity(self, histories: Histories) -> Scores:
        """Cosine of each user's text profile with every item as it is ranked: [users, items]."""
        similarity: Scores = self.text_profiles(histories) @ self.shown.T
        return similarity

    def text_profiles(self, histories: Histories) -> Floats:
        """Unit text profile of each user, zero of one who says nothing: [users, P].

        Of the user's last items, and of what `profiles` say of the user.
        """
        found = text_profiles(histories, self.features)
        if self.profiles is not None and histories.users is not None:
            place = np.where(histories.users >= 0, self._place[histories.users], -1)
            some = np.flatnonzero(place >= 0)
            rows = place[some]
            found[some] = mixed(found[some], self._said[rows], self.profiles.shares[rows])
        return found

    def top_k(
        self, histories: Histories, k: int, *, candidates: Mask | None, exclude_seen: bool
    ) -> tuple[Codes, Scores]:
        """See `nightshift.ranking.Ranker.top_k`; users go through in blocks."""
        n_items = len(self.items)
        tile = min(_TILE, max(n_items, 1))
        block = max(1, _BLOCK_CELLS // tile)
        found = [(np.zeros((0, k), np.int32), np.zeros((0, k), np.float32))]
        for start in range(0, len(histories), block):
            part = histories.take(np.arange(start, min(start + block, len(histories))))
            found.append(self._top(part, k, candidates, exclude_seen, tile))
        codes, best = zip(*found, strict=True)
        return np.concatenate(codes), np.concatenate(best)

    def _top(
        self, users: Histories, k: int, candidates: Mask | None, exclude_seen: bool, tile: int
    ) -> tuple[Codes, Scores]:
        """`top_k` of one block of users."""
        scores_of, new = self.scores_of(users), self.newcomers
        rules: dict[str, Any] = {"candidates": candidates, "exclude_seen": exclude_seen}
        best = top_of_tiles(scores_of, users, len(self.items), k, tile=tile, **rules)
        if new is not None:
            best = new.listed(best, lambda n: scores_of(new.codes[n]), users, tile=tile, **rules)
        return best

    def rank_queries(
        self,
        query_vectors: Floats,
        k: int,
        *,
        texts: Sequence[str] | None = None,
        indexes: Indexes | None = None,
        histories: Histories | None = None,
        candidates: Mask | None = None,
    ) -> tuple[Codes, Scores]:
        """The k best items of each query; see `QueryRanker.rank`."""
        wishes = None if histories is None else lambda rows: self.scores(histories.take(rows))
        return self.queries.rank(
            query_vectors, k, texts=texts, indexes=indexes, wishes=wishes, candidates=candidates
        )
