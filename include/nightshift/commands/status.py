"""`nightshift status`: nights × stages, what is live, and what to do next."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nightshift.commands.common import Subparsers, add_command, emit, settings_of, time_option
from nightshift.lake import Lake
from nightshift.night import Night, nights_between
from nightshift.registry import alias
from nightshift.stages import state_partition

COLUMNS = 7
"""Nights shown when no range is asked for: as many as fit into 100 columns."""

_DESCRIPTION = """\
Nights × stages: done, stale (it would be made anew: an input, settings or a version changed),
or missing. What is live stands below.

  nightshift status                             the last seven nights
  nightshift status --from 2017-11-01 --to 2017-11-30
  nightshift status --deep                      looks outside the lake's datasets as well: rows that
                                                came late, another model, retractions
"""
_EMPTY = """\
The lake at {root} is empty. Next:

  nightshift load complete-journey               a shop to try it on, or `nightshift load --help`
  nightshift night --start 2017-11-20 --first    its first night, without Airflow
"""

Standings = Mapping[str, Any]  # stage -> Standing; named so that nothing heavy is imported here


def register(subparsers: Subparsers) -> None:
    parser = add_command(
        subparsers,
        "status",
        _run,
        help="nights × stages: done, stale, missing; and what is live",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "--from",
        dest="since",
        metavar="DATE",
        type=time_option,
        help="from the night of this date on",
    )
    parser.add_argument(
        "--to", dest="until", metavar="DATE", type=time_option, help="up to the night of this date"
    )
    parser.add_argument(
        "--deep",
        action="store_true",
        help="compare with the event store, the models and retractions as well (scans events)",
    )


def _run(arguments: argparse.Namespace) -> int:
    from nightshift.commands.standing import as_json, nights_in, standings

    settings = settings_of(arguments)
    lake = Lake.of(settings)
    known = nights_in(lake)
    nights, left_out = _chosen(known, arguments)
    found = {night: standings(lake, night, settings, deep=arguments.deep) for night in nights}
    live = alias.live(lake)
    if known or nights:
        for text in _lines(lake, found, left_out, live):
            print(text)
    else:
        print(_EMPTY.format(root=lake.root), end="")
    if arguments.json:
        emit(
            arguments,
            {
                "lake": lake.root,
                "nights": {
                    night.key: {name: as_json(one) for name, one in row.items()}
                    for night, row in found.items()
                },
                "live": None if live is None else asdict(live),
            },
        )
    return 0


def _chosen(known: Sequence[Night], arguments: argparse.Namespace) -> tuple[list[Night], int]:
    """The nights to show, and how many earlier ones are not."""
    from nightshift.commands.standing import between

    since, until = arguments.since, arguments.until
    chosen = between(known, since, until)
    if since is not None and until is not None:
        # A range that is named shows its gaps as well.
        chosen = sorted({*chosen, *nights_between(since, until)})
    if since is None and until is None:
        return chosen[-COLUMNS:], max(len(chosen) - COLUMNS, 0)
    return chosen, 0


def _lines(
    lake: Lake, found: Mapping[Night, Standings], left_out: int, live: alias.Alias | None
) -> Iterator[str]:
    if left_out:
        yield f"{left_out} earlier nights: --from DATE shows them"
    yield from blocks(lake, found)
    whys = list(_whys(found))
    yield from whys
    if whys:
        yield ""
    if live is None:
        yield "live: nothing yet"
    else:
        yield f"live: the {live.line} line of night {live.night} (entry {live.number}, {live.kind})"
    yield from _next(lake, found)


def blocks(lake: Lake, found: Mapping[Night, Standings]) -> Iterator[str]:
    """The table, as many nights wide as fit, one block below the other."""
    nights = list(found)
    for start in range(0, len(nights), COLUMNS):
        yield from _block(lake, {n: found[n] for n in nights[start : start + COLUMNS]})
        yield ""


def _block(lake: Lake, found: Mapping[Night, Standings]) -> Iterator[str]:
    """Stages as rows, nights as columns; a long night's key is cut to its first day."""
    heads = ["stage", *(night.key[:10] for night in found)]
    names = list(next(iter(found.values()), {}))
    rows = [[name, *(row[name].cell for row in found.values())] for name in names]
    rows.append(["verdict", *(_decision(lake, night) for night in found)])
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    for row in (heads, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _decision(lake: Lake, night: Night) -> str:
    verdict = lake.find("verdict", f"night={night.key}")
    return "-" if verdict is None else str(verdict.stats["decision"])


def _whys(found: Mapping[Night, Standings]) -> Iterator[str]:
    """The first stale stage of each night; what follows from it is stale only after it."""
    for night, row in found.items():
        for name, one in row.items():
            if one.state == "stale":
                yield f"stale: {night.key} {name}: {'; '.join(one.why)}"
                break


def _next(lake: Lake, found: Mapping[Night, Standings]) -> Iterator[str]:
    """The command that goes on: the earliest night that is not done."""
    states = lake.partitions("state")
    for night, row in found.items():
        if any(one.state != "done" for one in row.values()):
            end = "" if night.key == f"{night.start:%Y-%m-%d}" else f" --end {_iso(night.end)}"
            first = all(state > state_partition(night.start) for state in states)
            yield f"next: nightshift night --start {_iso(night.start)}{end}" + " --first" * first
            return
    yield "everything shown is done"


def _iso(moment: Any) -> str:
    """A date where that says it all."""
    text: str = moment.isoformat()
    return text.removesuffix("+00:00").removesuffix("T00:00:00")
