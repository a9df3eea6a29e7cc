"""The inner split's judgement: per-user figures of one model at every β, in one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift import metrics
from nightshift.histories import Histories
from nightshift.ranking import Codes, Scores, mask_scores, select_top_k
from nightshift.recommend.ranker import ModelRanker
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot

K = 10
_BLOCK_CELLS = 12_000_000
_WIDE = 5 * K
_MAX_USERS = 2000
"""A choice between recipes does not get better with more users than this; it gets slower."""
_USER_SEED = 3


@dataclass(frozen=True, slots=True)
class Validation:
    """Users of the inner night with a history, and what each came to want."""

    histories: Histories
    relevant: dict[str, Histories]  # slice -> targets of each user
    candidates: npt.NDArray[np.bool_]  # [items] the natural catalogue
    exclude_seen: bool

    @classmethod
    def of(
        cls, snapshot: Snapshot, morning: pl.LazyFrame, settings: Settings, *, asked_at: int = 0
    ) -> Self:
        """Targets of the inner night by slice: overall and warm (natural), cold (no events)."""
        coded = snapshot.code_events(morning).filter(pl.col("user").is_not_null())
        wanted = coded.select("user", "item").unique().sort("user", "item")
        if not snapshot.shop.repeats:
            before = snapshot.histories
            had = pl.DataFrame(
                {"user": np.repeat(np.arange(len(before)), before.lengths), "item": before.items}
            ).unique()
            wanted = wanted.join(had, on=["user", "item"], how="anti", maintain_order="left")
        users = wanted["user"].unique().sort().to_numpy()
        if len(users) > _MAX_USERS:
            rng = np.random.default_rng(_USER_SEED)
            users = np.sort(rng.choice(users, _MAX_USERS, replace=False))
        row = np.full(snapshot.users.height, -1)
        row[users] = np.arange(len(users))
        rows, items = row[wanted["user"].to_numpy()], wanted["item"].to_numpy()
        events, withheld = snapshot.item_events[items], snapshot.withheld[items]
        tail = settings.generate.tail_events
        parts = {"overall": ~withheld, "warm": ~withheld & (events > tail), "cold": events == 0}
        relevant = {
            name: Histories.from_codes(
                rows[keep & (rows >= 0)],
                items[keep & (rows >= 0)],
                items[keep & (rows >= 0)],
                n_users=len(users),
            )
            for name, keep in parts.items()
        }
        return cls(
            snapshot.histories.take(users).at(asked_at),
            relevant,
            ~snapshot.withheld,
            not snapshot.shop.repeats,
        )

    def judge(self, ranker: ModelRanker, betas: tuple[float, ...]) -> dict[float, dict[str, Any]]:
        """Per β: NDCG@10 `overall` and `warm`, Recall@10 `cold`; one value per user in a slice."""
        n_items = len(ranker.items)
        block = max(1, _BLOCK_CELLS // n_items)
        natural = {b: np.full((len(self.histories), K), -1, np.int32) for b in betas}
        full = {b: np.full((len(self.histories), K), -1, np.int32) for b in betas}
        for start in range(0, len(self.histories), block):
            rows = np.arange(start, min(start + block, len(self.histories)))
            part = self.histories.take(rows)
            base = ranker.scores(part)
            # The widest product of all, and not wanted where only β = 0 is asked for.
            text = ranker.text_similarity(part) if any(betas) else np.float32(0)
            for beta in betas:
                scores = mask_scores(
                    base + np.float32(beta) * text,
                    part,
                    candidates=None,
                    exclude_seen=self.exclude_seen,
                )
                full[beta][rows], natural[beta][rows] = self._best(scores)
        return {
            beta: {
                "overall": self._figure(natural[beta], "overall", metrics.ndcg),
                "warm": self._figure(natural[beta], "warm", metrics.ndcg),
                "cold": self._figure(full[beta], "cold", metrics.recall),
            }
            for beta in betas
        }

    def _best(self, scores: Scores) -> tuple[Codes, Codes]:
        """The K best of the full catalogue and of the natural one: [users, K] each.

        One wide list serves both; where too few natural items are in it, the row is cut again.
        """
        wide = select_top_k(scores, _WIDE)[0]
        natural = self.candidates[wide] & (wide >= 0)
        enough = natural.sum(axis=1) >= K
        order = np.argsort(~natural, axis=1, kind="stable")[:, :K]
        best = np.take_along_axis(wide, order, axis=1)
        if not enough.all():
            rest = scores[~enough]
            rest[:, ~self.candidates] = -np.inf
            best[~enough] = select_top_k(rest, K)[0]
        return wide[:, :K], best

    def _figure(self, ranked: Any, name: str, metric: Any) -> npt.NDArray[np.float64]:
        relevant = self.relevant[name]
        hit = metrics.hits(ranked, relevant.indptr, relevant.items)
        values: npt.NDArray[np.float64] = metric(hit, relevant.lengths)
        return values[relevant.lengths > 0]
