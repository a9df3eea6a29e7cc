"""Real stretches of real histories, drawn by hash: what both placebos are made of."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.hashing import Hashes, combine, splitmix, stable_hash, uniform
from nightshift.generate.ragged import expand, rank_in_groups
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.base import WISHES

Ints = npt.NDArray[np.int64]


def user_seeds(sources: Sources, keys: pl.Series, salt: int) -> Hashes:
    """The seed of each user in one strategy: [keys]."""
    seeded = np.full(len(keys), sources.settings.generate.seed, dtype=np.uint64)
    return combine(splitmix(seeded), stable_hash(keys.to_list(), salt))


def wishes_by_activity(sources: Sources, total: int, *, in_front: int, salt: int) -> pl.DataFrame:
    """About `total` samples over the users, by how many places their histories have: WISHES.

    A user's share is rounded by the user's own hash, so nobody's depends on the others' luck.
    Users are in the order of that hash: a short budget takes a random part of them.

    Args:
        in_front: items that must lie in front of a place.
    """
    users = sources.snapshot.users.select("user_key")
    places = np.maximum(sources.snapshot.histories.lengths - in_front, 0)
    seeds = user_seeds(sources, users["user_key"], salt)
    share = total * places / max(int(places.sum()), 1)
    rounded = np.floor(share) + (uniform(splitmix(seeds)) < share % 1)
    return (
        users.with_columns(
            budget=pl.Series(np.minimum(rounded, places).astype(np.int64)),
            hash=pl.Series(seeds),
            item_id=pl.lit(None, pl.String),
            shortage=pl.lit(0.0),
        )
        .filter(pl.col("budget") > 0)
        .sort("hash")
        .select(WISHES)
    )


def draw_places(
    sources: Sources, targets: pl.DataFrame, *, in_front: int, salt: int
) -> tuple[Ints, Ints, Ints]:
    """As many places of each target's user as its budget says, none twice.

    Returns:
        Row of the target, code of the user, flat place in the histories: [drawn] each. At least
        `in_front` items of the user lie in front of a place.
    """
    snapshot = sources.snapshot
    codes = targets.join(snapshot.user_codes, on="user_key", how="left", maintain_order="left")
    users = codes["user"].to_numpy()
    seeds = user_seeds(sources, targets["user_key"], salt)
    row, rank, place = expand(snapshot.histories.indptr, users)
    behind = rank >= in_front
    row, rank, place = row[behind], rank[behind], place[behind]
    order = np.lexsort((combine(seeds[row], rank.astype(np.uint64)), row))
    wanted = targets["budget"].to_numpy()
    chosen = np.sort(order[rank_in_groups(row[order]) < wanted[row[order]]])
    return row[chosen], users[row[chosen]], place[chosen]
