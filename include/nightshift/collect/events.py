"""Events out of the store: judged and ordered by Postgres, streamed into Parquet.

Postgres sorts on disk where it must, so our memory is flat in the number of events. Every row
comes with the rule that drops it, if any; the first rule of `_RULES` that applies counts.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from nightshift import contracts
from nightshift.collect import window
from nightshift.collect.window import Window
from nightshift.store.pseudonyms import Keyring, hmac_sql

if TYPE_CHECKING:
    from nightshift.settings import CollectSettings, Withhold
    from nightshift.store.arrow import Session
    from nightshift.writer import DatasetWriter

VERSION = "1"
"""Of the rules below; part of what decides whether a file of an earlier night is shared."""

NIGHT_ITEMS = "night_items"
_KINDS = ", ".join(f"'{kind}'" for kind in contracts.EVENT_KINDS)
_SAME = "user_id, item_id, kind, occurred_at, session_id"
_SHARE_BITS = 52  # of a SHA-256: exact in a float

_RULES = f"""
    case
        when coalesce(user_id, '') = '' or coalesce(item_id, '') = '' then 'missing_id'
        when kind is null or kind not in ({_KINDS}) then 'unknown_kind'
        when recorded_too_early then 'impossible_time'
        when not known then 'unknown_item'
        when row_number() over (partition by {_SAME} order by value, quantity, event_id) > 1
            then 'duplicate'
        when count(*) over (partition by user_id, date_trunc('day', occurred_at, 'UTC'))
            > :max_per_day then 'crowded_day'
        when withheld and not :keep_withheld then 'withheld_item'
    end"""

# A value below zero is a refund that slipped through, one above the limit a typing error: the
# event counts, the figure does not.
_STATEMENT = f"""
    select user_key, item_id, kind, occurred_at,
           case when value between 0 and :max_price then value end as value,
           case when quantity > 0 then quantity end as quantity,
           session_id,
           hashtextextended(user_key || chr(31) || item_id, cast(:tie_seed as bigint)) as tie,
           dropped,
           value is not null and value not between 0 and :max_price as impossible_value
    from (
        select *, {_RULES} as dropped
        from (
            select e.*, coalesce(p.user_key, {hmac_sql("e.user_id")}) as user_key,
                   i.item_id is not null as known, coalesce(i.withheld, false) as withheld
            from ({window.EVENTS}) e
            left join {NIGHT_ITEMS} i on i.item_id = e.item_id
            left join nightshift.pseudonyms p on p.user_id = e.user_id
        ) joined
    ) judged
    order by user_key, occurred_at, tie, item_id, kind, session_id"""  # noqa: S608


@dataclass(slots=True)
class Copied:
    """What came of one file: kept rows, and rows by rule."""

    kept: int
    dropped: dict[str, int]
    changed: dict[str, int]


def list_items(session: Session, seen: Window, withhold: tuple[Withhold, ...]) -> None:
    """The catalogue of the night as a temporary table: `item_id`, `withheld`."""
    chosen = " or ".join(_withheld_sql(entry) for entry in withhold) or "false"
    session.run(
        f"create temporary table {NIGHT_ITEMS} on commit drop as"  # noqa: S608
        f" select item_id, {chosen} as withheld"
        f" from (select distinct item_id from ({window.ITEMS}) i where item_id <> '') listed",
        before=seen.before,
    )
    session.run(f"create unique index on {NIGHT_ITEMS} (item_id)")
    session.run(f"analyze {NIGHT_ITEMS}")


def _withheld_sql(entry: Withhold) -> str:
    """Is SHA-256("salt:item_id"), read as a fraction, below the share?"""
    digest = f"sha256(convert_to('{int(entry.salt)}:' || item_id, 'UTF8'))"
    bits = f"('x' || left(encode({digest}, 'hex'), {_SHARE_BITS // 4}))::bit({_SHARE_BITS})::bigint"
    return f"({bits}::float8 / {1 << _SHARE_BITS} < {float(entry.share)!r})"


def copy(
    session: Session,
    writer: DatasetWriter,
    name: str,
    seen: Window,
    rules: CollectSettings,
    ring: Keyring,
    *,
    keep_withheld: bool = False,
    meta: dict[str, Any] | None = None,
) -> Copied:
    """Write the window's events as one Parquet file; `meta` goes into its entry with the counts."""
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    counts: dict[str, Any] = dict(meta or {})
    kept = 0
    with writer.parquet_stream(name, contracts.EVENTS, meta=counts) as stream:
        for batch in session.batches(
            _STATEMENT,
            **seen.binds,
            **ring.binds,
            max_per_day=rules.max_events_per_user_day,
            max_price=rules.max_price,
            tie_seed=rules.tie_seed,
            keep_withheld=keep_withheld,
        ):
            for found in pc.value_counts(batch["dropped"]).to_pylist():
                if found["values"] is not None:
                    dropped[found["values"]] += found["counts"]
            rows = pa.Table.from_batches([batch]).filter(pc.is_null(batch["dropped"]))
            changed["value"] += pc.sum(rows["impossible_value"]).as_py() or 0
            rows = rows.select(contracts.EVENTS.names).cast(contracts.EVENTS)
            kept += rows.num_rows
            stream.write_table(rows)
        counts["dropped"] = dict(sorted(dropped.items()))
        counts["changed"] = dict(+changed)
    return Copied(kept, counts["dropped"], counts["changed"])
