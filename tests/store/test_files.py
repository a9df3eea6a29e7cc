"""A shop's own files: what may be in them, and where exactly they are wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text

from nightshift.cli import main
from nightshift.errors import BadInput, UsageError
from nightshift.settings import Settings
from nightshift.store.engine import begin
from nightshift.store.loaders import load
from nightshift.store.loaders.tabular import MAX_TEXT_CHARS, parse_times

ITEMS = "item_id,title,price\na,Lamp,12.50\nb,Chair,\n"
EVENTS = """\
user_id,item_id,kind,occurred_at,value,quantity
u1,a,purchase,2017-11-20T18:30:00+01:00,12.5,1
u1,b,view,2017-11-20 18:31,,
u2,a,click,2017-11-21,,
"""


class Shop:
    """Two files that a test can spoil."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.items, self.events = folder / "items.csv", folder / "events.csv"
        self.settings = settings
        self.items.write_text(ITEMS)
        self.events.write_text(EVENTS)

    def load(self, **options: Any) -> dict[str, Any]:
        return load("files", self.settings, items=self.items, events=self.events, **options)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with begin(self.settings) as connection:
            return [tuple(row) for row in connection.execute(text(query))]


@pytest.fixture
def shop(tmp_path: Path, settings: Settings) -> Shop:
    return Shop(tmp_path, settings)


def test_all_five_tables(shop: Shop, tmp_path: Path) -> None:
    files = {
        "users": "user_id,segment\nu1,regular\n",
        "searches": "query,user_id,item_id,grade,occurred_at\nlamp,u1,a,3,2017-11-20\nchair,,,,\n",
        "reviews": "item_id,user_id,rating,text,occurred_at\na,u1,5,Bright,2017-11-22\n",
    }
    for table, content in files.items():
        (tmp_path / f"{table}.csv").write_text(content)

    result = shop.load(**{table: tmp_path / f"{table}.csv" for table in files}, repeats=True)

    assert {t: result[t]["loaded"] for t in ("items", "events", *files)} == {
        "items": 2, "events": 3, "users": 1, "searches": 2, "reviews": 1
    }  # fmt: skip
    assert shop.rows(
        "select item_id, occurred_at::text, value from nightshift.events_v order by 2"
    ) == [
        ("a", "2017-11-20 17:30:00+00", 12.5),
        ("b", "2017-11-20 18:31:00+00", None),
        ("a", "2017-11-21 00:00:00+00", None),
    ]
    assert shop.rows("select repeats, target_kinds from nightshift.shop") == [(True, ["purchase"])]
    assert shop.load(**{t: tmp_path / f"{t}.csv" for t in files})["searches"]["loaded"] == 0


def test_parquet_and_compressed_csv_are_the_same_shop(shop: Shop, tmp_path: Path) -> None:
    import gzip

    shop.load()
    frame = pl.read_csv(shop.events, try_parse_dates=False)
    frame.with_columns(occurred_at=parse_times(frame["occurred_at"])).write_parquet(
        tmp_path / "e.parquet"
    )
    (tmp_path / "i.csv.gz").write_bytes(gzip.compress(ITEMS.encode()))

    again = load("files", shop.settings, items=tmp_path / "i.csv.gz", events=tmp_path / "e.parquet")

    assert again["items"]["already_there"] == 2
    assert again["events"]["already_there"] == 3


@pytest.mark.parametrize(
    ("old", "new", "problem", "row", "column"),
    [
        ("occurred_at", "when", "Columns are missing: occurred_at", None, "occurred_at"),
        ("2017-11-21", "21.11.2017", "'21.11.2017' is not a time", 3, "occurred_at"),
        ("2017-11-21", "1511222400", "'1511222400' is not a time", 3, "occurred_at"),
        ("2017-11-21", "", "is empty", 3, "occurred_at"),
        ("12.5,1", "twelve,1", "'twelve' is not a number", 1, "value"),
        ("12.5,1", "nan,1", "'nan' is not a number", 1, "value"),
        ("click", "glance", "'glance' is none of the known values", 3, "kind"),
        ("u2", " ", "is empty", 3, "user_id"),
        ("u2", "u\0", "holds a NUL byte", 3, "user_id"),
        ("u2,a", "u2,zzz", "'zzz' is not in the catalogue", 3, "item_id"),
        ("u2,a", "u2,a,a,a,a,a,a,a", "cannot be read", None, None),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    shop: Shop, old: str, new: str, problem: str, row: int | None, column: str | None
) -> None:
    shop.events.write_text(EVENTS.replace(old, new))

    with pytest.raises(BadInput, match=problem) as caught:
        shop.load()

    assert caught.value.context == {
        name: value
        for name, value in {"file": str(shop.events), "row": row, "column": column}.items()
        if value is not None
    }
    assert caught.value.hint
    assert caught.value.exit_code == 20


def test_a_file_that_is_not_there_or_empty(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such file"):
        shop.load(reviews=tmp_path / "nowhere.csv")
    shop.events.write_text("")
    with pytest.raises(BadInput, match="empty"):
        shop.load()


def test_events_of_unknown_items_can_be_left_out_and_are_counted(shop: Shop) -> None:
    shop.events.write_text(EVENTS + "u3,zzz,view,2017-11-21,,\n")

    result = shop.load(unknown_items="drop")

    assert result["events"] == {"read": 4, "loaded": 3, "already_there": 0}
    assert result["dropped"] == {"events": {"unknown_item": 1}}


def test_a_text_of_a_megabyte_is_loaded_and_a_longer_one_is_cut_and_counted(shop: Shop) -> None:
    whole, longer = "word " * (MAX_TEXT_CHARS // 5), "x" * (MAX_TEXT_CHARS + 1)
    shop.items.write_text(f'item_id,title\na,"{whole}"\nb,"{longer}"\n')

    result = shop.load()

    assert shop.rows("select length(title) from nightshift.items_v order by item_id") == [
        (MAX_TEXT_CHARS,),
        (MAX_TEXT_CHARS,),
    ]
    assert result["changed"] == {"items": {"title_cut": 1}}


def test_a_nul_byte_in_a_text_is_named(shop: Shop) -> None:
    shop.items.write_text("item_id,title\na,La\0mp\n")
    with pytest.raises(BadInput, match="NUL byte") as caught:
        shop.load()
    assert caught.value.context["column"] == "title"


def test_target_kinds_are_kinds(shop: Shop) -> None:
    with pytest.raises(UsageError, match="bought is no kind"):
        shop.load(target_kinds="purchase,bought")
    shop.load(target_kinds="purchase, cart")
    assert shop.rows("select target_kinds from nightshift.shop") == [(["purchase", "cart"],)]


def test_the_command_prints_the_counts_and_the_place_of_an_error(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["load", "files", "--items", str(shop.items), "--events", str(shop.events)]

    assert main(arguments) == 0
    assert '"loaded": 3' in capsys.readouterr().out.splitlines()[-1]

    shop.events.write_text(EVENTS.replace("2017-11-21", "soon"))
    assert main(arguments) == 20
    assert f"file {shop.events}, row 3, column occurred_at" in capsys.readouterr().err


def test_times_are_read_with_and_without_a_zone() -> None:
    texts = ["2017-01-02T03:04:05Z", "2017-01-02 03:04:05.5+01", "2017-01-02", "2017-13-02", None]
    assert [str(t) for t in parse_times(pl.Series(texts))] == [
        "2017-01-02 03:04:05",
        "2017-01-02 02:04:05.500000",
        "2017-01-02 00:00:00",
        "None",
        "None",
    ]
