"""Sequences: row checks on good and planted bad rows, and the gates against a collapsed batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from sample_factory import Shop, as_samples, changed, good_samples

from factories import NIGHT
from nightshift.inspection.facts import Facts, facts_of
from nightshift.inspection.gates import item_gates
from nightshift.inspection.samples import with_codes
from nightshift.inspection.suites import sequence
from nightshift.settings import InspectionSettings


@pytest.fixture(scope="module")
def samples(shop: Shop) -> pl.DataFrame:
    return good_samples(shop, "sequence", 120)


@pytest.fixture(scope="module")
def facts(shop: Shop) -> Facts:
    return facts_of(
        shop.lake,
        shop.settings,
        NIGHT.key,
        snapshot=shop.snapshot,
        vectors=shop.vectors,
        strategies=["upsample"],
    )


def made_up(samples: pl.DataFrame) -> pl.DataFrame:
    return samples.with_columns(user_key=pl.lit(None, pl.String))


def test_real_stretches_are_accepted_with_and_without_their_user(
    shop: Shop, samples: pl.DataFrame
) -> None:
    assert shop.reasons(samples) == {}
    assert shop.reasons(made_up(samples)) == {}


BAD: list[tuple[str, dict[str, Any]]] = [
    ("user_unknown", {"user_key": "nobody"}),
    ("user_unknown", {"user_key": "made-up-000001"}),
    ("context_empty", {"context_items": []}),
    ("context_empty", {"context_items": None}),
    ("context_unknown_item", {"context_items": ["no such item"]}),
    ("context_unknown_item", {"context_items": [None]}),
    ("item_unknown", {"item_id": "no such item"}),
    ("label_wrong", {"label": 0.0}),
    ("label_wrong", {"label": None}),
    ("text_unexpected", {"text": "words"}),
]


@pytest.mark.parametrize(("reason", "values"), BAD)
def test_a_planted_bad_row_is_quarantined_under_its_name(
    shop: Shop, samples: pl.DataFrame, reason: str, values: dict[str, Any]
) -> None:
    found = shop.reasons(changed(samples, 3, **values))
    assert list(found) == ["bad-3"]
    assert reason in found["bad-3"]


def test_a_thousand_and_one_items_in_front_are_too_many(shop: Shop, samples: pl.DataFrame) -> None:
    own = samples["context_items"][0].to_list()
    assert shop.reasons(changed(samples, 0, context_items=(own * 201)[:1000])) == {}
    found = shop.reasons(changed(samples, 0, context_items=(own * 201)[:1001]))
    assert found == {"bad-0": ["context_empty"]}


def test_a_known_customers_sequence_is_mostly_the_customers_own(
    shop: Shop, samples: pl.DataFrame
) -> None:
    snapshot = shop.read()
    user = snapshot.user_codes.filter(pl.col("user_key") == samples["user_key"][0])["user"][0]
    had = {snapshot.items["item_id"][int(code)] for code in snapshot.histories.of(user)}
    foreign = [item for item in snapshot.items["item_id"] if item not in had]
    own = samples["context_items"][0].to_list()
    half = changed(samples, 0, context_items=own[:2] + foreign[:3])  # and the item: three of six
    assert shop.reasons(half) == {}
    most = changed(samples, 0, context_items=own[:1] + foreign[:4])
    assert shop.reasons(most) == {"bad-0": ["sequence_foreign"]}
    nobody = changed(samples, 0, context_items=own[:1] + foreign[:4], user_key=None)
    assert shop.reasons(nobody) == {}


def test_of_equal_sequences_the_first_is_kept(shop: Shop, samples: pl.DataFrame) -> None:
    same = samples[[0]].with_columns(sample_id=pl.lit("same"), strategy=pl.lit("upsample"))
    assert shop.reasons(pl.concat([samples, same])) == {"same": ["duplicate"]}
    other = same.with_columns(user_key=pl.lit(None, pl.String))
    assert shop.reasons(pl.concat([samples, other])) == {}
    reordered = same.with_columns(pl.col("context_items").list.reverse())
    assert shop.reasons(pl.concat([samples, reordered])) == {}


def test_an_item_returns_only_where_the_shop_repeats(facts: Facts, samples: pl.DataFrame) -> None:
    own = samples["context_items"][0].to_list()
    rows = changed(samples, 0, context_items=[own[0], own[0]], item_id=own[1]).with_row_index("row")
    rows = rows.with_columns(schema_ok=pl.lit(True), shard_file=pl.lit("upsample-000"))
    settings = InspectionSettings()

    def returns(known: Facts) -> int:
        return sequence.features(with_codes(rows, known), known, settings)["returns"][0]

    assert facts.repeats
    assert returns(facts) == 0
    assert returns(replace(facts, repeats=False)) == 1
    rule = next(r for r in sequence.rules(settings) if r.reason == "item_returns")
    assert rule.column == "returns"
    assert rule.options["max_value"] == 0


def test_a_collapsed_batch_is_stopped_whole(shop: Shop, samples: pl.DataFrame) -> None:
    # Every order of one customer's six items: each row is sound, together they say one thing.
    base = [*samples["context_items"][0], samples["item_id"][0]]
    assert len(set(base)) > 3
    rng = np.random.default_rng(0)
    orders = {tuple(rng.permutation(base)) for _ in range(300)}
    rows = as_samples(
        [{"item_id": o[-1], "context_items": list(o[:-1]), "label": 1.0} for o in sorted(orders)],
        "sequence",
    )
    manifest, _ = shop.inspect(rows, {"max_item_share": 1.0})
    assert manifest.stats["accepted"] == {"upsample": 0}
    assert manifest.stats["stopped"][0]["gate"] == "distinct_items"
    assert manifest.stats["stopped"][0]["value"] < 0.1
    opened = {"max_item_share": 1.0, "min_distinct_items": 0.0, "min_coverage": 0.0}
    manifest, _ = shop.inspect(rows, opened)
    assert manifest.stats["stopped"] == []


def figures(
    entries: list[int], events: list[int], **limits: float
) -> dict[str, tuple[float, bool]]:
    found = item_gates(np.array(entries), np.array(events), InspectionSettings(**limits))
    return {gate.name: (gate.value, gate.passed) for gate in found}


def test_draws_from_the_real_frequencies_show_what_is_expected() -> None:
    events = (1e5 / np.arange(1, 2001)).astype(int)
    entries = np.random.default_rng(1).choice(2000, 5000, p=events / events.sum())
    found = figures(entries.tolist(), events.tolist())
    assert found["distinct_items"][0] == pytest.approx(1.0, abs=0.05)
    assert found["coverage"][0] == pytest.approx(1.0, abs=0.05)


def test_items_that_nobody_takes_cover_nothing() -> None:
    events = [1000] * 50 + [1] * 500
    found = figures(list(range(50, 550)), events)
    assert found["distinct_items"][1]
    assert found["coverage"] == (pytest.approx(0.01, abs=0.005), False)


def test_limits_are_settings() -> None:
    one = [0] * 100
    assert figures(one, [5] * 100)["distinct_items"] == (pytest.approx(1 / 63.4, abs=1e-3), False)
    assert figures(one, [5] * 100, min_distinct_items=0.01)["distinct_items"][1]


def test_a_shop_without_events_has_nothing_to_fall_short_of() -> None:
    assert np.isfinite([value for value, _ in figures([0, 1], [0, 0]).values()]).all()
