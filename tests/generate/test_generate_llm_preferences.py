"""A judge that is no better than text similarity is refused; one that knows is believed."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import hostile_texts
import numpy as np
import polars as pl
import pytest
from shops_by_hand import shop_with
from stand_ins import Chooser
from strategy_runs import generate_all

from conftest import sources_of
from factories import NIGHT
from nightshift import stages
from nightshift.generate.chunks import chunk_key
from nightshift.generate.customers.funnel import Candidate, Funnel, best_pairs
from nightshift.generate.customers.judge import Question, judge, weight_of
from nightshift.generate.customers.probe import Probe, draw_probe
from nightshift.generate.customers.shown import shown_items
from nightshift.generate.customers.trial import verdict_on
from nightshift.generate.fits import Tensors
from nightshift.generate.shard import chunks
from nightshift.generate.strategies.base import Refused
from nightshift.generate.strategies.llm_preferences import LlmPreferences
from nightshift.generate.text.templates import CHARS_PER_TOKEN, template
from nightshift.lake import Lake
from nightshift.settings import Settings

SHARD = "llm_preferences-000"
CHOICES = template("customer_choices")


@pytest.fixture
def judged_settings(settings: Settings) -> Settings:
    return settings.with_(
        {
            "generate": {
                "strategies": ["llm_preferences"],
                "chunk_targets": 20,
                "budget": {"samples": 40},
                "llm_preferences": {"max_history": 4, "probe_users": 60, "per_user": 2},
            }
        }
    )


def with_judge(lake: Lake, settings: Settings, engine: Chooser) -> LlmPreferences:
    sources = sources_of(lake, settings)
    sources.__dict__["engine"] = engine
    return LlmPreferences(sources)


def probe_of(strategy: LlmPreferences) -> Probe:
    own = strategy.own_settings
    return draw_probe(
        strategy.sources,
        strategy._lines,
        customers=own["probe_users"],
        most_shown=own["max_history"],
        disliked=strategy._disliked,
    )


def taste(line: str) -> float:
    """An order of all items that nothing but itself knows of."""
    return int.from_bytes(hashlib.sha256(line.encode()).digest()[:4], "big") / 2**32


def oracle(lake: Lake, settings: Settings) -> Chooser:
    """Knows what each probed customer took; of everything else it has a taste of its own."""
    probe = probe_of(with_judge(lake, settings, Chooser(lambda *_: 0.0)))
    took: dict[str, set[str]] = {}
    for question in probe.questions:
        took.setdefault(question.bought, set()).add(question.first)

    def prefer(bought: str, a: str, b: str) -> float:
        known = took.get(bought, set())
        if (a in known) != (b in known):
            return 3.0 if a in known else -3.0
        return 4 * (taste(a) - taste(b))

    return Chooser(prefer, bias=1.5)


# --- the judge -----------------------------------------------------------------------------------


def test_both_orders_cancel_what_a_position_brings() -> None:
    questions = [Question("tea; milk", "green tea", "nails"), Question("tea; milk", "nails", "cup")]
    always_a = judge(Chooser(lambda *_: 0.0, bias=6.0), CHOICES, questions, votes=2, seed=0)
    assert always_a.margin.tolist() == [0.0, 0.0]
    assert always_a.bias == pytest.approx([6.0, 6.0])
    assert always_a.agreement.tolist() == [0.0, 0.0]
    assert weight_of(always_a.margin).tolist() == [0.0, 0.0]

    def shorter(_: str, a: str, b: str) -> float:
        return float(len(b) - len(a))

    biased = judge(Chooser(shorter, bias=-9.0), CHOICES, questions, votes=3, seed=0)
    assert biased.margin == pytest.approx([-4.0, -2.0])  # without the two orders: -13 and -11
    assert biased.bias == pytest.approx([-9.0, -9.0])
    assert biased.agreement.tolist() == [1.0, 1.0]


def test_votes_are_asked_with_other_examples_in_both_orders() -> None:
    engine = Chooser(lambda *_: 1.0)
    judge(engine, CHOICES, [Question("tea; milk", "green tea", "nails")], votes=3, seed=0)
    assert len(engine.prompts) == 3 * 2 * 2
    openings = {prompt.rpartition("Bought: ")[0] for prompt in engine.prompts}
    assert len(openings) == 3
    for opening in openings:  # neither answer is the likelier one by the examples
        assert opening.count("Bought next: A") == opening.count("Bought next: B") == 1
    assert (
        sum(prompt.endswith("A: green tea\nB: nails\nBought next:") for prompt in engine.prompts)
        == 6
    )


def test_a_weight_grows_with_the_margin() -> None:
    weights = weight_of(np.array([0.0, -0.1, 1.0, -20.0]))
    assert weights.tolist() == [0.0, 0.05, 0.4621, 1.0]


# --- the trial -----------------------------------------------------------------------------------


def tried(judge: list[float], text_knn: list[float]) -> Tensors:
    return {
        "judge": np.array(judge),
        "text_knn": np.array(text_knn),
        "bias": np.full(len(judge), 0.25),
    }


def test_a_judge_passes_only_when_it_is_surely_better() -> None:
    passed = verdict_on(tried([1.0] * 60, [1.0] * 36 + [0.0] * 24), seed=0)
    assert (passed.judge, passed.text_knn, passed.n) == (1.0, 0.6, 60)
    assert 0.25 < passed.low < passed.difference < passed.high < 0.55
    with pytest.raises(
        Refused, match=r"AUC 0\.600 against 0\.550 of text-kNN on 20 held-out pairs"
    ):
        verdict_on(tried([1.0] * 12 + [0.0] * 8, [1.0] * 11 + [0.0] * 9), seed=0)
    with pytest.raises(Refused, match=r"position bias \+0\.25"):
        verdict_on(tried([1.0, 0.0] * 30, [1.0, 0.0] * 30), seed=0)
    with pytest.raises(Refused, match="only 9 customers"):
        verdict_on(tried([1.0] * 9, [0.0] * 9), seed=0)


def test_a_probe_shows_nothing_of_what_was_taken(lake: Lake, judged_settings: Settings) -> None:
    strategy = with_judge(lake, judged_settings, Chooser(lambda *_: 0.0))
    sources, probe = strategy.sources, probe_of(strategy)
    rows, snapshot = sources.texts[1], sources.snapshot
    assert len(probe) == 60 == len(set(probe.users.tolist()))
    for number, user in enumerate(probe.users.tolist()):
        history = rows[snapshot.histories.of(user)].tolist()
        taken, other = int(probe.taken[number]), int(probe.other[number])
        assert other not in history
        called = [strategy._lines[text] for text in history]
        assert probe.questions[number].second not in called  # neither before nor after
        earlier = history[: history.index(taken)]
        assert len(earlier) >= 2
        shown = probe.questions[number].bought.split("; ")
        lines = {strategy._lines[text] for text in earlier}
        assert set(shown) <= lines
        assert probe.questions[number].first not in shown
        profile = sources.texts[0][earlier[-10:]] * 0.7 ** np.arange(len(earlier[-10:]))[::-1, None]
        centre = profile.sum(axis=0) / np.linalg.norm(profile.sum(axis=0))
        margin = centre @ (sources.texts[0][taken] - sources.texts[0][other])
        assert probe.text_knn[number] == pytest.approx(margin, abs=1e-3)


def test_a_probes_pairs_are_as_popular(lake: Lake, judged_settings: Settings) -> None:
    """Else the more popular item would be the better guess, and no judge of taste."""
    strategy = with_judge(lake, judged_settings, Chooser(lambda *_: 0.0))
    probe = probe_of(strategy)
    events = strategy.sources.snapshot.item_events
    most = np.zeros(len(strategy.sources.texts[0]))
    np.maximum.at(most, strategy.sources.texts[1], events)
    ranks = np.argsort(np.argsort(most))
    apart = ranks[probe.taken] - ranks[probe.other]
    assert abs(np.median(apart)) < 0.1 * len(most)
    assert np.median(abs(apart)) < 0.15 * len(most)
    assert (most[probe.other] > strategy.sources.settings.generate.tail_events).all()


def test_another_seed_asks_other_customers(lake: Lake, judged_settings: Settings) -> None:
    few = judged_settings.with_({"generate": {"llm_preferences": {"probe_users": 20}}})
    one, again, other = (
        probe_of(with_judge(lake, few.with_({"generate": {"seed": seed}}), Chooser(lambda *_: 0.0)))
        for seed in (0, 0, 1)
    )
    assert one.questions == again.questions
    assert set(one.users.tolist()) != set(other.users.tolist())


# --- the strategy --------------------------------------------------------------------------------


def test_an_oracle_is_believed_and_its_winners_are_the_samples(
    lake: Lake, judged_settings: Settings
) -> None:
    strategy = with_judge(lake, judged_settings, oracle(lake, judged_settings))
    samples = generate_all(strategy, 1000, chunks=4)
    sources, snapshot = strategy.sources, strategy.sources.snapshot
    assert samples.height > 100
    assert strategy._trial.judge == 1.0
    assert strategy._trial.low > 0
    assert strategy._trial.bias == pytest.approx(1.5)
    line = dict(
        zip(
            snapshot.items["item_id"],
            (strategy._lines[int(r)] for r in sources.texts[1]),
            strict=True,
        )
    )
    users = dict(snapshot.user_codes.select("user_key", "user").iter_rows())
    for row in samples.to_dicts():
        won, scores = json.loads(row["lineage"])["over"], json.loads(row["scores"])
        margin = 4 * (taste(line[row["item_id"]]) - taste(line[won]))
        assert margin > 0
        assert scores["margin"] == pytest.approx(margin, abs=1e-3)
        assert scores["bias"] == pytest.approx(1.5, abs=1e-3)
        assert row["weight"] == scores["weight"] == pytest.approx(np.tanh(margin / 2), abs=1e-3)
        history = [
            snapshot.items["item_id"][int(i)] for i in snapshot.histories.of(users[row["user_key"]])
        ]
        assert row["context_items"] == history[-30:]
        assert row["item_id"] not in history
        assert won not in history
    assert samples["label"].unique().to_list() == [1.0]
    # Long tail: one of each pair is short of events, where there is one; it wins half the time.
    short = snapshot.items.filter(pl.col("events") <= sources.settings.generate.tail_events)
    assert samples["item_id"].is_in(short["item_id"].implode()).mean() > 0.3


def test_whoever_always_says_a_is_refused(lake: Lake, judged_settings: Settings) -> None:
    strategy = with_judge(lake, judged_settings, Chooser(lambda *_: 0.0, bias=8.0))
    with pytest.raises(Refused, match=r"AUC 0\.500 against .* position bias \+8\.00"):
        strategy.fit()


def test_an_oracle_that_loses_its_sight_makes_nothing(
    lake: Lake, judged_settings: Settings
) -> None:
    """Fitted when it could judge: pairs that it cannot decide are counted, not made up."""
    strategy = with_judge(lake, judged_settings, oracle(lake, judged_settings))
    strategy.fit()
    strategy.sources.__dict__["engine"] = Chooser(lambda *_: 0.0, bias=8.0)
    targets = strategy.plan(1000).head(10)
    chunk = strategy.generate(targets)
    assert chunk.samples.num_rows == 0
    assert chunk.dropped == {"undecided": 20}


def test_what_shards_share_is_learnt_once(lake: Lake, judged_settings: Settings) -> None:
    first = with_judge(lake, judged_settings, oracle(lake, judged_settings))
    first.fit()
    second = with_judge(lake, judged_settings, oracle(lake, judged_settings))
    second.fit()
    assert second.sources.engine.prompts == []
    targets = first.plan(1000).head(5)
    assert chunk_key(first, targets) == chunk_key(second, targets)
    second.sources.engine.identity = {"engine": "another"}
    assert chunk_key(first, targets) != chunk_key(second, targets)


def read(engine: Chooser) -> int:
    """Tokens of all that it was asked to score since it was last looked at."""
    chars = sum(len(prompt) + len(" A") for prompt in engine.prompts)
    engine.prompts.clear()
    return math.ceil(chars / CHARS_PER_TOKEN)


def test_what_is_read_is_counted_in_the_trial_and_in_every_chunk(
    lake: Lake, judged_settings: Settings
) -> None:
    strategy = with_judge(lake, judged_settings, oracle(lake, judged_settings))
    price, engine = strategy.price(), strategy.sources.engine
    assert (price.tokens, price.fit_prompt_tokens) == (0, 60 * price.prompt_tokens)

    strategy.fit()
    [trial] = strategy.learning.costs.values()
    assert trial.prompt_tokens == read(engine) > 0
    assert trial.prompt_tokens == pytest.approx(price.fit_prompt_tokens, rel=0.3)

    chunk = strategy.generate(strategy.plan(1000).head(10))
    assert chunk.prompt_tokens == read(engine) > 0
    assert chunk.prompt_tokens == pytest.approx(20 * price.prompt_tokens, rel=0.3)
    assert chunk.tokens == 0


def test_a_trial_that_refuses_has_cost_what_it_read(lake: Lake, judged_settings: Settings) -> None:
    strategy = with_judge(lake, judged_settings, Chooser(lambda *_: 0.0, bias=8.0))
    targets = strategy.plan(1000).head(10)

    [refused] = [made.chunk for made in chunks(lake, strategy, [targets], label="test")]
    tried = read(strategy.sources.engine)
    [found] = [made.chunk for made in chunks(lake, strategy, [targets], label="test")]

    assert refused.refused is not None
    assert refused.prompt_tokens == 0  # many chunks share the trial: it is none of this one's own
    assert [cost["prompt_tokens"] for cost in refused.fits.values()] == [tried]
    assert found.fits == refused.fits
    assert not strategy.sources.engine.prompts


def test_what_counts_as_tail_is_tried_out_anew(lake: Lake, judged_settings: Settings) -> None:
    """It says which items a judge is tried on, and which are put forward."""
    engine = oracle(lake, judged_settings)
    other = judged_settings.with_({"generate": {"tail_events": 40}})
    few, many = with_judge(lake, judged_settings, engine), with_judge(lake, other, engine)
    targets = few.plan(1000).head(5)
    assert probe_of(few).questions != probe_of(many).questions
    assert chunk_key(few, targets) != chunk_key(many, targets)
    few.fit()
    asked = len(engine.prompts)
    many.fit()
    assert len(engine.prompts) > asked


def test_a_funnel_leaves_what_the_customer_never_had_the_nearest_first(
    lake: Lake, judged_settings: Settings
) -> None:
    strategy = with_judge(lake, judged_settings, oracle(lake, judged_settings))
    strategy.fit()
    snapshot, rows = strategy.sources.snapshot, strategy.sources.texts[1]
    users = np.arange(30)
    histories = snapshot.histories.take(users)
    shown = shown_items(
        strategy.sources, strategy._lines, users, histories, most=4, disliked=strategy._disliked
    )
    for user, found in enumerate(strategy._funnel.candidates(users, shown)):
        texts = [candidate.text for candidate in found]
        assert 10 <= len(texts) == len(set(texts)) <= 20
        called = [strategy._lines[text] for text in texts]
        had = {strategy._lines[text] for text in rows[histories.of(user)].tolist()}
        assert not set(called) & had
        assert len(set(called)) == len(called)
        assert all(rows[candidate.item] == candidate.text for candidate in found)
        similarities = [candidate.similarity for candidate in found]
        assert similarities == sorted(similarities, reverse=True)


def test_a_new_item_is_judged_against_a_known_one() -> None:
    found = [Candidate(n, n, 1 - n / 10, n in (2, 5)) for n in range(9)]

    def paired(candidates: list[Candidate], wanted: int) -> list[tuple[int, int]]:
        return [(one.text, other.text) for one, other in best_pairs(candidates, wanted)]

    assert paired(found, 1) == [(2, 0)]
    assert paired(found, 2) == [(2, 0), (5, 1)]
    assert paired(found, 4) == [(2, 0), (5, 1), (3, 4), (6, 7)]
    assert paired(found[:1], 2) == []
    assert paired([c for c in found if not c.short], 1) == [(0, 1)]


def test_the_model_of_the_wheel_is_refused_and_the_shard_says_why(
    lake: Lake, judged_settings: Settings, with_models: Path
) -> None:
    settings = judged_settings.with_(
        {"generate": {"llm_preferences": {"probe_users": 12, "max_history": 2}}}
    )
    plan = stages.run("plan", NIGHT, settings).manifest
    [parts] = stages.parts_of("generate", lake, NIGHT, settings)
    stats = stages.run("generate", NIGHT, settings, parts).manifest.stats
    assert stats["made"] == 0
    assert stats["dropped"] == {"refused": plan.stats["samples"]["llm_preferences"]}
    assert "not surely better than text similarity: AUC" in stats["refused"]
    assert "on 12 held-out pairs" in stats["refused"]
    # Found in the lake, the chunks still know the reason.
    again = stages.run("generate", NIGHT, settings, parts, force=True).manifest.stats
    assert again == stats


def test_hostile_items_are_neither_shown_nor_candidates(
    lake: Lake, judged_settings: Settings
) -> None:
    """Texts that give orders, fake answers or say nothing, in every history and every funnel."""
    titles = dict(enumerate(hostile_texts.ALL[:60]))
    engine = Chooser(lambda _, a, b: 4 * (taste(a) - taste(b)))
    shop = shop_with(lake, judged_settings, engine=engine, titles=titles)
    strategy = LlmPreferences(shop)
    strategy._trial = verdict_on(tried([1.0] * 20, [0.0] * 20), seed=0)
    strategy._funnel = Funnel(shop, strategy._lines, 20)
    users = strategy.plan(1000).head(30)
    chunk = strategy.generate(users)
    assert chunk.samples.num_rows + sum(chunk.dropped.values()) == users["budget"].sum()
    assert chunk.samples.num_rows > 30
    for prompt in engine.prompts:  # Chooser asserts that each is one question with two answers
        asked = prompt.rpartition("Bought: ")[2]
        assert asked.count("\n") == 3
        assert not any(bad in asked for bad in hostile_texts.FORBIDDEN if bad != "hacked")
    ids = shop.snapshot.items["item_id"]
    orders = {ids[n] for n, text in titles.items() if text in hostile_texts.ORDERS}
    nothing = {ids[n] for n, text in titles.items() if text in hostile_texts.NOTHING}
    assert not (orders | nothing) & set(chunk.samples["item_id"].to_pylist())
