"""The table at the end of a run: what a person wants to know, in plain text, 100 columns wide."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from nightshift.errors import DatasetMissing
from nightshift.lake import Lake
from nightshift.manifest import FileEntry, Manifest
from nightshift.night import Night
from nightshift.report.results import lift_row, mean_of, slices_of
from nightshift.report.words import (
    NOTHING,
    count,
    duration,
    figure,
    lift,
    readable,
)
from nightshift.settings import Settings
from nightshift.stages import CHALLENGER, CONTROL, STAGES

WIDTH = 100
NIGHTS_PER_BLOCK = 6  # columns of the table of seconds
# What the slices show, and the one row that NDCG@10 is too strict for.
ROWS = (("ndcg@10", None), ("recall@10", "cold"))


@dataclass(frozen=True, slots=True)
class Told:
    """One night with its report."""

    night: Night
    manifest: Manifest
    figures: Mapping[str, Any]


def print_summary(settings: Settings, nights: Sequence[Night], out: TextIO | None = None) -> None:
    """Print lift, samples, verdicts, seconds and paths of `nights` from their reports.

    The last line is `report: <path to report.json of the last night>`: a path in a local lake, a
    URI in any other.

    Raises:
        DatasetMissing: none of the nights has a report.
    """
    lake = Lake.of(settings)
    told, silent = _read(lake, nights)
    if not told:
        raise DatasetMissing(
            "None of these nights has a report.",
            hint="`nightshift status` shows which stage of which night is missing",
            nights=", ".join(night.key for night in nights) or "none",
        )
    out = out or sys.stdout
    for text in _lines(lake, told, silent):
        print(text, file=out)


def _read(lake: Lake, nights: Iterable[Night]) -> tuple[list[Told], list[Night]]:
    told, silent = [], []
    for night in nights:
        manifest = lake.find("report", STAGES["report"].partition(night, {}))
        if manifest is None:
            silent.append(night)
        else:
            told.append(Told(night, manifest, lake.read_json(manifest, "report.json")))
    return told, silent


def _lines(lake: Lake, told: Sequence[Told], silent: Sequence[Night]) -> Iterator[str]:
    shop = told[-1].figures["shop"]
    yield "=" * WIDTH
    yield f"{shop['name']}: {len(told)} night{'s' if len(told) != 1 else ''}"
    yield from textwrap.wrap(shop["description"] or "", WIDTH)
    yield from _titled("Challenger (real + accepted samples) against control (real)", _lift(told))
    yield from _titled("Samples", _samples(told))
    yield from _titled("Verdicts", _verdicts(told))
    yield from _titled("Seconds per stage", _seconds(told))
    yield from _titled("Reports", _paths(lake, told))
    for night in silent:
        yield f"{night.key}  has no report: `nightshift status` shows what is missing"
    yield f"report: {_place(lake, told[-1].manifest.file('report.json'))}"


def _titled(title: str, lines: Iterable[str]) -> Iterator[str]:
    yield ""
    yield title
    yield "-" * WIDTH
    yield from lines


def table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: frozenset[int]
) -> Iterator[str]:
    """Columns as wide as their widest cell, two spaces apart; numbers to the right."""
    cells = [list(map(str, row)) for row in (heads, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(heads))]
    for row in cells:
        yield "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()


def _lift(told: Sequence[Told]) -> Iterator[str]:
    heads = ("night", "slice", "control", "challenger", "this night", "users", "pooled")
    rows: list[tuple[str, ...]] = []
    for one in told:
        own = list(_lift_rows(one.figures["evaluation"]))
        why = "the night had no events" if one.figures["night"]["empty"] else "no figures"
        own = own or [(f"not judged: {why}", *[NOTHING] * 5)]
        rows += [(one.night.key if i == 0 else "", *row) for i, row in enumerate(own)]
    yield from table(heads, rows, left=frozenset({0, 1, 4, 6}))
    yield "NDCG@10 (R@10: Recall@10), relative lift with its 95 % interval; pooled: trailing nights"
    for one in told[-1:]:
        missing = [f"{e['what']} ({e['why']})" for e in one.figures["evaluation"]["not_judged"]]
        if missing:
            yield from textwrap.wrap(f"Not judged: {', '.join(missing)}.", WIDTH)


def _lift_rows(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    tonight, pooled = evaluation["results"], evaluation["pooled"]
    for metric, only in ROWS:
        for name in slices_of(tonight, metric):
            row = lift_row(tonight, name, metric)
            if row is None or only not in (None, name):
                continue
            whole = lift_row(pooled, name, metric) or {}
            yield (
                name + (" R@10" if only else ""),
                figure(mean_of(tonight, arm=CONTROL, slice_=name, metric=metric)),
                figure(mean_of(tonight, arm=CHALLENGER, slice_=name, metric=metric)),
                lift(row.get("relative"), row.get("ci95")),
                count(row["n"]),
                lift(whole.get("relative"), whole.get("ci95")),
            )


def _samples(told: Sequence[Told]) -> Iterator[str]:
    heads = (
        "night",
        "strategy",
        "made",
        "accepted",
        "quarantined",
        "weight",
        "most common reasons",
    )
    rows: list[tuple[str, ...]] = []
    for one in told:
        samples = one.figures["samples"]
        own: list[tuple[str, ...]] = [
            (
                row["strategy"],
                count(row["made"]),
                count(row["accepted"]),
                count(row["quarantined"]),
                NOTHING if row["weight"] is None else f"{row['weight']:g}",
                _reasons(row["reasons"]),
            )
            for row in samples["strategies"]
        ] or [("none", *[NOTHING] * 4, "")]
        if samples["skipped"]:
            own.append((f"skipped: {samples['skipped']}"[:30], *[""] * 5))
        rows += [(one.night.key if i == 0 else "", *row) for i, row in enumerate(own)]
    yield from table(heads, rows, left=frozenset({0, 1, 6}))


def _reasons(reasons: Mapping[str, int]) -> str:
    text = ", ".join(
        f"{readable(name).lower()} {count(n)}" for name, n in list(reasons.items())[:2]
    )
    return textwrap.shorten(text, 34, placeholder=" …")


def _verdicts(told: Sequence[Told]) -> Iterator[str]:
    for one in told:
        verdict = one.figures["verdict"]
        said = [f"{verdict['word']}.", verdict["sentence"], *verdict["reasons"]]
        yield from textwrap.wrap(
            " ".join([f"{one.night.key} ", *said, f"({verdict['headline_words']})"]),
            WIDTH,
            subsequent_indent=" " * (len(one.night.key) + 2),
        )


def _seconds(told: Sequence[Told]) -> Iterator[str]:
    for start in range(0, len(told), NIGHTS_PER_BLOCK):
        block = told[start : start + NIGHTS_PER_BLOCK]
        columns = [_stage_seconds(one) for one in block]
        names = [name for name in STAGES if any(name in column for column in columns)]
        rows = [(name, *(_seconds_cell(column.get(name)) for column in columns)) for name in names]
        rows.append(("total", *(duration(sum(column.values())) for column in columns)))
        heads = ("stage", *(one.night.key for one in block))
        yield from table(heads, rows, left=frozenset({0}))


def _stage_seconds(one: Told) -> dict[str, float]:
    found = {row["stage"]: float(row["seconds"]) for row in one.figures["stages"]}
    return found | {"report": float(one.manifest.run.get("seconds") or 0.0)}


def _seconds_cell(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{seconds:.1f}"


def _paths(lake: Lake, told: Sequence[Told]) -> Iterator[str]:
    for one in told:
        for name in ("index.html", "report.json"):
            yield f"{one.night.key}  {_place(lake, one.manifest.file(name))}"


def _place(lake: Lake, entry: FileEntry) -> str:
    return str(lake.local_path(entry)) if lake.is_local else lake.uri(entry.path)
