"""Counting what is usable: blind, with the intervals of Wilson, and whole or not at all."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from benchmarks import usable, usable_measures

ROWS = [
    {
        "product": f"product {i}",
        "search": f"search {i}",
        "origin": "real" if i % 5 == 0 else "generated",
        "intent": "use" if i % 2 else "attribute",
        "accepted": "" if i % 5 == 0 else int(i % 3 > 0),
        "reasons": "",
    }
    for i in range(50)
]


@pytest.fixture
def sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("benchmarks.common.RESULTS", tmp_path / "results")
    path = tmp_path / "sheet.csv"
    usable.write(path, ROWS)
    return path


def rate(sheet: Path, verdict: dict[str, str]) -> None:
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(row | {"usable": verdict[row["search"]]} for row in rows)


def test_nothing_on_the_sheet_says_where_a_row_is_from(sheet: Path) -> None:
    assert sheet.read_text().splitlines()[0] == "id,product,search,usable"
    for telling in ("real", "generated", "attribute", "accepted"):
        assert telling not in sheet.read_text()


def test_shares_are_counted_by_origin_and_intent(
    sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = {
        row["search"]: str(int(row["intent"] == "use" or row["origin"] == "real")) for row in ROWS
    }
    rate(sheet, good)

    assert usable.main(["--rated", str(sheet)]) == 0

    found = json.loads(capsys.readouterr().out)["results"]
    shares = {(row["arm"], row["slice"], row["metric"]): row for row in found}
    assert shares["real", "overall", "usable"]["value"] == 1.0
    assert shares["generated", "overall", "usable"]["value"] == 0.5
    assert shares["generated", "use", "usable"]["value"] == 1.0
    assert shares["generated", "attribute", "usable"]["value"] == 0.0
    accepted = [row for row in ROWS if row["accepted"] == 1]
    assert shares["accepted by the inspection", "overall", "usable"]["n"] == len(accepted)
    assert shares["generated", "overall", "acceptance"]["value"] == round(len(accepted) / 40, 4)
    for row in found:
        assert row["ci95"][0] <= row["value"] <= row["ci95"][1]


def test_a_sheet_that_is_not_filled_in_is_not_counted(
    sheet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verdict = {row["search"]: "1" for row in ROWS} | {"search 7": ""}
    rate(sheet, verdict)

    assert usable.main(["--rated", str(sheet)]) == 2
    assert "not rated with 0 or 1" in capsys.readouterr().err


def test_wilsons_interval() -> None:
    """Against the values of Newcombe (1998), Statistics in Medicine 17, table I, method 3."""
    for (good, n), (low, high) in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        assert usable_measures.wilson(good, n) == pytest.approx((low, high), abs=6e-5)
