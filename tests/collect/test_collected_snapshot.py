"""What a snapshot holds: exactly what plain SQL says, in the contract's shape."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pyarrow.parquet as pq
import pytest
from collecting import NIGHT, collect, execute, query, snapshot

from nightshift import contracts, stages
from nightshift.errors import BadInput, StoreError
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.store.schema import migrate

BEFORE = "occurred_at < '2017-11-20 00:00+00'"


def test_every_file_has_its_contracts_schema(small_shop: Settings) -> None:
    lake, manifest = Lake.of(small_shop), collect(small_shop)

    assert [entry.name for entry in manifest.named("events/")] == [
        "events/2017-10.parquet",
        *(f"events/2017-11-{day:02}.parquet" for day in range(1, 20)),
    ]
    schemas = {
        "items.parquet": contracts.ITEMS,
        "users.parquet": contracts.USERS,
        "searches.parquet": contracts.SEARCHES,
        "reviews.parquet": contracts.REVIEWS,
        "events/2017-10.parquet": contracts.EVENTS,
    }
    for name, schema in schemas.items():
        stored = pq.read_schema(lake.local_path(manifest.file(name)))
        assert stored.remove_metadata() == schema, name


def test_the_events_are_those_of_plain_sql(small_shop: Settings) -> None:
    taken = snapshot(small_shop)
    expected = query(
        small_shop,
        f"""
        select p.user_key, e.item_id, e.occurred_at, e.value::float8, e.quantity::float8,
               e.session_id
        from (select distinct on (user_id, item_id, occurred_at, session_id) *
              from nightshift.events where {BEFORE}
              order by user_id, item_id, occurred_at, session_id, value, quantity) e
        join nightshift.pseudonyms p using (user_id)""",
    )
    columns = ["user_key", "item_id", "occurred_at", "value", "quantity", "session_id"]
    found = taken.events().select(columns).collect().rows()
    # A quantity of zero is no quantity.
    wanted = [(*row[:4], row[4] or None, row[5]) for row in expected]
    assert sorted(found, key=repr) == sorted(wanted, key=repr)
    assert taken.manifest.stats["events"] == len(found)


def test_the_profiles_of_items_are_those_of_plain_sql(small_shop: Settings) -> None:
    items = snapshot(small_shop).items
    counts = query(
        small_shop,
        f"""
        select item_id, count(*) filter (where {BEFORE}),
               count(distinct user_id) filter (where {BEFORE}),
               max(occurred_at) filter (where {BEFORE}),
               count(*) filter (where {BEFORE} and occurred_at >= '2017-11-13 00:00+00')
        from nightshift.items left join
             (select distinct user_id, item_id, occurred_at, session_id from nightshift.events) e
             using (item_id) group by 1""",
    )
    assert items["item_id"].is_sorted()
    columns = ["item_id", "events", "users", "last_event", "events_7d"]
    assert items.select(columns).rows() == sorted(counts)


def test_the_profiles_of_users_are_those_of_their_events(small_shop: Settings) -> None:
    taken = snapshot(small_shop)
    events, users = taken.events().collect(), taken.users

    assert users["user_key"].to_list() == sorted(events["user_key"].unique())
    someone = users.row(7, named=True)
    mine = events.filter(pl.col("user_key") == someone["user_key"]).join(
        taken.items.select("item_id", "category"), on="item_id"
    )
    assert someone["events"] == mine.height
    assert someone["items"] == mine["item_id"].n_unique()
    assert someone["first_event"] == mine["occurred_at"].min()
    favourite = mine["category"].value_counts(sort=True)
    assert (
        favourite.filter(category=someone["top_categories"][0])["count"][0]
        == favourite["count"].max()
    )
    assert len(someone["top_categories"]) == 3
    assert set(users["price_band"].drop_nulls()) <= {"low", "mid", "high"}


def test_prices_come_from_the_time_before_the_night(small_shop: Settings) -> None:
    taken = snapshot(small_shop)
    unit = (
        taken.events()
        .filter(pl.col("value") > 0, pl.col("quantity") > 0)
        .group_by("item_id")
        .agg(price=(pl.col("value") / pl.col("quantity")).median().round(2))
        .collect()
    )
    items = taken.items
    both = items.filter(pl.col("price").is_not_null()).join(unit, on="item_id", how="left")
    assert both["price"].to_list() == both["price_right"].to_list()
    assert items.filter(pl.col("events") == 0)["price"].null_count() > 0
    assert (
        items.filter(pl.col("price").is_null())["price_band"].null_count()
        == items["price"].null_count()
    )


def test_no_user_id_reaches_the_lake(small_shop: Settings) -> None:
    execute(
        small_shop,
        "update nightshift.events set user_id = 'jane.doe@example.com'"
        " where user_id = (select min(user_id) from nightshift.events)",
    )
    taken = snapshot(small_shop)

    assert taken.users["user_key"].str.contains("^[0-9a-f]{20}$").all()
    for file in (small_shop.home_path / "lake").rglob("*"):
        assert not file.is_file() or b"jane.doe" not in file.read_bytes()


def test_the_shop_is_the_stores_with_the_settings_on_top(small_shop: Settings) -> None:
    assert snapshot(small_shop).shop.repeats is True
    changed = small_shop.with_({"shop": {"repeats": False, "target_kinds": ["cart", "rating"]}})

    shop = snapshot(changed).shop

    assert (shop.name, shop.currency, shop.repeats) == ("complete-journey", "USD", False)
    assert shop.target_kinds == ("cart", "rating")
    assert snapshot(changed).items["events"].sum() == 0


def test_a_night_may_start_at_any_time(small_shop: Settings) -> None:
    night = Night.parse("2017-11-20T15:30/2017-11-21T15:30")

    taken = snapshot(small_shop, night)

    last = taken.events().select(pl.col("occurred_at").max()).collect().item()
    assert NIGHT.start < last < night.start
    assert night.start - last < timedelta(hours=3)
    assert taken.manifest.named("events/")[-1].name == "events/2017-11-20.parquet"


def test_a_store_without_history_is_an_error_that_says_where_the_events_are(
    small_shop: Settings, settings: Settings
) -> None:
    with pytest.raises(BadInput, match="no events before 2017-10-01") as caught:
        collect(small_shop, Night.parse("2017-10-01"))
    assert "2017-10-01" in caught.value.hint
    assert Lake.of(small_shop).find("snapshot", "night=2017-10-01") is None

    migrate(settings)
    with pytest.raises(BadInput, match="no events") as caught:
        collect(settings)
    assert "nightshift load" in caught.value.hint


def test_an_unreachable_store_leaves_no_dataset(small_shop: Settings) -> None:
    gone = small_shop.with_({"store": {"url": "postgresql://x:y@127.0.0.1:1/x"}})
    with pytest.raises(StoreError) as caught:
        stages.run("collect", NIGHT, gone)
    assert caught.value.context["stage"] == "collect"
    assert Lake.of(small_shop).names("snapshot") == []
