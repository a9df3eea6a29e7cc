"""A dataset's columns, as OpenLineage's schema facet has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nightshift.manifest import Manifest

if TYPE_CHECKING:
    from openlineage.client.facet_v2 import schema_dataset

_FILE = "file"
"""The type of a field that stands for files of one schema: columns lie below it."""


def fields_of(manifest: Manifest) -> list[schema_dataset.SchemaDatasetFacetFields]:
    """The columns of the Parquet files.

    A dataset of several tables (a snapshot: items, users, events by month) has a field for each,
    with the columns below it; files of one folder are one table.
    """
    from openlineage.client.facet_v2 import schema_dataset

    tables: dict[str, str] = {}
    for entry in manifest.files:
        if entry.schema is not None:
            tables.setdefault(_table(entry.name), entry.schema)
    made = {
        name: [
            schema_dataset.SchemaDatasetFacetFields(name=column, type=kind)
            for column, kind in columns(text)
        ]
        for name, text in tables.items()
    }
    if len(made) == 1:
        return next(iter(made.values()))
    return [
        schema_dataset.SchemaDatasetFacetFields(name=name, type=_FILE, fields=fields)
        for name, fields in made.items()
    ]


def columns(schema: str) -> list[tuple[str, str]]:
    """Name and type of each column of an Arrow schema's text; lines of nested ones are indented."""
    pairs = [line.partition(": ") for line in schema.splitlines() if not line.startswith(" ")]
    return [(name, kind) for name, colon, kind in pairs if colon]


def _table(file: str) -> str:
    folder, slash, _ = file.rpartition("/")
    return folder if slash else file.removesuffix(".parquet")
