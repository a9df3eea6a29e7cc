"""UCI Online Retail (Chen, 2015): a year of invoices of a British gift shop, as CSV, XLSX, Parquet.

Left out, and counted, by the first rule that applies: cancellations (InvoiceNo C…), quantities of
zero or less, lines without a customer, and stock codes that are no products (postage, bank charges,
manual entries …). An item's title is its most frequent description. Many customers are wholesalers:
they stay; collect's `max_events_per_user_day` decides about their largest days.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
from fastexcel import FastExcelError
from polars.exceptions import PolarsError

from nightshift.errors import BadInput
from nightshift.store.loaders.source import Dropped, ShopRow, Source, batches, count, existing
from nightshift.store.loaders.tabular import parse_times

SHOP = ShopRow(
    name="online-retail",
    description="UCI Online Retail: a British shop for gifts, December 2010 to December 2011; many "
    "of its customers are wholesalers.",
    # Shops restock: 31 % of the lines are items that the customer had bought before.
    repeats=True,
    target_kinds=("purchase",),
    currency="GBP",
)
# The second edition of the data names three columns otherwise.
_NAMES = {"Invoice": "InvoiceNo", "Price": "UnitPrice", "Customer ID": "CustomerID"}
_COLUMNS: dict[str, Any] = {
    "InvoiceNo": pl.String,
    "StockCode": pl.String,
    "Description": pl.String,
    "Quantity": pl.Float64,
    "InvoiceDate": pl.Datetime("us"),
    "UnitPrice": pl.Float64,
    "CustomerID": pl.Float64,
    "Country": pl.String,
}
_NO_PRODUCT = r"^(POST|DOT|M|C2|D|S|B|BANK CHARGES|AMAZONFEE|CRUK|ADJUST\d*|TEST\d+|GIFT_.*)$"


def read(*, path: Path | str) -> Source:
    """The shop in this file.

    Raises:
        BadInput: no such file, a missing column, or a value that cannot be read.
    """
    lines = _typed(_open(existing(path)), str(path))
    dropped: Dropped = {}
    rules = {
        "cancellation": pl.col("InvoiceNo").str.starts_with("C"),
        "no_quantity": pl.col("Quantity") <= 0,
        "no_customer": pl.col("CustomerID").is_null(),
        "no_product": pl.col("StockCode").str.contains(_NO_PRODUCT),
    }
    for rule, applies in rules.items():
        kept = lines.filter(~applies.fill_null(True))
        count(dropped, "events", rule, lines.height - kept.height)
        lines = kept
    events = _events(lines)
    return Source(
        shop=SHOP,
        tables={"items": [_items(lines)], "users": [_users(lines)], "events": batches(events)},
        origins=dict.fromkeys(("items", "users", "events"), str(path)),
        totals={"events": events.height},
        dropped=dropped,
    )


def _open(file: Path) -> pl.DataFrame:
    try:
        if file.suffix.lower() in {".xlsx", ".xls"}:
            return pl.read_excel(file, infer_schema_length=0)
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(file, glob=False)
        return pl.read_csv(file, infer_schema=False, encoding="utf8-lossy", glob=False)
    except (PolarsError, FastExcelError, OSError, ValueError) as error:
        raise BadInput(
            f"The file cannot be read: {str(error).splitlines()[0]}.",
            hint="it must be the UCI file as CSV, XLSX or Parquet",
            file=str(file),
        ) from error


def _typed(lines: pl.DataFrame, file: str) -> pl.DataFrame:
    lines = lines.rename({old: new for old, new in _NAMES.items() if old in lines.columns})
    missing = [name for name in _COLUMNS if name not in lines.columns]
    if missing:
        raise BadInput(
            f"Columns are missing: {', '.join(missing)}.",
            hint=f"the file has {', '.join(lines.columns)}",
            file=file,
            column=missing[0],
        )
    typed = {}
    for name, kind in _COLUMNS.items():
        values = lines[name]
        if kind == pl.String:
            typed[name] = values.cast(pl.String).str.strip_chars()
        elif name == "InvoiceDate" and values.dtype == pl.String:
            typed[name] = _times(values)
        else:
            typed[name] = values.cast(kind, strict=False)
        bad = typed[name].is_null() & values.is_not_null() & (values.cast(pl.String) != "")
        if bad.any():
            row = bad.arg_max() or 0
            raise BadInput(
                f"{values[row]!r} cannot be read as {name}.",
                hint="the file must be as UCI publishes it",
                file=file,
                row=row + 1,
                column=name,
            )
    return pl.DataFrame(typed).with_columns(pl.col("StockCode").str.to_uppercase())


def _times(texts: pl.Series) -> pl.Series:
    """ISO 8601, or month/day/year as in UCI's CSV exports: `12/1/2010 8:26`."""
    american = texts.str.to_datetime("%m/%d/%Y %H:%M", strict=False, time_unit="us")
    return parse_times(texts).fill_null(american).alias(texts.name)


def _items(lines: pl.DataFrame) -> pl.DataFrame:
    """Prices stay empty: collect takes what was paid before each night."""
    described = lines.filter(pl.col("Description").str.len_chars() > 0)
    titles = (
        described.group_by("StockCode", "Description")
        .len()
        .sort("len", "Description", descending=[True, False])
        .unique("StockCode", keep="first", maintain_order=True)
    )
    words = pl.col("Description").str.replace_all(r"\s+", " ").str.to_lowercase()
    return (
        lines.select("StockCode")
        .unique()
        .join(titles, on="StockCode", how="left")
        .sort("StockCode")
        .select(
            item_id="StockCode",
            title=words.str.slice(0, 1).str.to_uppercase() + words.str.slice(1),
            currency=pl.lit(SHOP.currency),
        )
    )


def _customer() -> pl.Expr:
    return pl.col("CustomerID").cast(pl.Int64).cast(pl.String)


def _users(lines: pl.DataFrame) -> pl.DataFrame:
    """The segment is the country."""
    latest = lines.sort("InvoiceDate", "Country").unique("CustomerID", keep="last")
    return latest.sort("CustomerID").select(user_id=_customer(), segment="Country")


def _events(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.select(
        user_id=_customer(),
        item_id="StockCode",
        kind=pl.lit("purchase"),
        occurred_at="InvoiceDate",
        value=(pl.col("Quantity") * pl.col("UnitPrice")).round(2),
        quantity="Quantity",
        session_id="InvoiceNo",
    )
