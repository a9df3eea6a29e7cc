"""collect: what the event store held before the night, cleaned and profiled, as Parquet."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from typing import Any

import polars as pl
from sqlalchemy import text

from nightshift import contracts
from nightshift.collect import events, fingerprint, items, profiles, records, reuse
from nightshift.collect.window import Segment, Window
from nightshift.errors import BadInput
from nightshift.manifest import FileEntry
from nightshift.progress import Progress
from nightshift.settings import CollectSettings, Settings
from nightshift.stages import StageContext
from nightshift.store import arrow, pseudonyms
from nightshift.store.engine import begin, engine
from nightshift.store.pseudonyms import Keyring, hmac_sql

log = logging.getLogger("nightshift.collect")

Stats = dict[str, Any]

_SEGMENTS_OF_USERS = f"""
    select coalesce(p.user_key, {hmac_sql("u.user_id::text")}) as user_key,
           max(u.segment::text) as segment
    from nightshift.users_v u left join nightshift.pseudonyms p on p.user_id = u.user_id::text
    where u.segment is not null
    group by 1"""  # noqa: S608


def run(ctx: StageContext) -> Stats:
    """Write the dataset `snapshot`.

    Raises:
        BadInput: the store holds no event before the night.
        StoreError: the store cannot be reached or lacks a contract view.
    """
    night, settings, rules = ctx.night, ctx.settings, ctx.settings.collect
    seen = Window.history(night)
    with begin(settings) as connection:
        ring = pseudonyms.keyring(connection, settings)
        pseudonyms.remember(connection, ring, before=night.start)
    # One state of the store for all that follows, whatever is written meanwhile.
    with (
        engine(settings).connect().execution_options(isolation_level="REPEATABLE READ") as outer,
        arrow.session(
            settings, snapshot=outer.execute(text("select pg_export_snapshot()")).scalar_one()
        ) as session,
    ):
        segments = fingerprint.segments(outer, night)
        if not segments:
            first, last = fingerprint.first_and_last(outer)
            raise BadInput(
                f"The store holds no events before {night.start:%Y-%m-%d %H:%M} UTC.",
                hint=f"its events lie between {first} and {last}: choose a night among them"
                if first
                else "load a shop first: `nightshift load complete-journey`",
            )
        shop = shop_of(fingerprint.shop_row(outer), settings)
        late, too_early = fingerprint.late_rows(outer, night), fingerprint.too_early(outer)
        events.list_items(session, seen, rules.withhold)
        changed: Counter[str] = Counter()
        catalogue = items.read(session, seen, rules, changed)
        entries = _copy_events(ctx, session, segments, ring)
        searches, reviews = (
            records.copy(session, ctx.writer, kind, seen, rules, ring, undated=True)
            for kind in (records.SEARCHES, records.REVIEWS)
        )
        said_of_users = pl.DataFrame(session.table(_SEGMENTS_OF_USERS, **ring.binds))
    catalogue, users = _profiles(ctx, entries, catalogue, said_of_users, shop)
    ctx.writer.write_json("shop.json", shop)
    ctx.writer.write_parquet("items.parquet", _table(catalogue, contracts.ITEMS))
    ctx.writer.write_parquet("users.parquet", _table(users, contracts.USERS))
    dropped: Counter[str] = Counter({"impossible_time": too_early})
    for entry in entries:
        dropped.update(entry.meta["dropped"])
        changed.update(entry.meta["changed"])
    for kind, (_, left_out, cut) in (("searches", searches), ("reviews", reviews)):
        dropped.update({f"{kind}.{rule}": rows for rule, rows in left_out.items()})
        changed.update(cut)
    ctx.seeds["tie"] = rules.tie_seed
    return {
        "items": catalogue.height,
        "users": users.height,
        "events": sum(entry.rows or 0 for entry in entries),
        "searches": searches[0],
        "reviews": reviews[0],
        "dropped": dict(sorted((+dropped).items())),
        "changed": dict(sorted((+changed).items())),
        "late_rows": late,
        "undated_items": catalogue["listed_at"].null_count(),
        "withheld_items": int(catalogue["withheld"].sum()),
    }


def shop_of(row: dict[str, Any] | None, settings: Settings) -> dict[str, Any]:
    """The store's row with the settings' overrides; a shop of views alone may have none."""
    shop = row or {
        "name": "shop",
        "description": "",
        "repeats": False,
        "target_kinds": ["purchase"],
        "currency": None,
    }
    for name in ("repeats", "target_kinds"):
        override = getattr(settings.shop, name)
        if override is not None:
            shop[name] = override if isinstance(override, bool) else list(override)
    return shop | {"new_every": settings.shop.new_every}


def cleaning_digest(rules: CollectSettings, ring: Keyring) -> str:
    """What, beside the rows themselves, decides the content of an events file."""
    text_only = {"max_text_chars"}
    relevant = rules.model_dump(mode="json", exclude=text_only)
    state = json.dumps([events.VERSION, ring.key_id, relevant], sort_keys=True)
    return hashlib.sha256(state.encode()).hexdigest()[:16]


def _copy_events(
    ctx: StageContext, session: arrow.Session, segments: dict[Segment, str], ring: Keyring
) -> list[FileEntry]:
    """The files of the events, shared with an earlier snapshot where nothing changed."""
    rules = ctx.settings.collect
    cleaning = cleaning_digest(rules, ring)
    marks = {
        segment.name: {"fingerprint": checksum, "cleaning": cleaning}
        for segment, checksum in segments.items()
    }
    shared = reuse.find(ctx.lake, ctx.night, marks)
    log.info("%d of %d event files are unchanged and shared", len(shared), len(segments))
    total = sum(int(checksum.partition(":")[0]) for checksum in segments.values())
    entries = []
    with Progress("collect events", total=total) as progress:
        for segment, checksum in segments.items():
            name = segment.name
            if name in shared:
                entries.append(ctx.writer.reuse(shared[name]))
            else:
                seen = Window(segment.since, segment.before, ctx.night.start)
                events.copy(session, ctx.writer, name, seen, rules, ring, meta=marks[name])
                entries.append(ctx.writer.entries[name])
            progress.add(int(checksum.partition(":")[0]))
    return entries


def _profiles(
    ctx: StageContext,
    entries: list[FileEntry],
    catalogue: pl.DataFrame,
    segments: pl.DataFrame,
    shop: dict[str, Any],
) -> tuple[pl.DataFrame, pl.DataFrame]:
    every = pl.scan_parquet([ctx.lake.local_path(entry) for entry in entries], glob=False)
    targets = every.filter(pl.col("kind").is_in(shop["target_kinds"]))
    profiled = profiles.items(catalogue, targets, ctx.night.start)
    return profiled, profiles.users(every, targets, profiled, segments)


def _table(frame: pl.DataFrame, schema: Any) -> Any:
    return frame.select(schema.names).to_arrow().cast(schema)
