"""What a night was made from: every dataset behind its report, by the inputs in the manifests.

The walk follows content digests, never the partitions' pointers: it finds what this night used,
whatever else has been made since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nightshift import stages
from nightshift.lake import Lake
from nightshift.manifest import InputRef, Manifest
from nightshift.night import Night

_STAGE_OF = {stage.dataset: name for name, stage in stages.STAGES.items()}
_ORDER = {name: index for index, name in enumerate(stages.STAGES)}


@dataclass(frozen=True, slots=True)
class Used:
    """One dataset that the night used; `manifest` is None when it was retired since."""

    stage: str
    ref: InputRef
    manifest: Manifest | None
    tonight: bool

    @property
    def part(self) -> str:
        """The partition below the night: `shard=text_neighbours-000`, or nothing."""
        return self.ref.partition.partition("/")[2]


def walk(lake: Lake, night: Night, inputs: Iterable[Manifest]) -> list[Used]:
    """Everything behind `inputs`, tonight's datasets in the order of the stages, older ones last.

    Datasets of earlier nights are named, their own inputs are not followed: they stand in the
    report of their night.
    """
    own = {f"night={night.key}", stages.state_partition(night.end)}
    found: dict[tuple[str, str, str], Used] = {}
    waiting: list[tuple[InputRef, Manifest | None]] = [(m.ref, m) for m in inputs]
    while waiting:
        ref, manifest = waiting.pop()
        place = (ref.dataset, ref.partition, ref.key)
        if place in found:
            continue
        tonight = ref.partition.partition("/")[0] in own
        manifest = manifest or lake.at_key(*place)
        found[place] = Used(_STAGE_OF.get(ref.dataset, ref.dataset), ref, manifest, tonight)
        if manifest is not None and tonight:
            waiting += [(inner, None) for inner in manifest.inputs.values()]
    return sorted(
        found.values(),
        key=lambda used: (not used.tonight, _ORDER.get(used.stage, 99), used.ref.partition),
    )


def lineage_figures(used: Iterable[Used]) -> list[dict[str, Any]]:
    """One row a dataset: what it is, its digest, what made it."""
    return [
        {
            "stage": one.stage,
            "dataset": one.ref.dataset,
            "partition": one.ref.partition,
            "tonight": one.tonight,
            "key": one.ref.key,
            "digest": one.ref.digest,
            "rows": one.manifest.rows if one.manifest else None,
            "bytes": sum(f.bytes for f in one.manifest.files) if one.manifest else None,
            "code_version": one.manifest.code_version if one.manifest else None,
            "commit": one.manifest.run.get("commit") if one.manifest else None,
            "seeds": one.manifest.seeds if one.manifest else {},
        }
        for one in used
    ]


def stage_seconds(used: Iterable[Used]) -> list[dict[str, Any]]:
    """Seconds per stage of this night, parts (shards, arms) added up, in order of the stages.

    The seconds are those of the run that made the dataset; one that was there already cost
    nothing tonight.
    """
    total: dict[str, dict[str, Any]] = {}
    for one in used:
        if not one.tonight or one.manifest is None:
            continue
        row = total.setdefault(one.stage, {"stage": one.stage, "seconds": 0.0, "parts": 0})
        row["seconds"] += float(one.manifest.run.get("seconds") or 0.0)
        row["parts"] += 1
    return [row | {"seconds": round(row["seconds"], 3)} for row in total.values()]


def evaluations_back(
    lake: Lake, evaluation: Manifest, limit: int
) -> Iterator[tuple[Manifest, Manifest | None]]:
    """(evaluation, verdict or None) of this night and of those before it, newest first.

    The chain goes through the parent states; it ends at the first night, after `limit` nights, or
    where retention has removed a dataset.
    """
    current: Manifest | None = evaluation
    verdict: Manifest | None = None
    for _ in range(limit):
        if current is None:
            return
        yield current, verdict
        parent = _follow(lake, current, "parent")
        if parent is None:
            return
        verdict = _follow(lake, parent, "verdict")
        current = _follow(lake, parent, "evaluation")


def _follow(lake: Lake, manifest: Manifest, name: str) -> Manifest | None:
    ref = manifest.inputs.get(name)
    return None if ref is None else lake.at_key(ref.dataset, ref.partition, ref.key)
