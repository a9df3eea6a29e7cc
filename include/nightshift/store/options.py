"""The loaders by name, with their command-line options. Imports nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from datetime import date
from pathlib import Path

Parser = argparse.ArgumentParser
_FILE = "CSV or Parquet, .gz too"


def _complete_journey(parser: Parser) -> None:
    parser.add_argument("--households", type=int, metavar="N", help="only the N busiest households")
    parser.add_argument("--since", type=date.fromisoformat, metavar="DAY", help="first day")
    parser.add_argument(
        "--until", type=date.fromisoformat, metavar="DAY", help="day after the last"
    )
    parser.add_argument("--sold-only", action="store_true", help="leave out what none of them buys")


def _amazon(parser: Parser) -> None:
    parser.add_argument("--interactions", type=Path, required=True, metavar="PATH", help=_FILE)
    parser.add_argument("--items", type=Path, required=True, metavar="PATH", help=_FILE)


def _online_retail(parser: Parser) -> None:
    parser.add_argument("path", type=Path, metavar="PATH", help="CSV, XLSX or Parquet")


def _files(parser: Parser) -> None:
    for table in ("items", "events"):
        parser.add_argument(f"--{table}", type=Path, required=True, metavar="PATH", help=_FILE)
    for table in ("searches", "reviews", "users"):
        parser.add_argument(f"--{table}", type=Path, metavar="PATH", help=_FILE)
    parser.add_argument("--name", default="shop", help="what the shop is called")
    parser.add_argument("--description", default="", help="what it sells, in a sentence")
    parser.add_argument("--currency", help="ISO code, such as EUR")
    parser.add_argument(
        "--repeats", action="store_true", help="an item already bought may be recommended again"
    )
    parser.add_argument(
        "--target-kinds",
        default="purchase",
        metavar="KINDS",
        help="event kinds that count as a success, with commas between (default: purchase)",
    )
    parser.add_argument(
        "--unknown-items",
        choices=("error", "drop"),
        default="error",
        help="events and reviews of items that the catalogue lacks: an error, or left out",
    )


LOADERS: dict[str, tuple[str, Callable[[Parser], None]]] = {
    "complete-journey": (
        "84.51°'s teaching data of a grocer: 2,469 households, 2017",
        _complete_journey,
    ),
    "amazon": ("Amazon reviews: interactions and items", _amazon),
    "online-retail": ("UCI Online Retail: invoices of a British gift shop", _online_retail),
    "files": ("your own shop: CSV or Parquet with the contract's columns", _files),
}
