"""`nightshift export ad-copy | model`: what the nights made for the shop, as files."""

from __future__ import annotations

import argparse
from pathlib import Path

from nightshift.commands.common import Subparsers, add_command, emit, settings_of
from nightshift.errors import UsageError
from nightshift.recommend.exports.layout import FORMATS

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
_MODEL = """\
The model that is live, as a folder that ranks without the lake: item vectors, item ids, the user
encoder, config.json with the digest of what it was made from.

  nightshift export model --to half --out model-half         item vectors and weights in 16 bits
  nightshift export model --to int8 --out model-int8         in 8 bits, products in integers
  nightshift export model --to onnx --out model-onnx         the user encoder as an ONNX graph
  nightshift export model --to onnx-int8 --out model-small   the graph and the vectors in 8 bits

nightshift.recommend.exports.exported.load(FOLDER) ranks with any of them. ONNX needs the extra
[export]. What is written about single customers stays in the lake. docs/scoring.md has what each
costs in quality.
"""


def register(subparsers: Subparsers) -> None:
    export = subparsers.add_parser(
        "export",
        help="what the nights made for the shop, as files: copy, the model",
        description="What the nights made for the shop, as files.",
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
    model = add_command(
        what,
        "model",
        _model,
        help="the model that is live, as a folder: smaller, or for another runtime",
        description=_MODEL,
    )
    model.add_argument(
        "--to",
        metavar="FORMAT",
        choices=FORMATS,
        required=True,
        help=", ".join(FORMATS),
    )
    model.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="a new folder to write"
    )
    model.add_argument(
        "--state",
        metavar="NIGHT|NUMBER",
        help="a night, or an entry's number (`nightshift champion`); default: what is live now",
    )


def _model(arguments: argparse.Namespace) -> int:
    from nightshift.compute import set_up_torch
    from nightshift.lake import Lake
    from nightshift.recommend.exports.source import entry, ranker_of
    from nightshift.recommend.exports.write import export

    settings = settings_of(arguments)
    set_up_torch(settings)
    lake = Lake.of(settings)
    ranker, source = ranker_of(lake, entry(lake, arguments.state))
    config = export(ranker, arguments.out, arguments.to, source=source)
    size = sum(one["bytes"] for one in config["files"].values())
    print(
        f"{config['items']:,} items, {arguments.to}, line {source['line']} of night "
        f"{source['night']}: {size:,} bytes in {arguments.out}"
    )
    emit(arguments, {"out": str(arguments.out), "bytes": size, **config})
    return 0


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
