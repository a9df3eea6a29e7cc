"""What is wrong with a request is said, with the field's name."""

from __future__ import annotations

import json

import pytest

LONG = "x" * 400
CAPS = {"max_k": 12, "max_history": 3, "max_exclude": 2, "max_query_chars": 10, "max_body_kb": 8}
WRONG = [
    ("/recommend", {"k": 0}, "k"),
    ("/recommend", {"k": -3}, "k"),
    ("/recommend", {"k": 13}, "k"),
    ("/recommend", {"k": "5"}, "k"),
    ("/recommend", {"k": 2.5}, "k"),
    ("/recommend", {"k": None}, "k"),
    ("/recommend", {"user": "u001"}, "user"),
    ("/recommend", {"user_key": ""}, "user_key"),
    ("/recommend", {"user_key": 7}, "user_key"),
    ("/recommend", {"user_key": LONG}, "user_key"),
    ("/recommend", {"user_key": "u001", "history": ["i01"]}, "history"),
    ("/recommend", {"user_key": "u001", "times": ["2017-05-20T00:00:00Z"]}, "times"),
    ("/recommend", {"history": "i01"}, "history"),
    ("/recommend", {"history": [1]}, "history"),
    ("/recommend", {"history": [""]}, "history"),
    ("/recommend", {"history": ["i01"] * 4}, "history"),
    ("/recommend", {"history": ["i01"], "times": []}, "times"),
    ("/recommend", {"history": ["i01"], "times": ["2017-05-20T00:00:00"]}, "times"),
    ("/recommend", {"history": ["i01"], "times": ["yesterday"]}, "times"),
    (
        "/recommend",
        {"history": ["i01", "i02"], "times": ["2017-05-20T00:00:00Z", "2017-05-19T00:00:00Z"]},
        "times",
    ),
    ("/recommend", {"exclude": ["a", "b", "c"]}, "exclude"),
    ("/recommend", {"exclude": "a"}, "exclude"),
    ("/recommend", {"exclude_seen": "yes"}, "exclude_seen"),
    ("/search", {}, "query"),
    ("/search", {"query": ""}, "query"),
    ("/search", {"query": " \t"}, "query"),
    ("/search", {"query": "x" * 11}, "query"),
    ("/search", {"query": ["x"]}, "query"),
    ("/search", {"query": "x", "k": 13}, "k"),
    ("/search", {"query": "x", "history": ["i01"] * 4}, "history"),
    ("/search", {"query": "x", "user_key": "u001"}, "user_key"),
    ("/similar", {}, "item_id"),
    ("/similar", {"item_id": LONG}, "item_id"),
    ("/similar", {"item_id": "i01", "k": 13}, "k"),
    ("/similar", {"item_id": "i01", "n": 3}, "n"),
]


@pytest.fixture
def client(served, answering):
    served.make_live(0)
    with answering(served.settings, **CAPS) as client:
        yield client


def test_every_wrong_field_is_named(client):
    for route, body, field in WRONG:
        answer = client.post(route, json=body)
        assert answer.status_code == 422, (route, body, answer.text)
        (problem, *_) = answer.json()["detail"]
        assert problem["loc"][0] == "body"
        assert field in [*problem["loc"], *problem["msg"].split(": ")[-2:]] or (
            field in problem["msg"]
        ), (body, problem)


def test_the_caps_themselves_are_allowed(client):
    for route, body in (
        ("/recommend", {"k": 12, "history": ["i01"] * 3, "exclude": ["i02", "i03"]}),
        ("/search", {"k": 12, "query": " thing i01"}),
        ("/similar", {"k": 12, "item_id": "i01"}),
    ):
        answer = client.post(route, json=body)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["items"]) == 12


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "item_id"),
        ({"item_id": ""}, "item_id"),
        ({"item_id": "i01", "k": "0"}, "k"),
        ({"item_id": "i01", "k": "13"}, "k"),
        ({"item_id": "i01", "k": "many"}, "k"),
        ({"item_id": "i01", "limit": "3"}, "limit"),
    ],
)
def test_in_an_address_as_well(client, params, field):
    answer = client.get("/similar", params=params)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", field]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe"])
def test_what_is_no_json_object_is_refused(client, body):
    answer = client.post("/recommend", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


def test_a_body_that_is_too_large_is_refused_however_it_comes(client):
    body = json.dumps({"history": ["i" * 200] * 100}).encode()
    assert len(body) > 8 * 1024
    whole = client.post("/recommend", content=body)
    in_pieces = client.post("/recommend", content=iter([body[:9000], body[9000:]]))
    assert (whole.status_code, in_pieces.status_code) == (413, 413)
    assert "8 kB" in whole.json()["detail"]
    assert client.post("/recommend", json={}).status_code == 200
