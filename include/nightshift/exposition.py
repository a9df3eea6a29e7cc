"""Gauges as Prometheus' text exposition format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from nightshift.gauges import FAMILIES, Gauge


def exposition(gauges: Iterable[Gauge]) -> str:
    """The families in the order of the catalogue, each with its help; ends with a line feed."""
    by_family: dict[str, list[Gauge]] = {}
    for gauge in gauges:
        by_family.setdefault(gauge.family, []).append(gauge)
    return "".join(
        line for family in FAMILIES if family in by_family for line in _family(by_family[family])
    )


def _family(gauges: list[Gauge]) -> Iterator[str]:
    name, meaning = gauges[0].name, FAMILIES[gauges[0].family][0]
    yield f"# HELP {name} {_escaped(meaning)}\n# TYPE {name} gauge\n"
    for gauge in gauges:
        pairs = ",".join(f'{k}="{_quoted(v)}"' for k, v in gauge.labels.items())
        yield f"{name}{f'{{{pairs}}}' if pairs else ''} {_number(gauge.value)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if float(value).is_integer() else repr(float(value))
