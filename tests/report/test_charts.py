"""The plots: positions are right, text is escaped, every plot says itself to a screen reader."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from nightshift.report import charts
from nightshift.report.charts import Mark, NightPoint
from nightshift.report.svg import Scale, svg, tag, text
from nightshift.report.views import forests


def parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(markup)


def test_elements_escape_their_values_and_their_text() -> None:
    made = str(text("5%", 3, "<b>", "tick")) + str(tag("rect", title='"&'))

    assert "<b>" not in made
    assert "&lt;b&gt;" in made
    assert "&#34;&amp;" in made


def test_a_scale_maps_its_ends_to_the_edges_and_clips_what_lies_beyond() -> None:
    scale = Scale(-1.0, 3.0)

    assert [scale.part(v) for v in (-1, 1, 3, 99, -99)] == [0, 0.5, 1, 1, 0]
    assert scale.at(0) == "25.00%"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.05, 0.2, [-0.05, 0.0, 0.05, 0.1, 0.15, 0.2]),
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-0.3, 0.3, [-0.2, 0.0, 0.2]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert Scale(low, high).ticks() == expected


def test_a_scale_around_values_holds_them_and_zero_even_when_they_are_equal() -> None:
    scale = Scale.around([0.2, 0.4])
    flat = Scale.around([0.0])

    assert scale.low < 0 < 0.4 < scale.high
    assert flat.low < 0 < flat.high


def test_a_scale_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="in order"):
        Scale(1.0, 1.0)


def test_a_forest_row_places_dot_and_interval() -> None:
    mark = Mark("pooled", "Challenger", 0.1, (0.0, 0.2))

    row = parsed(charts.forest_row(Scale(-0.1, 0.3), [mark]))

    dot = next(e for e in row.iter("circle"))
    whisker = next(e for e in row.iter("line") if "whisker" in e.attrib["class"])
    assert dot.attrib["cx"] == "50.00%"
    assert (whisker.attrib["x1"], whisker.attrib["x2"]) == ("25.00%", "75.00%")
    assert "+10.0 % [0.0, +20.0]" in row.attrib["aria-label"]


def test_an_interval_beyond_the_scale_ends_in_an_arrow() -> None:
    marks = [Mark("pooled", "wild", 0.1, (-9.0, 9.0))]

    scale = charts.forest_scale(marks)
    arrows = [e.text for e in parsed(charts.forest_row(scale, marks)).iter("text")]

    assert scale.high < 2
    assert arrows == ["◂", "▸"]


def test_a_stacked_bar_leaves_out_nothing_and_draws_no_empty_part() -> None:
    bar = parsed(charts.stacked_bar([("a", 30), ("b", 0), ("c", 10)], 80, label="x"))

    rects = [(e.attrib["x"], e.attrib["width"], e.attrib["class"]) for e in bar.iter("rect")]
    assert rects == [("0.00%", "37.50%", "a"), ("37.50%", "12.50%", "c")]


def test_a_bar_of_nothing_is_empty_and_not_a_division_by_zero() -> None:
    assert not list(parsed(charts.stacked_bar([("a", 0)], 0, label="x")).iter("rect"))
    assert parsed(charts.pair_bars(0.0, 0.0, 0.0, label="x")) is not None


def test_the_history_labels_at_most_a_dozen_nights_and_joins_the_pooled_dots() -> None:
    points = [
        NightPoint(f"day {i}", 0.01 * i, None, 0.01, (-0.02, 0.04), i == 29) for i in range(30)
    ]

    drawn = parsed(charts.history_chart(points))

    labels = [e.text for e in drawn.iter("text") if (e.text or "").startswith("day")]
    trends = [e for e in drawn.iter("line") if "trend" in e.attrib["class"]]
    assert len(labels) <= charts.HISTORY_LABELS
    assert labels[-1] == "day 29"
    assert len(trends) == 29
    assert "30 nights" in drawn.attrib["aria-label"]


def test_a_night_without_figures_breaks_the_line_and_not_the_plot() -> None:
    points = [
        NightPoint("a", 0.1, None, 0.1, None, False),
        NightPoint("b", None, None, None, None, False),
        NightPoint("c", 0.1, None, 0.1, None, False),
    ]

    drawn = parsed(charts.history_chart(points))

    assert not [e for e in drawn.iter("line") if "trend" in e.attrib["class"]]


def test_a_constant_loss_has_a_curve() -> None:
    assert "polyline" in charts.sparkline([2.0, 2.0, 2.0])


def test_every_plot_has_a_label() -> None:
    assert parsed(svg(10, [], label="what it shows")).attrib == {
        "height": "10",
        "width": "100%",
        "role": "img",
        "aria-label": "what it shows",
        "class": "plot",
    }


def test_a_slice_whose_control_scores_zero_is_told_without_a_lift() -> None:
    row = {
        "arm": "challenger",
        "against": "control",
        "slice": "cold",
        "metric": "recall@10",
        "value": 0.03,
        "relative": None,
        "ci95": None,
        "value_ci95": [0.01, 0.05],
        "n": 120,
    }

    (forest,) = forests({"results": [row], "pooled": [row]})

    assert forest["rows"][0]["marks"] == []
    assert forest["rows"][0]["note"] == "control 0; +0.0300 [+0.0100, +0.0500]"
