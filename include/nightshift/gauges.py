"""What a night shows to a monitoring system: gauges, by Prometheus' naming conventions.

A gauge is a reading of the newest night, so none is called `_total`: nothing here only ever rises.
Shares are ratios between 0 and 1, times are Unix seconds, sizes are bytes. Nothing in a label grows
with the nights; which night a reading is of says `nightshift_stage_night_end_timestamp_seconds`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nightshift.manifest import Manifest
from nightshift.night import Night, parse_time

PREFIX = "nightshift_"
WHOLE = "all"
"""The label `part` of a stage that is not cut into parts."""

STAGE = ("stage", "part")
LIFT = ("over", "slice", "metric")

FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "stage_duration_seconds": ("Seconds that the stage worked when it made its dataset.", STAGE),
    "stage_completed_timestamp_seconds": ("When the stage's dataset was made.", STAGE),
    "stage_night_end_timestamp_seconds": ("End of the night that the readings are of.", STAGE),
    "stage_written_bytes": ("Bytes of the dataset's own files; shared ones left out.", STAGE),
    "dataset_rows": ("Rows of the dataset, shared files among them.", STAGE),
    "dataset_size_bytes": ("Bytes of the dataset, shared files among them.", STAGE),
    "rows_dropped": ("Rows that cleaning dropped, by rule.", ("stage", "rule")),
    "late_rows": ("Rows that were recorded after the night they belong to.", ()),
    "samples_planned": ("Samples that the budget allows for.", ("strategy",)),
    "shards_planned": ("Shards of the plan.", ()),
    "shard_samples_made": ("Samples made in one shard.", ("strategy", "shard")),
    "tokens_generated": ("Tokens that a language model wrote.", ("strategy", "shard")),
    "samples_made": ("Samples of all shards that did not fail.", ("strategy",)),
    "shards_failed": ("Shards of the plan that were not made.", ()),
    "generation_skipped": ("1 when the night goes on without samples.", ()),
    "samples_accepted": ("Samples that passed inspection.", ("strategy",)),
    "samples_quarantined": ("Samples that did not.", ("strategy",)),
    "samples_acceptance_ratio": ("Accepted over inspected samples.", ("strategy",)),
    "samples_quarantined_by_reason": ("Samples that failed this check.", ("reason",)),
    "batches_stopped": ("Batches that an inspection gate stopped.", ()),
    "recipe_weight": ("Weight of a strategy's samples; 0: not learnt from.", ("strategy",)),
    "recipe_tuned_timestamp_seconds": ("Up to when the recipe's data reached.", ()),
    "blend_samples": ("Samples in an arm's training set.", ("arm",)),
    "samples_expired": ("Samples of earlier nights that were used no more.", ()),
    "finetune_loss": ("The last training loss.", ("arm", "seed")),
    "finetune_steps": ("Optimiser steps of the training.", ("arm", "seed")),
    "morning_events": ("Events inside the night.", ()),
    "morning_users": ("Users with events inside the night.", ()),
    "evaluation_users": ("Users that the arms were compared on, this night.", ()),
    "evaluation_pooled_nights": ("Nights that the verdict pools.", ()),
    "lift_ratio": ("Relative lift of the challenger over the control.", LIFT),
    "lift_lower_ratio": ("Lower bound of its 95 % interval.", LIFT),
    "lift_upper_ratio": ("Upper bound of its 95 % interval.", LIFT),
    "lift_users": ("Users (or queries) behind the lift.", LIFT),
    "verdict_decision": ("1 for what was decided, 0 for the rest.", ("decision",)),
    "verdict_live_line": ("1 for the line that the verdict makes live.", ("line",)),
    "refresh_events": ("Events of the night that both lines took in.", ()),
    "recommendation_users": ("Users with recommendations.", ()),
    "newest_night_end_timestamp_seconds": ("End of the newest night in the lake.", ()),
    "live_night_end_timestamp_seconds": ("Up to when the live model knows events.", ()),
    "live_lag_seconds": ("How far the live model lies behind the newest night.", ()),
}
"""Name without `nightshift_` → what it means, and its labels. The order is that of the output."""

DECISIONS = ("promoted", "kept", "control", "empty", "too_few_users")
LINES = ("real", "blend")
LIFT_SLICES = ("overall", "warm", "tail", "cold")
LIFT_METRICS = ("ndcg@10", "recall@10")


@dataclass(frozen=True, slots=True)
class Gauge:
    """One reading. `family` is a key of `FAMILIES`, `labels` has exactly that family's names."""

    family: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name in Prometheus."""
        return f"{PREFIX}{self.family}"


ReadJson = Callable[[str], Any]
"""The content of one of the dataset's JSON files, by its name."""


