"""What nights will take, from what nights in the same lake took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from statistics import fmean, median

from nightshift.errors import LakeError
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY, STAGES, parts_of, strategy_of


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of each stage of one night, its parts added up; only the stages that are there."""

    first: bool
    seconds: Mapping[str, float]


def took(lake: Lake, night: Night, settings: Settings) -> Took:
    """What a night's stages took when they did their work."""
    found: dict[str, float] = {}
    for name in NIGHTLY:
        stage = STAGES[name]
        try:
            parts = parts_of(name, lake, night, settings)
        except LakeError:
            continue  # not planned yet: nothing to add up
        manifests = [lake.find(stage.dataset, stage.partition(night, part)) for part in parts]
        there = [float(m.run["seconds"]) for m in manifests if m is not None]
        if there:
            found[name] = sum(there)
    recipe = lake.find("recipe", STAGES["tune"].partition(night, {}))
    return Took(recipe is not None and "parent" not in recipe.inputs, found)


def typical(nights: Iterable[Took]) -> dict[bool, dict[str, float]]:
    """Mean seconds per stage, of first nights (True) and of later ones (False).

    The mean, not the median: a weekly tuning is spread over the nights that use it. Where one kind
    of night is not known, the other stands in.
    """
    known: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}
    for night in nights:
        for stage, seconds in night.seconds.items():
            known[night.first].setdefault(stage, []).append(seconds)
    means = {kind: {s: fmean(v) for s, v in stages.items()} for kind, stages in known.items()}
    return {kind: means[not kind] | means[kind] for kind in means}


_NIGHTS, _SHARDS = 3, 5
"""So many late nights, and shards of each strategy in them, say what a sample takes."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a planned sample of a strategy took, learning and the loading of models apart."""

    seconds: float
    shards: int


def paces(lake: Lake) -> dict[str, Pace]:
    """The pace of each strategy on the late nights of this lake."""
    known: dict[str, list[float]] = {}
    planned = (lake.find("plan", name) for name in reversed(lake.partitions("plan")))
    for plan in islice((one for one in planned if one is not None), _NIGHTS):
        looked_at: Counter[str] = Counter()
        for shard in plan.stats["shards"]:
            name = strategy_of(shard)
            looked_at[name] += 1
            if looked_at[name] > _SHARDS:
                continue
            made = lake.find("shard", f"{plan.partition}/shard={shard}")
            pace = None if made is None else made.run.get("seconds_per_sample")
            if made is not None and pace is not None and not made.stats["refused"]:
                known.setdefault(name, []).append(float(pace))
    return {name: Pace(median(found), len(found)) for name, found in known.items()}
