"""What is taught: the prompts that the strategies ask, and answers that nothing else has seen."""

from __future__ import annotations

import polars as pl
import pytest
from adapting import searches_of

from conftest import sources_of
from nightshift.errors import SettingsError
from nightshift.generate.adapt.lessons import catalogue_texts, lessons_of
from nightshift.generate.text.queries import shipped_pairs
from nightshift.generate.text.templates import template
from nightshift.lake import Lake
from nightshift.settings import Settings

SPELT = [pair for pair in shipped_pairs() if pair.intent != "misspelling"]


def test_a_shop_without_a_log_learns_the_shipped_pairs(lake: Lake, settings: Settings) -> None:
    lessons = lessons_of(sources_of(lake, settings))

    assert lessons.counts() == {"llm_queries": {"shipped": len(SPELT)}}
    asked = template("search_queries")
    for lesson in lessons.learnt[:20]:
        assert lesson.prompt.startswith(asked.opening)
        assert lesson.prompt.endswith("\nSearch:")
        assert lesson.prompt.count("Product:") == 1  # no example stands in front
        assert lesson.answer.startswith(" ")
        assert lesson.answer.strip() + "\n" in lesson.answer
    # A prompt and its answer are a worked example, to the letter.
    pair = shipped_pairs()[0]
    assert (
        asked.prompt(pair.fields) + asked.answer(pair.fields)
        == asked.prefix([pair.fields])[len(asked.opening) :]
    )


def test_the_shops_own_searches_are_learnt_beside_them(
    lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = searches_of(lake, 80)
    monkeypatch.setattr("nightshift.snapshot.Snapshot.searches", searches)

    whole = lessons_of(sources_of(lake, settings))
    few = lessons_of(
        sources_of(lake, settings.with_({"adapt": {"pairs": 7, "shipped": False, "min_pairs": 1}}))
    )

    own = [lesson for lesson in whole.learnt + whole.held_out if lesson.source == "shop"]
    assert len(own) == searches.height
    assert {lesson.answer.strip() for lesson in own} == set(searches["query"])
    assert few.counts() == {"llm_queries": {"shop": 7}}


def test_a_query_is_learnt_or_judges(
    lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = searches_of(lake, 60)
    ids = lake.read(lake.get("snapshot", "night=2017-05-20"), "items.parquet").filter(
        ~pl.col("withheld")
    )["item_id"]
    many = pl.concat(
        [once.with_columns(item_id=pl.lit(ids[i * 17])) for i in range(5)]
    )  # each query with five items
    monkeypatch.setattr("nightshift.snapshot.Snapshot.searches", many)

    lessons = lessons_of(sources_of(lake, settings.with_({"adapt": {"held_out": 0.3}})))

    learnt, held = ({one.answer for one in part} for part in (lessons.learnt, lessons.held_out))
    assert not learnt & held
    assert len(held) == round(0.3 * len(learnt | held))
    own = [one for one in lessons.learnt + lessons.held_out if one.source == "shop"]
    assert max(sum(one.answer == o.answer for o in own) for one in own) == 3


def test_withheld_items_teach_nothing(
    lake: Lake, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = lake.read(lake.get("snapshot", "night=2017-05-20"), "items.parquet")
    hidden = items.filter("withheld")["item_id"][0]
    searches = searches_of(lake, 40).with_columns(item_id=pl.lit(hidden))
    monkeypatch.setattr("nightshift.snapshot.Snapshot.searches", searches)

    sources = sources_of(lake, settings)
    assert lessons_of(sources).counts() == {"llm_queries": {"shipped": len(SPELT)}}
    known = set(items.filter(~pl.col("withheld"))["text"])
    only_there = set(items.filter("withheld")["text"]) - known
    assert only_there
    assert not only_there & set(catalogue_texts(sources, 10**6))


def test_a_strategy_without_prompts_cannot_be_taught(lake: Lake, settings: Settings) -> None:
    asked = settings.with_({"adapt": {"strategies": ["text_neighbours"]}})
    with pytest.raises(SettingsError, match="asks no language model"):
        lessons_of(sources_of(lake, asked))
