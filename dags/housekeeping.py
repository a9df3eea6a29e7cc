"""
### Keeping the lake small

Removes from the lake what no later night, rollback, retraction or reader needs: nights older than
`retention.days` (counted back from the newest night, not from today), datasets that were made anew
since, and what killed runs left behind. Recipes, evaluations, verdicts and reports of every night
stay, and so does the registry. The same as `nightshift housekeeping`.

Where stages run as pods, pods whose task is over are deleted as well. (A pod also ends by itself at
its task's time limit.)

* **Try it** with *Dry run*: the log shows what would go, and why.
* **Clear** it whenever it failed: a sweep that was interrupted leaves nothing broken.

**Airflow's own metadata** (runs, task instances, XComs, logs of events) is not tidied here. That is
the work of `airflow db clean`, which needs the metadata database, and Airflow 3 keeps that away
from tasks on purpose. Run it by cron where the scheduler runs, or with the official Helm chart by
its `databaseCleanup`:

    airflow db clean --yes --skip-archive \\
        --clean-before-timestamp "$(date -u -d '90 days ago' +%FT%TZ)"
"""

from airflow.sdk import DAG, CronTriggerTimetable, Param

from nightshift_airflow.operators.command import CommandOperator
from nightshift_airflow.settings import airflow_settings
from nightshift_airflow.tasks import SHORT, default_args, reap_pods

place = airflow_settings()

with DAG(
    dag_id="housekeeping",
    description="Removes from the lake what is not needed any more",
    doc_md=__doc__,
    schedule=CronTriggerTimetable(place.housekeeping_schedule, timezone="UTC"),
    start_date=place.start_date,
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    params={
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Show what would go, and remove nothing.",
        )
    },
    default_args=default_args(),
    tags=["nightshift"],
) as dag:
    lake = CommandOperator(
        task_id="lake",
        command=["housekeeping", "{{ '--dry-run' if params.dry_run else '--no-dry-run' }}"],
        doc_md="`nightshift housekeeping`: remove what is not needed any more.",
        execution_timeout=SHORT,
    )
    if place.runner == "pod":
        reap_pods()
