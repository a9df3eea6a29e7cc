"""A few SVG elements, and the scale that positions them.

Horizontal positions are percentages of the plot's width and vertical ones pixels, so a plot fits
any screen while its text and strokes keep their size, without a line of script. Colours are CSS
classes: the page decides what they look like in light and in dark.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape


def tag(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """An element; values are escaped, `class_` means class, `stroke_width` stroke-width.

    >>> tag("rect", x="12%", width=3.0, class_="bar")
    Markup('<rect x="12%" width="3" class="bar"/>')
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if not children:
        return Markup(f"<{name}{pairs}/>")  # noqa: S704 - every value above is escaped
    inner = Markup("").join(children)
    return Markup(f"<{name}{pairs}>{inner}</{name}>")  # noqa: S704 - as above


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def svg(height: float, children: Iterable[Markup], *, label: str, class_: str = "plot") -> Markup:
    """A plot as wide as its cell. `label` is what a screen reader says of it."""
    return tag(
        "svg", *children, height=height, width="100%", role="img", aria_label=label, class_=class_
    )


def line(x1: str, y1: float, x2: str, y2: float, class_: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def text(x: str, y: float, words: str, class_: str, anchor: str = "middle") -> Markup:
    return tag("text", escape(words), x=x, y=y, class_=class_, text_anchor=anchor)


def percent(part: float) -> str:
    """A fraction of the width as an SVG length."""
    return f"{100 * part:.2f}%"


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps `[low, high]` to `[0, 1]`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"a scale needs two finite ends in order, not {self.low}, {self.high}")

    @classmethod
    def around(cls, values: Iterable[float], *, zero: bool = True, margin: float = 0.06) -> Scale:
        """Wide enough for all `values` (and for zero), with a margin on both sides."""
        finite = [value for value in values if math.isfinite(value)]
        if zero or not finite:
            finite.append(0.0)
        low, high = min(finite), max(finite)
        if low == high:
            low, high = low - 0.01, high + 0.01
        space = margin * (high - low)
        return cls(low - space, high + space)

    def part(self, value: float) -> float:
        """Where `value` lies, clipped to [0, 1]."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def at(self, value: float) -> str:
        return percent(self.part(value))

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values inside the scale, about `wanted` of them: steps of 1, 2 or 5."""
        raw = (self.high - self.low) / max(wanted, 1)
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        # Rounded to the step's own digits, so that 0.3 is not 0.30000000000000004.
        digits = max(0, 1 - math.floor(math.log10(step)))
        return [round(i * step, digits) + 0.0 for i in range(first, last + 1)]
