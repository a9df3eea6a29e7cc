"""`nightshift status`: what is done, what is stale and why, what is missing, what is live."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from made_up_nights import write_stage
from nightshift import stages
from nightshift.cli import main
from nightshift.commands.standing import MISSING, STALE, night_of, nights_in, standings
from nightshift.lake import Lake
from nightshift.night import Night, parse_time
from nightshift.registry.alias import move_alias
from nightshift.settings import Settings

Nights = tuple[Settings, list[Night]]


def states(settings: Settings, night: Night) -> dict[str, str]:
    found = standings(Lake.of(settings), night, settings)
    return {name: standing.state for name, standing in found.items()}


def settings_changed(stage: str) -> str:
    return f"settings changed ({', '.join(stages.STAGES[stage].sections)})"


def test_a_whole_night_is_done_up_to_what_has_not_run(two_nights: Nights) -> None:
    settings, (first, second) = two_nights

    done = states(settings, first)
    begun = states(settings, second)

    assert {name for name, state in done.items() if state != "done"} == {"report"}
    assert done["report"] == MISSING
    assert [name for name, state in begun.items() if state == "done"] == [
        "collect",
        "embed",
        "plan",
        "generate",
        "gather",
        "inspect",
    ]


def test_the_first_night_needs_no_flag_to_be_recognised(two_nights: Nights) -> None:
    settings, (first, _) = two_nights

    assert settings.night.first is None
    assert states(settings, first)["tune"] == "done"


def test_changed_settings_make_their_stage_stale_and_all_after_it(two_nights: Nights) -> None:
    settings, (first, _) = two_nights
    changed = settings.with_({"blend": {"ttl_days": 3}})

    found = standings(Lake.of(changed), first, changed)

    assert all(found[name].state == "done" for name in ("inspect", "tune", "morning"))
    assert found["blend"].why == [settings_changed("blend")]
    assert found["finetune"].why == ["after blend"]
    assert found["promote"].why == ["after evaluate"]
    assert all(found[name].state == STALE for name in ("evaluate", "refresh", "score"))


def test_a_dataset_made_anew_makes_its_readers_stale_by_their_input(two_nights: Nights) -> None:
    settings, (first, _) = two_nights
    lake = Lake.of(settings)
    write_stage(lake, settings, first, "embed", lambda ctx: {"encoder": "another"})

    found = standings(lake, first, settings)

    assert found["embed"].state == "done"
    assert found["plan"].why == ["input changed (vectors)"]


def test_a_new_version_of_a_stage_makes_it_stale(
    two_nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataclasses import replace

    settings, (first, _) = two_nights
    now = stages.STAGES["blend"]
    monkeypatch.setitem(stages.STAGES, "blend", replace(now, version="99"))

    why = standings(Lake.of(settings), first, settings)["blend"].why
    assert why == [f"stage version {now.version}, now 99"]


def test_a_shard_that_failed_is_counted_and_makes_nothing_stale(two_nights: Nights) -> None:
    settings, (_, second) = two_nights
    lake = Lake.of(settings)
    lake.delete(f"shard/night={second.key}/shard=negatives-000/_current.json")
    write_stage(lake, settings, second, "gather", lambda ctx: {"made": {}, "failed": ["x"]})

    found = standings(lake, second, settings)

    assert found["generate"].cell == "done 3/4"
    assert found["gather"].state == "done"


def test_the_table_shows_nights_stages_verdict_and_what_is_next(
    two_nights: Nights, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "2017-05-20", "2017-05-21"]
    assert any(line.split() == ["inspect", "done", "done"] for line in lines)
    assert any(line.split() == ["tune", "done", "-"] for line in lines)
    assert any(line.split() == ["verdict", "control", "-"] for line in lines)
    assert "live: nothing yet" in lines
    assert lines[-1] == "next: nightshift night --start 2017-05-20 --first"  # for its report
    assert max(map(len, lines)) <= 100


def test_a_later_night_goes_on_without_first(
    two_nights: Nights, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["status", "--from", "2017-05-21"])

    assert capsys.readouterr().out.splitlines()[-1] == "next: nightshift night --start 2017-05-21"


def test_what_is_live_is_said(two_nights: Nights, capsys: pytest.CaptureFixture[str]) -> None:
    settings, (first, _) = two_nights
    lake = Lake.of(settings)
    state = lake.get("state", stages.state_partition(first.end))
    move_alias(lake, state, "real", first)

    main(["status"])

    assert "live: the real line of night 2017-05-20 (entry 1, move)" in capsys.readouterr().out


def test_a_range_shows_its_gaps_and_json_has_the_reasons(
    two_nights: Nights, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "status.json"

    changed = ["--set", "inspection.max_query_chars=40"]
    dates = ["--from", "2017-05-20", "--to", "2017-05-23"]

    code = main(["status", *dates, "--json", str(out), *changed])

    assert code == 0
    told = json.loads(out.read_text())
    assert list(told["nights"]) == ["2017-05-20", "2017-05-21", "2017-05-22", "2017-05-23"]
    assert told["nights"]["2017-05-20"]["inspect"]["why"] == [settings_changed("inspect")]
    assert told["nights"]["2017-05-23"]["collect"]["state"] == "missing"
    assert told["live"] is None
    shown = capsys.readouterr().out
    assert f"stale: 2017-05-20 inspect: {settings_changed('inspect')}" in shown


def test_an_empty_lake_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NIGHTSHIFT_HOME", str(tmp_path))

    assert main(["status"]) == 0

    shown = capsys.readouterr().out
    assert "is empty" in shown
    assert "nightshift load complete-journey" in shown
    assert "nightshift night --start" in shown


def test_the_inner_nights_of_tuning_are_no_nights(two_nights: Nights) -> None:
    settings, nights = two_nights
    lake = Lake.of(settings)
    left = Night(parse_time("2017-04-01"), nights[0].start, inner=True)
    lake.write_bytes(f"snapshot/night={left.key}/_current.json", b'{"key": "x", "digest": "y"}')

    assert nights_in(lake) == nights


def test_partition_keys_come_back_as_nights() -> None:
    for text in ("2017-11-20", "2017-11-20/2017-11-27", "2017-11-20T06:30/2017-11-20T18:00"):
        night = Night.parse(text)
        assert night_of(night.key) == night


def test_deep_finds_rows_that_came_late(small_shop: Settings) -> None:
    from sqlalchemy import text

    from nightshift.store.engine import begin

    night = Night.parse("2017-11-20")
    lake = Lake.of(small_shop)
    stages.run("collect", night, small_shop)

    fresh = standings(lake, night, small_shop, deep=True)["collect"]
    with begin(small_shop) as connection:
        connection.execute(text("delete from nightshift.events where occurred_at < '2017-10-05'"))
    shallow = standings(lake, night, small_shop)["collect"]
    deep = standings(lake, night, small_shop, deep=True)["collect"]

    assert fresh.state == "done"
    assert shallow.state == "done"
    assert (deep.state, deep.why) == (STALE, ["the event store has changed"])