def gauges_of(stage: str, manifest: Manifest, read_json: ReadJson) -> list[Gauge]:
    """Everything that one stage's dataset shows; what an older dataset lacks is left out."""
    reader = _READERS.get(stage)
    return [*_any_stage(stage, manifest), *(reader(manifest, read_json) if reader else ())]


def freshness(newest: Night | None, live: datetime | None) -> list[Gauge]:
    """How the live model lies to the newest night; `live`: up to when its state knows events."""
    found = []
    if newest is not None:
        found.append(Gauge("newest_night_end_timestamp_seconds", newest.end.timestamp()))
    if live is not None:
        found.append(Gauge("live_night_end_timestamp_seconds", live.timestamp()))
    if newest is not None and live is not None:
        lag = max((newest.end - live).total_seconds(), 0.0)
        found.append(Gauge("live_lag_seconds", lag))
    return found


def levels(manifest: Manifest) -> dict[str, str]:
    """The levels of a partition: {"night": "2017-11-20", "shard": "negatives-000"}."""
    return dict(level.split("=", 1) for level in manifest.partition.split("/"))


def end_of(manifest: Manifest) -> datetime:
    """The end of the night that a dataset is of; a state is filed by it."""
    at = levels(manifest)
    return parse_time(at["as_of"]) if "as_of" in at else Night.parse(at["night"]).end


def _any_stage(stage: str, manifest: Manifest) -> Iterator[Gauge]:
    parts = [value for name, value in levels(manifest).items() if name not in ("night", "as_of")]
    labels = {"stage": stage, "part": "-".join(parts) or WHOLE}
    own = sum(f.bytes for f in manifest.files if f.path.startswith(f"{manifest.folder}/"))
    if "seconds" in manifest.run:
        yield Gauge("stage_duration_seconds", manifest.run["seconds"], labels)
    if "created_at" in manifest.run:
        made = parse_time(manifest.run["created_at"]).timestamp()
        yield Gauge("stage_completed_timestamp_seconds", made, labels)
    yield Gauge("stage_night_end_timestamp_seconds", end_of(manifest).timestamp(), labels)
    yield Gauge("stage_written_bytes", own, labels)
    yield Gauge("dataset_rows", manifest.rows, labels)
    yield Gauge("dataset_size_bytes", sum(f.bytes for f in manifest.files), labels)


# --- by stage ----------------------------------------------------------------------------------


def _counts(family: str, label: str, counts: Mapping[str, float] | None) -> Iterator[Gauge]:
    for name, value in (counts or {}).items():
        yield Gauge(family, value, {label: name})


def _stats(manifest: Manifest, **families: str) -> Iterator[Gauge]:
    """Families without labels, each from one entry of the stats."""
    for family, name in families.items():
        value = manifest.stats.get(name)
        if value is not None:
            yield Gauge(family, float(value))


def _dropped(stage: str, manifest: Manifest) -> Iterator[Gauge]:
    for rule, rows in manifest.stats.get("dropped", {}).items():
        yield Gauge("rows_dropped", rows, {"stage": stage, "rule": rule})


