"""The closing table: fits a terminal, ends with the path of the last report."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from factories import NIGHT, make_settings
from nightshift.errors import DatasetMissing
from nightshift.night import Night
from nightshift.report.summary import print_summary, table
from nightshift.settings import Settings

COLUMNS = 100


def printed(settings: Settings, nights: list[Night]) -> list[str]:
    out = io.StringIO()
    print_summary(settings, nights, out)
    return out.getvalue().splitlines()


def test_the_last_line_is_the_path_of_the_last_report(
    three_nights: tuple[Settings, list[Night]],
) -> None:
    lines = printed(*three_nights)

    label, _, place = lines[-1].partition(" ")
    assert label == "report:"
    assert Path(place).is_file()
    assert "night=2017-05-22" in place
    pages = [line.split()[-1] for line in lines if ".html" in line]
    assert len(pages) == 3
    assert all(Path(page).is_file() for page in pages)


def test_every_line_but_the_paths_fits_into_100_columns(
    three_nights: tuple[Settings, list[Night]],
) -> None:
    lines = [line for line in printed(*three_nights) if "/night=" not in line]

    assert max(map(len, lines)) <= COLUMNS


def test_a_row_has_control_challenger_lift_and_pooled_lift(
    three_nights: tuple[Settings, list[Night]],
) -> None:
    lines = printed(*three_nights)

    row = next(line for line in lines if line.startswith("2017-05-21  overall"))
    assert row.split()[2:4] == ["0.0600", "0.0620"]
    assert "+3.4 % [−1.6, +8.4]" in row
    assert row.endswith("+2.4 % [−1.1, +5.9]")


def test_samples_verdicts_and_seconds_are_there_for_each_night(
    three_nights: tuple[Settings, list[Night]],
) -> None:
    text = "\n".join(printed(*three_nights))
    words = ("Control", "Kept", "Promoted")

    assert text.count("text_neighbours") == 3
    verdicts = [
        f"{night.key}  {word}. " for night, word in zip(three_nights[1], words, strict=True)
    ]
    assert all(verdict in text for verdict in verdicts)
    assert "stage     2017-05-20  2017-05-21  2017-05-22" in text
    assert all(f"\n{stage} " in text for stage in ("collect", "finetune", "report", "total"))


def test_a_night_without_a_report_is_named_and_the_others_are_told(
    three_nights: tuple[Settings, list[Night]],
) -> None:
    settings, nights = three_nights
    missing = Night.parse("2017-06-30")

    lines = printed(settings, [*nights, missing])

    assert any(line.startswith("2017-06-30  has no report") for line in lines)
    assert "night=2017-05-22" in lines[-1]


def test_no_report_at_all_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetMissing, match="nightshift status"):
        print_summary(make_settings(tmp_path), [NIGHT], io.StringIO())


def test_columns_line_up() -> None:
    lines = list(table(("a", "n"), [("long", "1"), ("x", "22")], left=frozenset({0})))

    assert lines == ["a      n", "long   1", "x     22"]
