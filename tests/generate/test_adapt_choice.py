"""Which adapter a night writes with: the newest that knows nothing the night does not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from adapting import QUICK, adapter_of

from factories import NIGHT
from nightshift import stages
from nightshift.commands.standing import nights_in, standings
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import STAGES
from nightshift.stages.inputs import newest_adapter

DAY = timedelta(days=1)


def day(offset: int) -> Night:
    return Night(NIGHT.start + offset * DAY, NIGHT.end + offset * DAY)


def chosen(lake: Lake, night: Night, settings: Settings) -> str | None:
    found = newest_adapter(lake, night, settings, {}).get("adapter")
    return None if found is None else found.partition


def test_the_newest_whose_cut_lies_no_later(lake: Lake, settings: Settings) -> None:
    assert chosen(lake, NIGHT, settings) is None
    for offset in (-9, -2, 0, 1, 5):
        adapter_of(lake, settings, day(offset))
    adapter_of(lake, settings, Night(NIGHT.start - 12 * DAY, NIGHT.start - DAY))  # one long night

    assert chosen(lake, NIGHT, settings) == f"night={NIGHT.key}"
    assert chosen(lake, day(-1), settings) == f"night={day(-2).key}"
    assert chosen(lake, day(4), settings) == f"night={day(1).key}"
    assert chosen(lake, day(90), settings) == f"night={day(5).key}"
    assert chosen(lake, day(-10), settings).startswith("night=20170508T")
    assert chosen(lake, day(-13), settings) is None


def test_what_a_night_withholds_its_adapter_must_have_withheld(
    lake: Lake, settings: Settings
) -> None:
    """Else it may know by heart what somebody typed to find an item that nobody may know."""
    withhold = {"share": 0.1, "salt": 3}
    more = settings.with_({"collect": {"withhold": [withhold]}})
    adapter_of(lake, settings, day(-1))
    assert chosen(lake, NIGHT, settings) is not None
    assert chosen(lake, NIGHT, more) is None

    adapter_of(lake, more, day(-3), withheld=[withhold])
    assert chosen(lake, NIGHT, more) == f"night={day(-3).key}"
    assert chosen(lake, NIGHT, settings) == f"night={day(-1).key}"


def test_an_inner_night_has_none(lake: Lake, settings: Settings) -> None:
    """It withholds items that every adapter has read about."""
    adapter_of(lake, settings, day(-30))
    assert chosen(lake, Night(NIGHT.start, NIGHT.end, inner=True), settings) is None


def test_plan_and_shards_change_with_the_adapter_and_only_then(
    lake: Lake, settings: Settings
) -> None:
    only = settings.with_({"generate": {"strategies": ["text_neighbours"]}})
    plan = stages.run("plan", NIGHT, only).manifest
    [parts] = stages.parts_of("generate", lake, NIGHT, only)
    shard = stages.run("generate", NIGHT, only, parts).manifest
    assert "adapter" not in plan.inputs | shard.inputs

    adapter_of(lake, settings, day(1))  # it knows more than this night may
    assert not stages.run("plan", NIGHT, only.with_(QUICK)).worked
    assert not stages.run("generate", NIGHT, only.with_(QUICK), parts).worked

    adapter = adapter_of(lake, settings, day(-1))
    assert standings(lake, NIGHT, only)["plan"].why == ["input changed (adapter)"]
    # A shard stays with the adapter of its plan.
    assert not stages.run("generate", NIGHT, only, parts).worked
    again = stages.run("plan", NIGHT, only)
    assert again.worked
    assert again.manifest.inputs["adapter"] == adapter.ref
    other = stages.run("generate", NIGHT, only, parts)
    assert other.worked
    assert other.manifest.inputs["adapter"] == adapter.ref
    # What no language model wrote is the same: its chunks were found.
    assert lake.read(other.manifest, "samples.parquet").equals(lake.read(shard, "samples.parquet"))


def test_no_night_lacks_an_adapter(lake: Lake, settings: Settings) -> None:
    assert "adapt" not in standings(lake, NIGHT, settings)
    later = f"snapshot/night={day(1).key}/_current.json"
    lake.write_bytes(later, b'{"key": "x", "digest": "y"}')
    assert nights_in(lake) == [NIGHT, day(1)]
    adapter_of(lake, settings, day(1))
    assert nights_in(lake) == [NIGHT]  # the other one has only been learnt up to
    adapter_of(lake, settings, NIGHT)
    assert nights_in(lake) == [NIGHT]  # it has vectors, too


def test_what_belongs_to_an_adapters_key(
    lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = STAGES["adapt"]
    inputs = stages.resolve_inputs(stage, lake, NIGHT, settings)

    def key(changes: dict[str, Any]) -> str:
        return stages.key_of(stage, NIGHT, settings.with_(changes), inputs, {})

    now = key({})
    for unrelated in (
        {"generate": {"budget": {"samples": 3}, "strategies": []}},
        {"home": "elsewhere"},
        {"inspection": {"max_rejected": 0.1}},
    ):
        assert key(unrelated) == now
    for changed in (
        {"adapt": {"rank": 2}},
        {"generate": {"llm_queries": {"typos": "model"}}},
        {"compute": {"threads": 7}},
    ):
        assert key(changed) != now
    monkeypatch.setattr("nightshift.generate.fingerprint.prompts_digest", lambda: "another pair")
    assert key({}) != now
