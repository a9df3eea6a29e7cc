"""A stage's gauges, told to whatever Airflow's own metrics go to: StatsD, Datadog or OpenTelemetry.

A backend with tags gets `nightshift.samples_accepted` and the tag `strategy`. Plain StatsD knows no
tags: there the labels' values stand in the name, `nightshift.samples_accepted.negatives`, and
`deploy/statsd-mapping.yaml` makes labels of them again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats

from nightshift.gauges import Gauge
from nightshift.lake import Lake
from nightshift_airflow.resolver import Run

if TYPE_CHECKING:
    from nightshift.manifest import Manifest

log = logging.getLogger(__name__)

LIVE_STAGE = "score"
"""The stage that moves the alias: with it goes how fresh the live model is."""
_SWITCHES = ("statsd_datadog_enabled", "statsd_on", "otel_on")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_-]")


def told(run: Run, result: Mapping[str, Any]) -> None:
    """Send the gauges of a stage that ended; does nothing where Airflow has no metrics.

    A stage that is done stays done: what goes wrong here is a warning in the task's log.

    Args:
        result: `stage`, `dataset`, `partition` and `digest`, as the stage's command prints them.
    """
    if not any(conf.getboolean("metrics", switch, fallback=False) for switch in _SWITCHES):
        return
    try:
        tagged = has_tags()
        for gauge in _gauges(run, result):
            if tagged:
                stats.gauge(f"nightshift.{gauge.family}", gauge.value, tags=gauge.labels)
            else:
                stats.gauge(dotted(gauge), gauge.value)
    except Exception:
        log.warning("The metrics of %s were not sent.", result["stage"], exc_info=True)


def has_tags() -> bool:
    """Whether the backend that Airflow chooses takes tags: see its `get_stats_factory`."""
    if conf.getboolean("metrics", "statsd_datadog_enabled", fallback=False):
        return True
    if conf.getboolean("metrics", "statsd_on", fallback=False):
        return bool(conf.getboolean("metrics", "statsd_influxdb_enabled", fallback=False))
    return True


def dotted(gauge: Gauge) -> str:
    """The name in plain StatsD: a dot between the labels' values and none inside one."""
    values = [_NOT_IN_A_NAME.sub("_", value) or "_" for value in gauge.labels.values()]
    return ".".join(["nightshift", gauge.family, *values])


def _gauges(run: Run, result: Mapping[str, Any]) -> list[Gauge]:
    from nightshift.commands.readings import live_readings, stage_readings

    lake = Lake.of(run.settings())
    manifest: Manifest | None = lake.find(result["dataset"], result["partition"])
    if manifest is None or manifest.digest != result["digest"]:
        return []  # another run has made the partition anew: it tells its own
    found = stage_readings(lake, result["stage"], manifest)
    return found + (live_readings(lake) if result["stage"] == LIVE_STAGE else [])
