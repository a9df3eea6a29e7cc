"""The lake on a disk and on S3: what exists, what is broken, who was first."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from nightshift.errors import DatasetMissing, DiskFull, LakeError, SettingsError, StageFailed
from nightshift.lake import CURRENT, MANIFEST, Lake, lake_errors
from nightshift.manifest import Manifest, content_digest
from nightshift.writer import DatasetWriter
from small_disk import mounted

RACERS = 6


@dataclass
class Place:
    """A lake that can be opened again, as another process or machine would."""

    root: str
    options: dict[str, Any]
    folder: Path

    def open(self, machine: str = "one") -> Lake:
        return Lake(self.root, options=self.options, scratch=self.folder / machine)


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "disk":
        return Place((tmp_path / "lake").as_uri(), {}, tmp_path)
    s3 = request.getfixturevalue("s3")
    return Place(s3.fresh(), s3.options, tmp_path)


@pytest.fixture
def remote(s3: Any, tmp_path: Path) -> Place:
    return Place(s3.fresh(), s3.options, tmp_path)


@pytest.fixture
def local(tmp_path: Path) -> Lake:
    return Lake((tmp_path / "lake").as_uri(), scratch=tmp_path / "scratch")


def write(lake: Lake, key: str = "a" * 64, *, commit: bool = True, rows: int = 3) -> Manifest:
    """A dataset with one file of each kind."""
    with lake.scratch_folder() as scratch:
        writer = DatasetWriter(lake, f"things/night=2017-11-20/{key[:16]}", scratch)
        writer.write_parquet("rows/one.parquet", pl.DataFrame({"x": range(rows)}))
        writer.write_json("a.json", {"key": key})
        writer.write_tensors("t.safetensors", {"t": np.arange(rows, dtype=np.float32)})
        files = tuple(writer.entries.values())
    manifest = Manifest(
        dataset="things",
        partition="night=2017-11-20",
        key=key,
        digest=content_digest(key, files, {"rows": rows}, {}),
        files=files,
        inputs={},
        settings_digest="",
        code_version="1",
        stats={"rows": rows},
    )
    return lake.commit(manifest) if commit else manifest


# --- datasets ---------------------------------------------------------------------------------


def test_what_one_machine_writes_another_reads(place: Place):
    written = write(place.open())
    other = place.open("two")

    found = other.get("things", "night=2017-11-20")

    assert found == written
    assert found.rows == 3
    assert other.read(found, "rows/one.parquet")["x"].to_list() == [0, 1, 2]
    assert other.scan(found, "rows/").collect().height == 3
    assert other.read_json(found, "a.json") == {"key": "a" * 64}
    assert other.verify(found) == []
    assert other.partitions("things") == ["night=2017-11-20"]


def test_without_its_manifest_there_is_no_dataset(place: Place):
    lake = place.open()
    written = write(lake, commit=False)

    assert lake.names(written.folder)  # the files are there
    assert lake.find("things", "night=2017-11-20") is None
    assert lake.at_key("things", "night=2017-11-20", written.key) is None
    assert lake.partitions("things") == []
    with pytest.raises(DatasetMissing, match="things"):
        lake.get("things", "night=2017-11-20")


def test_the_pointer_moves_to_the_newest_and_back(place: Place):
    lake = place.open()
    first, second = write(lake, "a" * 64), write(lake, "b" * 64, rows=5)
    assert lake.get("things", "night=2017-11-20") == second

    lake.point(first)

    assert place.open("two").get("things", "night=2017-11-20") == first
    assert lake.at_key("things", "night=2017-11-20", second.key) == second
    assert lake.get_ref(second.ref) == second


def test_a_deleted_dataset_that_another_was_made_from_is_named(place: Place):
    lake = place.open()
    written = write(lake)
    lake.delete(f"{written.folder}/{MANIFEST}")

    with pytest.raises(DatasetMissing, match="is gone"):
        lake.get_ref(written.ref)


def test_a_process_sees_what_others_wrote_after_it_listed_a_folder(place: Place):
    lake, other = place.open(), place.open("two")
    lake.write_bytes("leases/n/1.json", b"1")
    assert other.names("leases/n") == ["1.json"]

    _as_another_process(place, "leases/n/2.json", b"2")
    _as_another_process(place, "leases/n/1.json", b"longer than before")

    assert other.read_bytes("leases/n/2.json") == b"2"
    assert other.read_bytes("leases/n/1.json") == b"longer than before"
    assert other.names("leases/n") == ["1.json", "2.json"]


def _as_another_process(place: Place, path: str, data: bytes) -> None:
    """Past fsspec, whose file systems share a cache inside one process."""
    if not place.options:
        target = Path(place.root.removeprefix("file://")) / path
        target.write_bytes(data)
        return
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=place.options["endpoint_url"],
        aws_access_key_id=place.options["key"],
        aws_secret_access_key=place.options["secret"],
        region_name="us-east-1",
    )
    bucket, _, base = place.root.removeprefix("s3://").partition("/")
    client.put_object(Bucket=bucket, Key=f"{base}/{path}", Body=data)


def test_small_objects(place: Place):
    lake = place.open()
    assert lake.read_bytes("no/such") is None
    assert lake.names("no") == []

    lake.write_bytes("x/a", b"1")
    lake.write_bytes("x/a", b"2")

    assert lake.read_bytes("x/a") == b"2"
    assert lake.names("x") == ["a"]
    lake.delete("x/a")
    lake.delete("x/a")
    assert lake.read_bytes("x/a") is None


# --- who was first ----------------------------------------------------------------------------


def test_one_of_many_threads_creates_an_object(place: Place):
    lake, won = place.open(), []
    gate = threading.Barrier(RACERS)

    def race(number: int) -> None:
        gate.wait()
        if lake.create("alias/000001.json", str(number).encode()):
            won.append(number)

    racers = [threading.Thread(target=race, args=(number,)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()

    assert len(won) == 1
    assert lake.read_bytes("alias/000001.json") == str(won[0]).encode()


def _race(place: Place, gate: Any, number: int, won: Any) -> None:
    lake = place.open(f"machine-{number}")
    gate.wait()
    for turn in range(10):
        if lake.create(f"alias/{turn:06}.json", str(number).encode()):
            won.put((turn, number))


def test_one_of_many_processes_creates_an_object(place: Place):
    context = multiprocessing.get_context("spawn")
    gate, won = context.Barrier(3), context.Queue()
    racers = [context.Process(target=_race, args=(place, gate, n, won)) for n in range(3)]
    for racer in racers:
        racer.start()
    found = [won.get(timeout=60) for _ in range(10)]
    for racer in racers:
        racer.join()
        assert racer.exitcode == 0

    lake = place.open()
    assert won.empty()
    assert sorted(turn for turn, _ in found) == list(range(10))
    for turn, number in found:
        assert lake.read_bytes(f"alias/{turn:06}.json") == str(number).encode()


# --- what is broken ---------------------------------------------------------------------------


def test_a_file_that_changed_by_one_byte_is_not_read(place: Place):
    written = write(place.open())
    entry = written.file("rows/one.parquet")
    lake = place.open("two")
    data = bytearray(lake.read_bytes(entry.path) or b"")
    data[len(data) // 2] ^= 1
    lake.write_bytes(entry.path, bytes(data))

    with pytest.raises(LakeError, match="does not match its checksum") as caught:
        lake.read(written, "rows/one.parquet")
    assert caught.value.context["file"] == entry.path
    assert lake.verify(written) == ["rows/one.parquet"]


@pytest.mark.parametrize("damage", [b"", b"half a parq"])
def test_a_file_that_was_cut_short_is_not_read(place: Place, damage: bytes):
    written = write(place.open())
    lake = place.open("two")
    lake.write_bytes(written.file("a.json").path, damage)

    with pytest.raises(LakeError, match="does not match its checksum"):
        lake.read_json(written, "a.json")


def test_a_file_that_is_gone_is_named(place: Place):
    written = write(place.open())
    lake = place.open("two")
    lake.delete(written.file("a.json").path)

    with pytest.raises(LakeError, match=r"a\.json is missing"):
        lake.read_json(written, "a.json")


def test_an_altered_manifest_is_refused(place: Place):
    lake = place.open()
    written = write(lake)
    altered = replace(written, stats={"rows": 4})
    lake.write_bytes(f"{written.folder}/{MANIFEST}", altered.to_json())

    with pytest.raises(LakeError, match="altered") as caught:
        lake.find("things", "night=2017-11-20")
    assert "delete the folder" in caught.value.hint


def test_half_a_manifest_or_pointer_is_an_error_that_says_what_to_do(place: Place):
    lake = place.open()
    written = write(lake)
    lake.write_bytes(f"{written.folder}/{MANIFEST}", written.to_json()[:100])
    with pytest.raises(LakeError, match="cannot be read"):
        lake.find("things", "night=2017-11-20")

    lake.write_bytes(f"things/night=2017-11-20/{CURRENT}", b'{"key": ')
    with pytest.raises(LakeError, match="pointer") as caught:
        lake.find("things", "night=2017-11-20")
    assert caught.value.hint


def test_files_that_a_manifest_does_not_have(local: Lake):
    written = write(local)
    with pytest.raises(LakeError, match=r"no file 'other\.json'"):
        local.read_json(written, "other.json")
    with pytest.raises(LakeError, match="no file 'other/'"):
        local.scan(written, "other/")


def test_a_copy_in_the_cache_that_went_bad_is_fetched_again(remote: Place):
    written = write(remote.open())
    lake = remote.open("two")
    copy = lake.local_path(written.file("a.json"))
    content = copy.read_bytes()
    assert lake.local_path(written.file("a.json")) == copy  # once fetched, it stays

    copy.write_bytes(b"x" * len(content))

    assert remote.open("two").local_path(written.file("a.json")).read_bytes() == content
    assert [path.suffix for path in lake.cache.rglob("*") if path.is_file()] == [".json"]


def test_writing_the_same_file_twice_is_a_bug_of_the_stage(local: Lake):
    with local.scratch_folder() as scratch:
        writer = DatasetWriter(local, "things/night=x/0", scratch)
        writer.write_json("a.json", 1)
        with pytest.raises(StageFailed, match="twice"):
            writer.write_json("a.json", 2)


# --- scratch ----------------------------------------------------------------------------------


def test_scratch_is_gone_afterwards_also_when_the_work_fails(place: Place):
    lake = place.open()
    with lake.scratch_folder() as scratch:
        (scratch / "left").write_bytes(b"x")
    with pytest.raises(TypeError), lake.scratch_folder() as scratch:
        (scratch / "left").write_bytes("no bytes")  # type: ignore[arg-type]
    write(lake)

    assert list(lake.scratch.iterdir()) == []


# --- places that do not work ------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    with mounted(tmp_path / "disk", "2m") as folder:
        yield folder


def write_noise(lake: Lake, kind: str) -> None:
    """Eight megabytes that do not compress."""
    noise = np.random.default_rng(0).random(1_000_000)
    with lake.scratch_folder() as scratch:
        writer = DatasetWriter(lake, "things/night=x/0", scratch)
        if kind == "parquet":
            writer.write_parquet("x.parquet", pl.DataFrame({"x": noise}))
        elif kind == "tensors":
            writer.write_tensors("x.safetensors", {"x": noise})
        elif kind == "bytes":
            writer.write_bytes("x.bin", noise.tobytes())
        else:
            table = pl.DataFrame({"x": noise}).to_arrow()
            with writer.parquet_stream("x.parquet", table.schema) as stream:
                for start in range(0, len(noise), 50_000):
                    stream.write_table(table.slice(start, 50_000))


@pytest.mark.parametrize("kind", ["parquet", "tensors", "bytes", "stream"])
def test_a_full_disk_is_said_and_leaves_no_dataset(small_disk: Path, kind: str):
    lake = Lake((small_disk / "lake").as_uri(), scratch=small_disk / "scratch")

    with pytest.raises(DiskFull, match="No space left") as caught:
        write_noise(lake, kind)

    assert caught.value.exit_code == 14
    assert "free space" in caught.value.hint
    assert list(lake.scratch.iterdir()) == []
    assert lake.names("things") == []
    lake.write_bytes("small", b"there is room again")


def test_what_the_system_says_of_a_full_disk_becomes_the_lakes_error():
    with pytest.raises(DiskFull), lake_errors("writing x", "file:///dev"):
        Path("/dev/full").write_bytes(b"x")


def test_a_full_disk_stops_small_objects_too(small_disk: Path):
    lake = Lake((small_disk / "lake").as_uri(), scratch=small_disk / "scratch")
    for act in (lake.write_bytes, lake.create):
        with pytest.raises(DiskFull):
            act("big", bytes(4_000_000))
    assert lake.read_bytes("big") is None
    assert list(lake.scratch.iterdir()) == []


def test_a_full_cache_disk_is_said_and_leaves_no_part(small_disk: Path, remote: Place):
    big = Lake(remote.root, options=remote.options, scratch=remote.folder / "roomy")
    with big.scratch_folder() as scratch:
        entry = DatasetWriter(big, "things/night=x/0", scratch).write_bytes("x", bytes(4_000_000))
    lake = Lake(remote.root, options=remote.options, scratch=small_disk)

    with pytest.raises(DiskFull):
        lake.local_path(entry)
    assert [path for path in lake.cache.rglob("*") if path.is_file()] == []


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(folder)]
    if os.geteuid() == 0 and not subprocess.run(mount, capture_output=True, check=False).returncode:
        yield folder
        subprocess.run(["umount", str(folder)], check=True)
    else:
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_a_lake_that_cannot_be_written_says_so(read_only: Path, tmp_path: Path):
    lake = Lake((read_only / "lake").as_uri(), scratch=tmp_path / "scratch")

    assert lake.find("things", "night=x") is None  # reading is fine
    with pytest.raises(LakeError, match="The lake failed while creating leases"):
        lake.create("leases/x/1.json", b"{}")
    with pytest.raises(LakeError, match="scratch") as caught, lake.scratch_folder():
        pass
    assert caught.value.exit_code == 11
    assert caught.value.context["lake"] == lake.root


def test_a_root_that_is_a_file(tmp_path: Path):
    (tmp_path / "lake").write_text("not a folder")
    lake = Lake((tmp_path / "lake").as_uri(), scratch=tmp_path / "scratch")
    with pytest.raises(LakeError):
        lake.write_bytes("x", b"")


def closed_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("act", ["read_bytes", "names", "create"])
def test_an_endpoint_that_does_not_answer_is_an_error_within_seconds(tmp_path: Path, act: str):
    options = {"endpoint_url": f"http://127.0.0.1:{closed_port()}", "key": "k", "secret": "s3cr3t"}
    lake = Lake("s3://bucket/lake", options=options, scratch=tmp_path)
    started = time.monotonic()

    with pytest.raises(LakeError, match="Could not connect") as caught:
        getattr(lake, act)("x", *([b""] if act == "create" else []))

    assert time.monotonic() - started < 30
    assert caught.value.exit_code == 11
    assert "s3cr3t" not in str(caught.value)


def test_a_bucket_that_is_not_there(s3: Any, tmp_path: Path):
    lake = Lake("s3://nobodys-bucket/lake", options=s3.options, scratch=tmp_path)
    for act in (lake.write_bytes, lake.create):
        with pytest.raises(LakeError, match="bucket") as caught:
            act("x", b"1")
        assert caught.value.hint


@pytest.mark.parametrize(
    ("root", "options"), [("nfs9://x/y", {}), ("s3://bucket", {"no_such_option": 1})]
)
def test_a_root_that_cannot_be_opened_is_a_wrong_setting(
    tmp_path: Path, root: str, options: dict[str, Any]
):
    with pytest.raises(SettingsError, match="cannot be opened") as caught:
        Lake(root, options=options, scratch=tmp_path)
    assert "s3://bucket/lake" in caught.value.hint


def test_a_manifest_is_json_that_returns(local: Lake):
    written = write(local)
    text = (local.read_bytes(f"{written.folder}/{MANIFEST}") or b"").decode()
    assert Manifest.from_json(text.encode()) == written
    assert {entry["name"] for entry in json.loads(text)["files"]} == {
        "rows/one.parquet", "a.json", "t.safetensors"
    }  # fmt: skip
