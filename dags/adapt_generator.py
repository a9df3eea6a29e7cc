"""
### The generator learns the shop

Lets the language model that writes samples learn the shop's own texts: which searches, reviews and
descriptions go with which products. A week's worth of customers' words becomes a small adapter
(LoRA), filed under the night that it learnt up to. Every night from then on writes with the newest
adapter that knows nothing the night does not; nights before it are as they were.

A scheduled run learns all that lies before the day on which it runs. By hand, name the night to
learn up to, or **backfill** a range for a shop whose nights lie in the past.
"""

from airflow.sdk import DAG, CronDataIntervalTimetable, Param, chain

from nightshift_airflow.params import NIGHT_PATTERN
from nightshift_airflow.settings import airflow_settings
from nightshift_airflow.tasks import default_args, resolve_night, stage

place = airflow_settings()

with DAG(
    dag_id="adapt_generator",
    description="Weekly: the language model learns the shop's own texts",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(place.adapt_schedule, timezone="UTC"),
    start_date=place.start_date,
    catchup=False,
    is_paused_upon_creation=True,
    max_active_runs=1,
    params={
        "night": Param(
            None,
            type=["string", "null"],
            pattern=NIGHT_PATTERN,
            title="Night",
            description="A date (2017-11-20): what lies before it is learnt. "
            "A scheduled run takes the day it runs on.",
        )
    },
    default_args=default_args(),
    tags=["nightshift"],
) as dag:
    chain(resolve_night(ahead=True), stage("collect"), stage("adapt"))
