"""OpenLineage: which datasets a stage reads and which one it writes.

The provider asks an operator at the start, the end and the failure of its task, mostly in a process
forked from the task's own. Everything comes from the lake's manifests and the settings; the
provider's packages are imported only when it asks, so an Airflow without it parses the same DAGs.

Names follow https://openlineage.io/docs/spec/naming: a dataset of a local lake is `file` and its
path, of an S3 lake `s3://bucket` and its key, a view of the event store `postgres://host:port` and
`database.schema.view`. A dataset's partition belongs to its name, its digest is its version.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from nightshift import stages
from nightshift.errors import NightshiftError
from nightshift.lake import Lake
from nightshift.manifest import InputRef, Manifest
from nightshift.registry import alias
from nightshift.settings import Settings
from nightshift.stages import STAGES
from nightshift_airflow.resolver import Run
from nightshift_airflow.telemetry.schema import fields_of

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset, OutputDataset

    Found = OperatorLineage[Any, Any]

ASKED = "{{ ti.xcom_pull(task_ids='night') | tojson }}"
"""Rendered before the task starts: the `Run` of its DAG run, as JSON; `null` without one."""
VIEWS = {
    "collect": ("items_v", "users_v", "events_v", "searches_v", "reviews_v"),
    "morning": ("events_v", "searches_v"),
}
"""What a stage reads of the event store."""
TABLES = {"score": ("recommendations",)}
"""What a stage writes there when it makes a model live."""
_PORT = 5432


class Lineage:
    """For an operator with a `stage` and `parts`; `asked` belongs into its template fields."""

    stage: str
    parts: Mapping[str, str] | None
    asked: str = ASKED

    def get_openlineage_facets_on_start(self) -> Found | None:
        """What the stage is about to read; what it writes is known once it is there."""
        run = self._asked()
        return None if run is None else before(self.stage, run)

    def get_openlineage_facets_on_complete(
        self,
        task_instance: Any,  # noqa: ARG002  # the provider's protocol
    ) -> Found | None:
        """What the manifest says that was read and written."""
        run = self._asked()
        return None if run is None else after(self.stage, run, dict(self.parts or {}))

    def get_openlineage_facets_on_failure(
        self,
        task_instance: Any,  # noqa: ARG002
    ) -> Found | None:
        """As at the start: a stage that failed wrote no dataset. The provider adds the error."""
        return self.get_openlineage_facets_on_start()

    def _asked(self) -> Run | None:
        try:
            raw = json.loads(self.asked)
        except ValueError:  # not rendered: nobody resolved a night
            return None
        return None if raw is None else Run.from_json(raw)


def before(stage: str, run: Run) -> Found:
    """The lineage of a stage that has not ended; without inputs while one of them is missing."""
    settings = run.settings()
    lake = Lake.of(settings)
    try:
        inputs = stages.resolve_inputs(STAGES[stage], lake, run.night, settings)
    except NightshiftError:
        inputs = {}  # the stage itself says what is missing, with the way out
    return _lineage(stage, run, settings, lake, [found.ref for found in inputs.values()])


def after(stage: str, run: Run, parts: dict[str, str]) -> Found:
    """The lineage of a stage that ended well."""
    settings = run.settings()
    lake = Lake.of(settings)
    manifest = lake.get(STAGES[stage].dataset, STAGES[stage].partition(run.night, parts))
    made = _lineage(stage, run, settings, lake, list(manifest.inputs.values()))
    made.outputs = [_written(lake, manifest), *_published(stage, run, settings, lake)]
    return made


def _lineage(stage: str, run: Run, settings: Settings, lake: Lake, refs: list[InputRef]) -> Found:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import nominal_time_run

    night = nominal_time_run.NominalTimeRunFacet(
        nominalStartTime=run.night.start.isoformat(), nominalEndTime=run.night.end.isoformat()
    )
    store = [
        InputDataset(*store_name(settings, relation), facets={}, inputFacets={})
        for relation in VIEWS.get(stage, ())
    ]
    read = {name_in(lake, ref.dataset, ref.partition): _read(lake, ref) for ref in refs}
    return OperatorLineage(inputs=[*store, *read.values()], run_facets={"nominalTime": night})


# --- datasets ----------------------------------------------------------------------------------


def _read(lake: Lake, ref: InputRef) -> InputDataset:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import dataset_version_dataset

    version = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=ref.digest)
    namespace, name = name_in(lake, ref.dataset, ref.partition)
    return InputDataset(namespace, name, facets={"version": version}, inputFacets={})


def _written(lake: Lake, manifest: Manifest) -> OutputDataset:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import (
        dataset_version_dataset,
        datasource_dataset,
        output_statistics_output_dataset,
        schema_dataset,
    )

    namespace, name = name_in(lake, manifest.dataset, manifest.partition)
    return OutputDataset(
        namespace,
        name,
        facets={
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(manifest.digest),
            "dataSource": datasource_dataset.DatasourceDatasetFacet(
                name=namespace, uri=lake.uri(manifest.folder)
            ),
            "schema": schema_dataset.SchemaDatasetFacet(fields=fields_of(manifest)),
        },
        outputFacets={
            "outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=manifest.rows,
                size=sum(entry.bytes for entry in manifest.files),
                fileCount=len(manifest.files),
            )
        },
    )


def _published(stage: str, run: Run, settings: Settings, lake: Lake) -> Iterator[OutputDataset]:
    """The live recommendations: a backfilled night, older than what is live, writes none."""
    from openlineage.client.event_v2 import OutputDataset

    if stage not in TABLES:
        return
    live = alias.live(lake)
    if live is not None and live.partition == stages.state_partition(run.night.end):
        for relation in TABLES[stage]:
            yield OutputDataset(*store_name(settings, relation), facets={}, outputFacets={})


def name_in(lake: Lake, dataset: str, partition: str) -> tuple[str, str]:
    """Namespace and name of a dataset in the lake."""
    root = urlsplit(lake.root)
    if root.scheme in ("", "file"):
        return "file", f"{unquote(root.path).rstrip('/')}/{dataset}/{partition}"
    path = root.path.strip("/")
    name = f"{path}/{dataset}/{partition}" if path else f"{dataset}/{partition}"
    return f"{root.scheme}://{root.hostname}", name


def store_name(settings: Settings, relation: str) -> tuple[str, str]:
    """Namespace and name of a view or a table of the event store; neither user nor password.

    A server on a Unix socket has its folder for a host, percent-encoded as libpq takes it.
    """
    from sqlalchemy import make_url

    from nightshift.store import embedded
    from nightshift.store.engine import SCHEMA

    if settings.store.url is None:
        host, port = str(embedded.status(settings)["socket"]), _PORT
        database: str | None = settings.store.database
    else:
        url = make_url(settings.store.url.get_secret_value())
        socket = url.query.get("host")
        host = url.host or (socket if isinstance(socket, str) else "localhost")
        port, database = url.port or _PORT, url.database
    return f"postgres://{quote(host, safe='')}:{port}", f"{database}.{SCHEMA}.{relation}"
