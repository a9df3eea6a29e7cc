"""The language model learns the shop: better on what it has not seen, and nothing after the cut."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from adapting import QUICK, add_searches, visits_of

from conftest import sources_of
from factories import NIGHT
from nightshift import stages
from nightshift.errors import BadInput
from nightshift.generate.adapt.lessons import lessons_of
from nightshift.generate.adapters import taught
from nightshift.generate.engines import create
from nightshift.generate.engines.model_files import hf_folder
from nightshift.generate.engines.tokens import Tokens
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.settings import Settings
from nightshift.snapshot import Snapshot

SHOP_NIGHT = Night.parse("2017-11-20")
OWN = [f"own words {chr(97 + i // 5)}{chr(97 + i % 5)}" for i in range(25)]


@pytest.fixture
def quick(settings: Settings, with_models: Path) -> Settings:
    return settings.with_(QUICK | {"generate": {"strategies": ["llm_queries"]}})


def adapt(settings: Settings, night: Night = NIGHT) -> Manifest:
    return stages.run("adapt", night, settings).manifest


def test_it_learns_and_says_what(lake: Lake, quick: Settings) -> None:
    made = adapt(quick.with_({"adapt": {"steps": 10, "layers": 8, "probe_items": 3}}))
    stats = made.stats

    assert stats["perplexity"]["after"] < 0.5 * stats["perplexity"]["before"]
    assert stats["pairs"] == {"llm_queries": {"shipped": 602}}
    assert stats["held_out"] == 18
    assert set(stats["usable"]["llm_queries"]) == {"before", "after"}
    config = json.loads(lake.read_bytes(made.file("adapter_config.json").path) or b"")
    assert config["base_model_name_or_path"] == stats["model"]  # no path of this machine
    assert config["target_modules"] == sorted(config["target_modules"])
    card = (lake.read_bytes(made.file("README.md").path) or b"").decode()
    for said in ("before 2017-05-20 00:00 UTC", "licence: Apache-2.0", "| shipped | 602 |"):
        assert said in card
    # What peft learnt is what the engine writes with: the same perplexity, int8 or not.
    adapter = taught(lake, quick, made)
    assert adapter is not None
    held = lessons_of(sources_of(lake, quick)).held_out
    prompts, answers = [one.prompt for one in held], [one.answer for one in held]
    tokens = sum(map(len, Tokens(hf_folder(quick)).encode(answers)))
    for when, one in (("before", None), ("after", adapter.adapter)):
        scores = create(quick, lake=lake, adapter=one).score(prompts, answers)
        assert math.exp(-scores.sum() / tokens) == pytest.approx(stats["perplexity"][when], rel=0.2)


def test_the_same_night_gives_the_same_adapter(lake: Lake, quick: Settings) -> None:
    first = adapt(quick)
    assert not stages.run("adapt", NIGHT, quick).worked
    again = stages.run("adapt", NIGHT, quick, force=True).manifest
    assert again.digest == first.digest
    other = adapt(quick.with_({"adapt": {"seed": 1}}))
    assert other.digest != first.digest


def test_the_catalogues_own_text_may_come_first(lake: Lake, quick: Settings) -> None:
    plain = adapt(quick)
    fed = adapt(quick.with_({"adapt": {"pretrain_steps": 3}}))
    assert fed.stats["perplexity"]["after"] != plain.stats["perplexity"]["after"]
    card = (lake.read_bytes(fed.file("README.md").path) or b"").decode()
    assert "after 3 on the catalogue" in card


def test_what_is_asked_about_customers_is_learnt_and_not_tried_on_items(
    lake: Lake, quick: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shop whose log has visits enough that a customer's searches are among the lessons."""
    monkeypatch.setattr(Snapshot, "searches", visits_of(lake, 26))
    few = {"shipped": False, "pairs": 26, "steps": 1, "layers": 1, "probe_items": 2}
    made = adapt(quick.with_({"adapt": few, "generate": {"min_searchers": 1}}))

    assert made.stats["pairs"]["llm_history"] == {"shop": 26}
    assert "llm_history" in {*made.stats["pairs"]} - {*made.stats["usable"]}
    assert made.stats["usable"]["llm_queries"]["after"] is not None


def test_nothing_to_learn_from_is_an_error_with_a_way_out(quick: Settings) -> None:
    with pytest.raises(BadInput, match="nothing that the language model could learn") as raised:
        adapt(quick.with_({"adapt": {"shipped": False}}))
    assert "adapt.shipped" in str(raised.value.hint)


def test_what_comes_after_the_cut_leaves_no_trace(small_shop: Settings, models: Path) -> None:
    """Neither a search typed on the night itself, nor one that names an item listed later."""
    settings = small_shop.with_(QUICK | {"adapt": {**QUICK["adapt"], "steps": 2}})
    (settings.home_path / "models").parent.mkdir(parents=True, exist_ok=True)
    (settings.home_path / "models").symlink_to(models)
    add_searches(settings, OWN, at="2017-11-19 23:59+00")
    stages.run("collect", SHOP_NIGHT, settings)
    before = adapt(settings, SHOP_NIGHT)
    assert before.stats["pairs"]["llm_queries"]["shop"] == len(OWN)

    later = [query.replace("own", "their") for query in OWN]
    add_searches(settings, later, at="2017-11-20 00:00+00")
    after = adapted_anew(settings, "later")
    assert after.stats["pairs"] == before.stats["pairs"]
    assert after.digest == before.digest

    add_searches(settings, ["one earlier wish"], at="2017-11-01 00:00+00")
    earlier = adapted_anew(settings, "earlier")
    assert earlier.stats["pairs"]["llm_queries"]["shop"] == len(OWN) + 1
    assert earlier.digest != before.digest

    everything = {"collect": {"withhold": [{"share": 0.999, "salt": 1}]}}
    withheld = adapted_anew(settings.with_(everything), "withheld")
    assert withheld.stats["pairs"]["llm_queries"].get("shop", 0) < 3


def adapted_anew(settings: Settings, name: str) -> Manifest:
    """In an empty lake."""
    fresh = settings.with_({"lake": {"root": (settings.home_path / name).as_uri()}})
    stages.run("collect", SHOP_NIGHT, fresh)
    return adapt(fresh, SHOP_NIGHT)
