"""### Is everything there that a night needs

In a minute: the event store and the lake as Airflow sees them, the same and the sentence encoder as
a stage sees them (in a pod, where stages run as pods), and whether the live model is fresh. A
failure raises an alert with its cause. Nothing is changed.
"""

from datetime import timedelta

from airflow.sdk import DAG

from nightshift_airflow.alerts import deadline
from nightshift_airflow.operators.command import CommandOperator
from nightshift_airflow.settings import airflow_settings
from nightshift_airflow.tasks import default_args, worker_command

place = airflow_settings()
SOON = timedelta(minutes=10)

with DAG(
    dag_id="smoke",
    description="Store, lake, worker, encoder, and how fresh the live model is",
    doc_md=__doc__,
    schedule=place.smoke_schedule,
    start_date=place.start_date,
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    default_args={**default_args(), "retries": 0, "execution_timeout": SOON},
    deadline=deadline(1.0),
    tags=["nightshift"],
) as dag:
    CommandOperator(task_id="store", command=["doctor", "--only", "store"])
    CommandOperator(task_id="lake", command=["doctor", "--only", "lake"])
    worker_command(task_id="worker", command=["doctor", "--only", "store", "lake", "encoder"])
    CommandOperator(task_id="freshness", command=["freshness", *place.as_of])
