"""Retracting every accepted sample of a strategy, model, night or source item.

The record names the blends and states that were trained on such samples; the next blend leaves
them out (`nightshift.retractions`). Advertising copy among them is gone from Postgres at once.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from nightshift.errors import StoreError
from nightshift.lake import Lake, journal
from nightshift.manifest import Manifest
from nightshift.retractions import FOLDER, Rule
from nightshift.settings import Settings
from nightshift.stages import CHALLENGER

AD_COPY = "ad_copy"


def retract(
    lake: Lake, rule: Rule, *, reason: str, settings: Settings | None = None
) -> dict[str, Any]:
    """Record a retraction; returns the record with samples counted and datasets named.

    Args:
        settings: of the store whose live copy is purged, too; None: the lake alone is looked at.

    Raises:
        StoreError: copy is retracted, and the store cannot be reached. The record stands.
    """
    rule.mask()  # an empty rule is refused before anything is read
    blends: list[Manifest] = []
    samples: dict[str, str] = {}
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
    # Recorded first: who publishes from now on leaves them out, and what is there goes below.
    journal.append(lake, FOLDER, record)
    copy = [sample for sample, kind in samples.items() if kind == AD_COPY]
    if settings is None or not copy:
        return record
    from nightshift.store.ad_copy import withdraw

    try:
        return record | {"ad_copy_withdrawn": withdraw(settings, copy)}
    except StoreError as error:
        error.hint = (
            "the retraction is recorded and the next night leaves them out; to take live copy out "
            f"now, retract again once the store answers ({error.hint})"
        )
        raise


def _matching(lake: Lake, blend: Manifest, rule: Rule) -> dict[str, str]:
    """Ids and kinds of the retracted samples in any arm of a blend."""
    found: dict[str, str] = {}
    for entry in blend.files:
        if entry.name.endswith(".parquet"):
            rows = lake.read(blend, entry.name).filter(rule.mask())
            found.update(rows.select("sample_id", "kind").iter_rows())
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
