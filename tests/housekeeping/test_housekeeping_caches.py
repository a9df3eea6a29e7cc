"""What generation leaves in the lake: fits, answers, converted models, adapters, their leases."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from small_lake import FIRST, plant

from factories import commit
from nightshift.generate.fits import fit_path
from nightshift.housekeeping import Accounts, housekeep, keep, sweep
from nightshift.lake import Lake
from nightshift.lease import held
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.stages import Stage, StageContext

DAY = 86_400.0


def age(lake: Lake, folder: str, days: float) -> None:
    """Make all objects below a folder, or one object, older than they are."""
    root = Path(lake.root.removeprefix("file://"))
    moment = time.time() - days * DAY
    for path in (root / folder, *(root / folder).rglob("*")):
        os.utime(path, (moment, moment))


def left(lake: Lake, folder: str) -> set[str]:
    return {one.path for name in lake.names(folder) for one in lake.stored(f"{folder}/{name}")}


@pytest.mark.parametrize(
    ("old", "young", "days"),
    [
        (fit_path("gan", "ab" * 32), fit_path("gan", "cd" * 32), 61),
        ("responses/e/ab/abcd/s1.parquet", "responses/e/ab/abcd/s2.parquet", 366),
        ("models/m/int8/model-1.bin", "models/m/float16/model-1.bin", 61),
    ],
)
def test_what_can_be_made_anew_goes_by_its_own_age(
    six_nights: Settings, lake: Lake, old: str, young: str, days: float
) -> None:
    for path in (old, young):
        plant(lake, path)
    age(lake, old, days)
    age(lake, young, days - 3)
    kind = old.partition("/")[0]

    before = left(lake, kind)
    shown = housekeep(six_nights, dry_run=True)
    assert left(lake, kind) == before
    accounts = housekeep(six_nights)

    assert left(lake, kind) == {young}
    for one in (shown, accounts):
        assert (one.rows[kind].gone, one.rows[kind].kept) == (1, 1)


def test_nothing_of_them_goes_within_the_grace(six_nights: Settings, lake: Lake) -> None:
    eager = six_nights.with_(
        {"retention": {"fit_days": 0, "response_days": 0, "model_days": 0, "chunk_days": 0}}
    )
    paths = {plant(lake, f"{kind}/a/b/c.bin") for kind in ("fits", "responses", "models", "chunks")}

    housekeep(eager)

    assert paths <= {one.path for name in lake.names("") for one in lake.stored(name)}


def test_a_converted_model_stays_whole_while_a_part_of_it_is_young(
    six_nights: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("index.json", "model-1.bin", "config-2.json"):
        plant(lake, f"models/m/young/{name}")
        plant(lake, f"models/m/old/{name}")
    age(lake, "models/m/old", 90)
    age(lake, "models/m/young/model-1.bin", 90)
    deleted: list[str] = []
    delete = Lake.delete
    monkeypatch.setattr(
        Lake, "delete", lambda self, path: (deleted.append(path), delete(self, path))[1]
    )

    housekeep(six_nights)

    assert left(lake, "models") == {
        f"models/m/young/{name}" for name in ("index.json", "model-1.bin", "config-2.json")
    }
    gone = [path for path in deleted if path.startswith("models/")]
    assert gone[0] == "models/m/old/index.json"  # a kill leaves no index of files that are gone
    assert len(gone) == 3


def test_leases_of_fits_go_when_they_are_old_and_stay_while_somebody_learns(
    six_nights: Settings, lake: Lake
) -> None:
    for name in ("fit-gan-done", "fit-gan-fresh"):
        with held(lake, name, wait_seconds=0, done=lambda: False):
            pass
    age(lake, "leases/fit-gan-done", 4)

    with held(lake, "fit-gan-now", wait_seconds=0, done=lambda: False):
        accounts = housekeep(six_nights)
        assert {"fit-gan-fresh", "fit-gan-now"} <= set(lake.names("leases"))

    assert "fit-gan-done" not in lake.names("leases")
    assert accounts.rows["leases"].why == {"of work that is done": 1}


def write_adapter(lake: Lake, settings: Settings, night: Night) -> None:
    def run(ctx: StageContext) -> dict[str, object]:
        ctx.writer.write_json("adapter_config.json", ctx.night.key)
        return {}

    commit(lake, settings, night, Stage("adapt", "adapter", "", ""), run)


def swept(settings: Settings) -> Accounts:
    return housekeep(settings, now=time.time() + 10 * DAY)


def test_the_last_adapters_stay_however_old_they_are(
    six_nights: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (keep, sweep):  # also where no stage of this version makes adapters
        monkeypatch.setattr(module, "OURS", keep.OURS | {"adapter"})
    weeks = [
        Night(FIRST.start - timedelta(days=n), FIRST.end - timedelta(days=n)) for n in (70, 80)
    ]
    newest = Night(FIRST.start - timedelta(days=60), FIRST.end - timedelta(days=60))
    for night in (*weeks, newest):
        write_adapter(lake, six_nights, night)

    swept(six_nights)

    assert set(lake.names("adapter")) == {f"night={night.key}" for night in (weeks[0], newest)}
    swept(six_nights.with_({"retention": {"adapters": 1}}))
    assert lake.names("adapter") == [f"night={newest.key}"]
