"""Retracting every accepted sample of a strategy, model, night or source item.

The record names the blends and states that were trained on such samples; the next blend leaves
them out (`nightshift.retractions`).
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from nightshift.lake import Lake, journal
from nightshift.manifest import Manifest
from nightshift.retractions import FOLDER, Rule
from nightshift.stages import CHALLENGER


def retract(lake: Lake, rule: Rule, *, reason: str) -> dict[str, Any]:
    """Record a retraction; returns the record with samples counted and datasets named."""
    rule.mask()  # an empty rule is refused before anything is read
    blends, samples = [], set()
    for manifest in _manifests(lake, "blend"):
        found = _matching(lake, manifest, rule)
        samples |= found
        if found:
            blends.append(manifest)
    states = _trained_on(lake, {m.digest for m in blends})
    record = {
        **asdict(rule),
        "reason": reason,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "samples": len(samples),
        "blends": sorted(m.folder for m in blends),
        "states": sorted(m.folder for m in states),
    }
    journal.append(lake, FOLDER, record)
    return record


def _matching(lake: Lake, blend: Manifest, rule: Rule) -> set[str]:
    """Ids of the retracted samples in any arm of a blend."""
    found: set[str] = set()
    for entry in blend.files:
        if entry.name.endswith(".parquet"):
            rows = lake.read(blend, entry.name).filter(rule.mask())
            found.update(rows["sample_id"].to_list())
    return found


def _trained_on(lake: Lake, blends: set[str]) -> list[Manifest]:
    """States whose blend line trained on one of these blends, in their night or before it."""
    touched: dict[str, Manifest] = {}
    for state in _manifests(lake, "state"):  # by time: a parent comes before its children
        arms = [
            lake.at_key(ref.dataset, ref.partition, ref.key)
            for name, ref in state.inputs.items()
            if name.startswith(f"arm:{CHALLENGER}:")
        ]
        parents = {arm.inputs["parent"].digest for arm in arms if arm and "parent" in arm.inputs}
        own = "blend" in state.inputs and state.inputs["blend"].digest in blends
        if own or parents & touched.keys():
            touched[state.digest] = state
    return list(touched.values())


def _manifests(lake: Lake, dataset: str) -> list[Manifest]:
    """Every dataset of that name, also those that a partition no longer stands for."""
    return [one for partition in lake.names(dataset) for one in lake.versions(dataset, partition)]
