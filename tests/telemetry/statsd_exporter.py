"""statsd_exporter's mapping, as far as the project's file uses it: globs, labels, drop.

A glob's `*` stands for one part of the dotted name; `$1` is what the first one stood for.
https://github.com/prometheus/statsd_exporter#glob-matching
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

Series = tuple[str, frozenset[tuple[str, str]]]


def mappings(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["mappings"]
    return found


def mapped(name: str, rules: list[dict[str, Any]]) -> Series | None:
    """Name and labels in Prometheus of a StatsD name; None for one that is dropped or unknown."""
    parts = name.split(".")
    for rule in rules:
        pattern = rule["match"].split(".")
        if len(pattern) != len(parts):
            continue
        pairs = list(zip(pattern, parts, strict=True))
        if any(glob not in ("*", part) for glob, part in pairs):
            continue
        if rule.get("action") == "drop":
            return None
        caught = [part for glob, part in pairs if glob == "*"]
        labels = rule.get("labels", {})
        return rule["name"], frozenset((label, _filled(labels[label], caught)) for label in labels)
    return None


def _filled(text: str, caught: list[str]) -> str:
    return re.sub(r"\$(\d+)", lambda match: caught[int(match[1]) - 1], text)
