"""The embedded server: it outlives who starts it, starts once, stops cleanly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from nightshift.errors import SettingsError, StoreError
from nightshift.settings import Settings
from nightshift.store import embedded
from nightshift.store.engine import begin, engine


def _command(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "nightshift.cli", *arguments],
        env={**os.environ, "NIGHTSHIFT_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _answer(process: subprocess.Popen[str]) -> dict[str, object]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    answer: dict[str, object] = json.loads(out.splitlines()[-1])
    return answer


def _is_alive(pid: int) -> bool:
    """Dead children of a finished process may stay as zombies where nothing reaps them."""
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()


def test_two_processes_that_start_at_once_share_one_server_and_a_third_stops_it(
    tmp_path: Path,
) -> None:
    home = tmp_path / ("a long folder name " * 5).strip()  # too long for a socket, with spaces
    home.mkdir()
    try:
        both = [_command(home, "store", "start") for _ in range(2)]
        answers = [_answer(process) for process in both]

        assert sorted(answer["started"] for answer in answers) == [False, True]  # type: ignore[type-var]
        assert answers[0]["pid"] == answers[1]["pid"]
        assert len(str(answers[0]["socket"])) < embedded.MAX_SOCKET_PATH
        with begin(Settings(home=home)) as connection:
            assert connection.execute(text("show listen_addresses")).scalar() == ""

        assert _answer(_command(home, "store", "stop")) == {"stopped": True}
        assert not _is_alive(int(str(answers[0]["pid"])))
        assert not Path(str(answers[0]["socket"])).exists()
        assert _answer(_command(home, "store", "status"))["running"] is False
    finally:
        embedded.stop(Settings(home=home))


def test_a_database_name_cannot_carry_sql() -> None:
    with pytest.raises(StoreError, match="no name for a database"):
        embedded.url_for(Settings(), 'shop"; drop database x')


def test_an_unreachable_store_is_a_clear_error_without_the_password() -> None:
    settings = Settings(store={"url": "postgresql+psycopg2://shop:geheim@127.0.0.1:1/shop"})

    with pytest.raises(StoreError, match="cannot be reached") as caught:
        engine(settings).connect()

    assert "geheim" not in str(caught.value) + caught.value.as_json()
    assert caught.value.exit_code == 10


@pytest.mark.parametrize("url", ["sqlite:///x.db", "not a url", "postgresql+nodriver://x/y"])
def test_a_url_that_is_not_postgres_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match=r"store\.url"):
        engine(Settings(store={"url": url}))


def test_a_store_without_the_views_says_what_to_run(settings: Settings) -> None:
    with (
        pytest.raises(StoreError, match="nightshift store migrate"),
        begin(settings) as connection,
    ):
        connection.execute(text("select * from nightshift.events_v"))


def test_the_url_is_shown_without_the_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from nightshift.cli import main

    monkeypatch.setenv("NIGHTSHIFT_STORE__URL", "postgresql://shop:geheim@db.example/shop")

    assert main(["store", "url"]) == 0

    assert capsys.readouterr().out.strip() == "postgresql://shop:***@db.example/shop"
