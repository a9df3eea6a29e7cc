"""Choosing a recipe on trials whose figures are made up."""

from __future__ import annotations

import numpy as np
import pytest

from nightshift.recommend.choosing import candidates as module
from nightshift.recommend.choosing.candidates import Candidate, candidates, together, tunable
from nightshift.recommend.choosing.recipe import Recipe, Trial, best_beta, choose
from nightshift.settings import Settings, TuneSettings

USERS = 400
RNG = np.random.default_rng(0)
OVERALL = RNG.uniform(0, 1, USERS)
COLD = (np.arange(USERS) % 5 == 0).astype(float)  # a hit rate of 0.2
SETTINGS = TuneSettings(betas=(0.0, 5.0), max_loss=0.01)


def trial(name="x", *, overall=1.0, warm=1.0, cold=COLD, betas=(0.0, 5.0), weight=0.1):
    """Figures as multiples of the control's, the same at every β."""
    figures = {"overall": OVERALL * overall, "warm": OVERALL * warm, "cold": np.asarray(cold)}
    return Trial({name: {"weight": weight, "scope": "short"}}, dict.fromkeys(betas, figures))


CONTROL = trial("control", weight=0.0)


def more_hits(share):
    """The control's cold hits and those of a further share of users."""
    extra = np.zeros(USERS)
    extra[1 : int(share * USERS) : 5] = 1
    return np.maximum(COLD, extra)


def test_the_weight_is_zero_when_nothing_gains():
    beta, chosen, why, rows = choose(CONTROL, [trial("a"), trial("b", cold=COLD * 0.9)], SETTINGS)
    assert chosen is CONTROL
    assert "no weight above zero" in why
    assert [row["allowed"] for row in rows] == [False, False]
    assert beta == 0.0


def test_recipes_that_rank_alike_have_one_id_and_others_another():
    def recipe(**other):
        whole = {"tuned_as_of": "2026-05-01", "beta": {"control": 1.0}, "gamma": 0.0, "why": "so"}
        return Recipe(**whole | {"strategies": {}} | other)

    ids = [
        recipe(**other).recipe_id
        for other in ({}, {"gamma": 2.0}, {"history": 2.0}, {"lean": 2.0}, {"follow": 2.0})
    ]
    assert len(set(ids)) == len(ids)
    assert recipe(tuned_as_of="2026-06-01", why="again").recipe_id == ids[0]


def test_where_no_cold_item_is_ever_hit_a_gain_overall_decides():
    nothing = np.zeros(USERS)
    control = trial("control", cold=nothing, weight=0.0)
    trials = [trial("a", cold=nothing, overall=1.01), trial("b", cold=nothing, overall=1.02)]
    _, chosen, _, rows = choose(control, trials, SETTINGS)
    assert chosen is trials[1]
    assert [row["allowed"] for row in rows] == [True, True]


def test_the_best_on_cold_items_wins_among_the_allowed():
    trials = [
        trial("some", cold=more_hits(0.5)),
        trial("most", cold=more_hits(0.9)),
        trial("more, too dear overall", cold=more_hits(1.0), overall=0.98),
        trial("more, too dear on warm items", cold=more_hits(1.0), warm=0.98),
    ]
    _, chosen, _, rows = choose(CONTROL, trials, SETTINGS)
    assert chosen is trials[1]
    assert [row["allowed"] for row in rows] == [True, True, False, False]
    assert rows[1]["cold"]["relative"] == pytest.approx(trials[1].mean(0.0, "cold") / 0.2 - 1)
    assert rows[2]["overall"]["relative"] == pytest.approx(-0.02)


def test_what_is_within_the_allowed_loss_may_be_chosen():
    _, chosen, _, _ = choose(CONTROL, [trial(overall=0.991, cold=more_hits(0.9))], SETTINGS)
    assert chosen is not CONTROL


@pytest.mark.parametrize("where", ["overall", "warm"])
def test_a_cost_that_could_be_more_than_allowed_is_too_much(where):
    """Half the customers win what the others lose: nothing on average, and nobody can be sure."""
    swing = OVERALL * (1 + 0.5 * np.where(np.arange(USERS) % 2, 1, -1))
    figures = CONTROL.figures[0.0] | {"cold": more_hits(0.9), where: swing}
    _, chosen, _, rows = choose(CONTROL, [Trial({}, dict.fromkeys((0.0, 5.0), figures))], SETTINGS)
    assert chosen is CONTROL
    assert rows[0][where]["relative"] > -0.05
    assert rows[0][where]["low"] < -0.01


def test_a_gain_that_could_be_chance_is_no_gain():
    lucky = COLD.copy()
    lucky[[1, 2]] = 1
    _, chosen, _, rows = choose(CONTROL, [trial(cold=lucky)], SETTINGS)
    assert chosen is CONTROL
    assert rows[0]["cold"]["relative"] > 0 >= rows[0]["cold"]["low"]


def test_the_first_of_equals_is_taken():
    trials = [trial("first", cold=more_hits(0.8)), trial("second", cold=more_hits(0.8))]
    assert choose(CONTROL, trials, SETTINGS)[1] is trials[0]


