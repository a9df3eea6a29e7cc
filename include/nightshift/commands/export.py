"""`nightshift export ad-copy`: what the nights wrote for the shop, as a file."""

from __future__ import annotations

import argparse
from pathlib import Path

from nightshift.commands.common import Subparsers, add_command, emit, settings_of
from nightshift.errors import UsageError

_FORMATS = (".csv", ".jsonl", ".parquet")
_AD_COPY = """\
Advertising copy that is live, as a file: one line that sells an item, by item and segment.

  nightshift export ad-copy --out copy.csv                    everything that is live
  nightshift export ad-copy --out copy.jsonl --item 1045      of one item
  nightshift export ad-copy --out copy.parquet --segment new  to the taste of one segment

The columns are those of the table nightshift.ad_copy, which a shop may as well read itself:
sample_id, item_id, segment (empty: for everybody), text, night, model, made_at. Every line passed
inspection; none has expired or been retracted. Switch the strategy on with
generate.strategies=[…,"llm_ad_copy"]; a night that goes live swaps the table with the
recommendations.
"""


def register(subparsers: Subparsers) -> None:
    export = subparsers.add_parser(
        "export",
        help="what the nights wrote for the shop, as a file",
        description="What the nights wrote for the shop, as a file.",
    )
    what = export.add_subparsers(dest="what", metavar="WHAT", required=True)
    ad_copy = add_command(
        what,
        "ad-copy",
        _ad_copy,
        help="the advertising copy that is live",
        description=_AD_COPY,
    )
    ad_copy.add_argument(
        "--out",
        metavar="PATH",
        type=Path,
        required=True,
        help="the file to write; its ending says how: .csv, .jsonl or .parquet",
    )
    ad_copy.add_argument("--item", metavar="ITEM_ID", help="only of this item")
    ad_copy.add_argument("--segment", help="only what is written for this segment of customers")


def _ad_copy(arguments: argparse.Namespace) -> int:
    path: Path = arguments.out
    if path.suffix not in _FORMATS:
        raise UsageError(
            f"No format goes with the ending of {path.name!r}.",
            hint=f"let it end in {', '.join(_FORMATS)}",
        )
    from nightshift.store.ad_copy import read

    found = read(settings_of(arguments), item=arguments.item, segment=arguments.segment)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".csv":
            found.write_csv(path)
        elif path.suffix == ".jsonl":
            found.write_ndjson(path)
        else:
            found.write_parquet(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}.",
            hint="name a file in a folder that you may write to, on a disk with room",
        ) from error
    print(f"{found.height:,} lines of copy for {found['item_id'].n_unique():,} items: {path}")
    emit(arguments, {"out": str(path), "lines": found.height, "items": found["item_id"].n_unique()})
    return 0
