"""Reading the night's samples: every row, also of a shard that breaks the contract."""

from __future__ import annotations

from pathlib import PurePosixPath

import polars as pl

from nightshift import contracts
from nightshift.errors import LakeError
from nightshift.inspection.facts import UNKNOWN, Facts
from nightshift.lake import Lake
from nightshift.manifest import Manifest

FOLDER = "shards/"
CONTRACT: dict[str, pl.DataType] = dict(pl.DataFrame(contracts.SAMPLES.empty_table()).schema)


def read_samples(lake: Lake, manifest: Manifest) -> pl.DataFrame:
    """All rows in order of shard: contracts.SAMPLES, `row`, `schema_ok`, `shard_file`.

    A column that is missing or of another type is null in the rows of its shard, and `schema_ok`
    is false there, so that those rows can be quarantined by name instead of ending the night.

    Raises:
        LakeError: a shard that is no Parquet file.
    """
    frames = [_read_shard(lake, manifest, entry.name) for entry in manifest.named(FOLDER)]
    empty = pl.DataFrame(schema=CONTRACT | {"schema_ok": pl.Boolean(), "shard_file": pl.String()})
    return pl.concat([empty, *frames]).with_row_index("row")


def _read_shard(lake: Lake, manifest: Manifest, name: str) -> pl.DataFrame:
    try:
        found = lake.read(manifest, name)
    except pl.exceptions.PolarsError as error:
        raise LakeError(
            f"The shard {name} cannot be read: {error}.",
            hint="delete its folder, then run generate and gather again",
            file=name,
        ) from error
    columns = [
        pl.col(column) if found.schema.get(column) == dtype else pl.lit(None, dtype).alias(column)
        for column, dtype in CONTRACT.items()
    ]
    return found.with_row_index("_").select(
        *columns,
        pl.lit(dict(found.schema) == CONTRACT).alias("schema_ok"),
        pl.lit(PurePosixPath(name).stem).alias("shard_file"),
    )


def with_codes(samples: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """Beside each sample its codes, its item's `title` and `item_text`, `claimed`.

    `item`, `user`: codes, -1 where unknown.
    `claimed`: an interaction of tonight says that this user would take this item.
    """
    pair = ("user_key", "item_id")
    claimed = samples.filter(pl.col("kind") == "interaction").select(*pair, claimed=True).unique()
    return (
        samples.join(facts.items, on="item_id", how="left", maintain_order="left")
        .join(facts.users, on="user_key", how="left", maintain_order="left")
        .join(claimed, on=pair, how="left", maintain_order="left")
        .with_columns(pl.col("item", "user").fill_null(UNKNOWN), pl.col("claimed").fill_null(False))
    )
