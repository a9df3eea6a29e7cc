"""What goes, what is left alone, and that a kill at any point is mended by the next run."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from small_lake import (
    FIRST,
    LATER,
    WRITERS,
    broken,
    manifests,
    night_number,
    objects,
    plant,
    settings_for,
    states_of,
    write_night,
    write_nights,
)

from made_up_nights import write_stage
from nightshift.errors import LeaseHeld
from nightshift.housekeeping import Accounts, housekeep
from nightshift.lake import CURRENT, MANIFEST, Lake, Stored
from nightshift.lease import held
from nightshift.settings import Settings

OLD, LAST = night_number(1), night_number(5)
KEY = "0123456789abcdef"
DAYS = 86_400.0


def swept(settings: Settings, **kwargs: object) -> Accounts:
    return housekeep(settings, now=time.time() + LATER, **kwargs)  # type: ignore[arg-type]


def age(lake: Lake, path: str, seconds: float) -> None:
    """Make an object on disk older than it is."""
    moment = time.time() - seconds
    os.utime(Path(lake.root.removeprefix("file://")) / path, (moment, moment))


# --- kills --------------------------------------------------------------------------------------


class Killed(BaseException):
    """As a SIGKILL: nothing of the sweep runs after it."""


def kill_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The process ends before the next deletion of anything but a lease."""
    left = [count]
    delete = Lake.delete

    def deleting(self: Lake, path: str) -> None:
        if not path.startswith("leases/"):
            if not left[0]:
                raise Killed
            left[0] -= 1
        delete(self, path)

    monkeypatch.setattr(Lake, "delete", deleting)


def deletions(lake_before: set[str], lake_after: set[str]) -> int:
    return len(lake_before) - len(lake_after)


@pytest.mark.parametrize(
    "every", [pytest.param(11, id="some"), pytest.param(1, marks=pytest.mark.slow, id="all")]
)
def test_a_kill_after_any_deletion_leaves_whole_datasets_and_the_next_run_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int
) -> None:
    retention = {"days": 1, "rollback_states": 1, "inner_nights": 0}
    template = settings_for(tmp_path / "template", retention=retention)
    write_nights(template, 3)
    plant(Lake.of(template), f"blend/night={OLD.key}/{KEY}/challenger-ab.parquet")
    unbroken = template.with_({"home": str(tmp_path / "unbroken")})
    shutil.copytree(tmp_path / "template", tmp_path / "unbroken")
    before = objects(Lake.of(template))
    swept(unbroken)
    wanted = objects(Lake.of(unbroken))
    total = deletions(before, wanted)
    assert total > 50

    for count in range(0, total, every):
        home = tmp_path / "killed"
        shutil.copytree(tmp_path / "template", home)
        settings = template.with_({"home": str(home)})
        lake = Lake.of(settings)
        with monkeypatch.context() as patch:
            kill_after(patch, count)
            with pytest.raises(Killed):
                swept(settings)
        assert deletions(before, objects(lake)) == count
        assert broken(lake) == [], f"after {count} deletions"
        assert states_of(settings, night_number(2)) == {"done"}

        swept(settings)

        assert objects(lake) == wanted, f"after {count} deletions"
        shutil.rmtree(home)


