"""A DAG with one stage, and a task that asks Airflow who is alive; run by `test_pod_in_airflow`."""

import json
import os
import sys
from pathlib import Path

from airflow.sdk import DAG, chain, task

from nightshift_airflow.pods.living import task_is_alive
from nightshift_airflow.pods.reaper import reap
from nightshift_airflow.settings import airflow_settings
from nightshift_airflow.tasks import default_args, resolve_night, stage


@task
def sweep(**context):
    who = {"dag_id": "pod_dag", "run_id": context["run_id"], "map_index": "-1", "try_number": "1"}
    names = ("collect", "sweep", "no_such_task")
    alive = {name: task_is_alive({**who, "task_id": name}) for name in names}
    reaped = reap(airflow_settings(), alive=task_is_alive, grace_seconds=0)
    Path(os.environ["SWEPT"]).write_text(json.dumps({"alive": alive, "reaped": reaped}))


with DAG(
    dag_id="pod_dag",
    schedule=None,
    params={"night": None, "first_night": False, "dry_run": False},
    default_args=default_args(),
) as dag:
    chain(resolve_night(), stage("collect"), sweep())

if __name__ == "__main__":
    run = dag.test(logical_date=None, run_conf={"night": "2017-11-20", "first_night": True})
    sys.exit(str(run.state) != "success")
