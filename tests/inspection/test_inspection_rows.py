"""Row checks through Great Expectations: good samples pass, each planted bad row is named."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from sample_factory import STRATEGY, Shop, all_kinds, as_samples, changed, good_samples

from nightshift.inspection.suites import SUITES, common


@pytest.fixture(scope="module")
def samples(shop: Shop) -> pl.DataFrame:
    return all_kinds(shop)


def row_of(samples: pl.DataFrame, kind: str, nth: int = 0) -> int:
    """The row of the nth sample of a kind."""
    rows = samples.with_row_index().filter(pl.col("kind") == kind)["index"]
    return int(rows[nth])


def test_good_samples_of_every_kind_are_accepted(shop: Shop, samples: pl.DataFrame) -> None:
    manifest, lake = shop.inspect(samples)
    assert manifest.stats == {
        "accepted": dict.fromkeys(sorted(STRATEGY.values()), 60),
        "quarantined": dict.fromkeys(sorted(STRATEGY.values()), 0),
        "reasons": {},
        "stopped": [],
    }
    accepted = lake.read(manifest, "accepted.parquet")
    assert accepted.sort("sample_id").equals(samples.sort("sample_id"))


ANY_KIND: list[tuple[str, dict[str, Any]]] = [
    ("sample_id_missing", {"sample_id": None}),
    ("item_unknown", {"item_id": "no such item"}),
    ("item_unknown", {"item_id": None}),
    ("night_wrong", {"night": "2016-01-01"}),
    ("night_wrong", {"night": None}),
    ("lineage_missing", {"lineage": None}),
    ("lineage_missing", {"lineage": "{}"}),
    ("lineage_missing", {"lineage": "[1]"}),
    ("lineage_missing", {"lineage": '{"version": '}),
    ("scores_broken", {"scores": '{"similarity": NaN}'}),
    ("scores_broken", {"scores": "0.5"}),
    ("weight_out_of_range", {"weight": 0.0}),
    ("weight_out_of_range", {"weight": -0.1}),
    ("weight_out_of_range", {"weight": 1.5}),
    ("weight_out_of_range", {"weight": float("nan")}),
    ("weight_out_of_range", {"weight": float("inf")}),
    ("weight_out_of_range", {"weight": None}),
    ("label_wrong", {"label": 0.5}),
    ("label_wrong", {"label": None}),
    ("label_wrong", {"label": float("nan")}),
]
BEHAVIOUR: list[tuple[str, dict[str, Any]]] = [
    ("user_unknown", {"user_key": "nobody"}),
    ("user_unknown", {"user_key": None}),
    ("context_empty", {"context_items": []}),
    ("context_empty", {"context_items": None}),
    ("context_unknown_item", {"context_items": ["no such item"]}),
    ("context_unknown_item", {"context_items": [None]}),
    ("text_unexpected", {"text": "words"}),
]
QUERY: list[tuple[str, dict[str, Any]]] = [
    ("user_unexpected", {"user_key": "u000001"}),
    ("text_missing", {"text": None}),
    ("text_length", {"text": ""}),
    ("text_length", {"text": "   "}),
    ("text_length", {"text": "a good word " * 100_000}),
    ("text_unprintable", {"text": "good milk\x00"}),
    ("text_few_letters", {"text": "12 34 56"}),
    ("text_repetition", {"text": "milk milk milk milk milk"}),
    ("text_markup", {"text": "<script>alert('milk')</script>"}),
    ("text_prompt_leak", {"text": "Query: milk"}),
    ("personal_data", {"text": "milk for ada@example.org"}),
    ("low_relevance", {"text": "quantum chromodynamics lecture notes"}),
]
PROFILE: list[tuple[str, dict[str, Any]]] = [
    ("user_unknown", {"user_key": "nobody"}),
    ("user_unknown", {"user_key": None}),
    ("item_unexpected", {"item_id": "no such item"}),
    ("context_unexpected", {"context_items": ["no such item"]}),
    *(case for case in QUERY if case[0] not in ("user_unexpected", "text_few_letters")),
    ("text_few_letters", {"text": "abc 12 34 56"}),
    ("text_length", {"text": "milk and bread, " * 30}),
]
CASES = [
    *((kind, *case) for kind in SUITES for case in ANY_KIND if kind != "profile"),
    *(("profile", *case) for case in ANY_KIND if case[0] != "item_unknown"),
    *(("profile", *case) for case in PROFILE),
    *((kind, *case) for kind in ("interaction", "negative") for case in BEHAVIOUR),
    *(("query", *case) for case in QUERY),
    ("interaction", "low_relevance", {"scores": '{"similarity": 0.1}'}),
    ("interaction", "label_wrong", {"label": 0.0}),
    ("negative", "label_wrong", {"label": 1.0}),
]


def test_every_planted_bad_row_is_quarantined_under_its_name(shop: Shop) -> None:
    # All cases at once, each in a row of its own; a batch may then be bad as a whole, so the gate
    # is opened. One run instead of a hundred keeps this in seconds.
    samples = pl.concat([good_samples(shop, kind, 150) for kind in SUITES])
    position = {kind: iter(range(150)) for kind in SUITES}
    expected: dict[int, tuple[str, str, dict[str, Any]]] = {}
    rows = samples.to_dicts()
    for kind, reason, values in CASES:
        row = row_of(samples, kind, next(position[kind]))
        rows[row] |= {"sample_id": f"bad-{row}"} | values
        # Where the id itself is missing the shop's item tells the row.
        expected[row] = (kind, reason, values)
    manifest, lake = shop.inspect(pl.DataFrame(rows, schema=samples.schema), {"max_rejected": 1.0})
    found = {
        row["sample_id"]: row["reasons"]
        for row in lake.read(manifest, "quarantined.parquet").to_dicts()
    }
    for row, (kind, reason, values) in expected.items():
        name = None if "sample_id" in values else f"bad-{row}"
        assert reason in found[name], (kind, reason, values, found[name])
    made = len(expected)
    without_id = sum("sample_id" in values for _, _, values in CASES)
    assert manifest.rows - samples.height == 0
    assert sum(manifest.stats["quarantined"].values()) == made
    assert len(found) == made - without_id + 1


@pytest.mark.parametrize("kind", ["interaction", "negative"])
def test_a_target_that_the_user_had_is_quarantined(
    shop: Shop, samples: pl.DataFrame, kind: str
) -> None:
    samples = samples.filter(pl.col("kind") == kind)
    row = row_of(samples, kind)
    snapshot = shop.read()
    user = snapshot.user_codes.filter(pl.col("user_key") == samples["user_key"][row])["user"][0]
    history = [snapshot.items["item_id"][int(code)] for code in snapshot.histories.of(user)]
    earlier = next(item for item in history if item not in samples["context_items"][row].to_list())
    in_context = samples["context_items"][row][-1]
    had = shop.reasons(changed(samples, row, item_id=earlier))
    assert had == {f"bad-{row}": ["target_in_history"]}
    inside = shop.reasons(changed(samples, row, item_id=in_context))
    assert inside == {f"bad-{row}": ["target_in_context", "target_in_history"]}


def test_a_context_of_somebody_else_is_quarantined(shop: Shop, samples: pl.DataFrame) -> None:
    samples = samples.filter(pl.col("kind") == "interaction")
    row = row_of(samples, "interaction")
    own = set(samples["context_items"][row].to_list())
    snapshot = shop.read()
    user = snapshot.user_codes.filter(pl.col("user_key") == samples["user_key"][row])["user"][0]
    had = {snapshot.items["item_id"][int(code)] for code in snapshot.histories.of(user)}
    never = [i for i in snapshot.items["item_id"] if i not in had and i != samples["item_id"][row]]
    found = shop.reasons(changed(samples, row, context_items=[*own, never[0]]))
    assert found == {f"bad-{row}": ["context_foreign"]}


def test_of_equal_samples_the_first_is_kept(shop: Shop, samples: pl.DataFrame) -> None:
    query, pair = row_of(samples, "query"), row_of(samples, "interaction")
    text = samples["text"][query]
    copies = pl.concat(
        [
            samples,
            samples[[query]],
            samples[[query]].with_columns(
                sample_id=pl.lit("same words"), text=pl.lit(f"  {text.upper()} !")
            ),
            samples[[pair]].with_columns(
                sample_id=pl.lit("same pair"), scores=pl.lit('{"similarity": 0.7}')
            ),
        ]
    )
    manifest, lake = shop.inspect(copies)
    found = lake.read(manifest, "quarantined.parquet").select("sample_id", "reasons").rows()
    assert sorted(found) == sorted(
        [
            (samples["sample_id"][query], ["duplicate_id", "duplicate"]),
            ("same words", ["duplicate"]),
            ("same pair", ["duplicate"]),
        ]
    )
    assert lake.read(manifest, "accepted.parquet").height == samples.height


def test_the_same_words_for_another_item_are_no_duplicate(
    shop: Shop, samples: pl.DataFrame
) -> None:
    row = row_of(samples, "query", 1)
    titles = (
        shop.read()
        .items.group_by("title", "category")
        .agg(pl.col("item_id"))
        .filter(pl.col("item_id").list.len() > 1)
    )
    first, second = titles["item_id"][0][:2]
    rows = as_samples(
        [{"item_id": item, "text": samples["text"][row], "label": 1.0} for item in (first, second)],
        "query",
    )
    found = shop.reasons(rows, {"min_relevance": -1.0})
    assert not [reasons for reasons in found.values() if "duplicate" in reasons]


def test_a_negative_that_an_interaction_contradicts_is_quarantined(
    shop: Shop, samples: pl.DataFrame
) -> None:
    yes, no = row_of(samples, "interaction"), row_of(samples, "negative")
    pair = {name: samples[name][yes] for name in ("item_id", "user_key", "context_items")}
    assert shop.reasons(changed(samples, no, **pair)) == {f"bad-{no}": ["contradicts_interaction"]}


def test_a_copy_of_the_title_is_quarantined(shop: Shop, samples: pl.DataFrame) -> None:
    samples = samples.filter(pl.col("kind") == "query")
    row = row_of(samples, "query")
    items = shop.read().items
    title = items.filter(pl.col("item_id") == samples["item_id"][row])["title"][0]
    found = shop.reasons(changed(samples, row, text=title.title() + "!"))
    assert "text_copies_title" in found[f"bad-{row}"]


def test_a_similarity_that_nobody_claims_is_not_asked_for(
    shop: Shop, samples: pl.DataFrame
) -> None:
    samples = samples.filter(pl.col("kind") == "interaction")
    row = row_of(samples, "interaction")
    assert shop.reasons(changed(samples, row, scores=json.dumps({"log_prob": -2.5}))) == {}
    assert shop.reasons(changed(samples, row, scores=None)) == {}


def test_good_queries_of_many_languages_are_accepted(shop: Shop) -> None:
    texts = [
        "ノートパソコン 軽量",
        "حذاء رياضي للرجال",
        "हिन्दी में किताबें",
        "Kinderfahrrad 20 Zoll",
        "🎁 gift for mom",
    ]
    item = shop.read().items["item_id"][0]
    rows = as_samples([{"item_id": item, "text": text, "label": 1.0} for text in texts], "query")
    # The encoder reads English: relevance is not what this is about.
    assert shop.reasons(rows, {"min_relevance": -1.0}) == {}


def test_a_kind_without_a_suite_is_quarantined_by_name(shop: Shop, samples: pl.DataFrame) -> None:
    samples = samples.filter(pl.col("kind") == "query")
    row = row_of(samples, "query")
    found = shop.reasons(changed(samples, row, kind="poem"))
    assert found == {f"bad-{row}": ["kind_not_inspected", "batch_stopped:rejected_share"]}
    assert shop.reasons(changed(samples, row, kind=None))[f"bad-{row}"][0] == "kind_not_inspected"


def test_the_common_suite_knows_the_kinds_that_have_one() -> None:
    assert set(common.INSPECTED) == set(SUITES)
