"""The plots of the page: a forest row, stacked bars, before/after bars, the trailing nights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nightshift.report.svg import Scale, line, percent, svg, tag, text
from nightshift.report.words import lift, share, signed

MARK_HEIGHT = 17
AXIS_HEIGHT = 20
FOREST_TICKS = 3  # their labels must not touch on a narrow plot
HISTORY_HEIGHT = 210
HISTORY_LABELS = 12  # at most this many dates under the trailing nights


@dataclass(frozen=True, slots=True)
class Mark:
    """A dot with its 95 % interval; `role` is a CSS class: pooled, tonight, placebo …"""

    role: str
    label: str
    value: float
    ci95: tuple[float, float] | None = None


def forest_scale(marks: Sequence[Mark], widest: float = 1.0) -> Scale:
    """One scale for all rows. Intervals beyond ±`widest` are clipped and drawn with an arrow."""
    values = [mark.value for mark in marks]
    values += [bound for mark in marks for bound in mark.ci95 or ()]
    return Scale.around(min(max(value, -widest), widest) for value in values)


def forest_row(scale: Scale, marks: Sequence[Mark]) -> Markup:
    """Dots and intervals of one slice, one below the other, over a line at zero."""
    height = MARK_HEIGHT * max(len(marks), 1) + 6
    parts = [
        line(scale.at(tick), 0, scale.at(tick), height, "zero" if tick == 0 else "grid")
        for tick in scale.ticks(FOREST_TICKS)
    ]
    for row, mark in enumerate(marks):
        parts += _mark(scale, mark, MARK_HEIGHT * (row + 0.5) + 3)
    said = "; ".join(f"{mark.label} {lift(mark.value, mark.ci95)}" for mark in marks)
    return svg(height, parts, label=said or "nothing was judged")


def _mark(scale: Scale, mark: Mark, y: float) -> list[Markup]:
    parts: list[Markup] = []
    if mark.ci95 is not None:
        low, high = mark.ci95
        parts.append(line(scale.at(low), y, scale.at(high), y, f"whisker {mark.role}"))
        for bound, beyond, arrow in ((low, low < scale.low, "◂"), (high, high > scale.high, "▸")):
            if beyond:
                anchor = "start" if arrow == "◂" else "end"
                parts.append(text(scale.at(bound), y + 4, arrow, f"arrow {mark.role}", anchor))
            else:
                parts.append(line(scale.at(bound), y - 3, scale.at(bound), y + 3, mark.role))
    title = tag("title", f"{mark.label}: {lift(mark.value, mark.ci95)}")
    dot = tag("circle", title, cx=scale.at(mark.value), cy=y, r=4.5, class_=f"dot {mark.role}")
    return [*parts, dot]


def forest_axis(scale: Scale) -> Markup:
    """The tick labels under the rows, as relative lifts."""
    ticks = scale.ticks(FOREST_TICKS)
    parts = [
        text(scale.at(tick), 13, signed(tick, _digits(ticks)), "tick", _anchor(scale.part(tick)))
        for tick in ticks
    ]
    return svg(AXIS_HEIGHT, parts, label="relative lift, in per cent", class_="plot axis")


def _anchor(part: float) -> str:
    """Labels near an edge grow inwards."""
    return "start" if part < 0.04 else "end" if part > 0.96 else "middle"


def stacked_bar(parts: Sequence[tuple[str, float]], whole: float, *, label: str) -> Markup:
    """One bar: (CSS class, amount) one after the other; the longest bar fills the width."""
    drawn, start = [], 0.0
    for role, amount in parts:
        width = amount / whole if whole > 0 else 0.0
        if width > 0:
            drawn.append(
                tag("rect", x=percent(start), y=3, width=percent(width), height=14, class_=role)
            )
        start += width
    return svg(20, drawn, label=label)


def pair_bars(before: float, after: float, longest: float, *, label: str) -> Markup:
    """Two thin bars, the share before above the share after."""
    longest = longest or 1.0
    return svg(
        26,
        [
            tag("rect", x="0", y=y, width=percent(value / longest), height=9, class_=role)
            for role, value, y in (("before", before, 3), ("after", after, 14))
        ],
        label=f"{label}: {share(before, 1)} before, {share(after, 1)} after",
    )


@dataclass(frozen=True, slots=True)
class NightPoint:
    """One night of the history: that night alone, and pooled up to it."""

    label: str
    tonight: float | None
    tonight_ci95: tuple[float, float] | None
    pooled: float | None
    pooled_ci95: tuple[float, float] | None
    promoted: bool


def history_chart(points: Sequence[NightPoint]) -> Markup:
    """Relative lift over the nights, oldest first: pale dots alone, the line pooled."""
    pooled = [b for p in points for b in (p.pooled, *(p.pooled_ci95 or ())) if b is not None]
    alone = [p.tonight for p in points if p.tonight is not None]
    scale = Scale.around(min(max(value, -1.0), 1.0) for value in [*pooled, *alone])
    top, bottom = 8, HISTORY_HEIGHT - 26

    def x(index: int) -> str:
        return percent(0.1 + 0.9 * ((index + 0.5) / len(points)))

    def y(value: float) -> float:
        return bottom - (bottom - top) * scale.part(value)

    parts: list[Markup] = []
    ticks = scale.ticks(4)
    for tick in ticks:
        parts.append(line("0", y(tick), "100%", y(tick), "zero" if tick == 0 else "grid"))
        parts.append(text("0", y(tick) - 4, signed(tick, _digits(ticks)), "tick", "start"))
    for index, point in enumerate(points):
        if point.pooled_ci95 is not None:
            low, high = point.pooled_ci95
            parts.append(line(x(index), y(low), x(index), y(high), "whisker pooled wide"))
        before = points[index - 1].pooled if index else None
        if before is not None and point.pooled is not None:
            parts.append(line(x(index - 1), y(before), x(index), y(point.pooled), "trend pooled"))
    every = -(-len(points) // HISTORY_LABELS)
    for index, point in enumerate(points):
        parts += _night(point, x(index), y)
        if (len(points) - 1 - index) % every == 0:
            parts.append(text(x(index), HISTORY_HEIGHT - 8, point.label, "tick"))
    last = points[-1]
    return svg(
        HISTORY_HEIGHT,
        parts,
        label=f"Lift of the challenger over {len(points)} nights; "
        f"pooled up to the last: {lift(last.pooled, last.pooled_ci95)}",
    )


def _digits(ticks: Sequence[float]) -> int:
    """Whole per cents where all ticks are."""
    return 0 if all(abs(100 * tick - round(100 * tick)) < 1e-6 for tick in ticks) else 1


def _night(point: NightPoint, x: str, y: Callable[[float], float]) -> list[Markup]:
    parts: list[Markup] = []
    alone = None
    if point.tonight is not None:
        title = tag("title", f"{point.label} alone: {lift(point.tonight, point.tonight_ci95)}")
        alone = tag("circle", title, cx=x, cy=y(point.tonight), r=4, class_="ring tonight")
    if point.pooled is not None:
        title = tag("title", f"Pooled up to {point.label}: {lift(point.pooled, point.pooled_ci95)}")
        role = "dot pooled promoted" if point.promoted else "dot pooled"
        parts.append(tag("circle", title, cx=x, cy=y(point.pooled), r=5, class_=role))
    return parts if alone is None else [*parts, alone]


def sparkline(values: Sequence[float]) -> Markup:
    """A falling loss, without axes: its first and last value stand beside it."""
    scale = Scale.around(values, zero=False, margin=0.05)
    last = max(len(values) - 1, 1)
    points = " ".join(
        f"{100 * i / last:.2f},{24 - 22 * scale.part(value):.2f}" for i, value in enumerate(values)
    )
    curve = tag(
        "polyline", points=points, class_="spark", fill="none", vector_effect="non-scaling-stroke"
    )
    return tag(
        "svg",
        curve,
        viewBox="0 0 100 26",
        preserveAspectRatio="none",
        height=26,
        width="100%",
        role="img",
        aria_label=f"from {values[0]:.3f} to {values[-1]:.3f}",
        class_="plot",
    )
