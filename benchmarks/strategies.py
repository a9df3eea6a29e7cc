"""Every way of making samples, side by side: what each makes, what is accepted, what it costs.

    make bench NAME=strategies ARGS='--shop complete-journey'
    make bench NAME=strategies ARGS='--shop online-retail FILE'

One night of the shop at the 0.9 quantile of its events, with every strategy: `nightshift generate
--strategies all`, then the inspection, and `tune` for what each earns on the inner split (weight
zero allowed, nothing chosen on the night itself). Prints a table and three examples each; with
`--markdown FILE` it writes them as docs/strategies.md shows them.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.common import finish, say
from nightshift import stages
from nightshift.commands.benchmark import long_night
from nightshift.generate.strategies import strategy_names
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.nights import run_parts
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot

EXAMPLES = 3
SHOWN_CHARS = 110


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shop", choices=("complete-journey", "online-retail"), required=True)
    parser.add_argument("path", nargs="?", type=Path, help="the file of online-retail")
    parser.add_argument("--strategies", default="all")
    parser.add_argument("--samples", type=int, default=60_000)
    parser.add_argument("--tokens", type=int, default=60_000)
    parser.add_argument("--adapt", action="store_true", help="let the model learn the shop first")
    parser.add_argument("--tune", action="store_true", help="and what each earns (many minutes)")
    parser.add_argument("--home", type=Path, help="folder to use and keep (default: temporary)")
    parser.add_argument("--markdown", type=Path, help="write the tables and examples there")
    arguments = parser.parse_args()
    with scratch(arguments) as settings:
        night = long_night(settings, 0.9)
        settings = settings.with_({"night": {"first": night.start.isoformat()}})
        rows, page = run(arguments, night, settings)
    if arguments.markdown:
        arguments.markdown.write_text(page)
    finish(f"strategies-{arguments.shop}", arguments.shop, rows)
    return 0


@contextmanager
def scratch(arguments: argparse.Namespace) -> Iterator[Settings]:
    """A store with the shop in it, and a lake, of the benchmark's own."""
    from nightshift.store import embedded, loaders

    home = arguments.home or Path(tempfile.mkdtemp(prefix="ns-bench-", dir="/tmp"))
    wanted = arguments.strategies
    settings = Settings.shipped(
        {
            "home": str(home),
            "store": {"url": None, "pseudonym_key": "benchmark strategies"},
            "lake": {"root": None},
            "generate": {
                "strategies": strategy_names() if wanted == "all" else wanted.split(","),
                "budget": {"samples": arguments.samples, "tokens": arguments.tokens},
            },
        }
    )
    try:
        embedded.ensure_running(settings)
        options = {"path": arguments.path} if arguments.shop == "online-retail" else {}
        loaders.load(arguments.shop, settings, **options)
        yield settings
    finally:
        embedded.stop(settings)
        if arguments.home is None:
            shutil.rmtree(home, ignore_errors=True)


def run(
    arguments: argparse.Namespace, night: Night, settings: Settings
) -> tuple[list[dict[str, Any]], str]:
    lake = Lake.of(settings)
    names = ["collect", *(["adapt"] if arguments.adapt else []), "embed", "plan"]
    names += ["generate", "gather", "inspect", *(["tune"] if arguments.tune else [])]
    shards = []
    for name in names:
        for ran in run_parts(name, stages.parts_of(name, lake, night, settings), night, settings):
            say(f"{ran.stage:9} {ran.seconds:7.1f} s  {ran.manifest.partition}")
            if name == "generate":
                shards.append(ran.manifest)
    of_night = f"night={night.key}"
    plan, inspection = lake.get("plan", of_night), lake.get("inspection", of_night)
    planned = lake.read_json(plan, "plan.json")
    titles = dict(
        Snapshot(lake, lake.get("snapshot", of_night))
        .items.select("item_id", pl.coalesce("title", "item_id"))
        .iter_rows()
    )
    accepted = lake.read(inspection, "accepted.parquet")
    rows, examples = [], {}
    for name in settings.generate.strategies:
        mine = [m for m in shards if m.stats["strategy"] == name]
        rows.append(
            {
                "strategy": name,
                "planned": plan.stats["samples"].get(name, 0),
                "made": sum(m.stats["made"] for m in mine),
                "accepted": inspection.stats["accepted"].get(name, 0),
                "seconds": round(sum(m.run["seconds"] for m in mine), 1),
                "tokens": sum(m.stats["tokens"] for m in mine),
                "dropped": _added(m.stats["dropped"] for m in mine),
                "quarantined": _reasons(lake, inspection, name),
                "why": planned["lacking"].get(name) or _first(m.stats.get("refused") for m in mine),
                "data": arguments.shop,
            }
        )
        good = accepted.filter(pl.col("strategy") == name).sort("sample_id").head(EXAMPLES)
        examples[name] = [_example(row, titles) for row in good.iter_rows(named=True)]
        say(f"{name:20} {rows[-1]}")
    trials = lake.read_json(lake.get("recipe", of_night), "trials.json") if arguments.tune else None
    if trials is not None:
        rows.append({"trials": trials, "data": arguments.shop})
    return rows, _page(arguments.shop, rows, examples)


def _added(counts: Iterator[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for reason, number in one.items():
            total[reason] = total.get(reason, 0) + number
    return dict(sorted(total.items(), key=lambda pair: -pair[1]))


def _reasons(lake: Lake, inspection: Any, name: str) -> dict[str, int]:
    found = (
        lake.read(inspection, "quarantined.parquet")
        .filter(pl.col("strategy") == name)
        .explode("reasons")["reasons"]
        .value_counts(sort=True)
    )
    return dict(found.iter_rows())


def _first(values: Iterator[str | None]) -> str | None:
    return next((value for value in values if value), None)


def _example(row: dict[str, Any], titles: dict[str, str]) -> str:
    def shown(item: str | None) -> str:
        return (titles.get(item or "", "") or "")[:SHOWN_CHARS].strip()

    if row["text"]:
        return f"{shown(row['item_id']) or 'a customer'} → {row['text']}"
    context = [shown(item) for item in (row["context_items"] or [])[-4:]]
    return " · ".join(context) + f" → **{shown(row['item_id'])}**"


def _page(shop: str, rows: list[dict[str, Any]], examples: dict[str, list[str]]) -> str:
    lines = [
        f"### {shop}",
        "",
        "| strategy | planned | made | accepted | of made | seconds | s per 1,000 | tokens |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        if "strategy" not in row:
            continue
        good, made = row["accepted"], row["made"]
        cells = [
            f"`{row['strategy']}`",
            f"{row['planned']:,}",
            f"{made:,}",
            f"{good:,}",
            f"{good / made:.0%}" if made else row["why"] or "–",
            f"{row['seconds']:,.1f}",
            f"{1000 * row['seconds'] / good:,.1f}" if good else "–",
            f"{row['tokens']:,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for name, found in examples.items():
        if found:
            lines += ["", f"`{name}`", "", *(f"- {one}" for one in found)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
