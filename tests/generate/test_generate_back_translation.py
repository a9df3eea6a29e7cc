"""There and back through real (tiny) sequence-to-sequence models: what changed is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from text_shop import asked_for, made_and_dropped, shop_of, targets_of
from tiny_translators import ENGLISH, SAID_AGAIN, write_pair

from nightshift.errors import EngineError, SettingsError
from nightshift.generate.chunks import chunk_key
from nightshift.generate.engines.base import Sampling
from nightshift.generate.engines.round_trip import RoundTrip, Seq2Seq
from nightshift.generate.strategies.back_translation import BackTranslation
from nightshift.lake import Lake
from nightshift.settings import Settings

GREEDY = Sampling(max_new_tokens=16, temperature=0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_pair(tmp_path_factory.mktemp("translators"))


@pytest.fixture
def by_pair(settings: Settings, pair: tuple[Path, Path]) -> Settings:
    there, back = map(str, pair)
    own = {"there": there, "back": back, "temperature": 0, "max_new_tokens": 16}
    return settings.with_({"generate": {"back_translation": own, "engine": {"batch": 8}}})


def test_a_round_trip_says_it_otherwise_and_keeps_the_numbers(
    lake: Lake, by_pair: Settings
) -> None:
    # Words that the models never met come back as others: such a text has lost its facts.
    titles = [*ENGLISH[:12], "purple mug 350 ml", "blue mug 990 ml"]
    sources = shop_of(lake, by_pair, titles)
    strategy = BackTranslation(sources)
    targets = targets_of(sources, len(titles))
    chunk = strategy.generate(targets)
    assert made_and_dropped(chunk) == asked_for(targets)
    rows = chunk.samples.to_pylist()
    said = {row["item_id"]: row["text"] for row in rows}
    wanted = dict(zip(targets["item_id"], SAID_AGAIN[:12], strict=False))
    assert said == {item: wanted[item] for item in said}
    assert len(said) >= 10
    lost = [reason for reason in chunk.dropped if reason.startswith(("lost", "invented"))]
    assert lost
    lineage = json.loads(rows[0]["lineage"])
    assert lineage["engine"].startswith("round trip")
    assert lineage["model"] == "there + back"
    assert lineage["examples"] == "none"
    assert strategy.describe()["way"] == "round trip"
    assert chunk.tokens > 12 * 8
    again = BackTranslation(shop_of(lake, by_pair, titles)).generate(targets)
    assert again.samples.equals(chunk.samples)


def test_a_batch_does_not_change_a_greedy_translation(
    pair: tuple[Path, Path], by_pair: Settings
) -> None:
    whole, _ = Seq2Seq(pair[0], by_pair).translate(ENGLISH, GREEDY)
    alone = [Seq2Seq(pair[0], by_pair).translate([text], GREEDY)[0][0] for text in ENGLISH[:3]]
    assert whole[:3] == alone
    assert Seq2Seq(pair[0], by_pair).translate([], GREEDY) == ([], 0)


def test_a_seed_gives_the_same_samples_again(pair: tuple[Path, Path], by_pair: Settings) -> None:
    warm = Sampling(max_new_tokens=16, temperature=3.0, per_prompt=2, seed=5)
    engine = RoundTrip(*pair, by_pair)
    first, again = (engine.generate(ENGLISH[:8], warm, prefix="ignored") for _ in range(2))
    assert first == again
    assert [len(group) for group in first.texts] == [2] * 8
    other = Sampling(max_new_tokens=16, temperature=3.0, per_prompt=2, seed=6)
    assert engine.generate(ENGLISH[:8], other) != first


def test_hostile_texts_come_through(pair: tuple[Path, Path], by_pair: Settings) -> None:
    texts = ["", " ", "\x00", "mug " * 50_000, "杯子 🎁", "<pad> </s> <unk>"]
    found, _ = Seq2Seq(pair[0], by_pair).translate(texts, GREEDY)
    assert len(found) == len(texts)
    assert not [text for text in found if "\n" in text]


def test_without_a_pair_the_engine_paraphrases_and_says_so(lake: Lake, settings: Settings) -> None:
    title = ENGLISH[0]
    sources = shop_of(lake, settings, [title], answer=lambda _: SAID_AGAIN[0])
    strategy = BackTranslation(sources)
    [row] = strategy.generate(targets_of(sources, 1)).samples.to_pylist()
    lineage = json.loads(row["lineage"])
    assert (lineage["engine"], lineage["prompt"]) == ("scripted 0 none", "paraphrases")
    assert strategy.describe()["way"] == "paraphrase"


def test_another_model_is_another_chunk(
    lake: Lake, by_pair: Settings, pair: tuple[Path, Path]
) -> None:
    sources = shop_of(lake, by_pair, ENGLISH[:2])
    targets = targets_of(sources, 2)
    there, back = map(str, pair)
    swapped = by_pair.with_({"generate": {"back_translation": {"there": back, "back": there}}})
    other = BackTranslation(shop_of(lake, swapped, ENGLISH[:2]))
    assert chunk_key(BackTranslation(sources), targets) != chunk_key(other, targets)


def test_half_a_pair_and_an_empty_folder_are_errors_with_a_way_out(
    lake: Lake, settings: Settings, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    half = settings.with_({"generate": {"back_translation": {"there": str(pair[0])}}})
    with pytest.raises(SettingsError, match="one model of two"):
        BackTranslation(shop_of(lake, half)).price()
    both = {"there": str(tmp_path), "back": str(tmp_path)}
    empty = settings.with_({"generate": {"back_translation": both}})
    strategy = BackTranslation(shop_of(lake, empty))
    assert "no config.json" in strategy.describe()["model"]["missing"]
    with pytest.raises(EngineError, match=r"no config\.json"):
        strategy.generate(targets_of(strategy.sources, 1))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineError, match="could not be loaded"):
        Seq2Seq(tmp_path, settings).translate(["mug"], GREEDY)
