"""The manifest: what its digest stands for, and that nothing altered passes for it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightshift.errors import LakeError
from nightshift.manifest import FileEntry, InputRef, Manifest, content_digest, digest_of

settings.load_profile("ci")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)
FILES = (
    FileEntry("events/2017-11.parquet", "snapshot/x/e-1.parquet", 10, "aa", 7, "x: int64"),
    FileEntry("events/2017-10.parquet", "snapshot/y/e-0.parquet", 10, "bb", 5, "x: int64"),
    FileEntry("shop.json", "snapshot/x/shop-2.json", 3, "cc"),
)


def manifest(**changes: Any) -> Manifest:
    """A sound one: its digest is that of its content."""
    fields: dict[str, Any] = {
        "dataset": "snapshot",
        "partition": "night=2017-11-20",
        "key": "k" * 64,
        "files": FILES,
        "inputs": {"parent": InputRef("state", "as_of=x", "p", "q")},
        "settings_digest": "s",
        "code_version": "1/1",
        "stats": {"events": 12, "dropped": {"bots": 1}},
        "seeds": {"tie": 7},
        "run": {"seconds": 1.5, "host": "here"},
        **changes,
    }
    found = content_digest(fields["key"], fields["files"], fields["stats"], fields["seeds"])
    return Manifest(digest=found, **fields)


def test_what_it_says_of_itself():
    made = manifest()
    assert made.folder == f"snapshot/night=2017-11-20/{'k' * 16}"
    assert made.rows == 12
    assert made.ref == InputRef("snapshot", "night=2017-11-20", made.key, made.digest)
    assert made.file("shop.json").sha256 == "cc"
    assert [entry.name for entry in made.named("events/")] == [
        "events/2017-10.parquet",
        "events/2017-11.parquet",
    ]
    with pytest.raises(LakeError, match=r"no file 'searches\.parquet'") as caught:
        made.file("searches.parquet")
    assert caught.value.context["dataset"] == made.folder


@given(st.dictionaries(st.text(), JSON, max_size=4), st.dictionaries(st.text(), st.integers()))
def test_it_returns_from_json(stats: dict[str, Any], seeds: dict[str, int]):
    made = manifest(stats=stats, seeds=seeds)
    assert Manifest.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    "change",
    [
        {"stats": {"events": 13}},
        {"seeds": {"tie": 8}},
        {"key": "j" * 64},
        {"files": FILES[:2]},
        {"files": (replace(FILES[0], sha256="dd"), *FILES[1:])},
        {"files": (replace(FILES[0], name="events/2017-12.parquet"), *FILES[1:])},
        {"files": (replace(FILES[0], rows=8), *FILES[1:])},
    ],
)
def test_what_came_out_is_in_the_digest(change: dict[str, Any]):
    assert manifest(**change).digest != manifest().digest
    altered = replace(manifest(), **change)
    with pytest.raises(LakeError, match="altered"):
        Manifest.from_json(altered.to_json())


@pytest.mark.parametrize(
    "change",
    [
        {"run": {"seconds": 99.0, "host": "there", "commit": "abc"}},
        {"files": FILES[::-1]},
        {"files": (replace(FILES[0], path="shared/from/elsewhere.parquet"), *FILES[1:])},
        {"code_version": "2/1"},
    ],
)
def test_where_and_when_it_was_made_is_not(change: dict[str, Any]):
    assert manifest(**change).digest == manifest().digest


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", manifest().to_json()[:-10]]
)
def test_what_is_no_manifest_says_what_to_do(data: bytes):
    with pytest.raises(LakeError, match="cannot be read") as caught:
        Manifest.from_json(data)
    assert caught.value.hint


@pytest.mark.parametrize("change", [{"files": 3}, {"inputs": []}, {"more": 1}, {"files": [{}]}])
def test_a_manifest_of_another_shape_is_none(change: dict[str, Any]):
    raw = json.loads(manifest().to_json()) | change
    with pytest.raises(LakeError):
        Manifest.from_json(json.dumps(raw).encode())


@given(JSON)
def test_a_digest_does_not_depend_on_the_order_of_keys(value: Any):
    turned = json.loads(json.dumps(value, sort_keys=True))
    assert digest_of(value) == digest_of(turned)
    assert digest_of([value]) != digest_of([[value]])
