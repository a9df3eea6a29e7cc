"""The stage `score`: recommendations of the champion, in the lake and live in Postgres."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl
import pytest
from nights_by_hand import ITEMS, Shop, later, night_events, past_events, wandering
from sqlalchemy import text

from factories import commit
from nightshift import contracts
from nightshift.recommend.score import run as score
from nightshift.registry.alias import live
from nightshift.stages import STAGES
from nightshift.store.engine import begin
from nightshift.store.publish import publish
from nightshift.store.schema import migrate
from shop_by_hand import NIGHT, TINY, event_rows, schema_of

RECIPE = {"beta": {"control": 0.0, "challenger": 7.0}, "gamma": 0.0, "strategies": {}}


def query(settings, statement):
    with begin(settings) as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def know(settings, users):
    """Let the store know these pseudonyms: user id `shop-X` is `X`."""
    with begin(settings) as connection:
        for user in users:
            connection.execute(
                text("insert into nightshift.pseudonyms values (:id, :key) on conflict do nothing"),
                {"id": f"shop-{user}", "key": user},
            )


@pytest.fixture
def shop(settings):
    migrate(settings)
    tiny = TINY | {"first_steps": 4, "refresh_passes": 1}
    tree = {"finetune": tiny, "score": {"top_n": 6, "active_days": 20, "block": 7}}
    return Shop(settings.with_(tree | {"night": {"first": NIGHT.start.isoformat()}}))


PAST = wandering(20)
INSIDE = {"u003": ["i05"], "newcomer": ["i01", "i02"]}


def night_of(
    shop, *, night=NIGHT, live_line="real", inside=INSIDE, past=PAST, recipe=RECIPE, **snapshot
):
    """What `score` reads of a night, and what it gives."""
    inputs = shop.before(past_events(past), night=night, recipe=recipe, **snapshot)
    models = shop.finetune(inputs, night=night)
    happened = inside if isinstance(inside, pl.DataFrame) else night_events(inside, night)
    state = shop.refresh(inputs, models, happened, night=night, live_line=live_line)
    morning = shop.lake.get("morning", f"night={night.key}")
    return inputs | {"state": state, "morning": morning}


def scored(shop, inputs, night=NIGHT):
    manifest = commit(shop.lake, shop.settings, night, STAGES["score"], score, inputs)
    return manifest, shop.lake.read(manifest, "recommendations.parquet")


def test_every_active_user_gets_exactly_the_top_n_in_order(shop):
    manifest, frame = scored(shop, night_of(shop))
    assert frame.schema == schema_of(contracts.RECOMMENDATIONS)
    by_user = frame.group_by("user_key", maintain_order=True).agg("rank", "item_id", "score")
    assert set(by_user["user_key"]) == {*PAST, "newcomer"}
    for _, ranks, items, scores in by_user.iter_rows():
        assert ranks == [1, 2, 3, 4, 5, 6]
        assert len(set(items)) == 6
        assert set(items) <= set(ITEMS)
        assert scores == sorted(scores, reverse=True)
    assert manifest.stats["users"] == 21


def test_withheld_items_are_never_recommended(shop):
    hidden = ["i00", "i07", "i13"]
    known = {user: [i for i in items if i not in hidden] for user, items in PAST.items()}
    past = past_events({user: items for user, items in known.items() if items})
    inputs = shop.before(past, recipe=RECIPE, withheld=hidden)
    state = shop.refresh(inputs, shop.finetune(inputs), night_events(INSIDE))
    morning = shop.lake.get("morning", f"night={NIGHT.key}")
    _, frame = scored(shop, inputs | {"state": state, "morning": morning})
    assert frame.height > 0
    assert not set(frame["item_id"]) & set(hidden)


@pytest.mark.parametrize("repeats", [True, False])
def test_what_was_bought_comes_again_only_where_the_shop_repeats(shop, repeats):
    everything = {"keen": ITEMS[:17], "u003": ["i05"]}
    _, frame = scored(shop, night_of(shop, repeats=repeats, inside=everything))
    of_keen = frame.filter(user_key="keen")["item_id"].to_list()
    if repeats:
        assert len(of_keen) == 6
        assert set(of_keen) & set(ITEMS[:17])
    else:
        assert sorted(of_keen) == ITEMS[17:]  # three are left, and three are written
        assert "i05" not in frame.filter(user_key="u003")["item_id"].to_list()


def test_only_users_who_were_active_lately_are_scored(shop):
    lately = shop.settings.with_({"score": {"active_days": 3}})
    seen = event_rows([("u003", "i05", "purchase", NIGHT.start, 0)])
    _, frame = scored(Shop(lately), night_of(shop, inside=seen))
    assert frame["user_key"].unique().to_list() == ["u003"]  # the others came ten days ago


def test_nobody_active_writes_an_empty_dataset(shop):
    lately = Shop(shop.settings.with_({"score": {"active_days": 1}}))
    manifest, frame = scored(lately, night_of(shop, inside={}))
    assert frame.is_empty()
    assert frame.schema == schema_of(contracts.RECOMMENDATIONS)
    assert manifest.stats["users"] == 0


@pytest.mark.parametrize(("line", "beta"), [("real", 0.0), ("blend", 7.0)])
def test_the_lines_own_state_and_beta_rank(shop, line, beta, monkeypatch):
    from nightshift.recommend import loading

    loads = []
    load = loading.load

    def look(*args, **kwargs):
        loads.append((kwargs["prefix"], kwargs["beta"]))
        return load(*args, **kwargs)

    monkeypatch.setattr(loading, "load", look)
    inputs = night_of(shop, live_line=line)
    manifest, _ = scored(shop, inputs)
    assert loads == [(f"{line}/", beta)]
    assert manifest.stats["line"] == line
    assert live(shop.lake).line == line


def test_what_the_night_brought_is_counted_as_the_next_night_will_judge_it(shop, monkeypatch):
    """An item first sold in the night is known, and follows what it was bought after."""
    from nightshift.recommend import loading

    served = {}
    load = loading.load

    def look(*args, **kwargs):
        served.update(kwargs)
        return load(*args, **kwargs)

    monkeypatch.setattr(loading, "load", look)
    new, before = "i19", "i05"
    past = {user: [item for item in items if item != new] for user, items in PAST.items()}
    inside = {"u003": [before, new], "newcomer": [before, new]}
    inputs = night_of(shop, inside=inside, past=past, recipe=RECIPE | {"follow": 3.0, "lean": 2.0})
    scored(shop, inputs)
    assert served["events"][ITEMS.index(new)] == 2
    bought = sum(items.count(before) for items in past.values())
    assert served["events"][ITEMS.index(before)] == bought + 2
    strength = served["followers"].table[ITEMS.index(before), ITEMS.index(new)]
    assert strength >= 1 / (bought + 2) ** 0.5 / 2**0.5 * 2 - 1e-6


def test_the_live_rows_are_the_datasets_joined_back_to_the_shops_own_ids(shop):
    known = [*list(PAST)[:5], "newcomer"]
    know(shop.settings, known)
    manifest, frame = scored(shop, night_of(shop))
    rows = query(
        shop.settings,
        "select user_id, rank, item_id, because, words, shares from nightshift.recommendations"
        " order by 1, 2",
    )
    expected = frame.filter(pl.col("user_key").is_in(known)).sort("user_key", "rank")
    assert rows == [
        (f"shop-{user}", rank, item, because, words, json.loads(shares))
        for user, rank, item, _, because, words, shares in expected.iter_rows()
    ]
    assert len(rows) == 6 * 6
    published = query(shop.settings, "select as_of, model, users from nightshift.publication")
    assert published[0][0] == NIGHT.end
    assert published[0][1].startswith("real/as_of=")
    state = shop.lake.get("state", STAGES["refresh"].partition(NIGHT, {}))
    assert manifest.stats["state"] == state.digest


def test_a_backfilled_night_moves_neither_the_alias_nor_the_live_rows(shop):
    know(shop.settings, PAST)
    scored(shop, night_of(shop, night=later(2)), later(2))
    before = query(shop.settings, "select * from nightshift.recommendations order by 1, 2")
    alias = live(shop.lake)
    _, frame = scored(shop, night_of(shop, night=later(1), inside={"u001": ["i03"]}), later(1))
    assert frame.height > 0
    assert live(shop.lake) == alias
    assert query(shop.settings, "select * from nightshift.recommendations order by 1, 2") == before
    assert len(before) == 20 * 6

    scored(shop, night_of(shop, night=later(3)), later(3))
    assert live(shop.lake).night == later(3).key
    (as_of,) = query(shop.settings, "select as_of from nightshift.publication")
    assert as_of[0] == later(3).end


def rows_of(*users, item="i00"):
    return pl.DataFrame(
        {
            "user_key": list(users),
            "rank": pl.Series([1] * len(users), dtype=pl.Int32),
            "item_id": [item] * len(users),
            "score": pl.Series([0.5] * len(users), dtype=pl.Float32),
        }
    )


def test_publishing_replaces_everything_and_only_moves_forward_in_time(shop):
    know(shop.settings, ["a", "b", "c"])
    live_rows = "select user_id, item_id from nightshift.recommendations order by 1"
    assert publish(shop.settings, [rows_of("a"), rows_of("b")], as_of=NIGHT.end, model="one")
    assert publish(
        shop.settings, [rows_of("b", "c", item='od"d, id')], as_of=NIGHT.end, model="again"
    )
    assert query(shop.settings, live_rows) == [("shop-b", 'od"d, id'), ("shop-c", 'od"d, id')]
    earlier = NIGHT.end - timedelta(microseconds=1)
    assert not publish(shop.settings, [rows_of("a")], as_of=earlier, model="old")
    assert [row[0] for row in query(shop.settings, live_rows)] == ["shop-b", "shop-c"]
    assert query(shop.settings, "select model, users from nightshift.publication") == [("again", 2)]
    assert query(shop.settings, "select * from nightshift.recommendations_staging") == []


def test_a_user_whom_the_store_has_forgotten_gets_no_row(shop):
    know(shop.settings, ["a"])
    assert publish(shop.settings, [rows_of("a", "erased")], as_of=NIGHT.end, model="m")
    assert query(shop.settings, "select user_id from nightshift.recommendations") == [("shop-a",)]


def test_every_recommendation_says_what_carried_it(shop):
    _, frame = scored(shop, night_of(shop))
    owned = {**PAST, "u003": [*PAST["u003"], "i05"], "newcomer": INSIDE["newcomer"]}
    said = 0
    for user, because, shares in frame.select("user_key", "because", "shares").iter_rows():
        assert set(because) <= set(owned[user])
        assert len(set(because)) == len(because) <= 3
        assert sum(json.loads(shares).values()) == pytest.approx(1, abs=0.005)
        assert set(json.loads(shares)) == {"text", "id"}  # nothing else is in force here
        said += bool(because)
    assert said > frame.height / 2


def test_what_carried_it_is_not_asked_where_the_shop_does_not_want_it(shop):
    know(shop.settings, ["newcomer"])
    silent = Shop(shop.settings.with_({"score": {"explain": False}}))
    inputs = night_of(shop)
    _, frame = scored(silent, inputs)
    assert frame.schema == schema_of(contracts.RECOMMENDATIONS)
    assert frame.select("because", "words", "shares").null_count().row(0) == (frame.height,) * 3
    live_rows = "select because, words, shares from nightshift.recommendations"
    assert query(shop.settings, live_rows) == [(None, None, None)] * 6
    _, asked = scored(shop, inputs)
    ranked = ["user_key", "rank", "item_id", "score"]
    assert asked.select(ranked).equals(frame.select(ranked))


def test_odd_ids_and_words_reach_the_store_as_they_are(shop):
    know(shop.settings, ["a"])
    odd = ['quo"te', "back\\slash", "com,ma", "{brace}", "NULL", "l\nine", " "]
    why = rows_of("a").with_columns(
        because=pl.Series([odd]),
        words=pl.Series([[]], dtype=pl.List(pl.String)),
        shares=pl.lit("{}"),
    )
    assert publish(shop.settings, [why], as_of=NIGHT.end, model="m")
    found = query(shop.settings, "select because, words, shares from nightshift.recommendations")
    assert found == [(odd, [], {})]


def test_a_store_of_the_version_before_goes_on_without_explanations(shop, caplog):
    know(shop.settings, list(PAST))
    with begin(shop.settings) as connection:
        for table in ("recommendations", "recommendations_staging"):
            drop = "drop column because, drop column words, drop column shares"
            connection.execute(text(f"alter table nightshift.{table} {drop}"))
    _, frame = scored(shop, night_of(shop))
    assert frame["because"].null_count() == 0
    assert query(shop.settings, "select count(*) from nightshift.recommendations") == [(20 * 6,)]
    assert "nightshift store migrate" in caplog.text


def test_blocks_of_users_are_written_one_by_one_and_are_the_same(shop):
    """Memory is that of a block: nothing of one is held for the next."""
    inputs = night_of(shop)
    _, in_threes = scored(Shop(shop.settings.with_({"score": {"block": 3}})), inputs)
    manifest, at_once = scored(Shop(shop.settings.with_({"score": {"block": 500}})), inputs)
    ranked = ["user_key", "rank", "item_id", "because", "words"]
    assert in_threes.select(ranked).equals(at_once.select(ranked))
    assert manifest.stats["users"] == in_threes["user_key"].n_unique()
