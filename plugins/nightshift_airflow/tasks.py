"""The tasks that `dags/nightly.py` is made of, so that the file itself reads like the design."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import TaskGroup, Variable, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from nightshift.errors import NightshiftError, UsageError
from nightshift.lake import Lake
from nightshift.night import Night, nights_between, parse_time
from nightshift.settings import Settings
from nightshift.stages import STAGES, parts_of
from nightshift_airflow.alerts import RANGE, Alert
from nightshift_airflow.console import say
from nightshift_airflow.operators.command import CommandOperator
from nightshift_airflow.operators.outcome import failure_of
from nightshift_airflow.operators.stage import RESOLVER
from nightshift_airflow.resolver import Run, extras_of, run_of
from nightshift_airflow.settings import airflow_settings

LONG = timedelta(hours=6)
"""For what generates or trains: a night has to end before the next one."""
SHORT = timedelta(hours=2)


ORPHAN_SECONDS = 900.0
"""A younger pod without a task is left alone: its task may just be ending."""
SAMPLES_OFF = "nightshift_samples_off"
"""The Airflow variable that turns samples off for every night, until it is set back."""


def samples_are_off() -> bool:
    """The switch of this installation: for the moment when samples are suspected of harm."""
    return str(Variable.get(SAMPLES_OFF, default="")).strip().lower() in ("true", "1", "yes", "on")


def operator_class() -> Any:
    """The stage operator of this installation; Kubernetes is imported only where it is used."""
    if airflow_settings().runner == "pod":
        from nightshift_airflow.operators.pod import PodStageOperator

        return PodStageOperator
    from nightshift_airflow.operators.stage import StageOperator

    return StageOperator


def group(name: str, tooltip: str) -> Any:
    """Tasks that stand together in the graph; their names stay as they are."""
    return TaskGroup(name, tooltip=tooltip, prefix_group_id=False)


def stage(name: str, **kwargs: Any) -> Any:
    """One task that runs one stage."""
    return operator_class()(**_common(name), **kwargs)


def stage_for_each(name: str, parts: Any, **kwargs: Any) -> Any:
    """One task per part of a stage: a shard, or an arm and its seed."""
    label = " ".join(f"{{{{ task.parts['{part}'] }}}}" for part in STAGES[name].parts)
    mapped = operator_class().partial(**_common(name), map_index_template=label, **kwargs)
    return mapped.expand(parts=parts)


def worker_command(**kwargs: Any) -> Any:
    """A command where the stages run: a process, or a pod."""
    if airflow_settings().runner == "pod":
        from nightshift_airflow.operators.pod_command import PodCommandOperator

        return PodCommandOperator(**kwargs)
    return CommandOperator(**kwargs)


def _common(name: str) -> dict[str, Any]:
    heavy = STAGES[name].gpu
    # What `gather` counts against the failure budget is no alert, shard by shard.
    tolerated = {"on_failure_callback": None} if name == "generate" else {}
    return {
        **tolerated,
        "task_id": name,
        "stage": name,
        "doc_md": f"`nightshift {name}`: {STAGES[name].title}.",
        "execution_timeout": LONG if heavy else SHORT,
        **({"pool": airflow_settings().gpu_pool} if heavy else {}),
    }


def default_args() -> dict[str, Any]:
    """What every task has: retries with doubled waits, since a rerun does no work twice."""
    place = airflow_settings()
    return {
        "owner": "nightshift",
        "retries": place.retries,
        "retry_delay": timedelta(seconds=place.retry_seconds),
        "retry_exponential_backoff": True,
        "max_retry_delay": timedelta(minutes=30),
        "on_failure_callback": Alert(),
    }


@task(task_id=RESOLVER)
def resolve_night(ahead: bool = False, **context: Any) -> dict[str, Any]:
    """Say which night this run is about: from the form, its data interval, or an asset's event.

    Args:
        ahead: the day on which a scheduled run's interval ends (see `resolver.resolve`).
    """
    off = samples_are_off()
    if off:
        say(f"samples are off: the Airflow variable {SAMPLES_OFF} says so")
    try:
        run = run_of(context, samples_off=off, ahead=ahead)
    except UsageError as error:
        raise AirflowFailException(str(error)) from None
    start, end = run.night.start, run.night.end
    skipped = f"; skipped: {run.skip}" if run.skip else ""
    say(f"night {run.night.key}: [{start:%Y-%m-%d %H:%M}, {end:%Y-%m-%d %H:%M}) UTC{skipped}")
    return run.to_json()


@task
def shard_names(run: Any) -> list[dict[str, str]]:
    """The names of the shards that tonight's plan is cut into; a dry run ends here."""
    asked = Run.from_json(run)
    names = _parts("generate", asked)
    plan = _plan(asked)
    say(f"plan: {len(names)} shards")
    for line in _estimate(asked, plan):
        say(line)
    return [] if asked.dry else names