@pytest.mark.parametrize("hits", [0, 1, 2])
def test_a_control_with_hardly_a_cold_hit_still_lets_a_clear_gain_win(hits):
    few = np.zeros(USERS)
    few[:hits] = 1
    control = Trial({}, dict.fromkeys((0.0, 5.0), CONTROL.figures[0.0] | {"cold": few}))
    clear, unclear = trial("clear", cold=COLD), few.copy()
    unclear[10:12] = 1
    _, chosen, _, rows = choose(control, [trial("unclear", cold=unclear), clear], SETTINGS)
    assert chosen is clear
    assert [row["allowed"] for row in rows] == [False, True]
    for row in rows:  # the report draws these
        figures = row["cold"]
        assert all(np.isfinite(figures[name]) for name in ("relative", "low", "high"))
        assert figures["low"] <= figures["relative"] <= figures["high"]


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_users_with_cold_items_choose_nothing(n):
    control = Trial({}, {0.0: {"overall": OVERALL, "warm": OVERALL, "cold": np.zeros(n)}})
    better = Trial({}, {0.0: {"overall": OVERALL, "warm": OVERALL, "cold": np.ones(n)}})
    settings = TuneSettings(betas=(0.0,))
    _, chosen, _, rows = choose(control, [better], settings)
    assert chosen is control
    assert rows[0]["cold"]["n"] == n


def swept(figures: dict[float, tuple[float, float]]) -> Trial:
    """A control with these overall and cold figures by β."""
    return Trial(
        {}, {b: {"overall": np.array([v]), "cold": np.array([c])} for b, (v, c) in figures.items()}
    )


@pytest.mark.parametrize(
    ("figures", "best"),
    [
        ({0.0: (0.1, 0.9), 5.0: (0.3, 0.1), 10.0: (0.3, 0.1)}, 5.0),
        ({0.0: (0.300, 0.0), 5.0: (0.298, 0.2), 10.0: (0.296, 0.3)}, 5.0),
        ({0.0: (0.300, 0.0), 5.0: (0.301, 0.0), 10.0: (0.299, 0.0)}, 5.0),
    ],
    ids=["smallest of equals", "cold within the loss allowed", "overall where cold is level"],
)
def test_beta_is_the_best_on_cold_items_of_those_that_cost_next_to_nothing(figures, best):
    assert best_beta(swept(figures), TuneSettings(betas=tuple(figures))) == best
    assert best_beta(swept(figures), TuneSettings(betas=tuple(figures)[::-1])) == best


def test_without_users_the_smallest_beta_is_best():
    nobody = {b: {"overall": np.zeros(0), "cold": np.zeros(0)} for b in (0.0, 5.0)}
    assert best_beta(Trial({}, nobody), TuneSettings(betas=(5.0, 0.0))) == 0


def test_every_trial_is_compared_at_the_controls_beta():
    better = CONTROL.figures[0.0] | {"overall": OVERALL + 0.1}
    control = Trial({}, {0.0: CONTROL.figures[0.0], 5.0: better})
    # At β = 0 this trial gains; at the control's β of 5 it loses.
    figures = {0.0: better | {"cold": more_hits(1.0)}, 5.0: CONTROL.figures[0.0]}
    beta, chosen, _, _ = choose(control, [Trial({"x": {"weight": 1.0}}, figures)], SETTINGS)
    assert (beta, chosen) == (5.0, control)


def settings(*strategies, **tune):
    return Settings.load({"generate": {"strategies": strategies}, "tune": tune})


def test_candidates_start_with_the_control_and_try_one_strategy_at_a_time():
    tried = candidates(
        settings("text_neighbours", "negatives", "llm_queries", weights=(0.1, 0.5), scopes=("all",))
    )
    off = {"text_neighbours": {"weight": 0.0}, "negatives": {"weight": 0.0}}
    assert [one.strategies for one in tried] == [
        off,
        off | {"text_neighbours": {"weight": 0.1, "scope": "all"}},
        off | {"text_neighbours": {"weight": 0.5, "scope": "all"}},
        off | {"negatives": {"weight": 1.0}},
    ]


def test_without_tunable_strategies_there_is_only_the_control():
    assert [one.strategies for one in candidates(settings("llm_queries"))] == [{}]
    assert [one.strategies for one in candidates(settings("negatives"))] == [
        {"negatives": {"weight": 0.0}},
        {"negatives": {"weight": 1.0}},
    ]


# --- several groups ---------------------------------------------------------------------------


def of(group, name, *, weight=0.3, **figures):
    """A trial of one strategy."""
    made = trial(name, weight=weight, **figures)
    return Trial(made.strategies, made.figures, (name,), group)


def combining(figures):
    """Tries the winners together, and gives what was made up for that."""
    seen = []

    def combine(winners):
        seen.append([one.tries[0] for one in winners])
        return of("together", "+".join(seen[-1]), **figures)

    return combine, seen


