"""The stage operator against the real command line, a real lake and a real store."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow_context import XComs, context_of

from nightshift.lake import Lake
from nightshift.lease import held
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import STAGES
from nightshift_airflow.operators.outcome import cause, result_of_process
from nightshift_airflow.operators.stage import StageOperator, stage_environment
from nightshift_airflow.process import Ended
from nightshift_airflow.resolver import Run

RUN = Run(Night.parse("2017-11-20"), first=True)
DRY = Run(RUN.night, dry=True)
XCOM_BYTES = 1000
"""XCom carries places and counts: a result fits on a few lines, whatever the shop's size."""


def operator(stage: str, **kwargs: Any) -> StageOperator:
    return StageOperator(task_id=stage, stage=stage, **kwargs)


def test_a_stage_runs_once_and_returns_where_its_dataset_lies(small_shop: Settings) -> None:
    first = operator("collect").execute(context_of(RUN))
    second = operator("collect").execute(context_of(RUN))

    manifest = Lake.of(small_shop).get("snapshot", "night=2017-11-20")
    assert first["digest"] == second["digest"] == manifest.digest
    assert first["uri"].endswith(manifest.folder)
    assert (first["worked"], second["worked"]) == (True, False)
    assert len(json.dumps(first)) < XCOM_BYTES


def test_a_missing_input_fails_at_once_with_the_way_out(small_shop: Settings) -> None:
    with pytest.raises(AirflowFailException) as raised:
        operator("plan").execute(context_of(RUN))

    assert "needs the dataset 'snapshot'" in str(raised.value)
    assert "Hint: run `nightshift collect --night 2017-11-20`" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_unreachable_store_may_be_retried(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_STORE__URL", "postgresql+psycopg2://x@127.0.0.1:1/none")

    with pytest.raises(AirflowException, match=r"collect failed \(exit 10\)") as raised:
        operator("collect").execute(context_of(RUN))

    assert not isinstance(raised.value, AirflowFailException)


def test_parts_and_settings_of_the_form_reach_the_command(settings: Settings) -> None:
    run = Run(RUN.night, sets=("generate.no_such_key=1",))

    with pytest.raises(AirflowFailException, match=r"generate\.no_such_key"):
        operator("generate", parts={"shard": "negatives-000"}).execute(context_of(run))


def test_killing_the_task_ends_the_stage(small_shop: Settings) -> None:
    """The stage waits for a lease that this test holds, so it is surely alive when killed."""
    task = operator("collect")
    with held(Lake.of(small_shop), "2017-11-20/collect", wait_seconds=1, done=lambda: False):
        failed: list[BaseException] = []
        thread = threading.Thread(target=_catching(task, failed))
        thread.start()
        stage = _wait_for_child("collect")

        task.on_kill()
        thread.join(20)

    assert not thread.is_alive()
    assert "SIGTERM" in str(failed[0])
    assert not stage.is_running()


def _catching(task: StageOperator, failed: list[BaseException]) -> Callable[[], None]:
    def run() -> None:
        try:
            task.execute(context_of(RUN))
        except AirflowException as error:
            failed.append(error)

    return run


def _wait_for_child(stage: str) -> psutil.Process:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in psutil.Process().children():
            if stage in child.cmdline() and "nightshift.cli" in child.cmdline():
                time.sleep(0.5)  # past its imports, into the wait
                return child
        time.sleep(0.02)
    raise AssertionError("the stage did not start")


def test_an_exit_status_without_a_dataset_is_no_success(settings: Settings) -> None:
    claims = {"stage": "collect", "digest": "0" * 64, "uri": "file:///nowhere"}

    with pytest.raises(AirflowException, match="no such dataset snapshot/night=2017-11-20"):
        result_of_process("collect", RUN, {}, Ended(0, [json.dumps(claims)], []))


def test_an_output_without_a_result_is_no_success(settings: Settings) -> None:
    with pytest.raises(AirflowException, match="not JSON"):
        result_of_process("collect", RUN, {}, Ended(0, ["done!"], []))


@pytest.mark.parametrize(
    ("ended", "message"),
    [
        (Ended(-9, [], []), "collect was killed by SIGKILL. Hint: often memory"),
        (
            Ended(1, [], ["Traceback …", "ValueError: x", ""]),
            "collect failed (exit 1): ValueError: x",
        ),
        (Ended(1, [], []), "collect failed (exit 1): no output"),
        (
            Ended(20, [], ["nightshift: bad row. Hint: fix it", "later noise"]),
            "bad row. Hint: fix it",
        ),
    ],
)
def test_the_cause_is_one_line(ended: Ended, message: str) -> None:
    assert message in cause("collect", ended)


def test_gather_does_not_go_on_with_another_nights_plan(settings: Settings) -> None:
    gather = operator("gather", needs="shard_names")

    with pytest.raises(AirflowFailException, match="shard_names"):
        gather.execute(context_of(RUN))
    with pytest.raises(AirflowFailException, match="shard_names"):
        gather.execute(context_of(DRY))  # a dry run whose plan failed is no success


def test_a_dry_run_ends_with_the_plan(settings: Settings) -> None:
    gather = operator("gather", needs="shard_names")

    with pytest.raises(AirflowSkipException, match="dry run"):
        gather.execute(context_of(DRY, shard_names=[]))


def test_a_stage_sees_nothing_of_airflow(tmp_path: Path) -> None:
    seen = stage_environment(
        {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "secret",
            "AIRFLOW_HOME": "x",
            "__AIRFLOW_SUPERVISOR_FD": "3",
            "NIGHTSHIFT_AIRFLOW__RUNNER": "pod",
            "NIGHTSHIFT_HOME": "/home",
            "PATH": os.defpath,
        }
    )

    assert set(seen) == {"NIGHTSHIFT_HOME", "PATH", "GX_ANALYTICS_ENABLED", "PYTHONUNBUFFERED"}


def test_every_stage_of_the_table_can_be_a_task() -> None:
    for stage in STAGES.values():
        parts = dict.fromkeys(stage.parts, "x")
        assert RUN.arguments(stage.name, parts)[:3] == [stage.name, "--night", "2017-11-20"]


def test_without_a_night_it_fails_for_good_and_says_where_to_look() -> None:
    """`gather` starts after any failure, that of the resolver included."""
    gather = operator("gather", needs="shard_names")

    with pytest.raises(AirflowFailException, match=r"No night was resolved; .*'night'"):
        gather.execute({"ti": XComs({}), "outlet_events": {}})


def test_a_run_with_nothing_to_do_is_skipped_task_by_task() -> None:
    nothing = Run(Night.parse("2026-11-20"), skip="the shop is history")

    for task in (operator("collect"), operator("gather", needs="shard_names")):
        with pytest.raises(AirflowSkipException, match="history"):
            task.execute(context_of(nothing))
