"""What each route answers, against the ranker itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from served_nights import COLD, INSIDE, ITEMS, NIGHTS, PAST, WITHHELD, QueryEncoder

from nightshift.contracts import EVENT_KINDS
from nightshift.night import microseconds
from nightshift.ranking import select_top_k
from nightshift.registry.serving import model_name
from shop_by_hand import histories


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["item_id"] for item in answer.json()["items"]]


def best(champion, items, k, *, times=None, seen: bool = False) -> list[str]:
    """By the model's own scores, ranked here by hand: purchases, by default of just now."""
    codes = [ITEMS.index(item) for item in items]
    asked_at = microseconds(champion.alias.knows)
    past = replace(
        histories([codes]),
        times=np.array([asked_at] * len(codes) if times is None else times, dtype=np.int64),
        kinds=np.full(len(codes), 1 + EVENT_KINDS.index("purchase"), dtype=np.int8),
    )
    scores = champion.ranker.scores(past.at(asked_at))
    scores[:, ITEMS.index(WITHHELD)] = -np.inf
    if seen:
        scores[:, codes] = -np.inf
    found, _ = select_top_k(scores, k)
    return [ITEMS[code] for code in found[0] if code >= 0]


@pytest.fixture
def champion(served):
    return served.champion()


@pytest.fixture
def client(champion, served, answering):
    with answering(served.settings) as client:
        yield client


def test_a_known_customer_is_answered_from_the_snapshot_and_the_night(client, champion):
    found = champion.history_of_user("u003")
    assert [ITEMS[code] for code in found.items] == [*PAST["u003"], *INSIDE["u003"]]
    codes, _ = champion.top_k(found, 6, exclude_seen=False)
    answer = client.post("/recommend", json={"user_key": "u003", "k": 6})
    assert ids(answer) == [ITEMS[code] for code in codes[0]]
    scores = [item["score"] for item in answer.json()["items"]]
    assert scores == sorted(scores, reverse=True)
    assert answer.json()["unknown_items"] == []


def test_who_came_in_the_night_is_known(client, champion):
    assert [ITEMS[code] for code in champion.history_of_user("newcomer").items] == ["i01", "i02"]
    answer = client.post("/recommend", json={"user_key": "newcomer", "k": 4})
    codes, _ = champion.top_k(champion.history_of_user("newcomer"), 4, exclude_seen=False)
    assert ids(answer) == [ITEMS[code] for code in codes[0]]


@pytest.mark.parametrize("key", ["nobody", "u0031", "a", "zzz"])
def test_an_unknown_customer_is_told_so(client, key):
    answer = client.post("/recommend", json={"user_key": key})
    assert answer.status_code == 404
    assert "user_key" in answer.json()["detail"]
    assert "history" in answer.json()["detail"]


@pytest.mark.parametrize("asked", [{}, {"history": []}, {"user_key": None}])
def test_somebody_unknown_gets_what_the_start_state_says(client, champion, asked):
    assert ids(client.post("/recommend", json={"k": 5, **asked})) == best(champion, [], 5)


def test_a_history_in_the_request_is_that_of_the_model(client, champion):
    now = datetime(2017, 5, 20, tzinfo=UTC)
    for history in (["i03"], ["i03", "i04", "i03"], PAST["u001"]):
        times = [now + i * timedelta(microseconds=1) for i in range(len(history))]
        told = [time.isoformat() for time in times]
        answer = client.post("/recommend", json={"history": history, "times": told, "k": 7})
        assert ids(answer) == best(champion, history, 7, times=[microseconds(t) for t in times])


def test_times_count(served, answering):
    """What was bought years ago speaks less for buying it again than what was bought today."""
    champion = served.champion()
    asked = {"history": ["i03", "i04"], "k": 18}
    years = ["2007-01-01T00:00:00Z", "2017-05-20T00:00:00+02:00"]
    with answering(served.settings) as client:
        old = client.post("/recommend", json=asked | {"times": years}).json()["items"]
        new = client.post("/recommend", json=asked).json()["items"]
    lost = {a["item_id"]: a["score"] for a in old}["i03"]
    kept = {a["item_id"]: a["score"] for a in new}["i03"]
    assert kept - lost == pytest.approx(champion.ranker.gamma * np.log(2), abs=1e-3)


def test_a_cold_item_speaks_in_a_history_and_is_recommended(client, champion):
    assert champion.item_ids[champion.codes_of([COLD])[0]] == COLD
    answer = client.post("/recommend", json={"history": [COLD], "k": 20})
    assert answer.json()["unknown_items"] == []
    assert ids(answer) == best(champion, [COLD], 20)
    assert COLD in ids(answer)
    assert ids(answer) != best(champion, [], 20)


def test_withheld_items_are_in_no_answer(client):
    asked = {"k": 20}
    for route, more in (
        ("/recommend", {"history": ["i01"]}),
        ("/search", {"query": f"thing {WITHHELD}"}),
        ("/similar", {"item_id": "i01"}),
    ):
        found = ids(client.post(route, json=asked | more))
        assert WITHHELD not in found
        assert len(found) == (18 if route == "/similar" else 19)  # of twenty


