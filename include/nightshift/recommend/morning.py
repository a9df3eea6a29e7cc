"""Histories with the night's own events behind them: what refresh and score start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.histories import Histories
from nightshift.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Extended:
    """Known users first (in code order), then those who came in the night."""

    histories: Histories
    user_keys: list[str]
    new: npt.NDArray[np.int64]  # [users] events of the night, at the end of what is read of them
    last_time: npt.NDArray[np.int64]  # [users] microseconds since 1970, -1 without any event


def extend(snapshot: Snapshot, morning: pl.LazyFrame) -> Extended:
    """The snapshot's histories with the events of the night appended.

    Events of withheld items are left out, as they are in every snapshot: they judge, nobody learns
    them.
    """
    before = snapshot.histories.read
    known = snapshot.users["user_key"].to_list()
    coded = snapshot.code_events(morning, snapshot.journey_kinds)
    coded = coded.filter(~snapshot.withheld[coded["item"].to_numpy()])
    newcomers = coded.filter(pl.col("user").is_null())["user_key"].unique().sort().to_list()
    place = pl.DataFrame(
        {"user_key": newcomers, "place": np.arange(len(known), len(known) + len(newcomers))},
        schema={"user_key": pl.String, "place": pl.Int64},
    )
    added = coded.join(place, on="user_key", how="left", maintain_order="left").select(
        "item", "time", "kind", user=pl.coalesce("user", "place"), new=pl.lit(True)
    )
    old = pl.DataFrame(
        {
            "user": np.repeat(np.arange(len(before)), before.lengths),
            "item": before.items,
            "time": before.times,
            "kind": before.kinds,
            "new": np.zeros(len(before.items), dtype=bool),
        }
    )
    n_users = len(known) + len(newcomers)
    whose = np.arange(n_users)
    whose[len(known) :] = -1
    together = pl.concat([old, added.select(old.columns).cast(old.schema)])
    histories = snapshot.histories_of(together.sort("user", maintain_order=True), whose)
    last_time = np.full(n_users, -1, dtype=np.int64)
    some = histories.lengths > 0
    last_time[some] = histories.times[histories.indptr[1:][some] - 1]
    new = histories.read.lengths.copy()
    new[: len(known)] -= before.lengths
    return Extended(histories, known + newcomers, new, last_time)
