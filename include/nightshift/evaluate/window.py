"""What is asked of the arms: users with events in the night, what they did, and the slices."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.histories import Histories
from nightshift.snapshot import Snapshot

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Window:
    """Users of `[start, end)` with at least one target, known users first.

    A target is a distinct (user, item) of the night's target events. Where the shop does not repeat
    (`shop.repeats` is False) items that the user had before are no targets.
    """

    user_keys: list[str]  # [users]
    histories: Histories  # [users] before start; empty for a new user
    indptr: npt.NDArray[np.int64]  # [users + 1]
    items: npt.NDArray[np.int32]  # [targets] item codes
    slices: dict[str, Bools]  # name -> [targets] which targets belong to it
    natural: Bools  # [items] the natural catalogue: what is not withheld
    repeats: bool
    outside: int  # target events of items that the snapshot's catalogue does not have

    def __len__(self) -> int:
        return len(self.user_keys)

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """[targets] the user of each target."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.indptr))

    def restricted(
        self, name: str
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """Users with targets in a slice, and those targets as compressed rows of these users."""
        mask = self.slices[name]
        counts = np.bincount(self.owner[mask], minlength=len(self))
        users = np.flatnonzero(counts)
        indptr = np.concatenate([[0], np.cumsum(counts[users])]).astype(np.int64)
        return users, indptr, self.items[mask]


def read_window(
    snapshot: Snapshot, events: pl.LazyFrame, *, tail_events: int, asked_at: int = 0
) -> Window:
    """The window of a night.

    Args:
        events: contracts.EVENTS of `[start, end)`.
        asked_at: when recommendations are asked for: the night's start, in microseconds.
        tail_events: at most this many target events before start: a tail item.
    """
    repeats = snapshot.shop.repeats
    coded = snapshot.code_events(events).unique(["user_key", "item"])
    wanted = events.filter(pl.col("kind").is_in(snapshot.shop.target_kinds))
    outside = (
        wanted.join(snapshot.item_codes.lazy(), on="item_id", how="anti").select(pl.len()).collect()
    ).item()
    coded = coded.with_columns(had=_had(coded, snapshot.histories, snapshot.items.height))
    if not repeats:
        coded = coded.filter(~pl.col("had"))
    coded = coded.sort(pl.col("user").is_null(), "user_key", "item")
    users = coded.group_by("user_key", maintain_order=True).agg(pl.col("user").first(), n=pl.len())
    known = users["user"].drop_nulls().to_numpy()
    item = coded["item"].to_numpy().astype(np.int32)
    return Window(
        user_keys=users["user_key"].to_list(),
        histories=_with_new(snapshot.histories.take(known).at(asked_at), users.height - len(known)),
        indptr=np.concatenate([[0], np.cumsum(users["n"].to_numpy())]).astype(np.int64),
        items=item,
        slices=_slices(
            item,
            new_user=coded["user"].is_null().to_numpy(),
            had=coded["had"].to_numpy(),
            events=snapshot.item_events,
            withheld=snapshot.withheld,
            tail_events=tail_events,
        ),
        natural=~snapshot.withheld,
        repeats=repeats,
        outside=int(outside),
    )


def _had(coded: pl.DataFrame, histories: Histories, n_items: int) -> pl.Series:
    """Whether the user had the item before start."""
    owner = np.repeat(np.arange(len(histories), dtype=np.int64), histories.lengths)
    before = np.unique(owner * n_items + histories.items)
    keys = (
        coded["user"].fill_null(-1).to_numpy().astype(np.int64) * n_items + coded["item"].to_numpy()
    )
    return pl.Series("had", np.isin(keys, before), dtype=pl.Boolean)


def _with_new(histories: Histories, new: int) -> Histories:
    """The same with `new` users behind that have no history."""
    indptr = np.concatenate([histories.indptr, np.full(new, histories.indptr[-1])])
    known = np.full(len(histories), -1) if histories.users is None else histories.users
    whose = np.concatenate([known, np.full(new, -1)]).astype(np.int64)
    journey = histories.journey
    return replace(
        histories,
        indptr=indptr.astype(np.int64),
        users=whose,
        journey=None if journey is None else _with_new(journey, new),
    )


def _slices(
    item: npt.NDArray[np.int32],
    *,
    new_user: Bools,
    had: Bools,
    events: npt.NDArray[np.int64],
    withheld: Bools,
    tail_events: int,
) -> dict[str, Bools]:
    """Targets by slice: all but `cold` look at the natural catalogue only."""
    count, natural = events[item], ~withheld[item]
    return {
        "overall": natural,
        "warm": natural & (count > tail_events),
        "tail": natural & (count >= 1) & (count <= tail_events),
        "cold": (count == 0) | ~natural,
        "new_users": natural & new_user,
        "repeat": natural & had,
        "new": natural & ~had,
    }