def test_unknown_items_are_left_out_and_named(client, champion):
    asked = {"history": ["i03", "gone", "i04", "nope"], "k": 5}
    times = [f"2017-05-2{day}T00:00:00Z" for day in range(4)]
    for given in (asked, asked | {"times": times}):
        answer = client.post("/recommend", json=given)
        assert answer.json()["unknown_items"] == ["gone", "nope"]
        known = client.post("/recommend", json={"history": ["i03", "i04"], "k": 5})
        assert ids(answer) == ids(known)
    nothing = client.post("/recommend", json={"history": ["gone"], "k": 5})
    assert ids(nothing) == best(champion, [], 5)


def test_excluded_items_are_left_out_and_others_move_up(client):
    whole = ids(client.post("/recommend", json={"history": ["i03"], "k": 8}))
    exclude = [whole[0], whole[3], "gone"]
    less = ids(client.post("/recommend", json={"history": ["i03"], "k": 6, "exclude": exclude}))
    assert less == [item for item in whole if item not in exclude]


@pytest.mark.parametrize("repeats", [True, False])
def test_the_shops_rule_says_whether_what_was_seen_comes_again(lake_of, answering, repeats):
    served = lake_of(repeats=repeats)
    champion = served.champion()
    history = ["i03", "i04", "i03"]
    with answering(served.settings) as client:
        for asked, seen in (({}, not repeats), ({"exclude_seen": not repeats}, not repeats)):
            answer = client.post("/recommend", json={"history": history, "k": 20, **asked})
            assert bool({"i03", "i04"} & set(ids(answer))) == (not seen)
        other = client.post(
            "/recommend", json={"history": history, "k": 20, "exclude_seen": repeats}
        )
        assert bool({"i03", "i04"} & set(ids(other))) == (not repeats)
    row = champion.history_of_items(champion.codes_of(history), None)
    assert [ITEMS[code] for code in row.items] == (history if repeats else history[:2])


def test_a_search_is_ranked_by_the_model(client, champion):
    vectors = QueryEncoder().encode(["thing i04"])
    codes, scores = champion.ranker.rank_queries(
        vectors, 20, texts=["thing i04"], indexes=champion.indexes
    )
    expected = [ITEMS[code] for code in codes[0] if ITEMS[code] != WITHHELD][:5]
    answer = client.post("/search", json={"query": "thing i04", "k": 5, "history": ["i01", "x"]})
    assert ids(answer) == expected
    assert answer.json()["unknown_items"] == ["x"]
    assert scores[0, 0] >= answer.json()["items"][0]["score"]


def test_an_explanation_names_the_history_that_carried_the_item(client):
    asked = {"history": ["i01", "i03", "x"], "item_id": "i04"}
    answer = client.post("/explain", json=asked)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert {one["item_id"] for one in told["because"]} <= {"i01", "i03"}
    assert told["unknown_items"] == ["x"]
    assert sum(told["shares"].values()) == pytest.approx(1.0, abs=1e-3)
    assert client.post("/explain", json=asked | {"item_id": "gone"}).status_code == 404


def test_similar_items_are_the_nearest_by_cosine(client, champion):
    placed = champion.ranker.placed.numpy()
    unit = placed / np.linalg.norm(placed, axis=1, keepdims=True)
    for item in ("i04", COLD, WITHHELD):
        cosine = unit @ unit[ITEMS.index(item)]
        cosine[[ITEMS.index(item), ITEMS.index(WITHHELD)]] = -9
        expected = [ITEMS[code] for code in np.argsort(-cosine, kind="stable")[:5]]
        posted = client.post("/similar", json={"item_id": item, "k": 5})
        assert ids(posted) == expected
        assert client.get("/similar", params={"item_id": item, "k": 5}).json() == posted.json()
        assert posted.json()["items"][0]["score"] == pytest.approx(cosine.max(), abs=1e-5)


def test_an_item_outside_the_catalogue_has_no_neighbours(client):
    for answer in (
        client.post("/similar", json={"item_id": "gone"}),
        client.get("/similar", params={"item_id": "gone"}),
    ):
        assert answer.status_code == 404
        assert "'gone'" in answer.json()["detail"]


def test_every_answer_names_the_model(client, served, champion):
    named = {
        "state": model_name(champion.alias),
        "line": "real",
        "night": NIGHTS[0].key,
    }
    for answer in (
        client.post("/recommend", json={"history": ["i01"]}),
        client.post("/search", json={"query": "thing i01"}),
        client.post("/similar", json={"item_id": "i01"}),
        client.get("/health"),
    ):
        assert answer.json()["model"] == named


def test_health_says_since_when_and_how_old(client, champion):
    told = client.get("/health").json()
    assert told["status"] == "ok"
    assert told["live_since"] == champion.alias.at
    assert datetime.fromisoformat(told["knows_until"]) == NIGHTS[0].end
    age = (datetime.now(UTC) - NIGHTS[0].end) / timedelta(hours=1)
    assert told["age_hours"] == pytest.approx(age, abs=0.1)
    assert told["rejected"] == 0


def test_before_any_model_every_route_says_that_there_is_none(served, answering):
    with answering(served.settings, wait=False) as client:
        assert client.get("/health").status_code == 503
        assert client.get("/health").json()["status"] == "nothing is live yet"
        for route, body in (
            ("/recommend", {}),
            ("/search", {"query": "thing i01"}),
            ("/similar", {"item_id": "i01"}),
        ):
            answer = client.post(route, json=body)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "5"
