"""Alerts of a running Airflow reach the chat: a failure with its cause, a night that is late."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from chat import Webhook, listening
from running_airflow import Api, command, wait_for
from small_night import small_night

from nightshift.settings import Settings
from nightshift_airflow.local.place import Place

FIVE_SECONDS = 5 / 3600

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def told(
    small_shop: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Settings, Webhook]]:
    """An Airflow that posts its alerts to a webhook, and waits five seconds for a night."""
    with listening() as hook, small_night(monkeypatch) as settings:
        monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__ALERT_URL", hook.url)
        monkeypatch.setenv("NIGHTSHIFT_AIRFLOW__DEADLINE_HOURS", str(FIVE_SECONDS))
        try:
            command("up")
            yield settings, hook
        finally:
            command("down")


def test_what_went_wrong_reaches_the_chat(told: tuple[Settings, Webhook]) -> None:
    settings, hook = told
    api = Api(Place.of(settings))

    nameless = api.trigger("nightly", {})
    assert api.wait(nameless) == "failed"
    (failure,) = wait_for(lambda: [text for text in hook.texts if "night failed:" in text])
    assert "This manual run names no night." in failure
    assert "Log: http://127.0.0.1" in failure

    late = {"night": "2017-11-20", "first_night": True, "dry_run": True}
    run = api.trigger("nightly", late)
    (alert,) = wait_for(
        lambda: [text for text in hook.texts if "not over" in text and _id(run) in text]
    )
    assert "its state is running" in alert
    assert api.wait(run) == "success"


def _id(run: str) -> str:
    """The beginning of a run's id: the rest is quoted in its path."""
    return run.rpartition("/")[2].partition("%")[0]