def _collect(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    yield from _dropped("collect", manifest)
    yield from _stats(manifest, late_rows="late_rows")


def _plan(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    yield from _counts("samples_planned", "strategy", manifest.stats.get("samples"))
    yield Gauge("shards_planned", len(manifest.stats.get("shards", ())))


def _generate(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    labels = {"strategy": manifest.stats["strategy"], "shard": levels(manifest)["shard"]}
    yield Gauge("shard_samples_made", manifest.stats["made"], labels)
    yield Gauge("tokens_generated", manifest.stats["tokens"], labels)


def _gather(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    yield from _counts("samples_made", "strategy", manifest.stats.get("made"))
    yield Gauge("shards_failed", len(manifest.stats.get("failed", ())))
    yield Gauge("generation_skipped", float(bool(manifest.stats.get("skipped"))))


def _inspect(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    accepted = manifest.stats.get("accepted", {})
    quarantined = manifest.stats.get("quarantined", {})
    yield from _counts("samples_accepted", "strategy", accepted)
    yield from _counts("samples_quarantined", "strategy", quarantined)
    for strategy in sorted({*accepted, *quarantined}):
        good = accepted.get(strategy, 0)
        seen = good + quarantined.get(strategy, 0)
        if seen:
            yield Gauge("samples_acceptance_ratio", good / seen, {"strategy": strategy})
    yield from _counts("samples_quarantined_by_reason", "reason", manifest.stats.get("reasons"))
    yield Gauge("batches_stopped", len(manifest.stats.get("stopped", ())))


def _tune(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    recipe = read_json("recipe.json")
    for strategy, chosen in recipe["strategies"].items():
        yield Gauge("recipe_weight", float(chosen["weight"]), {"strategy": strategy})
    yield Gauge("recipe_tuned_timestamp_seconds", parse_time(recipe["tuned_as_of"]).timestamp())


def _blend(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    yield from _counts("blend_samples", "arm", manifest.stats.get("rows"))
    yield from _stats(manifest, samples_expired="expired")


def _finetune(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    at = levels(manifest)
    for gauge in _stats(manifest, finetune_loss="loss", finetune_steps="steps"):
        yield Gauge(gauge.family, gauge.value, {"arm": at["arm"], "seed": at["seed"]})


def _morning(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    yield from _dropped("morning", manifest)
    yield from _stats(manifest, morning_events="events", morning_users="users")


def _evaluate(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    yield from _stats(manifest, evaluation_users="users", evaluation_pooled_nights="pooled_nights")
    for over, file in (("night", "results.json"), ("pooled", "pooled.json")):
        yield from _lifts(over, read_json(file))


def _lifts(over: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[Gauge]:
    """Challenger over control. Where the control's mean is 0 there is no ratio, and no gauge."""
    for row in rows:
        compared = (row["arm"], row["against"]) == ("challenger", "control")
        wanted = row["slice"] in LIFT_SLICES and row["metric"] in LIFT_METRICS
        if not compared or not wanted or row["seed"] is not None or row["relative"] is None:
            continue
        metric = row["metric"].replace("@", "_at_")  # no StatsD name may hold an @
        labels = {"over": over, "slice": row["slice"], "metric": metric}
        yield Gauge("lift_ratio", row["relative"], labels)
        yield Gauge("lift_users", row["n"], labels)
        if row["ci95"] is not None:
            yield Gauge("lift_lower_ratio", row["ci95"][0], labels)
            yield Gauge("lift_upper_ratio", row["ci95"][1], labels)


def _promote(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    decision, line = manifest.stats["decision"], manifest.stats["live_line"]
    for name in DECISIONS:
        yield Gauge("verdict_decision", float(name == decision), {"decision": name})
    for name in LINES:
        yield Gauge("verdict_live_line", float(name == line), {"line": name})


def _refresh(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    yield from _stats(manifest, refresh_events="events")


def _score(manifest: Manifest, read_json: ReadJson) -> Iterator[Gauge]:
    yield from _stats(manifest, recommendation_users="users")


_READERS: dict[str, Callable[[Manifest, ReadJson], Iterator[Gauge]]] = {
    "collect": _collect,
    "plan": _plan,
    "generate": _generate,
    "gather": _gather,
    "inspect": _inspect,
    "tune": _tune,
    "blend": _blend,
    "finetune": _finetune,
    "morning": _morning,
    "evaluate": _evaluate,
    "promote": _promote,
    "refresh": _refresh,
    "score": _score,
}
