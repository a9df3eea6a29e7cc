"""
### The night

Copies the shop's events, writes the training samples that the shop is short of, inspects them,
trains a control on real rows and a challenger on real rows plus accepted samples, judges both on
the night's own events, and makes the better line live.

* **Trigger** it with a night in the form (`2017-11-20`; the very first one with *First night*).
* **Backfill** it: `airflow backfill create --dag-id nightly --from-date … --to-date …`.
  Nights find their order by the state in the lake that each one starts from.
* **Events** trigger it, too: whatever loads the shop's store emits the asset `nightshift_events`
  with `{"night": "2017-11-20"}` in its extra.
* **Clear** whatever failed: a stage whose dataset is there returns at once.
* **Samples off**: a switch in the form, or for every night the Airflow variable
  `nightshift_samples_off` = `true`.

However a night is asked for, it is the same night with the same result.
"""

from airflow.sdk import DAG, AssetOrTimeSchedule, CronDataIntervalTimetable, TriggerRule, chain

from nightshift.settings import Settings
from nightshift_airflow.alerts import deadline
from nightshift_airflow.assets import ACCEPTED, EVENTS, MODEL, RECOMMENDATIONS, SNAPSHOT
from nightshift_airflow.params import night_form
from nightshift_airflow.sensors.parent import WaitForParent
from nightshift_airflow.settings import airflow_settings
from nightshift_airflow.tasks import (
    arm_names,
    default_args,
    group,
    resolve_night,
    shard_names,
    stage,
    stage_for_each,
)

place = airflow_settings()

with DAG(
    dag_id="nightly",
    description="From the shop's events to an evaluated, published model",
    doc_md=__doc__,
    schedule=AssetOrTimeSchedule(
        timetable=CronDataIntervalTimetable(place.schedule, timezone="UTC"), assets=EVENTS
    ),
    start_date=place.start_date,
    catchup=place.catchup,
    is_paused_upon_creation=True,
    max_active_runs=place.max_active_runs,
    params=night_form(Settings.load()),
    default_args=default_args(),
    deadline=deadline(place.deadline_hours),
    tags=["nightshift"],
) as dag:
    night = resolve_night()

    with group("learn", "What the shop knew before the night"):
        collect = stage("collect", outlets=[SNAPSHOT])
        embed = stage("embed")

    # A shard that fails for good costs its samples, not the night: `gather` counts.
    with group("samples", "What the shop is short of, written and inspected"):
        plan = stage("plan")
        shards = shard_names(night)
        generate = stage_for_each("generate", shards)
        gather = stage("gather", trigger_rule=TriggerRule.ALL_DONE, needs="shard_names")
        inspect = stage("inspect", outlets=[ACCEPTED])

    with group("recipe", "How much samples weigh, from the state that the night before left"):
        parent = WaitForParent(task_id="wait_for_parent")
        tune = stage("tune")

    with group("lines", "Two models: real rows alone, and with accepted samples"):
        blend = stage("blend")
        arms = arm_names(night)
        finetune = stage_for_each("finetune", arms)

    with group("judge", "The night's own events: unseen until here, then the judge"):
        morning = stage("morning")
        evaluate = stage("evaluate")
        promote = stage("promote")

    with group("publish", "Both lines take the night in; the champion goes live"):
        refresh = stage("refresh", outlets=[MODEL])
        score = stage("score", outlets=[RECOMMENDATIONS])
        report = stage("report")

    chain(night, collect, embed, plan, shards, generate, gather, inspect, blend)
    chain(shards, parent, tune, blend)  # a dry run has ended before
    chain(blend, arms, finetune, morning, evaluate, promote, refresh, score, report)
