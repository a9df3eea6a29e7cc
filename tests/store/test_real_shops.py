"""The loaders on real data: what they keep, what they leave out, and how texts read."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import text
from workbook import workbook

from nightshift.errors import BadInput
from nightshift.settings import Settings
from nightshift.store.engine import begin
from nightshift.store.loaders import complete_journey, load, online_retail


def test_complete_journey_reads_like_a_catalogue() -> None:
    items = complete_journey.items()

    assert items.height == items["item_id"].n_unique() == 92_331
    assert items.drop("item_id").unique().height < 21_000  # variants share their text
    ice = items.row(by_predicate=pl.col("item_id") == "25671", named=True)
    assert ice == {
        "item_id": "25671",
        "title": "Ice, crushed/cubed, 22 lb",
        "description": "Grocery",
        "category": "Frozen ice",
        "brand": "National brand",
    }
    assert items["title"].null_count() == 0


def test_amazon_interactions_become_purchases_with_readable_titles(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "items.csv").write_text('item_id,title\n7,"Salt &amp; Pepper &#39;Mill&#39;"\n')
    (tmp_path / "who.csv").write_text("user_id,item_id,timestamp\n1,7,1405296000\n")

    load("amazon", settings, interactions=tmp_path / "who.csv", items=tmp_path / "items.csv")

    with begin(settings) as connection:
        row = connection.execute(
            text(
                "select title, kind, occurred_at::text from nightshift.events_v"
                " join nightshift.items_v using (item_id)"
            )
        ).one()
    assert tuple(row) == ("Salt & Pepper 'Mill'", "purchase", "2014-07-14 00:00:00+00")


def test_amazon_beauty_is_loaded_completely(settings: Settings, shared_data: Path) -> None:
    folder = shared_data / "amazon_beauty"

    result = load(
        "amazon",
        settings,
        interactions=folder / "interactions.csv.gz",
        items=folder / "items.csv.gz",
    )

    assert result["items"]["loaded"] == 12_086
    assert result["events"] == {"read": 198_215, "loaded": 198_215, "already_there": 0}
    with begin(settings) as connection:
        entities = "select count(*) from nightshift.items where title ~ '&(amp|quot|#[0-9]+);'"
        assert connection.execute(text(entities)).scalar() == 0


RETAIL = pl.DataFrame(
    {
        "InvoiceNo": ["1", "1", "C2", "3", "4", "5", "6"],
        "StockCode": ["85123a", "POST", "85123A", "85123A", "85123A", "85123A", "71053"],
        "Description": [
            "WHITE  HEART",
            "POSTAGE",
            "x",
            "WHITE HEART",
            "WHITE HEART",
            "x",
            "LANTERN",
        ],
        "Quantity": [6, 1, -6, -1, 2, 2, 1],
        "InvoiceDate": ["12/1/2010 8:26"] * 6 + ["12/31/2010 18:00"],
        "UnitPrice": [2.55, 18.0, 2.55, 2.55, 2.55, 2.55, 3.39],
        "CustomerID": [17850, 17850, 17850, 17850, None, 17850, 13047],
        "Country": ["United Kingdom"] * 6 + ["France"],
    }
)


def test_online_retail_leaves_out_what_is_no_sale_and_says_so(tmp_path: Path) -> None:
    RETAIL.write_csv(tmp_path / "retail.csv")

    source = online_retail.read(path=tmp_path / "retail.csv")

    events = pl.concat(source.tables["events"])
    assert source.dropped["events"] == {
        "cancellation": 1,
        "no_quantity": 1,
        "no_customer": 1,
        "no_product": 1,
    }
    assert events.height == 3
    assert events["value"].to_list() == [15.3, 5.1, 3.39]
    assert str(events["occurred_at"][2]) == "2010-12-31 18:00:00"
    (items,) = source.tables["items"]
    assert dict(items.select("item_id", "title").rows()) == {
        "71053": "Lantern",
        "85123A": "White heart",
    }
    assert source.shop.repeats is True


def test_a_workbook_is_the_same_shop_as_csv(tmp_path: Path) -> None:
    RETAIL.write_csv(tmp_path / "retail.csv")
    (tmp_path / "retail.xlsx").write_bytes(workbook(RETAIL))

    one, other = (online_retail.read(path=tmp_path / f"retail.{kind}") for kind in ("csv", "xlsx"))

    assert pl.concat(one.tables["events"]).equals(pl.concat(other.tables["events"]))
    assert one.dropped == other.dropped


def test_online_retail_says_where_a_file_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "retail.csv"
    RETAIL.with_columns(InvoiceDate=pl.lit("yesterday")).write_csv(file)
    with pytest.raises(BadInput, match="'yesterday' cannot be read") as caught:
        online_retail.read(path=file)
    assert caught.value.context == {"file": str(file), "row": 1, "column": "InvoiceDate"}

    RETAIL.drop("CustomerID").write_csv(file)
    with pytest.raises(BadInput, match="Columns are missing: CustomerID"):
        online_retail.read(path=file)

    broken = tmp_path / "retail.xlsx"
    broken.write_bytes(b"no workbook")
    with pytest.raises(BadInput, match="cannot be read"):
        online_retail.read(path=broken)


def test_the_uci_file_is_the_same_shop_as_parquet_and_csv(
    tmp_path: Path, shared_data: Path
) -> None:
    parquet = shared_data / "online_retail" / "online_retail.parquet"
    part = pl.read_parquet(parquet).head(30_000)
    part.write_parquet(tmp_path / "part.parquet")
    part.write_csv(tmp_path / "part.csv")

    one, other = (online_retail.read(path=tmp_path / f"part.{kind}") for kind in ("parquet", "csv"))

    for table in ("items", "users", "events"):
        assert pl.concat(one.tables[table]).equals(pl.concat(other.tables[table]))
    assert one.dropped == other.dropped


def test_the_whole_uci_file(shared_data: Path) -> None:
    source = online_retail.read(path=shared_data / "online_retail" / "online_retail.parquet")

    assert source.dropped["events"] == {
        "cancellation": 9_288,
        "no_quantity": 1_336,
        "no_customer": 133_361,
        "no_product": 1_550,
    }
    assert source.totals["events"] + sum(source.dropped["events"].values()) == 541_909
