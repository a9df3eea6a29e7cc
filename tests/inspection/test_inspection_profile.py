"""Profiles: about a user, grounded in that user's history, in words of nobody's name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sample_factory import Shop, as_samples, changed, good_samples

from factories import NIGHT
from nightshift.inspection.detectors.history_centre import history_centres
from nightshift.inspection.facts import facts_of


@pytest.fixture(scope="module")
def samples(shop: Shop) -> pl.DataFrame:
    return good_samples(shop, "profile")


def test_a_centre_is_the_mean_of_what_the_user_had(shop: Shop) -> None:
    facts = facts_of(
        shop.lake,
        shop.settings,
        NIGHT.key,
        snapshot=shop.snapshot,
        vectors=shop.vectors,
        strategies=[],
    )
    snapshot = shop.read()
    users = np.array([7, 0, 7])
    found = history_centres(facts, users)
    for row, user in zip(found, users, strict=True):
        mean = facts.vectors[np.unique(snapshot.histories.of(user))].mean(axis=0)
        assert row == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    empty = history_centres(replace(facts, pairs=np.zeros(0, dtype=np.int64)), users)
    assert not empty.any()


def test_a_profile_of_another_taste_is_not_near(shop: Shop, samples: pl.DataFrame) -> None:
    found = shop.reasons(changed(samples, 3, text="trail running shoes, alpine climbing ropes"))
    assert found == {"bad-3": ["low_relevance"]}


def test_a_profile_is_judged_by_the_users_own_history(shop: Shop) -> None:
    """The same words are near for who buys such things, and far for who does not."""
    snapshot = shop.read()
    facts = facts_of(
        shop.lake,
        shop.settings,
        NIGHT.key,
        snapshot=shop.snapshot,
        vectors=shop.vectors,
        strategies=[],
    )
    centres = history_centres(facts, np.arange(snapshot.users.height))
    text = "fresh fruit and berries"
    cosines = centres @ facts.embed([text])[0]
    keys = snapshot.users["user_key"]
    rows = [
        {"user_key": keys[int(user)], "text": text, "label": 1.0, "item_id": None}
        for user in (cosines.argmax(), cosines.argmin())
    ]
    between = float((cosines.max() + cosines.min()) / 2)
    found = shop.reasons(as_samples(rows, "profile"), {"min_relevance": between})
    assert len(found) == 1
    [reasons] = found.values()
    assert "low_relevance" in reasons


def test_a_user_has_a_profile_once_and_others_may_have_the_same(
    shop: Shop, samples: pl.DataFrame
) -> None:
    again = samples[[0]].with_columns(
        sample_id=pl.lit("again"), text=pl.lit(f"{samples['text'][0].upper()}.")
    )
    assert shop.reasons(pl.concat([samples, again])) == {"again": ["duplicate"]}
    other = samples[[0]].with_columns(
        sample_id=pl.lit("other"), user_key=pl.lit(samples["user_key"][1])
    )
    found = shop.reasons(pl.concat([samples, other]), {"min_relevance": -1.0})
    assert found == {}


def test_no_profile_names_the_user(shop: Shop, samples: pl.DataFrame) -> None:
    text = f"{samples['text'][0]}, {samples['user_key'][0]}"
    assert "names_the_user" in shop.reasons(changed(samples, 0, text=text))["bad-0"]


def test_profiles_of_many_languages_are_accepted(shop: Shop) -> None:
    texts = [
        "чай, кофе и печенье",
        "紅茶、お菓子、牛乳",
        "القهوة والشاي",
        "Brot, Käse und Obst",
        "🍞 🧀",
    ]
    user = shop.read().users["user_key"][0]
    rows = [{"user_key": user, "text": text, "label": 1.0, "item_id": None} for text in texts]
    # The encoder reads English: relevance is not what this is about.
    assert shop.reasons(as_samples(rows, "profile"), {"min_relevance": -1.0}) == {}
