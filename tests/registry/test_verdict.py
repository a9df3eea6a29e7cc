"""The verdict as a function of the pooled figures."""

from __future__ import annotations

import pytest

from nightshift.contracts import ResultRow
from nightshift.registry.verdict import decide
from nightshift.settings import EvaluateSettings

SETTINGS = EvaluateSettings()


def lift(slice_, low, high, *, arm="challenger", against="control", metric="ndcg@10", n=5000):
    """A paired row over a baseline of 0.1."""
    value = (low + high) / 2
    return ResultRow(
        arm=arm,
        against=against,
        slice=slice_,
        metric=metric,
        value=value / 10,
        relative=value,
        ci95=(low, high),
        value_ci95=(low / 10, high / 10),
        n=n,
    )


def level(arm, metric, value):
    return ResultRow(arm=arm, slice="overall", metric=metric, value=value, n=5000)


def rows(*, overall=(0.02, 0.06), warm=(-0.005, 0.01), cold=None, coverage=0.3, gini=0.9):
    found = [
        lift("overall", *overall),
        lift("warm", *warm),
        level("control", "coverage@10", 0.3),
        level("challenger", "coverage@10", coverage),
        level("control", "gini@10", 0.9),
        level("challenger", "gini@10", gini),
    ]
    return found + ([lift("cold", *cold, metric="recall@10")] if cold else [])


def against_champion(low, high):
    return [
        lift("overall", low, high, arm=arm, against="champion") for arm in ("control", "challenger")
    ]


def failed(verdict):
    return [gate.name for gate in verdict.gates if not gate.passed]


def test_a_challenger_with_a_lift_goes_live_on_a_first_night():
    verdict = decide(rows(), SETTINGS, live_line=None)
    assert (verdict.decision, verdict.live_line, verdict.winner) == (
        "promoted",
        "blend",
        "challenger",
    )
    assert failed(verdict) == []
    assert {g.name for g in verdict.gates} == {
        "overall_not_worse",
        "warm_not_worse",
        "lift",
        "coverage",
        "gini",
    }


def test_a_lift_of_the_target_slice_is_enough():
    found = rows(overall=(-0.005, 0.02), cold=(0.1, 0.9))
    assert decide(found, SETTINGS, live_line=None).live_line == "blend"


@pytest.mark.parametrize(
    ("change", "gate"),
    [
        ({"overall": (-0.2, -0.1)}, "overall_not_worse"),
        ({"warm": (-0.03, 0.01)}, "warm_not_worse"),
        ({"overall": (-0.005, 0.02)}, "lift"),
        ({"overall": (-0.005, 0.02), "cold": (-0.1, 0.3)}, "lift"),
        ({"coverage": 0.2}, "coverage"),
        ({"gini": 0.995}, None),
        ({"gini": 1.01}, "gini"),
    ],
)
def test_each_gate_alone_refuses_a_challenger(change, gate):
    verdict = decide(rows(**change), SETTINGS, live_line=None)
    if gate is None:
        assert failed(verdict) == []
        return
    assert gate in failed(verdict)
    assert (verdict.decision, verdict.live_line) == ("control", "real")
    assert gate in " ".join(verdict.reasons)


def test_a_harmful_challenger_is_refused_and_does_not_unseat_the_real_line():
    found = rows(overall=(-0.2, -0.1)) + against_champion(-0.002, 0.02)
    verdict = decide(found, SETTINGS, live_line="real")
    assert (verdict.decision, verdict.live_line, verdict.winner) == ("control", "real", "control")


def test_a_line_that_turned_harmful_is_replaced_by_the_real_one():
    found = rows(overall=(-0.2, -0.1)) + against_champion(0.05, 0.2)
    verdict = decide(found, SETTINGS, live_line="blend")
    assert (verdict.decision, verdict.live_line) == ("promoted", "real")


def test_a_winner_that_may_lose_to_the_champion_does_not_go_live():
    verdict = decide(rows() + against_champion(-0.05, 0.02), SETTINGS, live_line="real")
    assert (verdict.decision, verdict.live_line, verdict.winner) == ("kept", "real", "challenger")
    assert failed(verdict) == ["champion_not_worse"]


def test_a_winner_that_is_live_already_stays():
    verdict = decide(rows() + against_champion(-0.005, 0.02), SETTINGS, live_line="blend")
    assert (verdict.decision, verdict.live_line) == ("kept", "blend")
    assert failed(verdict) == []


def test_a_winner_without_a_comparison_to_the_champion_does_not_go_live():
    verdict = decide(rows(), SETTINGS, live_line="real")
    assert (verdict.decision, verdict.live_line) == ("kept", "real")


@pytest.mark.parametrize("live_line", [None, "real", "blend"])
def test_identical_arms_give_control(live_line):
    same = [lift(s, 0.0, 0.0) for s in ("overall", "warm", "cold")]
    verdict = decide(same + against_champion(0.0, 0.001), SETTINGS, live_line=live_line)
    assert verdict.winner == "control"
    assert verdict.live_line == "real"
    assert verdict.decision == ("promoted" if live_line == "blend" else "control")
    assert "changed nothing" in verdict.reasons[0]


def test_arms_that_differ_in_one_slice_are_not_identical():
    found = [lift("overall", 0.0, 0.0), lift("cold", 0.1, 0.5, metric="recall@10")]
    verdict = decide(found, SETTINGS, live_line=None)
    assert verdict.winner == "challenger"


def test_an_empty_night_moves_nothing():
    for before, expected in ((None, "real"), ("blend", "blend")):
        verdict = decide(rows(), SETTINGS, live_line=before, empty=True)
        assert (verdict.decision, verdict.live_line, verdict.gates) == ("empty", expected, [])


def test_too_few_users_keep_what_is_live():
    few = ResultRow("challenger", "overall", "ndcg@10", 0.5, 12, against="control", relative=2.0)
    for before, expected in ((None, "real"), ("blend", "blend")):
        verdict = decide([few], SETTINGS, live_line=before)
        assert (verdict.decision, verdict.live_line) == ("too_few_users", expected)
        assert "12 users are fewer than the 100" in verdict.reasons[0]


def test_a_baseline_of_zero_has_no_relative_bound_and_can_still_show_a_lift():
    cold = ResultRow(
        "challenger", "cold", "recall@10", 0.05, 500, against="control", value_ci95=(0.02, 0.08)
    )
    found = [*rows(overall=(-0.005, 0.02)), cold]
    assert decide(found, SETTINGS, live_line=None).live_line == "blend"


def test_the_target_slice_is_tail_where_cold_has_too_few_users():
    cold = ResultRow("challenger", "cold", "recall@10", 0.05, 5, against="control", relative=9.0)
    found = [*rows(overall=(-0.005, 0.02)), cold, lift("tail", 0.01, 0.2)]
    verdict = decide(found, SETTINGS, live_line=None)
    gate = next(gate for gate in verdict.gates if gate.name == "lift")
    assert gate.passed
    assert set(gate.figures) == {"tail", "overall"}


def test_rows_by_seed_decide_nothing():
    seeded = ResultRow(
        "challenger",
        "overall",
        "ndcg@10",
        -0.09,
        5000,
        against="control",
        ci95=(-0.9, -0.8),
        value_ci95=(-0.09, -0.08),
        seed=1,
    )
    assert decide([*rows(), seeded], SETTINGS, live_line=None).live_line == "blend"