@task
def arm_names(run: Any) -> list[dict[str, str]]:
    """The arms of tonight's blend with their seeds: one training each."""
    return _parts("finetune", Run.from_json(run))


@task
def nights_asked(**context: Any) -> list[dict[str, Any]]:
    """One run of `nightly` per day of the form's range; only the first can be the first night."""
    asked = dict(context["params"])
    days = parse_time(asked.pop("from")), parse_time(asked.pop("to"))
    first = asked.pop("first_night")
    if days[1] < days[0]:
        raise AirflowFailException("The range ends before it starts. Hint: swap From and To.")
    return [
        {
            "trigger_run_id": f"{RANGE}{night.key}__{context['run_id']}",
            "conf": {
                **asked,
                "night": night.key,
                "first_night": bool(first and not number),
            },
        }
        for number, night in enumerate(nights_between(*days))
    ]


@task(task_id="offer")
def offer(**context: Any) -> dict[str, Any]:
    """What a night has to offer: the one of the form or of the asset's events, or the newest.

    Skips when nothing waits for a person.
    """
    from nightshift.registry.approval import REJECTED, ROLLED_BACK, candidate

    named = [str(extra["night"]) for extra in extras_of(context) if extra.get("night")]
    asked = str(context["params"].get("night") or "").strip()
    nights = [Night.parse(text) for text in ([asked] if asked else named)]
    try:
        lake = Lake.of(Settings.load())
        found = candidate(lake, max(nights, key=lambda night: night.end, default=None))
    except NightshiftError as error:
        raise failure_of(error) from None
    say(f"night {found.night}, the {found.line} line: {found.standing}")
    # Whoever triggers it by hand may change a no into a yes.
    again = not named and found.standing in (REJECTED, ROLLED_BACK)
    if not found.waits and not again:
        raise AirflowSkipException(f"nothing waits: night {found.night} is {found.standing}")
    return {name: getattr(found, name) for name in ("night", "line", "digest", "card")}


@task(task_id="pods", execution_timeout=SHORT)
def reap_pods(**context: Any) -> dict[str, Any]:
    """Delete the pods that nobody waits for any more."""
    from nightshift_airflow.pods.living import forget, task_is_alive
    from nightshift_airflow.pods.reaper import reap

    forget()
    dry = bool(context["params"].get("dry_run"))
    return reap(airflow_settings(), alive=task_is_alive, grace_seconds=ORPHAN_SECONDS, dry=dry)


def _parts(name: str, run: Run) -> list[dict[str, str]]:
    settings = run.settings()
    try:
        return parts_of(name, Lake.of(settings), run.night, settings)
    except NightshiftError as error:
        raise failure_of(error) from None


def _estimate(run: Run, plan: dict[str, Any]) -> list[str]:
    """What the plan would make and cost, as `nightshift plan` shows it."""
    from nightshift.commands.estimate import paces
    from nightshift.commands.planning import estimate_lines, estimates

    settings = run.settings()
    rows = estimates(plan, settings, paces(Lake.of(settings)))
    return list(estimate_lines(rows, plan, settings))


def _plan(run: Run) -> dict[str, Any]:
    """Counts and estimate of tonight's plan."""
    settings = run.settings()
    lake = Lake.of(settings)
    manifest = lake.get("plan", STAGES["plan"].partition(run.night, {}))
    return {**manifest.stats, **lake.read_json(manifest, "plan.json")}
