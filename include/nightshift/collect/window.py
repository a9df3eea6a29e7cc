"""Which rows a night may see, in SQL. Every query of this room takes its bounds from here.

Binds: `:since`, `:before` (bounds of occurred_at) and `:known_by` (bound of recorded_at).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nightshift.night import DAY, Night
from nightshift.store.partitions import following, month_of

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
"""No online shop sold anything before; earlier times are clocks that were never set."""

_IN_WINDOW = """
    occurred_at >= :since and occurred_at < :before
    and (recorded_at is null or recorded_at < :known_by)"""

EVENTS = f"""
    select event_id::text as event_id, user_id::text as user_id, item_id::text as item_id,
           kind::text as kind, occurred_at, value::float8 as value, quantity::float8 as quantity,
           session_id::text as session_id,
           coalesce(recorded_at < occurred_at - interval '1 day', false) as recorded_too_early
    from nightshift.events_v
    where {_IN_WINDOW}"""  # noqa: S608

ITEMS = """
    select item_id::text as item_id, title::text as title, description::text as description,
           category::text as category, brand::text as brand, price::float8 as price, listed_at
    from nightshift.items_v
    where listed_at is null or listed_at < :before"""

SEARCHES = """
    select user_id::text as user_id, query::text as query, item_id::text as item_id,
           grade::float8 as grade, occurred_at
    from nightshift.searches_v
    where occurred_at >= :since and occurred_at < :before"""

REVIEWS = """
    select user_id::text as user_id, item_id::text as item_id, rating::float8 as rating,
           text::text as text, occurred_at
    from nightshift.reviews_v
    where occurred_at >= :since and occurred_at < :before"""

# Undated ones are the shop's word that they were always known, like items without listed_at.
UNDATED = " or occurred_at is null"


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that occurred in `[since, before)` and were known before `known_by`."""

    since: datetime
    before: datetime
    known_by: datetime

    @classmethod
    def history(cls, night: Night) -> Window:
        """What everything that learns in the night may see."""
        return cls(EARLIEST, night.start, night.start)

    @classmethod
    def morning(cls, night: Night) -> Window:
        """The night itself: what judges."""
        return cls(night.start, night.end, night.end)

    @property
    def binds(self) -> dict[str, Any]:
        return {"since": self.since, "before": self.before, "known_by": self.known_by}


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A file of the snapshot: a whole month before the night's month, or a day within it."""

    since: datetime
    before: datetime
    name: str

    @classmethod
    def at(cls, since: datetime, night: Night) -> Segment:
        """The segment that starts at `since`, cut off at the night's start."""
        since = since.astimezone(UTC)
        this_month = month_of(night.start)
        if since < this_month:
            return cls(since, following(since), f"events/{since:%Y-%m}.parquet")
        return cls(since, min(since + DAY, night.start), f"events/{since:%Y-%m-%d}.parquet")
