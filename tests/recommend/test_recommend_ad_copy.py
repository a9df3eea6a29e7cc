"""Advertising copy: into Postgres with the night that goes live, out again when it is retracted."""

from __future__ import annotations

import json
from datetime import timedelta

import polars as pl
import pytest
from nights_by_hand import Shop, later, night_events, past_events, wandering
from sqlalchemy import text

from factories import commit
from nightshift.cli import main
from nightshift.errors import StoreError
from nightshift.recommend.score import run as score
from nightshift.registry.alias import live, rollback
from nightshift.registry.retract import retract
from nightshift.registry.serving import serve
from nightshift.retractions import Rule
from nightshift.stages import STAGES
from nightshift.store.ad_copy import WRITTEN, read
from nightshift.store.engine import begin
from nightshift.store.publish import publish
from nightshift.store.schema import migrate
from shop_by_hand import NIGHT, TINY, samples

EMPTY = pl.DataFrame(
    schema={"user_key": pl.String, "rank": pl.Int32, "item_id": pl.String, "score": pl.Float32}
)
ODD = 'Sleep "under" the stars, in a line\nand a half; 50 % off 🏕'


def copy(number, item, line, *, segment=None, model="smol", **fields):
    return {
        "sample_id": f"c{number}",
        "kind": "ad_copy",
        "strategy": "llm_ad_copy",
        "item_id": item,
        "text": line,
        "lineage": json.dumps({"model": model} | ({"segment": segment} if segment else {})),
        **fields,
    }


FIRST = samples(
    copy(1, "i01", "Tea that wakes you", segment="early birds"),
    copy(2, "i02", ODD),
    {"sample_id": "other", "item_id": "i03"},
)


@pytest.fixture
def shop(settings):
    migrate(settings)
    tiny = TINY | {"first_steps": 2, "warm_steps": 1, "refresh_passes": 0, "sample_steps": 1}
    tree = {"finetune": tiny, "score": {"top_n": 2}, "night": {"first": NIGHT.start.isoformat()}}
    return Shop(settings.with_(tree))


def scored(shop, made, night=NIGHT, live_line="real"):
    """A whole night whose blend holds these samples, gone live unless a later one is."""
    arms = {"control": samples(), "challenger": made}
    inputs = shop.before(past_events(wandering(8)), night=night, arms=arms)
    models = shop.finetune(inputs, night=night)
    state = shop.refresh(inputs, models, night_events({}, night), night=night, live_line=live_line)
    morning = shop.lake.get("morning", f"night={night.key}")
    everything = inputs | {"state": state, "morning": morning}
    return commit(shop.lake, shop.settings, night, STAGES["score"], score, everything)


def lines(shop):
    return dict(read(shop.settings).select("sample_id", "text").iter_rows())


def test_what_was_accepted_goes_live_with_the_night_whichever_line_is_live(shop):
    scored(shop, FIRST)
    found = read(shop.settings)
    assert found.select("sample_id", "item_id", "segment", "text", "night", "model").rows() == [
        ("c1", "i01", "early birds", "Tea that wakes you", NIGHT.key, "smol"),
        ("c2", "i02", None, ODD, NIGHT.key, "smol"),
    ]
    assert found["made_at"].null_count() == 0


def test_the_next_night_swaps_it_and_what_stays_keeps_its_time(shop):
    scored(shop, FIRST)
    before = dict(read(shop.settings).select("sample_id", "made_at").iter_rows())
    told = {"segment": "night owls", "model": "larger"}
    kept = copy(1, "i01", "Tea that wakes you", **told, night=later(1).key)
    scored(shop, samples(kept, copy(3, "i05", "New")), later(1))
    after = read(shop.settings)
    assert after["sample_id"].to_list() == ["c1", "c3"]
    assert after["night"].to_list() == [later(1).key, NIGHT.key]
    assert after.select("segment", "model").row(0) == ("night owls", "larger")
    assert after["made_at"][0] == before["c1"] < after["made_at"][1]


def test_a_backfilled_night_never_takes_it_back_and_a_rollback_does(shop):
    scored(shop, FIRST)
    newer = samples(copy(9, "i09", "Newer"))
    scored(shop, newer, later(2))
    scored(shop, samples(copy(5, "i05", "Of the past")), later(1))
    assert lines(shop) == {"c9": "Newer"}

    entry = rollback(shop.lake, to=NIGHT.key, reason="the shop asked for it")
    assert serve(shop.settings, shop.lake, entry, back=True)
    assert set(lines(shop)) == {"c1", "c2"}
    assert live(shop.lake) == entry


