"""What the OpenLineage provider gets from a stage's operator, asked as the provider asks."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.sdk import DAG
from airflow.utils.state import TaskInstanceState
from openlineage.client.event_v2 import Job, RunEvent, RunState
from openlineage.client.event_v2 import Run as LineageRun
from openlineage.client.serde import Serde
from openlineage.client.uuid import generate_new_uuid

from factories import NIGHT, make_settings
from made_up_nights import write_night
from nightshift import stages
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import NIGHTLY
from nightshift_airflow.operators.pod import PodStageOperator
from nightshift_airflow.operators.stage import RESOLVER, StageOperator
from nightshift_airflow.resolver import Run
from nightshift_airflow.telemetry.lineage import ASKED, store_name

Nights = tuple[Settings, list[Night]]
STORE_URL = "postgresql+psycopg2://shop:hush@db.example.com:6432/webshop"
STARTS, ENDS, FAILS = (
    TaskInstanceState.RUNNING,
    TaskInstanceState.SUCCESS,
    TaskInstanceState.FAILED,
)


class Asked:
    """The operator of one task, rendered as Airflow renders it before the task starts."""

    def __init__(self, stage: str, night: Night, kind: Any = StageOperator, **parts: str) -> None:
        with DAG(dag_id="nightly") as dag:
            self.task = kind(task_id=stage, stage=stage, parts=parts)
        run = Run(night, first=night == NIGHT)
        pulled = {RESOLVER: run.to_json()}
        context = {"ti": SimpleNamespace(xcom_pull=lambda task_ids: pulled[task_ids])}
        self.task.asked = dag.get_template_env().from_string(self.task.asked).render(**context)

    def __call__(self, state: TaskInstanceState) -> OperatorLineage:
        found: OperatorLineage = ExtractorManager().extract_metadata(
            dagrun=SimpleNamespace(run_id="manual"),
            task=self.task,
            task_instance_state=state,
            task_instance=SimpleNamespace(),
        )
        return found


@pytest.fixture(autouse=True)
def _a_store_with_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTSHIFT_STORE__URL", STORE_URL)


def names(datasets: list[Any]) -> set[tuple[str, str]]:
    return {(one.namespace, one.name) for one in datasets}


def every_task(lake: Lake, settings: Settings, night: Night) -> list[Asked]:
    return [
        Asked(stage, night, **parts)
        for stage in NIGHTLY
        if stage != "report"  # made-up nights have none
        for parts in stages.parts_of(stage, lake, night, settings)
    ]


def test_what_a_stage_writes_is_what_the_next_one_reads(nights: Nights) -> None:
    settings, (first, _) = nights
    lake = Lake.of(settings)
    written: set[tuple[str, str]] = set()
    read: set[tuple[str, str]] = set()

    for asked in every_task(lake, settings, first):
        found = asked(ENDS)
        from_lake = {name for name in names(found.inputs) if name[0] == "file"}
        assert from_lake <= written, asked.task.stage
        written |= names(found.outputs)
        read |= from_lake

    root = f"{settings.home_path}/lake"
    assert written - read == {
        ("file", f"{root}/recommendations/night={first.key}"),
        store_name(settings, "recommendations"),
    }


def test_the_start_knows_what_the_end_says_was_read(nights: Nights) -> None:
    settings, (first, _) = nights

    for asked in every_task(Lake.of(settings), settings, first):
        start, end = asked(STARTS), asked(ENDS)

        assert names(start.inputs) == names(end.inputs), asked.task.stage
        assert start.outputs == []


def test_an_output_has_its_version_schema_and_size(nights: Nights) -> None:
    settings, (first, _) = nights
    lake = Lake.of(settings)
    manifest = lake.get("inspection", f"night={first.key}")

    [made] = Asked("inspect", first)(ENDS).outputs

    root = settings.home_path / "lake"
    assert (made.namespace, made.name) == ("file", f"{root}/inspection/night={first.key}")
    assert made.facets["version"].datasetVersion == manifest.digest
    assert made.facets["dataSource"].uri == lake.uri(manifest.folder)
    statistics = made.outputFacets["outputStatistics"]
    assert statistics.rowCount == manifest.rows == 593
    assert statistics.size == sum(entry.bytes for entry in manifest.files)
    assert statistics.fileCount == len(manifest.files)
    tables = {
        field.name: [one.name for one in field.fields] for field in made.facets["schema"].fields
    }
    assert set(tables) == {"accepted", "quarantined"}
    assert tables["quarantined"] == [*tables["accepted"], "reasons"]


def test_an_input_has_the_version_that_was_read(nights: Nights) -> None:
    settings, (first, _) = nights
    manifest = Lake.of(settings).get("inspection", f"night={first.key}")

    found = Asked("inspect", first)(ENDS).inputs

    versions = {one.facets["version"].datasetVersion for one in found}
    assert versions == {ref.digest for ref in manifest.inputs.values()}


def test_the_event_store_is_an_input_without_its_password(nights: Nights) -> None:
    _, (first, _) = nights
    store = "postgres://db.example.com:6432"

    collect, morning = Asked("collect", first)(ENDS), Asked("morning", first)(STARTS)

    assert names(collect.inputs) == {
        (store, f"webshop.nightshift.{view}_v")
        for view in ("items", "users", "events", "searches", "reviews")
    }
    assert (store, "webshop.nightshift.events_v") in names(morning.inputs)
    assert "hush" not in str(collect) + str(morning)


def test_live_recommendations_are_written_by_the_night_that_is_live(nights: Nights) -> None:
    settings, (first, second) = nights
    lake = Lake.of(settings)
    write_night(lake, settings, second, number=1)  # a backfill: the alias stays with the first
    table = ("postgres://db.example.com:6432", "webshop.nightshift.recommendations")

    assert table in names(Asked("score", first)(ENDS).outputs)
    assert table not in names(Asked("score", second)(ENDS).outputs)


def test_the_next_night_goes_on_from_the_state(nights: Nights) -> None:
    settings, (_, second) = nights

    found = Asked("tune", second)(STARTS)

    root = settings.home_path / "lake"
    assert ("file", f"{root}/state/as_of=20170521T000000Z") in names(found.inputs)


def test_a_failure_names_what_was_read_and_writes_nothing(nights: Nights) -> None:
    _, (first, _) = nights

    found = Asked("inspect", first)(FAILS)

    assert len(found.inputs) == 3
    assert found.outputs == []


def test_a_missing_input_is_the_stages_to_tell(nights: Nights) -> None:
    found = Asked("blend", Night.parse("2017-06-20"))(FAILS)

    assert (found.inputs, found.outputs) == ([], [])
    assert found.run_facets["nominalTime"].nominalStartTime == "2017-06-20T00:00:00+00:00"


def test_a_task_without_a_night_has_no_lineage() -> None:
    with DAG(dag_id="nightly"):
        task = StageOperator(task_id="plan", stage="plan")

    assert task.get_openlineage_facets_on_start() is None  # never rendered
    task.asked = "null"
    assert task.get_openlineage_facets_on_complete(None) is None
    assert f"'{RESOLVER}'" in ASKED


def test_a_pod_has_the_lineage_of_a_process(nights: Nights) -> None:
    _, (first, _) = nights
    place = {"shard": "negatives-000"}

    process = Asked("generate", first, **place)(ENDS)
    pod = Asked("generate", first, PodStageOperator, **place)(ENDS)

    assert names(pod.outputs) == names(process.outputs)
    assert Serde.to_dict(pod.inputs[0]) == Serde.to_dict(process.inputs[0])
    assert "asked" in PodStageOperator.template_fields


def test_the_events_are_ones_that_the_client_accepts(nights: Nights) -> None:
    """Its classes check times, ids and URIs; `Serde` writes what a transport sends."""
    settings, (first, _) = nights

    for asked in every_task(Lake.of(settings), settings, first):
        found = asked(ENDS)
        event = RunEvent(
            eventType=RunState.COMPLETE,
            eventTime="2026-01-01T00:00:00+00:00",
            run=LineageRun(runId=str(generate_new_uuid()), facets=found.run_facets),
            job=Job(namespace="default", name=asked.task.stage),
            inputs=found.inputs,
            outputs=found.outputs,
            producer="https://example.com/tests",
        )
        sent = json.loads(Serde.to_json(event))
        assert {"producer", "schemaURL", "eventTime", "run", "job"} <= set(sent)
        for dataset in [*sent["inputs"], *sent["outputs"]]:
            assert dataset["namespace"]
            assert dataset["name"]
            for facet in dataset["facets"].values():
                assert {"_producer", "_schemaURL"} <= set(facet)


def test_a_lake_on_s3_is_named_by_its_bucket_and_read_after_a_fork(
    s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """The provider asks in a child of the task's process, which has used the lake before."""
    root = s3.fresh()
    settings = make_settings(tmp_path).with_({"lake": {"root": root, "options": s3.options}})
    lake = Lake.of(settings)
    write_night(lake, settings, NIGHT, until="plan")
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))
    monkeypatch.setenv("NIGHTSHIFT_LAKE__ROOT", root)
    monkeypatch.setenv("NIGHTSHIFT_LAKE__OPTIONS", json.dumps(s3.options))
    asked = Asked("plan", NIGHT)

    found = in_a_child(lambda: sorted(names([*asked(ENDS).inputs, *asked(ENDS).outputs])))

    bucket = root.removeprefix("s3://").removesuffix("/lake")
    assert found == [
        [f"s3://{bucket}", f"lake/{name}/night={NIGHT.key}"]
        for name in ("plan", "snapshot", "vectors")
    ]


def in_a_child(work: Callable[[], Any]) -> Any:
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(pid, 0)
    with os.fdopen(reader) as answer:
        return json.loads(answer.read())
