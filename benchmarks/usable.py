"""How many of the searches that the language model writes could be used: counted by reading.

    python -m benchmarks.usable --shop default --sheet sheet.csv
    python -m benchmarks.usable --shop crowdflower --path train.csv.gz --sheet sheet.csv
    …a person fills in the column `usable` with 1 or 0…
    python -m benchmarks.usable --rated sheet.csv --markdown sheet.md

Adapts the model to a shop, lets it write for items that it has seen no search for, inspects what it
wrote, and draws 100 of what was generated (inspected or not) by a seed. Real searches stand among
them where there are any; which is which is in the key file beside the sheet alone.

The rubric, for each row, without looking at the key: 1 when a customer could type this AND this
item would be a right answer to it AND it is neither a copy of the title nor nonsense; else 0.
A misspelling is no fault, an unusual wish is no fault, another product is one.
"""

from __future__ import annotations

import argparse
import csv
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.common import say
from benchmarks.usable_measures import count, key_of

NIGHT = "2017-11-20"
BEFORE = "2017-11-01T00:00:00Z"
"""When the searches were typed that are learnt from, in a data set without times."""
DATA = {
    "default": "The Complete Journey, 150 households, October and November",
    "crowdflower": "CrowdFlower search relevance, half of its queries learnt from",
}
SHEET = ("id", "product", "search", "usable")
KEY = ("id", "origin", "intent", "accepted", "reasons")
BEST_GRADE = 4.0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.usable", description=__doc__)
    parser.add_argument("--shop", choices=DATA, default="default")
    parser.add_argument("--path", type=Path, help="CrowdFlower's train.csv.gz")
    parser.add_argument("--samples", type=int, default=400, help="searches to generate (400)")
    parser.add_argument("--rows", type=int, default=100, help="of them on the sheet (100)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw and of the order (0)")
    parser.add_argument("--sheet", type=Path, default=Path("usable.csv"))
    parser.add_argument("--home", type=Path, help="a folder to use and keep")
    parser.add_argument("--rated", type=Path, help="a sheet that was filled in: count it")
    parser.add_argument("--markdown", type=Path, help="with --rated: print every row there")
    asked = parser.parse_args(argv)
    if asked.rated is not None:
        return count(asked.rated, asked.markdown)
    if asked.shop == "crowdflower" and asked.path is None:
        parser.error("--shop crowdflower needs --path")
    home = asked.home or Path(tempfile.mkdtemp(prefix="ns-usable-", dir="/tmp"))
    try:
        return make(asked, home)
    finally:
        if asked.home is None:
            shutil.rmtree(home, ignore_errors=True)


# --- the sheet ---------------------------------------------------------------------------------


def make(asked: argparse.Namespace, home: Path) -> int:
    """Generate, inspect, draw, and write the sheet and its key."""
    import polars as pl

    from nightshift import stages
    from nightshift.lake import Lake
    from nightshift.night import Night
    from nightshift.settings import Settings
    from nightshift.store import embedded

    settings = Settings.shipped(
        {
            "home": str(home),
            "night": {"first": NIGHT},
            "generate": {
                "strategies": ["llm_queries"],
                "budget": {"samples": asked.samples, "tokens": asked.samples * 100},
            },
        }
    )
    night, lake, started = Night.parse(NIGHT), Lake.of(settings), time.monotonic()
    embedded.ensure_running(settings)
    try:
        real = load(asked, settings, home)
        for name in ("collect", "embed", "adapt", "plan", "generate", "gather", "inspect"):
            for parts in stages.parts_of(name, lake, night, settings):
                ran = stages.run(name, night, settings, parts)
                say(f"{name}: {ran.seconds:.0f} s {ran.manifest.stats}")
    finally:
        embedded.stop(settings)
    of_night = f"night={night.key}"
    inspected = lake.get("inspection", of_night)
    made = pl.concat(
        [
            lake.read(inspected, "accepted.parquet").with_columns(
                reasons=pl.lit([], pl.List(pl.String))
            ),
            lake.read(inspected, "quarantined.parquet"),
        ],
        how="diagonal_relaxed",
    ).sort("sample_id")
    items = lake.read(lake.get("snapshot", of_night), "items.parquet")
    drawn = made.sample(min(asked.rows, made.height), seed=asked.seed).join(
        items.select("item_id", "text"), on="item_id", how="left", suffix="_of_item"
    )
    rows = [
        {
            "product": row["text_of_item"],
            "search": row["text"],
            "origin": "generated",
            "intent": _intent(row["lineage"]),
            "accepted": int(not row["reasons"]),
            "reasons": " ".join(row["reasons"] or ()),
        }
        for row in drawn.to_dicts()
    ]
    rng = random.Random(asked.seed)
    rows += rng.sample(real, min(len(real), asked.rows // 2))
    rng.shuffle(rows)
    write(asked.sheet, rows)
    say(
        f"{len(rows)} rows in {asked.sheet} after {time.monotonic() - started:.0f} s: "
        f"fill in `usable`, then --rated {asked.sheet}"
    )
    return 0


def load(asked: argparse.Namespace, settings: Any, home: Path) -> list[dict[str, Any]]:
    """Fill the store; real searches that nothing has learnt from, with a right answer each."""
    from nightshift.store.loaders import load as load_shop

    if asked.shop == "default":
        load_shop(
            "complete-journey",
            settings,
            households=150,
            since=date(2017, 10, 1),
            until=date(2017, 11, 21),
        )
        return []
    with _opened(asked.path) as lines:
        pairs = list(csv.DictReader(lines))
    queries = sorted({pair["query"] for pair in pairs})
    random.Random(asked.seed).shuffle(queries)
    learnt = set(queries[: len(queries) // 2])
    ids = {title: f"t{i:05}" for i, title in enumerate(sorted({p["product_title"] for p in pairs}))}
    good = [pair for pair in pairs if float(pair["median_relevance"]) >= BEST_GRADE]
    tables: dict[str, tuple[tuple[str, ...], list[tuple[Any, ...]]]] = {
        "items": (("item_id", "title"), [(i, title) for title, i in ids.items()]),
        "searches": (
            ("query", "item_id", "grade", "occurred_at"),
            [
                (p["query"], ids[p["product_title"]], p["median_relevance"], BEFORE)
                for p in pairs
                if p["query"] in learnt
            ],
        ),
        # What was learnt from has been seen, so that the plan turns to the other items.
        "events": (
            ("user_id", "item_id", "kind", "occurred_at"),
            [
                (f"u{row}-{n}", ids[p["product_title"]], "purchase", BEFORE)
                for row, p in enumerate(pairs)
                if p["query"] in learnt
                for n in range(9)
            ],
        ),
    }
    for name, (head, rows) in tables.items():
        with (home / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([head, *rows])
    load_shop("files", settings, **{name: home / f"{name}.csv" for name in tables})
    return [
        {
            "product": pair["product_title"],
            "search": pair["query"],
            "origin": "real",
            "intent": "any",
            "accepted": "",
            "reasons": "",
        }
        for pair in good
        if pair["query"] not in learnt
    ]


def write(sheet: Path, rows: list[dict[str, Any]]) -> None:
    """The sheet without what would give a row away, and the key beside it."""
    for path, names in ((sheet, SHEET), (key_of(sheet), KEY)):
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(
                {"usable": "", **row, "id": number} for number, row in enumerate(rows, start=1)
            )


def _intent(lineage: str) -> str:
    import json

    return str(json.loads(lineage).get("intent", ""))


def _opened(path: Path) -> Any:
    import gzip

    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open(newline="")


if __name__ == "__main__":
    sys.exit(main())