def test_a_night_without_any_leaves_none(shop):
    scored(shop, FIRST)
    scored(shop, samples(), later(1))
    assert lines(shop) == {}


def test_what_is_retracted_is_gone_at_once_and_comes_back_with_no_rollback(shop):
    scored(shop, FIRST)
    record = retract(shop.lake, Rule(item="i02"), reason="it lies", settings=shop.settings)
    assert record["ad_copy_withdrawn"] == 1
    assert set(lines(shop)) == {"c1"}
    scored(shop, samples(copy(9, "i09", "Newer")), later(1))
    assert serve(shop.settings, shop.lake, rollback(shop.lake, reason="back"), back=True)
    assert set(lines(shop)) == {"c1"}


def test_a_retraction_stands_where_the_store_does_not_answer(shop, tmp_path):
    scored(shop, FIRST)
    gone = shop.settings.with_({"store": {"url": "postgresql+psycopg2://u:secret@127.0.0.1:9/x"}})
    with pytest.raises(StoreError) as failed:
        retract(shop.lake, Rule(model="smol"), reason="it lies", settings=gone)
    assert "is recorded" in failed.value.hint
    assert "secret" not in f"{failed.value} {failed.value.hint}"
    scored(shop, FIRST, later(1))
    assert lines(shop) == {}
    # What is no copy needs no store at all.
    record = retract(shop.lake, Rule(item="i03"), reason="recalled", settings=gone)
    assert record["samples"] == 1


def test_recommendations_and_copy_move_together_or_not_at_all(shop, monkeypatch):
    scored(shop, FIRST)

    def breaks(connection, rows):
        raise RuntimeError("in the middle")

    monkeypatch.setattr("nightshift.store.publish.swap", breaks)
    with pytest.raises(RuntimeError, match="in the middle"):
        publish(
            shop.settings,
            [EMPTY],
            as_of=NIGHT.end + timedelta(days=1),
            model="m",
            ad_copy=lambda: pl.DataFrame(schema=WRITTEN),
        )
    with begin(shop.settings) as connection:
        as_of = connection.execute(text("select as_of from nightshift.publication")).scalar()
    assert as_of == NIGHT.end
    assert set(lines(shop)) == {"c1", "c2"}


def test_a_store_of_the_version_before_goes_on_until_there_is_copy(shop):
    with begin(shop.settings) as connection:
        connection.execute(text("drop table nightshift.ad_copy"))
    scored(shop, samples())
    with pytest.raises(StoreError, match="ad_copy") as failed:
        scored(shop, FIRST, later(1))
    assert "nightshift store migrate" in failed.value.hint


# --- the file ---------------------------------------------------------------------------------


def export(tmp_path, name, *options):
    path = tmp_path / "made" / name
    assert main(["export", "ad-copy", "--out", str(path), *options]) == 0
    return path


@pytest.mark.parametrize(
    ("name", "reads"),
    [
        ("copy.csv", pl.read_csv),
        ("copy.jsonl", pl.read_ndjson),
        ("copy.parquet", pl.read_parquet),
    ],
)
def test_a_shop_gets_it_as_a_file(shop, tmp_path, capsys, name, reads):
    scored(shop, FIRST)
    found = reads(export(tmp_path, name))
    assert found.columns == [*WRITTEN, "made_at"]
    assert found["text"].to_list() == ["Tea that wakes you", ODD]
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("2 lines of copy for 2 items: ")
    assert json.loads(said[-1])["lines"] == 2


def test_a_part_of_it(shop, tmp_path):
    scored(shop, FIRST)
    for option, value in (("--item", "i01"), ("--segment", "early birds")):
        found = pl.read_csv(export(tmp_path, "part.csv", option, value))
        assert found["sample_id"].to_list() == ["c1"]


def test_nothing_live_is_an_empty_file_and_an_odd_ending_is_refused(shop, tmp_path, capsys):
    path = export(tmp_path, "none.csv")
    assert path.read_text().splitlines() == [",".join([*WRITTEN, "made_at"])]
    assert main(["export", "ad-copy", "--out", str(tmp_path / "copy.xlsx")]) != 0
    assert ".csv, .jsonl, .parquet" in capsys.readouterr().err
