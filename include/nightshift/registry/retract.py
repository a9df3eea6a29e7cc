"""Finding every accepted sample of a strategy, model, night or source item, and what it trained.

A retraction is an append-only object, `registry/retractions/000001.json`. It names the blends, arms
and states that were trained on such samples; `mask` drops them from whatever is blended next.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import reduce
from operator import and_
from typing import Any

import polars as pl

from nightshift.errors import UsageError
from nightshift.lake import CURRENT, MANIFEST, Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import CHALLENGER

FOLDER = "registry/retractions"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is retracted; what is given must all hold."""

    strategy: str | None = None
    model: str | None = None
    night: str | None = None
    item: str | None = None

    def mask(self) -> pl.Expr:
        """True for a sample (contracts.SAMPLES) that the rule retracts."""
        parts = []
        if self.strategy is not None:
            parts.append(pl.col("strategy") == self.strategy)
        if self.model is not None:
            model = pl.col("lineage").str.json_path_match("$.model").fill_null("")
            parts.append(model == self.model)
        if self.night is not None:
            parts.append(pl.col("night") == self.night)
        if self.item is not None:
            parts.append((pl.col("item_id") == self.item).fill_null(False))
        if not parts:
            raise UsageError(
                "A retraction without any condition would take every sample.",
                hint="give --strategy, --model, --of-night or --item",
            )
        return reduce(and_, parts)


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
    body = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=False).encode()
    number = len(lake.names(FOLDER)) + 1
    while not lake.create(f"{FOLDER}/{number:06}.json", body):
        number += 1
    return record


def rules(lake: Lake) -> list[Rule]:
    """Every retraction so far."""
    known = [field.name for field in fields(Rule)]
    found = []
    for name in lake.names(FOLDER):
        data = lake.read_bytes(f"{FOLDER}/{name}")
        if data is not None:
            raw = json.loads(data)
            found.append(Rule(**{name: raw[name] for name in known}))
    return found


def fingerprint(night: Night, settings: Settings) -> list[dict[str, Any]]:
    """The rules as part of a blend's key: what is retracted makes blends stale."""
    return [asdict(rule) for rule in rules(Lake.of(settings))]


def without_retracted(lake: Lake, samples: pl.DataFrame) -> pl.DataFrame:
    """The samples that no rule retracts."""
    for rule in rules(lake):
        samples = samples.filter(~rule.mask())
    return samples


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
    found = []
    for partition in lake.names(dataset):
        for key in lake.names(f"{dataset}/{partition}"):
            data = (
                None
                if key == CURRENT
                else lake.read_bytes(f"{dataset}/{partition}/{key}/{MANIFEST}")
            )
            if data is not None:
                found.append(Manifest.from_json(data))
    return found
