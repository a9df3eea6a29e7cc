"""How a night stands: each stage done, stale or missing, and why.

A dataset is stale when it would be made anew now: another input, other settings, another version
of its stage, or a stage before it that is stale itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nightshift import stages
from nightshift.errors import LakeError, ParentMissing
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import INNER, Night
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY, STAGES, Inputs, Stage

DONE, STALE, MISSING = "done", "stale", "missing"
# What lies behind a stage's fingerprint, where it is the event store.
_OUTSIDE = dict.fromkeys(("collect", "morning"), "the event store has changed")


@dataclass(frozen=True, slots=True)
class Standing:
    """One stage of one night. `made` of `wanted` parts (shards, arms) are there."""

    state: str
    made: int
    wanted: int
    why: list[str] = field(default_factory=list)

    @property
    def cell(self) -> str:
        """`done`, `stale`, `-`, with the parts where not all are there: `done 3/4`."""
        if self.made == 0:
            return "-"
        return self.state if self.made == self.wanted else f"{self.state} {self.made}/{self.wanted}"


def nights_in(lake: Lake) -> list[Night]:
    """Nights that the lake has anything of, by start; tune's inner nights are no nights.

    Nor is a night that has only been learnt up to: a snapshot, and the adapter that was made of it.
    """
    of = {
        stage.dataset: {n for n in lake.names(stage.dataset) if n.startswith("night=")}
        for stage in STAGES.values()
        if stage.dataset != "state"
    }
    adapted, snapshots = of.pop("adapter"), of.pop("snapshot")
    keys = {n.removeprefix("night=") for n in set().union(*of.values()) | (snapshots - adapted)}
    return sorted(night_of(key) for key in keys if not key.endswith(INNER))


def night_of(key: str) -> Night:
    """The night of a partition key: `2017-11-20`, or `20171120T000000Z-20171127T000000Z`."""
    return Night.parse(key.replace("Z-", "Z/"))


def standings(
    lake: Lake, night: Night, settings: Settings, *, deep: bool = False
) -> dict[str, Standing]:
    """Every nightly stage of the night, in order.

    Args:
        deep: look at what lies outside the datasets too: the event store (one scan of the events
            for each of `collect` and `morning`), the language model, retractions.

    Raises:
        StoreError: `deep`, and the store cannot be reached.
    """
    settings = _as_it_was(lake, night, settings)
    found: dict[str, Standing] = {}
    for stage in map(STAGES.__getitem__, NIGHTLY):
        behind = {name for name, standing in found.items() if standing.state != DONE}
        found[stage.name] = _standing(lake, stage, night, settings, behind, deep=deep)
    return found


def _as_it_was(lake: Lake, night: Night, settings: Settings) -> Settings:
    """A night that started from nothing is judged as a first one, whatever is asked now."""
    recipe = lake.find("recipe", STAGES["tune"].partition(night, {}))
    if recipe is None or "parent" in recipe.inputs:
        return settings
    return settings.with_({"night": {"first": night.start.isoformat()}})


def _standing(
    lake: Lake, stage: Stage, night: Night, settings: Settings, behind: set[str], *, deep: bool
) -> Standing:
    try:
        parts = stages.parts_of(stage.name, lake, night, settings)
        inputs = stages.resolve_inputs(stage, lake, night, settings)
    except (LakeError, ParentMissing) as error:
        manifest = None if stage.parts else lake.find(stage.dataset, stage.partition(night, {}))
        if manifest is None:
            return Standing(MISSING, 0, 1, [error.message])
        return Standing(STALE, 1, 1, [error.message])
    made = [(p, lake.find(stage.dataset, stage.partition(night, p))) for p in parts]
    there = [(p, manifest) for p, manifest in made if manifest is not None]
    if not there:
        return Standing(MISSING, 0, len(parts))
    reasons: dict[str, None] = {}
    for part, manifest in there:
        reasons |= dict.fromkeys(differences(stage, manifest, inputs, settings))
        asks = deep and stage.fingerprint is not None and not reasons
        if asks and stages.key_of(stage, night, settings, inputs, part) != manifest.key:
            reasons[_OUTSIDE.get(stage.name, "models or retractions have changed")] = None
    reasons |= dict.fromkeys(f"after {name}" for name in _behind(there[0][1], night, behind))
    return Standing(STALE if reasons else DONE, len(there), len(parts), list(reasons))


def _behind(manifest: Manifest, night: Night, behind: set[str]) -> Iterable[str]:
    """Stages of this night that the dataset was made from and that are not done."""
    own = f"night={night.key}"
    owners = {stage.dataset: stage.name for stage in STAGES.values()}
    used = {
        owners[ref.dataset]
        for ref in manifest.inputs.values()
        if ref.partition.partition("/")[0] == own or ref.dataset == "state"
    }
    # A parent state has the dataset of `refresh`, which comes later: it is never in `behind`.
    return sorted(used & behind)


def differences(stage: Stage, manifest: Manifest, inputs: Inputs, settings: Settings) -> list[str]:
    """What would give this dataset another key now, the event store left aside."""
    found = []
    if manifest.settings_digest != settings.digest_of(*stage.sections):
        found.append(f"settings changed ({', '.join(stage.sections)})")
    version = manifest.code_version.rpartition("/")[2]
    if version != stage.version:
        found.append(f"stage version {version}, now {stage.version}")
    before = {name: ref.digest for name, ref in manifest.inputs.items()}
    now = {name: other.digest for name, other in inputs.items()}
    changed = sorted(n for n in before.keys() | now.keys() if before.get(n) != now.get(n))
    if changed:
        found.append(f"input changed ({', '.join(changed)})")
    return found


def as_json(standing: Standing) -> dict[str, Any]:
    return {
        "state": standing.state,
        "made": standing.made,
        "wanted": standing.wanted,
        "why": standing.why,
    }


def between(nights: Iterable[Night], first: datetime | None, last: datetime | None) -> list[Night]:
    """Those that start at `first` or later and not after `last`."""
    return [
        night
        for night in nights
        if (first is None or night.start >= first) and (last is None or night.start <= last)
    ]
