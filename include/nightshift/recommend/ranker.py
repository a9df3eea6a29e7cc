"""Ranking a catalogue with a stored model: the public face of this room.

    score(user, item) = state(user) · (vector(item) + sample delta(item))
                      + beta * similarity(text of the user's last items, text of the item)
                      + gamma * log(1 + decayed count of the user's own events with the item)

Samples place items (see `sample_deltas`), and texts about an item stand beside its own where it is
ranked (`sample_texts`); a state is read from real vectors alone. The second part lets text speak
for items that nobody has touched; a text about the customer has its share there, and nowhere else.
The third is what a grocer's customers do: buy again. All weights are chosen on validation and
belong to the recipe; gamma is zero where the shop does not repeat.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch.nn.functional import normalize

from nightshift.errors import BadInput
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.ranking import Codes, Mask, Scores, mask_scores, select_top_k
from nightshift.recommend import checkpoint
from nightshift.recommend.checkpoint import Checkpoint
from nightshift.recommend.features import Floats
from nightshift.recommend.queries import Asked, Catalogue, Tower
from nightshift.recommend.sample_texts import Profiles, mixed
from nightshift.recommend.search import (
    Plan,
    SearchModel,
    check_queries,
    nothing_for_empty,
    only_candidates,
    search_scores,
)
from nightshift.snapshot import Histories
from nightshift.text.bm25 import Indexes

_RECENT, _DECAY = 10, 0.7
"""The text profile: the last ten items, each counting 0.7 of the one after it."""
_HALF_LIFE = 60 * 24 * 3600 * 1e6
"""An own event counts half as much after 60 days (microseconds, back from the user's newest)."""
_BLOCK_CELLS = 24_000_000
"""Scores held at a time (users x items): about 100 MB of float32."""


class ModelRanker:
    """Ranks with a checkpoint; implements `nightshift.ranking.Ranker`."""

    def __init__(
        self,
        stored: Checkpoint,
        vectors: Floats,
        *,
        beta: float,
        gamma: float = 0.0,
        profiles: Profiles | None = None,
        user_keys: Sequence[str] = (),
        search: SearchModel | None = None,
    ) -> None:
        """`profiles` are of customers by name; `user_keys` names those that histories have.
        Without `search` a query is ranked by the encoder's cosine and BM25 in equal parts.
        """
        self.stored, self.beta, self.gamma = stored, beta, gamma
        self._vectors, self.search = vectors, search
        self.features = stored.features(vectors)  # [items, P]
        self.shown = stored.ranked_features(self.features)  # [items, P] as they are ranked
        with torch.inference_mode():
            self.items = stored.model.items(torch.from_numpy(self.features), stored.deltas)
            ranked = self.items
            if stored.texts is not None:
                ranked = stored.model.items(torch.from_numpy(self.shown), stored.deltas)
            self.placed = ranked + stored.sample_deltas
        self.profiles = profiles
        if profiles is not None:
            self._said = stored.features(profiles.vectors)  # [profiles, P]
            self._place = profiles.rows_of(user_keys)  # [users]

    def scores(self, histories: Histories) -> Scores:
        """Dense scores [users, items]; memory is the caller's to bound."""
        model = self.stored.model.eval()
        length = model.settings.max_length
        lengths = np.minimum(histories.lengths, length)
        recent = left_aligned(histories, length)
        with torch.inference_mode():
            codes = torch.from_numpy(recent)
            vectors = self.items[codes.clamp_min(0)] * (codes >= 0)[..., None]
            ends = torch.from_numpy(lengths)
            states = model.users(vectors, ends)[torch.arange(len(histories)), ends]
            out: Scores = (states @ self.placed.T).numpy()
        if self.beta:
            out += np.float32(self.beta) * self.text_similarity(histories)
        if self.gamma:
            rows, codes, strength = own_items(histories)
            out[rows, codes] += np.float32(self.gamma) * strength
        return out

    def text_similarity(self, histories: Histories) -> Scores:
        """Cosine of each user's text profile with every item as it is ranked: [users, items]."""
        similarity: Scores = self.text_profiles(histories) @ self.shown.T
        return similarity

    def text_profiles(self, histories: Histories) -> Floats:
        """Unit text profile of each user, zero of one who says nothing: [users, P].

        Of the user's last items, and of what `profiles` say of the user.
        """
        last = histories.last(_RECENT)
        weights = _DECAY ** np.arange(_RECENT - 1, -1, -1) * (last >= 0)
        mean = np.einsum("ul,ulp->up", weights, self.features[np.maximum(last, 0)])
        norm = np.linalg.norm(mean, axis=1, keepdims=True)
        found: Floats = (mean / np.maximum(norm, 1e-6)).astype(np.float32)
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
        block = max(1, _BLOCK_CELLS // max(len(self.items), 1))
        codes, best = [], []
        for start in range(0, len(histories), block):
            part = histories.take(np.arange(start, min(start + block, len(histories))))
            scores = mask_scores(
                self.scores(part), part, candidates=candidates, exclude_seen=exclude_seen
            )
            chosen, values = select_top_k(scores, k)
            codes.append(chosen)
            best.append(values)
        if not codes:
            return np.zeros((0, k), np.int32), np.zeros((0, k), np.float32)
        return np.concatenate(codes), np.concatenate(best)

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
        """The k best items of each query: codes and scores, both [n, k]; see `search`.

        Args:
            query_vectors: sentence embeddings of the queries [n, width].
            texts: the queries themselves. A blank one finds nothing: codes -1, scores -inf.
            indexes: BM25 over the catalogue's texts in item-code order; with `texts` the ranking is
                the plan's hybrid, without either it is the dense part of it.
            histories: of who asks [n rows].
            candidates: [items] which may be found; None: all.

        Raises:
            BadInput: embeddings of another width or not finite; texts or indexes of another length.
        """
        check_queries(query_vectors, self._vectors.shape[1], texts)
        if indexes is not None and len(indexes) != len(self.items):
            raise BadInput(
                f"BM25 is over {len(indexes)} texts, the model ranks {len(self.items)} items.",
                hint="index the texts of the snapshot that the model was loaded for",
            )
        plan = Plan() if self.search is None else self.search.plan
        tower, catalogue = self._tower, self._searched
        block = max(1, _BLOCK_CELLS // max(4 * len(self.items), 1))  # a search holds four of them
        codes, best = [np.zeros((0, k), np.int32)], [np.zeros((0, k), np.float32)]
        for start in range(0, len(query_vectors), block):
            rows = slice(start, min(start + block, len(query_vectors)))
            said = None if texts is None else texts[rows]
            words = None
            if said is not None and indexes is not None:
                words = indexes[plan.stem].scores(said)
            wishes = None
            if plan.history and histories is not None:
                wishes = self.scores(histories.take(np.arange(rows.start, rows.stop)))
            scores = search_scores(
                catalogue, tower, plan, self._asked(query_vectors[rows]), words, wishes
            )
            found = select_top_k(only_candidates(nothing_for_empty(scores, said), candidates), k)
            codes.append(found[0])
            best.append(found[1])
        return np.concatenate(codes), np.concatenate(best)

    def _asked(self, vectors: Floats) -> Asked:
        features = self.stored.whitening.apply(vectors)
        return Asked(torch.from_numpy(vectors), torch.from_numpy(features))

    @cached_property
    def _searched(self) -> Catalogue:
        return Catalogue(torch.from_numpy(self._vectors), normalize(self.items, dim=-1))

    @cached_property
    def _tower(self) -> Tower:
        projection = self.stored.model.query.weight.detach()
        if self.search is None:
            return Tower.untrained(self._vectors.shape[1], projection.shape[1], projection.shape[0])
        return self.search.tower(projection)


def own_items(histories: Histories) -> tuple[Codes, Codes, Floats]:
    """Each user's own items: row, item code, log(1 + decayed count), one entry per pair."""
    if not len(histories.items):
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32)
    rows = np.repeat(np.arange(len(histories)), histories.lengths)
    newest = histories.times[np.maximum(histories.indptr[1:] - 1, 0)]
    weight = 0.5 ** ((newest[rows] - histories.times) / _HALF_LIFE)
    width = int(histories.items.max()) + 1
    pairs, place = np.unique(rows * width + histories.items, return_inverse=True)
    strength = np.log1p(np.bincount(place, weights=weight)).astype(np.float32)
    return (pairs // width).astype(np.int32), (pairs % width).astype(np.int32), strength


def left_aligned(histories: Histories, length: int) -> Codes:
    """The last `length` items of every user from the left on, -1 behind them: [users, ≤length]."""
    lengths = np.minimum(histories.lengths, length)
    width = max(int(lengths.max(initial=0)), 1)
    place = (histories.indptr[1:] - lengths)[:, None] + np.arange(width)[None, :]
    inside = place < histories.indptr[1:, None]
    if not len(histories.items):
        return np.full((len(histories), width), -1, dtype=np.int32)
    codes: Codes = np.where(
        inside, histories.items[np.minimum(place, len(histories.items) - 1)], -1
    ).astype(np.int32)
    return codes


def load(
    lake: Lake,
    manifest: Manifest,
    *,
    item_ids: Sequence[str],
    vectors: Floats,
    beta: float,
    gamma: float = 0.0,
    user_keys: Sequence[str] = (),
    prefix: str = "",
) -> ModelRanker:
    """The ranker of a stored model for this catalogue.

    Args:
        item_ids: the snapshot's items in code order.
        vectors: their sentence embeddings [items, width] (`snapshot.read_vectors`).
        user_keys: the snapshot's users in code order: whose profile is whose.
        prefix: "" for an arm, "real/" or "blend/" for a line of a state.

    Raises:
        ModelRejected: see `checkpoint.load` and `SearchModel.load`.
    """
    stored = checkpoint.load(lake, manifest, list(item_ids), prefix=prefix)
    return ModelRanker(
        stored,
        vectors,
        beta=beta,
        gamma=gamma,
        profiles=Profiles.load(lake, manifest, prefix=prefix),
        user_keys=user_keys,
        search=SearchModel.load(lake, manifest, width=vectors.shape[1], prefix=prefix),
    )
