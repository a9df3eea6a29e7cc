"""Searches and reviews out of the store: judged by Postgres, cleaned here, batch by batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from nightshift import contracts
from nightshift.collect import window
from nightshift.collect.events import NIGHT_ITEMS
from nightshift.collect.texts import READ_AHEAD, clean
from nightshift.collect.window import Window
from nightshift.store.pseudonyms import Keyring, hmac_sql

if TYPE_CHECKING:
    from nightshift.settings import CollectSettings
    from nightshift.store.arrow import Session
    from nightshift.writer import DatasetWriter


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of record."""

    name: str
    schema: pa.Schema
    rows: str
    text: str
    needs_item: bool


SEARCHES = Kind("searches", contracts.SEARCHES, window.SEARCHES, "query", needs_item=False)
REVIEWS = Kind("reviews", contracts.REVIEWS, window.REVIEWS, "text", needs_item=True)


def copy(
    session: Session,
    writer: DatasetWriter,
    kind: Kind,
    seen: Window,
    rules: CollectSettings,
    ring: Keyring,
    *,
    undated: bool,
    keep_withheld: bool = False,
) -> tuple[int, Counter[str], Counter[str]]:
    """Write `KIND.parquet`; rows kept, rows dropped by rule, rows changed by rule.

    Args:
        undated: take rows without a time as well: the shop's word that they were always known.
    """
    dropped: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    kept = 0
    with writer.parquet_stream(f"{kind.name}.parquet", kind.schema) as stream:
        for batch in session.batches(
            _statement(kind, undated),
            since=seen.since,
            before=seen.before,
            read_ahead=READ_AHEAD * rules.max_text_chars,
            keep_withheld=keep_withheld,
            **ring.binds,
        ):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            dropped.update(dict(frame["dropped"].drop_nulls().value_counts().rows()))
            frame = frame.filter(pl.col("dropped").is_null())
            frame = frame.with_columns(clean(frame[kind.text], rules.max_text_chars, changed))
            if not kind.needs_item:  # a search is its text
                dropped["empty_text"] += frame[kind.text].null_count()
                frame = frame.filter(pl.col(kind.text).is_not_null())
            table = frame.select(kind.schema.names).to_arrow().cast(kind.schema)
            kept += table.num_rows
            stream.write_table(table)
    return kept, +dropped, +changed


def _statement(kind: Kind, undated: bool) -> str:
    columns = [name for name in kind.schema.names if name != "user_key"]
    same = ", ".join(["user_id", *columns])
    shown = ", ".join(f"left({c}, :read_ahead) as {c}" if c == kind.text else c for c in columns)
    missing = "coalesce(item_id, '') = ''" if kind.needs_item else "false"
    rows = kind.rows + (window.UNDATED if undated else "")
    return f"""
        select user_key, {shown}, dropped
        from (
            select r.*, case
                    when {missing} then 'missing_id'
                    when item_id is not null and not known then 'unknown_item'
                    when row_number() over (partition by {same}) > 1 then 'duplicate'
                    when withheld and not :keep_withheld then 'withheld_item'
                end as dropped
            from (
                select r.*, i.item_id is not null as known, coalesce(i.withheld, false) as withheld,
                    case when r.user_id is not null
                         then coalesce(p.user_key, {hmac_sql("r.user_id")}) end as user_key
                from ({rows}) r
                left join {NIGHT_ITEMS} i on i.item_id = r.item_id
                left join nightshift.pseudonyms p on p.user_id = r.user_id
            ) r
        ) judged
        order by occurred_at, user_key, {kind.text}, {", ".join(columns)}"""  # noqa: S608
