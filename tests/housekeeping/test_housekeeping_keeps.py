"""What stays after a sweep: whole nights, and all that nights, rollbacks and retractions need."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from small_lake import (
    FIRST,
    LATER,
    WRITERS,
    broken,
    inner_of,
    manifests,
    night_number,
    objects,
    settings_for,
    states_of,
    write_night,
    write_nights,
)

from factories import commit
from made_up_nights import write_stage
from nightshift.errors import DatasetMissing, SettingsError
from nightshift.evaluate.pool import trailing
from nightshift.housekeeping import Accounts, housekeep
from nightshift.lake import Lake
from nightshift.registry.alias import history, rollback
from nightshift.registry.log import verdicts
from nightshift.registry.retract import retract
from nightshift.retractions import Rule
from nightshift.settings import RetentionSettings, Settings
from nightshift.stages import Stage, state_partition

KEPT = [night_number(4), night_number(5)]
GONE = [night_number(number) for number in range(4)]


def swept(settings: Settings, **kwargs: object) -> Accounts:
    return housekeep(settings, now=time.time() + LATER, **kwargs)  # type: ignore[arg-type]


def test_every_dataset_that_stays_is_whole(six_nights: Settings, lake: Lake) -> None:
    before = len(manifests(lake))

    accounts = swept(six_nights)

    assert broken(lake) == []
    assert len(manifests(lake)) == before - sum(
        row.gone for kind, row in accounts.rows.items() if kind not in {"leases", "scratch"}
    )
    assert accounts.freed > 0


def test_the_last_nights_stay_in_full_and_nothing_of_them_is_stale(six_nights: Settings) -> None:
    swept(six_nights)

    for night in KEPT:
        assert states_of(six_nights, night) == {"done"}


def test_of_earlier_nights_the_small_evidence_stays(six_nights: Settings, lake: Lake) -> None:
    swept(six_nights)

    for night in GONE:
        found = {m.dataset for m in manifests(lake) if m.partition.startswith(f"night={night.key}")}
        of_live = {"blend", "recommendations", "snapshot", "vectors", "morning"}
        assert found - of_live == {"recipe", "evaluation", "verdict", "report"}
        assert (
            found >= of_live or night == GONE[0] or night == GONE[1]
        )  # four states were live last
    assert [v["night"] for v in verdicts(lake) if v["current"]] == [
        night_number(number).key for number in range(6)
    ]


def test_a_file_that_a_kept_snapshot_shares_outlives_its_dataset(
    six_nights: Settings, lake: Lake
) -> None:
    shared = lake.get("snapshot", f"night={KEPT[0].key}").file("events/2017-05-20.json")
    assert shared.path.startswith(f"snapshot/night={night_number(1).key}/")

    swept(six_nights)

    assert lake.find("snapshot", f"night={night_number(1).key}") is None
    assert lake.local_path(shared).is_file()
    left = [p for p in objects(lake) if p.startswith(f"snapshot/night={night_number(1).key}/")]
    assert left == [shared.path]


def test_what_was_shared_goes_when_its_last_reader_goes(six_nights: Settings, lake: Lake) -> None:
    swept(six_nights)
    write_nights(six_nights, 6, since=6)

    swept(six_nights)

    early = tuple(f"snapshot/night={night.key}/" for night in GONE)
    assert not any(path.startswith(early) for path in objects(lake))
    assert broken(lake) == []


def test_the_next_night_finds_everything_and_pools_as_before(
    six_nights: Settings, lake: Lake
) -> None:
    swept(six_nights)

    write_night(six_nights, night_number(6))

    assert states_of(six_nights, night_number(6)) == {"done"}
    evaluation = lake.get("evaluation", f"night={night_number(6).key}")
    previous = lake.get_ref(evaluation.inputs["previous"])
    assert len(trailing(lake, previous, recipe_id="one", nights=6)) == 5
    carried = lake.read(lake.get("blend", f"night={night_number(6).key}"), "challenger.parquet")
    assert set(carried["night"]) == {night_number(5).key, night_number(6).key}


def test_pooled_evaluations_stay_when_evaluations_are_no_evidence(
    six_nights: Settings, lake: Lake
) -> None:
    thrifty = six_nights.with_({"retention": {"evidence": ["verdict"]}})

    swept(thrifty)

    nights = sorted(m.partition for m in manifests(lake) if m.dataset == "evaluation")
    # Kept nights 4 and 5, the one pooled with night 4, and those behind the states that were live.
    assert nights == [f"night={night_number(number).key}" for number in (2, 3, 4, 5)]
    assert broken(lake) == []
    assert states_of(thrifty, KEPT[0]) == {"done"}


def test_rollback_reaches_the_states_that_were_live_last(six_nights: Settings, lake: Lake) -> None:
    swept(six_nights)

    assert len(history(lake)) == 6
    for number in (3, 4, 5, 6):
        entry = rollback(lake, to=number, reason="a test")
        state = lake.at_key("state", *entry.state)
        assert state is not None
        assert lake.verify(state) == []
        for read in ("snapshot", "vectors", "morning", "recipe"):  # by `nightshift serve`
            assert lake.verify(lake.get_ref(state.inputs[read])) == []
        served = lake.get("recommendations", f"night={entry.night}")
        assert served.inputs["state"].digest == entry.digest
        assert lake.verify(served) == []
    with pytest.raises(DatasetMissing, match="no longer in the lake"):
        rollback(lake, to=2, reason="a test")


def test_what_was_rolled_back_to_stays_for_good(six_nights: Settings, lake: Lake) -> None:
    wanted = rollback(lake, to=1, reason="a test")

    swept(six_nights)

    assert lake.at_key("state", *wanted.state) is not None


def test_retractions_find_the_samples_and_models_of_all_that_may_be_live(
    six_nights: Settings, lake: Lake
) -> None:
    before = retract(lake, Rule(night=KEPT[1].key), reason="before")
    swept(six_nights)

    after = retract(lake, Rule(night=KEPT[1].key), reason="after")
    rolled = retract(lake, Rule(night=night_number(3).key), reason="a state for rollback")

    for what in ("samples", "blends", "states"):
        assert after[what] == before[what]
    assert after["samples"] == 5
    assert any(state_partition(night_number(3).end) in state for state in rolled["states"])
    assert len(lake.names("registry/retractions")) == 3


def test_the_inner_night_of_the_last_tuning_stays(six_nights: Settings, lake: Lake) -> None:
    swept(six_nights)

    last, early = inner_of(night_number(3)), inner_of(FIRST)
    assert lake.find("snapshot", f"night={last.key}") is not None
    assert lake.find("snapshot", f"night={early.key}") is None
    assert broken(lake) == []


def test_a_dry_run_says_the_same_and_removes_nothing(six_nights: Settings, lake: Lake) -> None:
    before = objects(lake)

    would = swept(six_nights, dry_run=True).to_json()
    assert objects(lake) == before
    did = swept(six_nights).to_json()

    assert would | {"dry_run": False} == did
    sizes = len(before) - len(objects(lake))
    assert sizes > 0


def test_bytes_freed_are_the_bytes_that_are_gone(six_nights: Settings, lake: Lake) -> None:
    def size() -> int:
        kinds = [n for n in lake.names("") if n not in {"leases", "_scratch"}]
        return sum(one.bytes for name in kinds for one in lake.stored(name))

    before = size()
    accounts = swept(six_nights)

    pointers = size() - before + accounts.freed
    assert -10_000 < pointers <= 0  # a pointer belongs to no dataset: 150 bytes each
    assert sum(r.kept_bytes for k, r in accounts.rows.items() if k != "leases") <= size()


def test_a_second_run_has_nothing_to_do(six_nights: Settings, lake: Lake) -> None:
    swept(six_nights)
    after = objects(lake)

    again = swept(six_nights)

    assert again.freed == 0
    assert objects(lake) == after


def test_no_state_no_age(tmp_path: Path) -> None:
    """A lake of snapshots alone, or of nights that failed, is a lake of nights to be finished."""
    settings = settings_for(tmp_path)
    lake = Lake.of(settings)
    for number in range(4):
        write_stage(lake, settings, night_number(number), "collect", WRITERS["collect"])

    accounts = swept(settings)

    assert accounts.since is None
    assert accounts.freed == 0
    assert len(manifests(lake)) == 4


def test_nights_are_counted_from_the_newest_state_not_from_a_night_that_was_only_begun(
    six_nights: Settings, lake: Lake
) -> None:
    write_stage(lake, six_nights, night_number(500), "collect", WRITERS["collect"])

    accounts = swept(six_nights)

    assert accounts.newest == KEPT[1].end
    assert states_of(six_nights, KEPT[0]) == {"done"}


def test_the_default_keeps_more_than_any_later_night_reads() -> None:
    shipped = Settings.shipped()

    most = shipped.evaluate.pool_nights + shipped.blend.ttl_days
    assert RetentionSettings().days > most


def test_a_dataset_of_no_stage_is_left_alone(six_nights: Settings, lake: Lake) -> None:
    """Another version's, or a plugin's: nobody here knows who reads it."""
    stage = Stage(name="adapter", dataset="adapter", module="", title="")
    made = commit(lake, six_nights, FIRST, stage, lambda ctx: {})
    lake.write_bytes("elsewhere/notes/a.txt", b"kept")

    swept(six_nights)

    assert lake.at_key("adapter", made.partition, made.key) is not None
    assert lake.read_bytes("elsewhere/notes/a.txt") == b"kept"


def test_misspelt_evidence_is_refused_before_anything_goes(
    six_nights: Settings, lake: Lake
) -> None:
    before = objects(lake)

    with pytest.raises(SettingsError, match="'verdicts'"):
        swept(six_nights.with_({"retention": {"evidence": ["verdicts"]}}))

    assert objects(lake) == before
