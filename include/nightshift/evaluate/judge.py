"""One arm on one window: rank the whole catalogue once per user, then score every slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift import metrics
from nightshift.evaluate.window import Window
from nightshift.histories import Histories
from nightshift.progress import Progress
from nightshift.ranking import Codes, Ranker

K = 10
METRICS = (f"ndcg@{K}", f"recall@{K}", "mrr")
"""`mrr` looks at the first K places: a later hit counts 0."""
BLOCK_CELLS = 24_000_000  # users × items scored at once: about 100 MB of float32


@dataclass(frozen=True, slots=True)
class Judged:
    """`values`: slice -> (rows of the window's users, [rows, metrics])."""

    lists: Codes  # [users, K] over the natural catalogue
    values: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]


def rank(
    ranker: Ranker,
    histories: Histories,
    *,
    n_items: int,
    candidates: npt.NDArray[np.bool_] | None,
    exclude_seen: bool,
    label: str,
    k: int = K,
) -> Codes:
    """Top k of every user in blocks that fit into memory: [users, k], -1 where there are fewer."""
    out = np.full((len(histories), k), -1, dtype=np.int32)
    block = int(np.clip(BLOCK_CELLS // max(n_items, 1), 16, 1024))
    with Progress(f"rank {label}", total=len(histories), unit="users") as progress:
        for start in range(0, len(histories), block):
            rows = np.arange(start, min(start + block, len(histories)))
            codes, _ = ranker.top_k(
                histories.take(rows), k, candidates=candidates, exclude_seen=exclude_seen
            )
            out[rows, : codes.shape[1]] = codes
            progress.add(len(rows))
    return out


def judge(ranker: Ranker, window: Window, *, label: str) -> Judged:
    """Rank and score. Cold targets are looked for in the full catalogue, all others in the natural
    one, so that what was withheld from learning never takes a place from what was not.
    """
    n_items = len(window.natural)

    def ranked(users: npt.NDArray[np.int64], candidates: npt.NDArray[np.bool_] | None) -> Codes:
        return rank(
            ranker,
            window.histories.take(users),
            n_items=n_items,
            candidates=candidates,
            exclude_seen=not window.repeats,
            label=label,
        )

    everyone = np.arange(len(window))
    withheld = not window.natural.all()
    lists = ranked(everyone, window.natural if withheld else None)
    values = {}
    for name in window.slices:
        users, indptr, items = window.restricted(name)
        if not len(users):
            continue
        full = ranked(users, None) if name == "cold" and withheld else lists[users]
        hit = metrics.hits(full, indptr, items)
        relevant = np.diff(indptr)
        scores = (
            metrics.ndcg(hit, relevant),
            metrics.recall(hit, relevant),
            metrics.reciprocal_rank(hit),
        )
        values[name] = (users, np.stack(scores, axis=1))
    return Judged(lists, values)


def user_metrics(judged: Judged, window: Window, *, arm: str, seed: int | None) -> pl.DataFrame:
    """contracts.USER_METRICS of one arm; `seed` is null for a baseline."""
    keys = pl.Series(window.user_keys, dtype=pl.String)
    frames = [
        pl.DataFrame(
            {
                "user_key": keys.gather(np.tile(users, len(METRICS))),
                "metric": pl.Series(METRICS).gather(np.repeat(np.arange(len(METRICS)), len(users))),
                "value": values.T.ravel(),
            }
        ).with_columns(arm=pl.lit(arm), seed=pl.lit(seed, dtype=pl.Int64), slice=pl.lit(name))
        for name, (users, values) in judged.values.items()
    ]
    columns = ["arm", "seed", "user_key", "slice", "metric", "value"]
    return pl.concat(frames).select(columns) if frames else empty_metrics()


def empty_metrics() -> pl.DataFrame:
    return pl.DataFrame(
        schema={
            "arm": pl.String,
            "seed": pl.Int64,
            "user_key": pl.String,
            "slice": pl.String,
            "metric": pl.String,
            "value": pl.Float64,
        }
    )