def test_a_pointer_goes_before_its_manifest_and_that_before_the_files(
    six_nights: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[str] = []
    delete = Lake.delete
    monkeypatch.setattr(
        Lake, "delete", lambda self, path: (deleted.append(path), delete(self, path))[1]
    )

    swept(six_nights)

    folder = f"inspection/night={OLD.key}"
    own = [path for path in deleted if path.startswith(folder)]
    assert own[0] == f"{folder}/{CURRENT}"
    assert own[1].endswith(f"/{MANIFEST}")
    assert len(own) == 4
    kinds = [path.endswith((f"/{MANIFEST}", f"/{CURRENT}")) for path in deleted]
    assert kinds == sorted(kinds, reverse=True)  # files may be shared: after the last manifest


# --- what is left alone -------------------------------------------------------------------------


def test_nothing_is_touched_within_the_grace(six_nights: Settings, lake: Lake) -> None:
    plant(lake, f"blend/night={OLD.key}/{KEY}/challenger-ab.parquet")
    before = objects(lake)

    accounts = housekeep(six_nights)

    assert accounts.freed == 0
    assert objects(lake) == before


def test_an_old_night_that_was_made_within_the_grace_keeps_what_it_reads(
    six_nights: Settings, lake: Lake
) -> None:
    """A backfill of the past: the night after it needs its state."""
    for one in lake.stored(""):
        age(lake, one.path, 30 * DAYS)
    past = settings_for(six_nights.home, night={"first": night_number(-9).start.isoformat()})
    write_night(past, night_number(-9))

    housekeep(past)

    assert states_of(past, night_number(-9)) == {"done"}
    assert lake.find("snapshot", f"night={OLD.key}") is None  # that one was old enough
    write_night(past, night_number(-8))
    assert states_of(past, night_number(-8)) == {"done"}


def test_a_night_under_a_live_lease_is_left_alone(six_nights: Settings, lake: Lake) -> None:
    """With no grace at all, so that the lease alone protects it and what it starts from."""
    busy = night_number(2)
    for one in lake.stored(""):
        age(lake, one.path, 30 * DAYS)
    orphan = plant(lake, f"arm/night={busy.key}/arm=control/seed=0/{KEY}/model-ab.json")
    age(lake, orphan, 30 * DAYS)
    eager = six_nights.with_({"retention": {"grace_hours": 0}})

    with held(lake, f"{busy.key}/finetune", wait_seconds=0, done=lambda: False):
        housekeep(eager)

        assert states_of(eager, busy) == {"done"}
        assert orphan in objects(lake)
        assert lake.find("snapshot", f"night={FIRST.key}") is None


def test_who_begins_to_work_during_a_sweep_is_left_alone(
    six_nights: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nightshift.housekeeping import run

    for one in lake.stored(""):
        age(lake, one.path, 30 * DAYS)
    going = run.going

    def began_meanwhile(*args: object, **kwargs: object) -> object:
        plant(lake, f"leases/{OLD.key}/finetune-control-0/000002.json")
        return going(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "going", began_meanwhile)
    housekeep(six_nights)

    assert lake.find("snapshot", f"night={OLD.key}") is not None
    assert lake.find("snapshot", f"night={FIRST.key}") is None


def test_two_sweeps_do_not_run_at_once(six_nights: Settings, lake: Lake) -> None:
    before = objects(lake)
    with held(lake, "housekeeping/sweep", wait_seconds=0, done=lambda: False):
        with pytest.raises(LeaseHeld):
            swept(six_nights)
        housekeep(six_nights, dry_run=True)

    assert objects(lake) == before


def test_a_manifest_that_cannot_be_read_is_kept_with_its_files(
    six_nights: Settings, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    folder = lake.get("vectors", f"night={OLD.key}").folder
    lake.write_bytes(f"{folder}/{MANIFEST}", b"{}")

    swept(six_nights)

    assert len(lake.stored(folder)) == 2
    assert f"{folder} is kept as it is" in caplog.text


def test_a_pointer_that_cannot_be_read_keeps_its_partition(
    six_nights: Settings, lake: Lake
) -> None:
    partition = f"vectors/night={LAST.key}"
    lake.write_bytes(f"{partition}/{CURRENT}", b"garbage")

    swept(six_nights)

    assert len(lake.stored(partition)) == 3


# --- what goes ----------------------------------------------------------------------------------


def test_a_folder_without_a_manifest_goes_after_the_grace(six_nights: Settings, lake: Lake) -> None:
    old = plant(lake, f"shard/night={LAST.key}/shard=negatives-000/{KEY}/samples-ab.parquet")
    young = plant(lake, f"inspection/night={LAST.key}/{KEY}/docs/index-ab.html")
    for one in lake.stored(""):
        age(lake, one.path, 5 * DAYS)
    age(lake, young, 3600)

    accounts = housekeep(six_nights)

    assert old not in objects(lake)
    assert young in objects(lake)
    assert accounts.rows["shard"].why["no manifest"] == 1
    assert states_of(six_nights, LAST) == {"done"}


def test_files_that_a_killed_writer_left_beside_a_dataset_go(
    six_nights: Settings, lake: Lake
) -> None:
    made = lake.get("vectors", f"night={LAST.key}")
    stray = plant(lake, f"{made.folder}/vectors-000000000000.json")

    accounts = swept(six_nights)

    assert stray not in objects(lake)
    assert lake.verify(made) == []
    assert accounts.rows["vectors"].why["files of a killed writer"] == 1


def test_a_dataset_that_was_made_anew_goes_unless_somebody_was_made_from_it(
    six_nights: Settings, lake: Lake
) -> None:
    other = six_nights.with_({"score": {"top_n": 5}})
    superseded = write_stage(lake, other, LAST, "score", WRITERS["score"])[0]
    write_stage(lake, six_nights, LAST, "score", WRITERS["score"])
    other = six_nights.with_({"inspection": {"max_query_chars": 7}})
    was_read = lake.get("inspection", f"night={LAST.key}")
    write_stage(lake, other, LAST, "inspect", WRITERS["inspect"])

    accounts = swept(six_nights)

    assert lake.at_key("recommendations", superseded.partition, superseded.key) is None
    assert accounts.rows["recommendations"].why["superseded"] == 1
    kept = lake.at_key("inspection", was_read.partition, was_read.key)
    assert kept is not None
    assert lake.verify(kept) == []


def test_what_was_killed_before_it_was_pointed_to_is_not_superseded(
    six_nights: Settings, lake: Lake
) -> None:
    report = lake.get("report", f"night={LAST.key}")
    lake.delete(f"report/night={LAST.key}/{CURRENT}")

    swept(six_nights)

    assert lake.at_key("report", report.partition, report.key) is not None


def test_no_empty_folder_is_left_that_would_look_like_a_night(
    six_nights: Settings, lake: Lake
) -> None:
    swept(six_nights)

    assert f"night={FIRST.key}" not in lake.names("vectors")
    root = Path(lake.root.removeprefix("file://"))
    empty = [p for p in root.rglob("*") if p.is_dir() and not any(p.iterdir())]
    assert [p for p in empty if p.parent != root] == []


def test_caches_go_by_age(six_nights: Settings, lake: Lake) -> None:
    old, young = plant(lake, "chunks/ab/old.parquet"), plant(lake, "chunks/ab/young.parquet")
    answers = plant(lake, "responses/0a/cd/cdef/old.parquet")
    fresh = plant(lake, "responses/0a/cd/cdef/young.parquet")
    vectors, model = plant(lake, "embeddings/e/segment.parquet"), plant(lake, "models/0/hf/x.json")
    for path, days in ((old, 61), (answers, 400), (vectors, 400), (model, 59)):
        age(lake, path, days * DAYS)
    left = lake.scratch / "tmpkilled" / "half.parquet"
    left.parent.mkdir(parents=True)
    left.write_text("x")
    for path in (left, left.parent):
        os.utime(path, (time.time() - 4 * DAYS,) * 2)
    working = lake.scratch / "tmpworking"
    working.mkdir()

    accounts = housekeep(six_nights)

    found = objects(lake)
    assert old not in found
    assert answers not in found
    assert {young, fresh, vectors, model} <= found
    assert not left.parent.exists()
    assert working.is_dir()
    assert accounts.rows["chunks"].gone == accounts.rows["responses"].gone == 1
    assert accounts.rows["scratch"].gone == 1


def test_leases_of_past_nights_go(six_nights: Settings, lake: Lake) -> None:
    for night in (OLD, LAST):
        with held(lake, f"{night.key}/collect", wait_seconds=0, done=lambda: False):
            pass

    swept(six_nights)

    assert OLD.key not in lake.names("leases")
    assert LAST.key in lake.names("leases")


# --- places and costs ---------------------------------------------------------------------------


def test_on_s3_it_is_the_same(six_nights: Settings, on_s3: Settings) -> None:
    swept(six_nights)
    remote = Lake.of(on_s3)
    copies = remote.cache / "ab" / "c.parquet"
    copies.parent.mkdir(parents=True)
    copies.write_text("fetched long ago")
    os.utime(copies, (time.time() - 61 * DAYS,) * 2)

    swept(on_s3)

    assert objects(remote) == objects(Lake.of(six_nights))
    assert broken(remote) == []
    assert not copies.exists()


def test_a_kill_on_s3_is_mended_too(
    six_nights: Settings, on_s3: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept(six_nights)
    with monkeypatch.context() as patch:
        kill_after(patch, 100)
        with pytest.raises(Killed):
            swept(on_s3)

    swept(on_s3)

    assert objects(Lake.of(on_s3)) == objects(Lake.of(six_nights))
    assert broken(Lake.of(on_s3)) == []


def test_one_listing_a_night_and_kind_and_one_reading_a_manifest(
    six_nights: Settings, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a dataset holds, finding out what goes costs no request per file."""
    nights = sum(len(lake.names(kind)) for kind in {m.dataset for m in manifests(lake)})
    datasets = len(manifests(lake))
    listed: list[str] = []
    read: list[str] = []
    stored, read_bytes = Lake.stored, Lake.read_bytes

    def listing(self: Lake, folder: str) -> list[Stored]:
        listed.append(folder)
        return stored(self, folder)

    def reading(self: Lake, path: str) -> bytes | None:
        read.append(path)
        return read_bytes(self, path)

    monkeypatch.setattr(Lake, "stored", listing)
    monkeypatch.setattr(Lake, "read_bytes", reading)
    swept(six_nights, dry_run=True)

    assert len([folder for folder in listed if "=" in folder]) == nights
    assert len([path for path in read if path.endswith(MANIFEST)]) == datasets
    assert [path for path in read if path.endswith((".parquet", ".html"))] == []
