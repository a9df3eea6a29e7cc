"""
### Several nights in a row

Triggers `nightly` for each day from *From* up to and including *To*. The nights keep their order
through the lake: each waits for the state of the one before. After a night that failed, clear it,
and those behind it go on.
"""

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param

from nightshift.settings import Settings
from nightshift_airflow.params import what_form
from nightshift_airflow.tasks import default_args, nights_asked

DATE = {"type": "string", "format": "date"}

with DAG(
    dag_id="nightly_range",
    description="Several nights in a row, one run of `nightly` each",
    doc_md=__doc__,
    schedule=None,
    is_paused_upon_creation=True,
    max_active_runs=1,
    params={
        "from": Param(title="From", description="The first night, UTC.", **DATE),
        "to": Param(title="To", description="The last night, UTC.", **DATE),
        **what_form(Settings.load()),
    },
    default_args={**default_args(), "retries": 0},  # a second try would find its own run there
    tags=["nightshift"],
) as dag:
    TriggerDagRunOperator.partial(
        task_id="nightly",
        trigger_dag_id="nightly",
        logical_date=None,
        fail_when_dag_is_paused=True,
        max_active_tis_per_dagrun=1,  # created in order, so that the first one starts first
        map_index_template="{{ task.conf['night'] }}",
    ).expand_kwargs(nights_asked())
