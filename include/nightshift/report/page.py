"""The page: figures in, one self-contained HTML file out.

No script, no request: styles and plots are inline. Everything that came from the shop is escaped
by the template engine (autoescape is on for every template).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nightshift.report import charts, choices, views, words

Figures = Mapping[str, Any]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("nightshift.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": words.count,
        "figure": words.figure,
        "share": words.share,
        "signed": words.signed,
        "interval": words.interval,
        "duration": words.duration,
        "cost": words.cost,
        "size": words.size,
        "plural": words.plural,
        "readable": words.readable,
        "slice_name": words.slice_name,
        "metric_name": words.metric_name,
    }
    return environment


def render(figures: Figures) -> str:
    """The whole page of one night.

    Args:
        figures: the content of `report.json`.
    """
    environment = _environment()
    source, _, _ = environment.loader.get_source(environment, "style.css")  # type: ignore[union-attr]
    page = environment.get_template("index.html").render(
        report=figures,
        style=Markup(_squeeze(source)),  # noqa: S704 - our own file, no figure in it
        date=views.date_words(figures["night"]),
        forests=views.forests(figures["evaluation"]),
        history=views.history(figures["history"]),
        arms=views.arm_table(figures["evaluation"]["results"]),
        samples=views.sample_bars(figures["samples"]["strategies"]),
        costs=views.cost_table(figures["samples"]),
        trials=choices.trials(figures["recipe"]),
        gates=choices.gate_table(figures["verdict"]),
        drift=views.drift_panels(figures["drift"]),
        seconds=views.seconds_bars(figures["stages"]),
        training=[arm | {"curve": _curve(arm["losses"])} for arm in figures["training"]],
    )
    return re.sub(r"\n\s*\n+", "\n", page)


def _curve(losses: Sequence[float]) -> Markup | None:
    return charts.sparkline(losses) if len(losses) > 1 else None


def _squeeze(css: str) -> str:
    """Without comments and line ends: the page is read by a browser."""
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    return re.sub(r"\s+", " ", css).strip()
