"""Running a night with a line per stage on stdout."""

from __future__ import annotations

from typing import Any

from nightshift.commands.common import result_of
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import Ran


def run_and_show(night: Night, settings: Settings) -> list[dict[str, Any]]:
    """Run a night, a line per stage; returns the stages' results."""
    from nightshift.nights import run_night

    lake = Lake.of(settings)

    def told(ran: Ran) -> None:
        what = " ".join([ran.stage, *ran.manifest.partition.split("/")[1:]])
        state = f"{ran.seconds:.1f} s" if ran.worked else "done already"
        print(f"{night.key}  {what:<40} {state:>12}", flush=True)

    return [result_of(ran, lake) for ran in run_night(night, settings, told=told)]
