"""What a stage is: a row of the table, and what it gets and gives when it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night, stamp
from nightshift.settings import Settings

if TYPE_CHECKING:
    from nightshift.writer import DatasetWriter

CONTROL, CHALLENGER = "control", "challenger"
REAL, BLEND = "real", "blend"
LINE_OF_ARM = {CONTROL: REAL, CHALLENGER: BLEND}


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage's `run(ctx)` gets; it returns the stats for the manifest."""

    night: Night
    settings: Settings
    lake: Lake
    parts: dict[str, str]
    inputs: dict[str, Manifest]
    writer: DatasetWriter
    seeds: dict[str, int] = field(default_factory=dict)
    """Seeds the stage used; it adds them here."""
    run: dict[str, Any] = field(default_factory=dict)
    """What is different in every run of the same work, such as seconds; no part of the digest."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A stage's outcome. `worked` is False when the dataset was there already."""

    stage: str
    manifest: Manifest
    worked: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Input:
    """A dataset that a stage reads, by default of the same night."""

    dataset: str
    optional: bool = False


Inputs = dict[str, Manifest]


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the table."""

    name: str
    dataset: str
    module: str
    """Imported only when there is work to do; holds `run(ctx) -> stats`."""
    title: str
    sections: tuple[str, ...] = ()
    """Settings that belong to the key."""
    inputs: tuple[Input, ...] = ()
    more: Callable[[Lake, Night, Settings, Inputs], Inputs] | None = None
    """Inputs that depend on the others: shards, arms, the parent state."""
    parts: tuple[str, ...] = ()
    """Further levels of the partition: a shard's name, an arm and its seed."""
    fingerprint: str | None = None
    """`module:function(night, settings) -> dict`, for what lies outside the lake."""
    version: str = "1"
    gpu: bool = False
    """It generates or trains: a GPU makes it quicker, and a pool says how many run at once."""
    nightly: bool = True
    """Part of every night; otherwise it runs when it is asked for, and no night lacks it."""

    def partition(self, night: Night, parts: Mapping[str, str]) -> str:
        if self.dataset == "state":
            return state_partition(night.end)
        return night_partition(night, **{name: parts[name] for name in self.parts})


def night_partition(night: Night, **parts: str) -> str:
    """`night=2017-11-20`, with further levels such as `shard=…` behind it."""
    return "/".join([f"night={night.key}", *(f"{name}={value}" for name, value in parts.items())])


def state_partition(as_of: datetime) -> str:
    """States are filed by the time up to which they know everything."""
    return f"as_of={stamp(as_of)}"


def strategy_of(shard: str) -> str:
    """The strategy that a shard's name begins with.

    >>> strategy_of("text_neighbours-003")
    'text_neighbours'
    """
    return shard.rpartition("-")[0]