PLACED = of("behaviour", "text_neighbours", cold=more_hits(0.9))
WORSE = of("behaviour", "negatives", cold=more_hits(0.5))
SEQUENCES = of("sequences", "sequence_ops", overall=1.05)
LOST = of("item texts", "llm_reviews", overall=0.9)


def test_the_best_of_each_group_are_tried_together_and_taken_when_that_holds():
    combine, seen = combining({"overall": 1.05, "cold": more_hits(0.9)})
    trials = [WORSE, PLACED, SEQUENCES, LOST]
    _, chosen, why, rows = choose(CONTROL, trials, SETTINGS, combine)
    assert seen == [["text_neighbours", "sequence_ops"]]
    assert chosen.group == "together"
    assert "allowed together" in why
    assert [row["tries"] for row in rows] == [
        *(["negatives"], ["text_neighbours"], ["sequence_ops"], ["llm_reviews"]),
        ["text_neighbours+sequence_ops"],
    ]


@pytest.mark.parametrize(
    "figures",
    [
        {"overall": 0.9, "cold": more_hits(1.0)},  # too dear together
        {"overall": 1.05, "cold": more_hits(0.2)},  # allowed, and worse than the best alone
    ],
)
def test_winners_that_do_not_hold_together_leave_the_best_alone(figures):
    combine, _ = combining(figures)
    _, chosen, why, rows = choose(CONTROL, [PLACED, SEQUENCES], SETTINGS, combine)
    assert chosen is PLACED
    assert "together were not allowed, or lost" in why
    assert len(rows) == 3


def test_one_winner_needs_no_further_trial():
    combine, seen = combining({})
    assert choose(CONTROL, [PLACED, WORSE, LOST], SETTINGS, combine)[1] is PLACED
    assert seen == []


def test_a_placebo_is_compared_with_and_never_taken():
    same = of("behaviour", "random_pairs", cold=more_hits(0.7))
    heavy = of("behaviour", "random_pairs", weight=1.0, cold=more_hits(1.0), overall=1.1)
    upsampled = of("sequences", "upsample", weight=0.9, overall=1.03)
    trials = [PLACED, same, heavy, SEQUENCES, upsampled]
    _, chosen, _, rows = choose(CONTROL, trials, SETTINGS)
    assert chosen is PLACED
    by = {tuple(row["tries"]): row for row in rows}
    assert by[("upsample",)]["over"] == {}
    over = by[("text_neighbours",)]["over"]
    assert set(over) == {"random_pairs", "upsample"}
    # Against the placebo of the same weight and scope; where there is none, its best overall.
    assert over["random_pairs"]["cold"]["value"] == pytest.approx(
        np.mean(more_hits(0.9) - more_hits(0.7))
    )
    assert over["upsample"]["overall"]["relative"] == pytest.approx(1 / 1.03 - 1)
    assert by[("sequence_ops",)]["over"]["upsample"]["overall"]["low"] > 0


EVERY = {
    "pairs": "interaction",
    "negatives": "negative",
    "walks": "sequence",
    "reviews": "review",
    "texts": "description",
    "people": "profile",
    "queries": "query",
    "adverts": "ad_copy",
}


def test_every_kind_that_ranks_items_has_its_trials(monkeypatch):
    monkeypatch.setattr(module, "produced_kind", EVERY.__getitem__)
    chosen = settings(
        *EVERY,
        weights=(0.1,),
        scopes=("cold", "all"),
        sequence_weights=(0.3,),
        text_weights=(0.25, 0.5),
        profile_weights=(0.2,),
    )
    assert tunable(chosen) == ["pairs", "negatives", "walks", "reviews", "texts", "people"]
    control, *tried = candidates(chosen)
    assert set(control.strategies) == set(tunable(chosen))
    assert not any(one["weight"] for one in control.strategies.values())
    assert [(one.group, one.tries[0], one.strategies[one.tries[0]]) for one in tried] == [
        ("behaviour", "pairs", {"weight": 0.1, "scope": "cold"}),
        ("behaviour", "pairs", {"weight": 0.1, "scope": "all"}),
        ("behaviour", "negatives", {"weight": 1.0}),
        ("sequences", "walks", {"weight": 0.3}),
        *(
            ("item texts", name, {"weight": weight, "scope": scope})
            for name in ("reviews", "texts")
            for scope in ("cold", "all")
            for weight in (0.25, 0.5)
        ),
        ("profiles", "people", {"weight": 0.2}),
    ]
    for one in tried:
        others = {name: one.strategies[name] for name in control.strategies if name != one.tries[0]}
        assert not any(chosen["weight"] for chosen in others.values())


def test_together_is_what_each_of_the_winners_switches_on():
    off = {name: {"weight": 0.0} for name in "abc"}
    one = Candidate(off | {"a": {"weight": 0.1, "scope": "cold"}}, ("a",), "x")
    two = Candidate(off | {"c": {"weight": 0.3}}, ("c",), "y")
    found = together([one, two])
    assert found.strategies == off | {"a": {"weight": 0.1, "scope": "cold"}, "c": {"weight": 0.3}}
    assert found.tries == ("a", "c")
