"""What nights will take, from what nights in the same lake took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from nightshift.errors import LakeError
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY, STAGES, parts_of


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
