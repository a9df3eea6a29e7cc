"""A stage's gauges over a real socket: what Airflow's client sends, and what becomes of it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator

import pytest
from airflow.sdk._shared.observability.metrics import stats as backend
from airflow.sdk._shared.observability.metrics.metrics_registry import MetricsRegistry
from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from airflow_context import context_of
from airflow_for_tests import PROJECT
from statsd_exporter import Series, mapped, mappings

from nightshift import stages
from nightshift.commands.readings import readings
from nightshift.errors import LakeError
from nightshift.gauges import FAMILIES, Gauge
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import STAGES
from nightshift_airflow.operators.stage import StageOperator
from nightshift_airflow.pods.result import summary
from nightshift_airflow.resolver import Run
from nightshift_airflow.telemetry.stats import dotted, told

Nights = tuple[Settings, list[Night]]
RULES = mappings(PROJECT / "deploy" / "statsd-mapping.yaml")
WAIT_SECONDS = 5


class Listener:
    """A StatsD server on loopback that keeps what it gets."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(WAIT_SECONDS)
        self.port = self.socket.getsockname()[1]

    def lines(self) -> list[str]:
        """Everything sent so far; a line of our own marks the end."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"end", ("127.0.0.1", self.port))
        found: list[str] = []
        while (packet := self.socket.recv(65_536).decode()) != "end":
            found += packet.splitlines()
        return found


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener()
    yield made
    made.socket.close()


@pytest.fixture
def metrics_on(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Airflow's metrics as a task's process starts them: see `main` of its task runner."""
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_ON", "True")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_HOST", "127.0.0.1")
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_PORT", str(listener.port))
    start_stats()
    yield
    backend._get_backend().statsd.close()
    backend._factory = backend._backend = None


def start_stats() -> None:
    stats.initialize(
        factory=stats_utils.get_stats_factory(),
        export_legacy_names=conf.getboolean("metrics", "legacy_names_on"),
    )


def gauges_in(lines: list[str]) -> dict[Series, float]:
    """What statsd_exporter would show of these lines with the project's mapping."""
    shown: dict[Series, float] = {}
    for text in lines:
        name, value, kind = re.fullmatch(r"([^:|]+):([^|]+)\|(\w+)", text).groups()  # type: ignore[union-attr]
        series = mapped(name, RULES)
        assert kind == "g"
        assert series is not None, f"{name} has no mapping"
        shown[series] = shown.get(series, 0.0) + float(value) if value[0] in "+-" else float(value)
    return shown


def as_series(gauges: list[Gauge]) -> dict[Series, float]:
    return {(gauge.name, frozenset(gauge.labels.items())): gauge.value for gauge in gauges}


def tell_everything(settings: Settings, nights: list[Night]) -> None:
    """Every dataset of these nights, as the operators do when a stage has ended."""
    lake = Lake.of(settings)
    for night in nights:
        for name, stage in STAGES.items():
            for manifest in _made(lake, settings, night, name):
                told(Run(night, first=True), summary(stage.name, manifest, "file:///x"))


def _made(lake: Lake, settings: Settings, night: Night, stage: str) -> list[Manifest]:
    try:
        parts = stages.parts_of(stage, lake, night, settings)
    except LakeError:
        return []
    row = STAGES[stage]
    found = [lake.find(row.dataset, row.partition(night, part)) for part in parts]
    return [manifest for manifest in found if manifest is not None]


def test_statsd_and_the_command_show_the_same(
    nights: Nights, listener: Listener, metrics_on: None
) -> None:
    """Through Airflow's client, a socket and the mapping: the series of `nightshift metrics`."""
    settings, both = nights

    tell_everything(settings, both)

    assert gauges_in(listener.lines()) == pytest.approx(
        as_series(readings(Lake.of(settings), settings))
    )


def test_a_stage_that_airflow_ran_tells_its_gauges(
    small_shop: Settings, listener: Listener, metrics_on: None
) -> None:
    run = Run(Night.parse("2017-11-20"), first=True)
    StageOperator(task_id="collect", stage="collect").execute(context_of(run))

    shown = gauges_in(listener.lines())

    manifest = Lake.of(small_shop).get("snapshot", "night=2017-11-20")
    labels = frozenset({"stage": "collect", "part": "all"}.items())
    assert shown["nightshift_dataset_rows", labels] == manifest.rows > 0
    assert shown["nightshift_stage_duration_seconds", labels] == manifest.run["seconds"]


def test_a_negative_lift_replaces_the_one_before(listener: Listener, metrics_on: None) -> None:
    """To StatsD a signed gauge is a change; the client sends a zero first."""
    labels = {"over": "night", "slice": "overall", "metric": "ndcg_at_10"}
    for value in (0.03, -0.02, -0.01):
        stats.gauge(dotted(Gauge("lift_ratio", value, labels)), value)

    assert list(gauges_in(listener.lines()).values()) == [-0.01]


def test_a_backend_with_tags_gets_tags(
    nights: Nights, listener: Listener, metrics_on: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, (first, _) = nights
    monkeypatch.setenv("AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED", "True")
    start_stats()
    manifest = Lake.of(settings).get("inspection", f"night={first.key}")

    told(Run(first), summary("inspect", manifest, "file:///x"))

    assert "airflow.nightshift.samples_accepted,strategy=negatives:172|g" in listener.lines()


def test_without_metrics_the_lake_is_left_alone(nights: Nights) -> None:
    _, (first, _) = nights

    told(Run(first), {})  # would fail on a result without a dataset


def test_a_broken_dataset_is_a_warning_and_no_failure(
    nights: Nights, metrics_on: None, caplog: pytest.LogCaptureFixture
) -> None:
    settings, (first, _) = nights
    lake = Lake.of(settings)
    manifest = lake.get("recipe", f"night={first.key}")
    os.truncate(lake.local_path(manifest.file("recipe.json")), 3)

    told(Run(first), summary("tune", manifest, "file:///x"))

    assert "metrics of tune were not sent" in caplog.text


def test_a_partition_made_anew_meanwhile_is_not_told_twice(
    nights: Nights, listener: Listener, metrics_on: None
) -> None:
    settings, (first, _) = nights
    manifest = Lake.of(settings).get("inspection", f"night={first.key}")

    told(Run(first), summary("inspect", manifest, "file:///x") | {"digest": "0" * 64})

    assert listener.lines() == []


def test_no_value_of_a_label_breaks_a_name() -> None:
    odd = Gauge("samples_quarantined_by_reason", 1.0, {"reason": "a.b c/é"})

    assert dotted(odd) == "nightshift.samples_quarantined_by_reason.a_b_c__"


def test_every_family_has_its_mapping_and_no_other() -> None:
    ours = [rule for rule in RULES if rule["match"].startswith("airflow.nightshift.")]

    assert ours == [
        {
            "match": ".".join(["airflow.nightshift", family, *("*" for _ in labels)]),
            "name": f"nightshift_{family}",
            "help": meaning,
            **({"labels": {n: f"${i}" for i, n in enumerate(labels, 1)}} if labels else {}),
        }
        for family, (meaning, labels) in FAMILIES.items()
    ]


def test_the_rest_maps_names_that_airflow_has() -> None:
    registry = MetricsRegistry()
    names = {"-"}
    for name, entry in registry._metrics.items():
        names |= {name, entry.get("legacy_name", "-")}
    globs = {re.sub(r"\{\w+\}", "*", name) for name in names}

    for rule in RULES:
        if not rule["match"].startswith("airflow.nightshift."):
            assert rule["match"].removeprefix("airflow.") in globs
