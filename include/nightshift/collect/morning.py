"""morning: the events of the night itself, unseen by everything that learnt.

Withheld items are in it (they are judged), and so are users and items that nobody knew before.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import polars as pl

from nightshift.collect import events, records
from nightshift.collect.window import Window
from nightshift.stages import StageContext
from nightshift.store import arrow, pseudonyms
from nightshift.store.engine import begin


def run(ctx: StageContext) -> dict[str, Any]:
    """Write the dataset `morning`; a night without events gives one without rows.

    Raises:
        StoreError: the store cannot be reached or lacks a contract view.
    """
    settings, rules, seen = ctx.settings, ctx.settings.collect, Window.morning(ctx.night)
    with begin(settings) as connection:
        ring = pseudonyms.keyring(connection, settings)
        pseudonyms.remember(connection, ring, before=seen.before, since=seen.since)
    with arrow.session(settings) as session:
        events.list_items(session, seen, rules.withhold)
        copied = events.copy(
            session, ctx.writer, "events.parquet", seen, rules, ring, keep_withheld=True
        )
        searches, left_out, cut = records.copy(
            session,
            ctx.writer,
            records.SEARCHES,
            seen,
            rules,
            ring,
            undated=False,
            keep_withheld=True,
        )
    path = ctx.lake.local_path(ctx.writer.entries["events.parquet"])
    known = ctx.lake.read(ctx.inputs["snapshot"], "items.parquet").lazy().select("item_id")
    found = pl.scan_parquet(path, glob=False)
    new = found.join(known, on="item_id", how="anti").select(pl.len())
    ctx.seeds["tie"] = rules.tie_seed
    dropped = Counter(copied.dropped)
    dropped.update({f"searches.{rule}": rows for rule, rows in left_out.items()})
    return {
        "events": copied.kept,
        "users": int(found.select(pl.col("user_key").n_unique()).collect().item()),
        "searches": searches,
        "events_of_new_items": int(new.collect().item()),
        "dropped": dict(sorted(dropped.items())),
        "changed": dict(sorted((Counter(copied.changed) + cut).items())),
    }
