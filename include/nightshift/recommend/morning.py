"""Histories with the night's own events behind them: what refresh and score start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.snapshot import Histories, Snapshot


@dataclass(frozen=True, slots=True)
class Extended:
    """Known users first (in code order), then those who came in the night."""

    histories: Histories
    user_keys: list[str]
    new: npt.NDArray[np.int64]  # [users] events of the night, at the end of each history
    last_time: npt.NDArray[np.int64]  # [users] microseconds since 1970, -1 without any event


def extend(snapshot: Snapshot, morning: pl.LazyFrame) -> Extended:
    """The snapshot's histories with the events of the night appended.

    Events of withheld items are left out, as they are in every snapshot: they judge, nobody learns
    them.
    """
    before = snapshot.histories
    known = snapshot.users["user_key"].to_list()
    coded = snapshot.code_events(morning)
    coded = coded.filter(~snapshot.withheld[coded["item"].to_numpy()])
    newcomers = coded.filter(pl.col("user").is_null())["user_key"].unique().sort().to_list()
    place = pl.DataFrame(
        {"user_key": newcomers, "place": np.arange(len(known), len(known) + len(newcomers))},
        schema={"user_key": pl.String, "place": pl.Int64},
    )
    added = coded.join(place, on="user_key", how="left", maintain_order="left").select(
        user=pl.coalesce("user", "place"), item="item", time="time", new=pl.lit(True)
    )
    old = pl.DataFrame(
        {
            "user": np.repeat(np.arange(len(before)), before.lengths),
            "item": before.items,
            "time": before.times,
            "new": np.zeros(len(before.items), dtype=bool),
        }
    )
    together = pl.concat([old, added.cast(old.schema)]).sort("user", maintain_order=True)
    if not snapshot.shop.repeats:
        together = together.unique(["user", "item"], keep="first", maintain_order=True)
    users = together["user"].to_numpy()
    n_users = len(known) + len(newcomers)
    whose = np.arange(n_users)
    whose[len(known) :] = -1
    histories = Histories.from_codes(
        users,
        together["item"].to_numpy(),
        together["time"].to_numpy(),
        n_users=n_users,
        whose=whose,
    )
    new = np.bincount(users, weights=together["new"].to_numpy(), minlength=n_users)
    last_time = np.full(n_users, -1, dtype=np.int64)
    some = histories.lengths > 0
    last_time[some] = histories.times[histories.indptr[1:][some] - 1]
    return Extended(histories, known + newcomers, new.astype(np.int64), last_time)
