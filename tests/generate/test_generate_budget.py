from hypothesis import given
from hypothesis import strategies as st

from nightshift.generate.budget import Bid, Grant, split, water_fill
from nightshift.generate.strategies.base import Price
from nightshift.prices import Rates
from nightshift.settings import Budget

FREE = Price(seconds=1e-4)
MODEL = Price(tokens=16, seconds=0.1)


def test_samples_go_by_share() -> None:
    bids = {"a": Bid(1000, FREE, share=4), "b": Bid(1000, FREE)}
    assert water_fill(bids, 500) == {"a": 400, "b": 100}


def test_what_one_leaves_goes_to_the_others() -> None:
    bids = {"a": Bid(10, FREE, share=4), "b": Bid(1000, FREE), "c": Bid(1000, FREE)}
    assert water_fill(bids, 500) == {"a": 10, "b": 245, "c": 245}


@given(
    st.dictionaries(st.sampled_from("abcd"), st.tuples(st.integers(0, 500), st.integers(1, 5))),
    st.integers(0, 1500),
)
def test_nothing_is_overspent_and_nothing_left_while_somebody_wants_it(wants, total) -> None:
    bids = {name: Bid(wanted, FREE, share) for name, (wanted, share) in wants.items()}
    granted = water_fill(bids, total)
    assert all(granted[name] <= bid.wanted for name, bid in bids.items())
    assert sum(granted.values()) == min(total, sum(bid.wanted for bid in bids.values()))


def test_tokens_bound_a_language_model_and_free_its_samples_for_others() -> None:
    bids = {"llm": Bid(1000, MODEL), "free": Bid(1000, FREE)}
    granted = split(bids, Budget(samples=1000, tokens=160, seconds=1e6))
    assert granted == {"llm": Grant(10, "tokens"), "free": Grant(990, "samples")}


def test_the_dearest_gives_way_when_seconds_are_short() -> None:
    bids = {"llm": Bid(100, MODEL), "free": Bid(100, FREE)}
    granted = split(bids, Budget(samples=1000, tokens=10_000, seconds=5.0))
    assert granted["free"] == Grant(100, None)
    assert granted["llm"].cut_by == "seconds"
    assert granted["llm"].samples * 0.1 + 100 * 1e-4 <= 5.0
    assert granted["llm"].samples == 49


def test_no_budget_no_sample() -> None:
    granted = split({"a": Bid(100, FREE)}, Budget(samples=0, tokens=0, seconds=1.0))
    assert granted["a"] == Grant(0, "samples")


def test_learning_is_paid_in_seconds_and_in_money_before_the_first_sample() -> None:
    learner = Price(seconds=0.01, fit_seconds=100.0, fit_prompt_tokens=5000)
    rates = Rates(prompt_token=1e-3, second=1e-2)  # learning costs 1 by the clock, 5 by tokens
    bids = {"learner": Bid(1000, learner, rates=rates), "free": Bid(100, FREE)}
    wide = {"samples": 10_000, "tokens": 0}

    assert split(bids, Budget(**wide, seconds=99.0))["learner"] == Grant(0, "seconds")
    assert 490 < split(bids, Budget(**wide, seconds=105.0))["learner"].samples < 500

    dear = split(bids, Budget(**wide, seconds=1e4, money=5.9))
    assert dear == {"learner": Grant(0, "money"), "free": Grant(100)}
    paid = split(bids, Budget(**wide, seconds=1e4, money=6.05))
    assert paid["learner"].cut_by == "money"
    assert 498 <= paid["learner"].samples <= 500  # 0.05 left at 0.0001 each
    assert split(bids, Budget(**wide, seconds=1e4, money=6.2))["learner"] == Grant(1000)
