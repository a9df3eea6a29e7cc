"""There and back through real (tiny) sequence-to-sequence models: what changed is counted."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from text_shop import asked_for, made_and_dropped, shop_of, targets_of
from tiny_translators import ENGLISH, SAID_AGAIN, write_pair

from nightshift.errors import EngineError, SettingsError
from nightshift.generate.chunks import chunk_key
from nightshift.generate.engines import round_trip
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
    assert Seq2Seq(pair[0], by_pair).translate([], GREEDY) == ([], [])


def test_a_round_trip_is_paid_for_once(
    lake: Lake, by_pair: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = BackTranslation(shop_of(lake, by_pair, ENGLISH[:6]))
    made = first.generate(targets_of(first.sources, 6))
    assert (made.cached, made.tokens > 6 * 8) == (0, True)

    def refuses(*_: object) -> None:
        raise EngineError("It is asked again.", hint="")

    monkeypatch.setattr(Seq2Seq, "translate", refuses)
    later = BackTranslation(shop_of(lake, by_pair, ENGLISH[:6]))
    # One more item in the chunk is another chunk; greedy answers are each text's own.
    found = later.generate(targets_of(later.sources, 6))
    assert found.samples.equals(made.samples)
    part = later.generate(targets_of(later.sources, 4))
    assert (found.cached, found.tokens, part.cached) == (6, made.tokens, 4)
    with pytest.raises(EngineError, match="asked again"):
        later.generate(targets_of(later.sources, 7))


def test_only_greedy_answers_are_each_texts_own(pair: tuple[Path, Path], by_pair: Settings) -> None:
    engine = RoundTrip(*pair, by_pair)
    assert engine.independent(GREEDY)
    assert not engine.independent(Sampling(temperature=0.7))
    whole, alone = engine.generate(ENGLISH, GREEDY), engine.generate(ENGLISH[5:6], GREEDY)
    assert whole.texts[5] == alone.texts[0]
    assert whole.tokens_of[5] == alone.tokens_of[0]
    assert sum(tokens for tokens, _ in whole.tokens_of) == whole.tokens


def test_a_model_that_hangs_is_an_error(
    lake: Lake, by_pair: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(Seq2Seq, "translate", lambda *_: goes_on.wait(30))
    short = by_pair.with_({"generate": {"engine": {"call_seconds": 0.1}}})
    strategy = BackTranslation(shop_of(lake, short, ENGLISH[:2]))
    with pytest.raises(EngineError, match=r"did not come back within 0\.1 s"):
        strategy.generate(targets_of(strategy.sources, 2))
    goes_on.set()


def test_another_device_is_another_engine(
    pair: tuple[Path, Path], by_pair: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = RoundTrip(*pair, by_pair).identity
    monkeypatch.setattr(round_trip, "device", lambda _: "cuda")
    assert (here["device"], RoundTrip(*pair, by_pair).identity["device"]) == ("cpu", "cuda")


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
    lake: Lake,
    settings: Settings,
    pair: tuple[Path, Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    half = settings.with_({"generate": {"back_translation": {"there": str(pair[0])}}})
    with pytest.raises(SettingsError, match="one model of two"):
        BackTranslation(shop_of(lake, half)).price()
    both = {"there": str(tmp_path), "back": str(tmp_path)}
    empty = settings.with_({"generate": {"back_translation": both}})
    strategy = BackTranslation(shop_of(lake, empty))
    assert strategy.describe()["model"] == {"missing": "unreachable"}
    assert "no config.json" in caplog.text
    with pytest.raises(EngineError, match=r"no config\.json"):
        strategy.generate(targets_of(strategy.sources, 1))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EngineError, match="could not be loaded"):
        Seq2Seq(tmp_path, settings).translate(["mug"], GREEDY)
