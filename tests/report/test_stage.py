"""The stage: every figure is there, the page shows it, and hostile text stays text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from factories import NIGHT, make_settings
from made_up_nights import EVIL, PERSONAL, SHARD_SECONDS, nights_from, write_night
from nightshift import stages
from nightshift.lake import Lake
from nightshift.night import Night
from nightshift.report.choices import gate_table, trials
from nightshift.settings import Settings

MAX_PAGE_BYTES = 500_000


def read(settings: Settings, night: Night) -> tuple[dict[str, Any], str]:
    lake = Lake.of(settings)
    manifest = lake.get("report", f"night={night.key}")
    page = lake.local_path(manifest.file("index.html")).read_text()
    return lake.read_json(manifest, "report.json"), page


@pytest.fixture(scope="session")
def last(three_nights: tuple[Settings, list[Night]]) -> tuple[dict[str, Any], str]:
    settings, nights = three_nights
    return read(settings, nights[-1])


@pytest.fixture(scope="session")
def first(three_nights: tuple[Settings, list[Night]]) -> tuple[dict[str, Any], str]:
    settings, nights = three_nights
    return read(settings, nights[0])


class Page(HTMLParser):
    """What a browser would build: open tags, links, scripts."""

    VOID = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_figures_name_the_shop_the_night_and_whether_it_was_the_first(
    first: tuple[dict[str, Any], str], last: tuple[dict[str, Any], str]
) -> None:
    assert first[0]["night"]["first"] is True
    assert last[0]["night"]["first"] is False
    assert last[0]["night"]["key"] == "2017-05-22"
    assert last[0]["shop"]["description"] == "households of the Complete Journey"


def test_samples_are_counted_per_strategy_with_reasons_examples_and_cost(
    last: tuple[dict[str, Any], str],
) -> None:
    strategies = {row["strategy"]: row for row in last[0]["samples"]["strategies"]}

    queries = strategies["llm_queries"]
    assert [queries[k] for k in ("planned", "made", "accepted", "quarantined")] == [60, 53, 41, 12]
    assert sum(queries["reasons"].values()) == 12
    assert queries["dropped"] == {"unparsable": 7}
    assert queries["tokens"] == 1200
    assert queries["tokens_per_accepted"] == pytest.approx(1200 / 41)
    assert queries["prompt_tokens_per_accepted"] == pytest.approx(5000 / 41)
    assert queries["estimate"]["tokens"] == 960
    assert (queries["chunks"], queries["chunks_found"], queries["cached"]) == (4, 1, 9)
    assert queries["money"] is None  # no price, no money
    assert strategies["text_neighbours"]["seconds"] >= 2 * SHARD_SECONDS  # it had two shards
    assert strategies["negatives"]["weight"] == 0
    assert all(3 <= len(row["examples"]["accepted"]) <= 5 for row in strategies.values())
    assert len({e["reasons"][0] for e in queries["examples"]["quarantined"]}) > 1


def test_text_that_failed_the_check_for_personal_data_is_not_shown(
    last: tuple[dict[str, Any], str],
) -> None:
    figures, page = last

    assert figures["samples"]["strategies"][-1]["reasons"]["personal_data"] == 1
    assert PERSONAL not in json.dumps(figures)
    assert PERSONAL not in page


def test_the_history_goes_back_through_the_parents(last: tuple[dict[str, Any], str]) -> None:
    history = last[0]["history"]

    assert [row["night"] for row in history] == ["2017-05-20", "2017-05-21", "2017-05-22"]
    assert [row["decision"] for row in history] == ["control", "kept", "promoted"]
    widths = [row["pooled"]["ci95"][1] - row["pooled"]["ci95"][0] for row in history]
    assert widths == sorted(widths, reverse=True)


def test_every_stage_of_the_night_has_its_seconds_and_every_dataset_its_digest(
    three_nights: tuple[Settings, list[Night]], last: tuple[dict[str, Any], str]
) -> None:
    lake = Lake.of(three_nights[0])
    figures = last[0]

    assert [row["stage"] for row in figures["stages"]] == list(stages.NIGHTLY)[:-1]
    shards = next(row for row in figures["stages"] if row["stage"] == "generate")
    assert shards["parts"] == 4
    tonight = [one for one in figures["lineage"] if one["tonight"]]
    assert len(tonight) == 13 + 4 + 3 - 1  # four shards, three arms
    for one in tonight:
        assert lake.at_key(one["dataset"], one["partition"], one["key"]).digest == one["digest"]


def test_what_was_not_judged_says_why(last: tuple[dict[str, Any], str]) -> None:
    missing = {e["what"]: e["why"] for e in last[0]["evaluation"]["not_judged"]}

    assert missing == {
        "search": "the shop has no searches",
        "clicks on impressions": "the shop records no impressions",
        "new users": "no user of the night falls into it",
    }


def test_the_verdict_is_one_sentence_with_its_reasons_and_the_lift_behind_it(
    last: tuple[dict[str, Any], str],
) -> None:
    verdict = last[0]["verdict"]

    assert verdict["sentence"] == (
        "The blend line (challenger) goes live, in place of the real line (control)."
    )
    assert verdict["reasons"][0].startswith("The samples earn their place")
    assert re.fullmatch(r"\+2\.8 % NDCG@10 \[.+, \+.+\]", verdict["headline_words"])
    assert all(gate["passed"] for gate in verdict["gates"])


def test_every_gate_says_what_it_asked_and_what_it_found(
    last: tuple[dict[str, Any], str],
) -> None:
    gates = {row["name"]: row for row in gate_table(last[0]["verdict"])}

    assert gates["Overall not worse"]["asks"] == "lower bound above −1.0 %"
    assert gates["Overall not worse"]["found"] == "+2.8 % [−0.1, +5.7]"
    assert "Cold items: Recall@10 +9.3 % [+1.7, +16.9]" in gates["Lift"]["found"]
    assert gates["Coverage"]["found"] == "0.410, control 0.410"
    assert set(gates) == {
        "Overall not worse",
        "Warm not worse",
        "Lift",
        "Coverage",
        "Gini",
        "Champion not worse",
    }


def test_the_trial_that_became_the_recipe_is_marked(last: tuple[dict[str, Any], str]) -> None:
    rows = {row["label"]: row for row in trials(last[0]["recipe"])["rows"]}

    assert [label for label, row in rows.items() if row["chosen"]] == ["Text neighbours 0.1, short"]
    assert not rows["Text neighbours 0.3, all"]["allowed"]


def test_the_page_is_well_formed_small_and_asks_for_nothing(
    last: tuple[dict[str, Any], str],
) -> None:
    source = last[1]
    page = Page(source)

    assert page.open == []
    assert len(source.encode()) < MAX_PAGE_BYTES
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "img"}
    assert not [a for _, a in page.tags if {"src", "href", "onload", "onclick"} & set(a)]
    assert "url(" not in source
    assert "@import" not in source
    assert "prefers-color-scheme: dark" in source


def test_hostile_text_of_a_sample_arrives_as_text(last: tuple[dict[str, Any], str]) -> None:
    figures, page = last

    assert EVIL in json.dumps(figures, ensure_ascii=False).replace('\\"', '"')
    assert "<script" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page


def test_the_page_shows_the_sentence_the_slices_and_the_strategies(
    last: tuple[dict[str, Any], str],
) -> None:
    page = last[1]

    for words in (
        "The blend line (challenger) goes live, in place of the real line (control).",
        "The samples earn their place: every gate of challenger against control is passed.",
        "Monday, 22 May 2017",
        "Cold items",
        "Placebo: random pairs",
        "Text neighbours",
        "weight 0: not learned from",
        "Item kNN",
        "text not shown",
        "over 3 nights",
    ):
        assert words in page


def test_some_recommendations_say_what_carried_them_and_name_no_customer(
    last: tuple[dict[str, Any], str],
) -> None:
    report, page = last
    why = report["recommendations"]["why"]
    assert why["shares"] == {"text": 0.7, "id": 0.2, "own": 0.1}
    assert len(why["examples"]) == 4
    assert all(len(one["because"]) == 2 for one in why["examples"])
    assert why["examples"][0]["words"] == ["mild", "cheddar"]
    assert "(in common: mild, cheddar)" in page
    assert "text 70 %, id 20 %, own 10 %" in re.sub(r"[\s\u202f\xa0]+", " ", page).lower()
    assert "u000" not in json.dumps(why)


def test_the_first_night_has_no_history_and_says_so(first: tuple[dict[str, Any], str]) -> None:
    assert "This is the first night that was judged." in first[1]
    assert "The first night: both lines learned the shop's history" in first[1]


def test_a_second_report_of_the_same_night_is_no_work(
    three_nights: tuple[Settings, list[Night]],
) -> None:
    settings, nights = three_nights

    assert stages.run("report", nights[-1], settings).worked is False


def test_a_night_without_events_is_reported_as_empty(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    write_night(Lake.of(settings), settings, NIGHT, empty=True)

    stages.run("report", NIGHT, settings)

    figures, page = read(settings, NIGHT)
    assert figures["night"]["empty"] is True
    assert figures["verdict"]["headline"] is None
    assert "An empty night: nothing was judged, the real line (control) stays live." in page
    assert "Not judged: no event of the night could be used." in page


def test_a_night_without_samples_says_why(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    reason = "3 of 4 shards failed, the budget is 20 %"
    write_night(Lake.of(settings), settings, NIGHT, skipped=reason)

    stages.run("report", NIGHT, settings)

    figures, page = read(settings, NIGHT)
    assert figures["samples"]["skipped"] == reason
    assert f"The night went on without samples: {reason}" in page
    assert all(row["accepted"] == 0 for row in figures["samples"]["strategies"])
    assert all(row["seconds_per_accepted"] is None for row in figures["samples"]["strategies"])


def test_a_retired_dataset_of_an_earlier_night_shortens_the_history_and_nothing_else(
    tmp_path: Path,
) -> None:
    settings = make_settings(tmp_path)
    lake = Lake.of(settings)
    nights = nights_from(NIGHT, 2)
    for number, night in enumerate(nights):
        write_night(lake, settings, night, number=number)
    old = lake.get("evaluation", f"night={nights[0].key}")
    lake.delete(f"{old.folder}/_manifest.json")

    with pytest.raises(Exception, match="gone"):  # evaluate itself reads it: so it would fail first
        stages.resolve_inputs(stages.STAGES["evaluate"], lake, nights[1], settings)
    stages.run("report", nights[1], settings)

    figures, _ = read(settings, nights[1])
    assert [row["night"] for row in figures["history"]] == [nights[1].key]
