"""A whole night in one process, without Airflow: the stages of the table, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from nightshift import stages
from nightshift.errors import LakeError, NightshiftError, StoreError
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import Ran

log = logging.getLogger("nightshift.night")

ORDER = (
    "collect",
    "embed",
    "plan",
    "generate",
    "gather",
    "inspect",
    "tune",
    "blend",
    "finetune",
    "morning",
    "evaluate",
    "promote",
    "refresh",
    "score",
    "report",
)


def run_night(night: Night, settings: Settings, *, told: Callable[[Ran], None]) -> list[Ran]:
    """Run every stage of a night; what is done already is found and not done again.

    Args:
        told: called with each stage's outcome as it ends.

    Raises:
        ParentMissing: before anything is done, when there is no state to start from.
        NightshiftError: whatever a stage raises; run the night again to go on from there.
    """
    lake = Lake.of(settings)
    stages.parent_state(lake, night, settings)
    done = []
    for ran in _stages(lake, night, settings):
        told(ran)
        done.append(ran)
    return done


def _stages(lake: Lake, night: Night, settings: Settings) -> Iterator[Ran]:
    for name in ORDER:
        yield from run_parts(name, stages.parts_of(name, lake, night, settings), night, settings)


def run_parts(
    name: str,
    parts: Sequence[Mapping[str, str]],
    night: Night,
    settings: Settings,
    *,
    force: bool = False,
    lost: Callable[[Mapping[str, str], NightshiftError], None] | None = None,
) -> Iterator[Ran]:
    """Run these parts of a stage.

    A lost shard does not end the night: `gather` judges it, there the failure budget is applied.

    Args:
        lost: called with each shard that failed, and why.
    """
    for part in parts:
        try:
            yield stages.run(name, night, settings, part, force=force)
        except (LakeError, StoreError):
            raise  # nothing that another shard would fare better with
        except NightshiftError as error:
            if name != "generate":
                raise
            log.warning("%s", error)
            if lost is not None:
                lost(part, error)
