"""The live model in memory: its ranker, its catalogue, and what it knows of every customer.

All of it is read from the inputs of one state, never from what a partition stands for now: what is
served is what `score` ranked with.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

from nightshift.errors import ModelRejected
from nightshift.histories import Histories
from nightshift.lake import Lake
from nightshift.ranking import Codes, Mask, Scores
from nightshift.recommend import ranker
from nightshift.recommend.explanations.explain import Explainer
from nightshift.recommend.live_state import LiveState
from nightshift.registry.alias import Alias
from nightshift.registry.serving import model_name
from nightshift.settings import Settings
from nightshift.text.bm25 import Indexes
from nightshift.text.encoder import encoder_digest

Ranked = list[tuple[str, float]]
"""Item ids with their scores, best first."""


@dataclass(frozen=True)
class Champion:
    """One state of one line, loaded. Nothing in it changes: threads share it as it is."""

    alias: Alias
    ranker: ranker.ModelRanker
    item_ids: list[str]
    """Ascending, as in the snapshot: a code is a place in it."""
    known_users: list[str]
    """Ascending; `newcomers` came in the night itself, ascending as well."""
    newcomers: list[str]
    histories: Histories
    """Of known users and newcomers, in this order."""
    candidates: Mask  # [items] what may be recommended
    repeats: bool
    kind: int
    """Of the events of a history that came with a request: targets (see `Histories.kinds`)."""
    indexes: Indexes
    explainer: Explainer
    loaded_at: datetime

    @property
    def name(self) -> str:
        """What `nightshift.publication` calls it as well."""
        return model_name(self.alias)

    def codes_of(self, item_ids: Sequence[str]) -> Codes:
        """The code of each item, -1 of those that the catalogue does not have."""
        places = (_place(self.item_ids, one) for one in item_ids)
        return np.fromiter(places, dtype=np.int32, count=len(item_ids))

    def history_of_user(self, user_key: str) -> Histories | None:
        """What this customer did, as one row; None for a customer whom the state does not know."""
        row = _place(self.known_users, user_key)
        if row < 0:
            row = _place(self.newcomers, user_key)
            row += len(self.known_users) if row >= 0 else 0
        found = self.histories.take(np.array([row])) if row >= 0 else None
        # As `score` asks: at the end of the night that the state knows.
        return None if found is None else found.at(_microseconds(self.alias.knows))

    def history_of_items(self, codes: Codes, times: Sequence[datetime] | None) -> Histories:
        """A history that came with a request, oldest first, as one row of nobody in particular.

        Cut by the shop's rule as every history is. Without times all of it has just happened.
        """
        if times is None:
            moments = np.full(len(codes), _microseconds(self.alias.knows), dtype=np.int64)
        else:
            moments = np.array([_microseconds(time) for time in times], dtype=np.int64)
        if not self.repeats:
            _, first = np.unique(codes, return_index=True)
            first.sort()
            codes, moments = codes[first], moments[first]
        owner = np.zeros(len(codes), dtype=np.int64)
        return Histories.from_codes(
            owner,
            codes,
            moments,
            n_users=1,
            whose=np.array([-1]),
            kinds=np.full(len(codes), self.kind, dtype=np.int8),
        ).at(_microseconds(self.alias.knows))

    def top_k(self, histories: Histories, k: int, *, exclude_seen: bool) -> tuple[Codes, Scores]:
        """As the stage `score` ranks: codes and scores [rows, k], -1 where nothing is left."""
        return self.ranker.top_k(
            histories, k, candidates=self.candidates, exclude_seen=exclude_seen
        )

    @cached_property
    def _directions(self) -> npt.NDArray[np.float32]:
        """Unit vectors of the items where they are ranked: [items, D]."""
        placed: npt.NDArray[np.float32] = self.ranker.placed.numpy()
        norms = np.linalg.norm(placed, axis=1, keepdims=True)
        unit: npt.NDArray[np.float32] = placed / np.maximum(norms, 1e-6)
        return unit

    def similar(self, code: int, k: int) -> Ranked:
        """The k items nearest to one by cosine, without itself."""
        cosines = self._directions @ self._directions[code]
        cosines[~self.candidates] = -np.inf
        cosines[code] = -np.inf
        order = np.argsort(-cosines, kind="stable")[:k]
        return self.named(order.astype(np.int32), cosines[order])

    def named(self, codes: Codes, scores: Scores) -> Ranked:
        """Item ids with scores; what is marked as nothing is left out."""
        kept = (codes >= 0) & np.isfinite(scores)
        pairs = zip(codes[kept].tolist(), scores[kept].tolist(), strict=True)
        return [(self.item_ids[code], score) for code, score in pairs]

    def warm_up(self) -> None:
        """Pay for the first use before anybody waits for it."""
        nobody = self.history_of_items(np.zeros(0, dtype=np.int32), None)
        somebody = self.history_of_items(np.zeros(1, dtype=np.int32), None)
        self.top_k(Histories.joined([nobody, somebody]), 1, exclude_seen=False)
        self.similar(0, 1)


def load(lake: Lake, settings: Settings, alias: Alias) -> Champion:
    """What the alias points to, ready to rank.

    Raises:
        DatasetMissing: the state, or something that it was made from, is no longer in the lake.
        LakeError: a file of it is broken.
        ModelRejected: it fails its load check, has no item, or reads another encoder's vectors.
    """
    state = LiveState.read(lake, alias)
    _check_encoder(settings, state.inputs["vectors"].stats.get("encoder"))
    snapshot = state.snapshot
    item_ids = snapshot.items["item_id"].to_list()
    if not item_ids:
        raise ModelRejected(
            f"The catalogue of night {alias.night} is empty.", hint="look at the view items_v"
        )
    known = snapshot.users["user_key"].to_list()
    extended = state.extended(lake)
    ranking = state.ranker(lake, extended, user_keys=known)
    texts = snapshot.items["text"].fill_null("")
    champion = Champion(
        alias=alias,
        ranker=ranking,
        item_ids=item_ids,
        known_users=known,
        newcomers=extended.user_keys[len(known) :],
        histories=extended.histories,
        candidates=~snapshot.withheld,
        repeats=snapshot.shop.repeats,
        kind=snapshot.target_kind,
        indexes=Indexes(texts.to_list()),
        explainer=Explainer(ranking, texts, candidates=~snapshot.withheld),
        loaded_at=datetime.now(UTC),
    )
    champion.warm_up()
    return champion


def _check_encoder(settings: Settings, made_with: str | None) -> None:
    """A search must be read by the encoder that read the catalogue."""
    if made_with is not None and made_with != encoder_digest(settings):
        raise ModelRejected(
            "The catalogue was embedded by another sentence encoder than the server has.",
            hint="set text.encoder and text.max_tokens as the nights have them",
        )


def _place(ascending: list[str], wanted: str) -> int:
    """Where it stands in the list; -1 when it does not. No index to build, none to keep."""
    place = bisect_left(ascending, wanted)
    return place if place < len(ascending) and ascending[place] == wanted else -1


def _microseconds(time: datetime) -> int:
    return round(time.timestamp() * 1e6)
