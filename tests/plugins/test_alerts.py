"""Alerts: one line with the cause, posted where the settings say, and never in the way."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from chat import Webhook, listening
from pydantic import ValidationError

from nightshift_airflow import alerts
from nightshift_airflow.settings import AirflowSettings, airflow_settings


@pytest.fixture
def webhook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with listening() as hook:
        monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__ALERT_URL", hook.url)
        airflow_settings.cache_clear()
        yield hook


def context(map_index: int = -1) -> dict[str, Any]:
    instance = SimpleNamespace(
        dag_id="nightly",
        run_id="manual__1",
        task_id="finetune",
        map_index=map_index,
        log_url="http://airflow/log",
    )
    error = AirflowFailException(
        "finetune failed (exit 40):\nNo model state ends there. Hint: run it"
    )
    return {"ti": instance, "exception": error}


def test_a_failure_says_what_where_and_why(webhook: Webhook) -> None:
    alerts.Alert()(context())

    assert webhook.texts == [
        "Nightshift: nightly, run manual__1: finetune failed: finetune failed (exit 40): No model "
        "state ends there. Hint: run it Log: http://airflow/log"
    ]


def test_a_mapped_task_is_named_with_its_index() -> None:
    assert "finetune[3] failed" in alerts.failure(context(map_index=3))


@pytest.mark.parametrize("status", [404, 500])
def test_a_webhook_that_refuses_fails_nothing_and_stays_secret(
    webhook: Webhook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    webhook.status = status
    with caplog.at_level(logging.WARNING):
        assert alerts.send("it broke") is False

    assert "ALERT it broke" in caplog.text
    assert "could not be posted" in caplog.text
    assert "a-secret-path" not in caplog.text


def test_without_a_webhook_the_log_has_it(caplog: pytest.LogCaptureFixture) -> None:
    assert alerts.send("it broke") is False
    assert "ALERT it broke" in caplog.text


def test_a_night_that_is_late_is_told_but_a_backfill_waits_its_turn(webhook: Webhook) -> None:
    def late(run_type: str) -> str:
        run = {
            "dag_id": "nightly",
            "dag_run_id": f"{run_type}__1",
            "run_type": run_type,
            "state": "running",
        }
        return asyncio.run(alerts.late(8.0, context={"dag_run": run}))

    assert late("scheduled").startswith("nightly, run scheduled__1: not over 8 hours after")
    late("backfill")
    late("range")  # triggered by nightly_range: its nights wait for each other as well
    assert len(webhook.texts) == 1


def test_a_webhook_is_a_web_address() -> None:
    with pytest.raises(ValidationError, match="https://"):
        AirflowSettings(alert_url="file:///etc/passwd")
    for wrong in ("https://", "https://[x", "https://chat:port/hush", "https://chat/a hush"):
        with pytest.raises(ValidationError, match="https://") as raised:
            AirflowSettings(alert_url=wrong)
        assert "hush" not in str(raised.value)
    assert "hush" not in repr(AirflowSettings(alert_url="https://chat/hush"))


def test_a_webhook_that_talks_no_http_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__ALERT_URL", f"http://127.0.0.1:{port}/hush")
        airflow_settings.cache_clear()

        def babble() -> None:
            with server.accept()[0] as talking:
                talking.recv(1024)
                talking.sendall(b"220 smtp ready\r\n")

        threading.Thread(target=babble, daemon=True).start()
        assert alerts.send("it broke") is False

    assert "BadStatusLine" in caplog.text
    assert "hush" not in caplog.text
