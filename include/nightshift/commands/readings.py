"""The gauges of a lake: of each stage the newest night that has it, and what is live."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nightshift import stages
from nightshift.commands.standing import nights_in
from nightshift.errors import LakeError
from nightshift.gauges import Gauge, freshness, gauges_of
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.registry import alias
from nightshift.settings import Settings
from nightshift.stages import STAGES


def readings(lake: Lake, settings: Settings, night: Night | None = None) -> list[Gauge]:
    """Every gauge of the lake.

    While a night is under way its later stages have no dataset yet: each stage is read from the
    newest night that has one, so that no series comes and goes. `night`: that night alone.
    """
    known = nights_in(lake)
    nights = [night] if night is not None else known[::-1]
    found = [
        gauge
        for stage in STAGES
        for manifest in _newest(lake, settings, stage, nights)
        for gauge in stage_readings(lake, stage, manifest)
    ]
    return [*found, *live_readings(lake, known)]


def stage_readings(lake: Lake, stage: str, manifest: Manifest) -> list[Gauge]:
    """The gauges of one dataset.

    Raises:
        LakeError: one of its JSON files is gone or altered.
    """
    return gauges_of(stage, manifest, lambda name: lake.read_json(manifest, name))


def live_readings(lake: Lake, nights: Sequence[Night] | None = None) -> list[Gauge]:
    """How fresh the live model is; `nights`: those of the lake, when they are known already."""
    known = nights_in(lake) if nights is None else nights
    live = alias.live(lake)
    ends = None if live is None else live.knows
    return freshness(known[-1] if known else None, ends)


def _newest(
    lake: Lake, settings: Settings, stage: str, nights: Sequence[Night]
) -> Iterator[Manifest]:
    """Every part of the stage's dataset, of the first of these nights that has any."""
    row = STAGES[stage]
    for night in nights:
        try:
            parts = stages.parts_of(stage, lake, night, settings)
        except LakeError:  # no plan, no blend: nothing was cut into parts yet
            continue
        made = [lake.find(row.dataset, row.partition(night, part)) for part in parts]
        there = [manifest for manifest in made if manifest is not None]
        if there:
            yield from there
            return
