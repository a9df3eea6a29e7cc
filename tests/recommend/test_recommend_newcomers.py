"""Places kept for items nobody has bought: against a slow and plain way to say the same."""

import numpy as np
import pytest
from small_models import fresh, with_deltas

from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.ranking.followers import Followers
from nightshift.recommend.ranking.newcomers import kept_places
from shop_by_hand import histories

ITEMS = 40
NEW = np.arange(ITEMS) % 8 == 7


def plainly(listed, newcomers, new, every):
    """One list, item by item: a new one comes by its rank, or when its place is due."""
    old = [c for c in listed if c >= 0 and not new[c]]
    mine = [c for c in listed if c >= 0 and new[c]]
    mine += [c for c in newcomers if c >= 0 and c not in mine]
    natural = {c: i for i, c in enumerate(listed)}
    out = []
    placed = 0
    for place in range(len(listed)):
        due = placed < len(mine) and (
            natural.get(mine[placed], len(listed)) <= place or (placed + 1) * every - 1 <= place
        )
        if due:
            out.append(mine[placed])
            placed += 1
        elif old:
            out.append(old.pop(0))
        else:
            out.append(-1)
    return out


@pytest.mark.parametrize("every", [1, 2, 5, 10])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.9])
def test_the_same_as_placing_them_one_by_one(every, share):
    rng = np.random.default_rng(every)
    new = rng.random(200) < share
    scores = rng.normal(size=(50, 200)).astype(np.float32) - 3 * new.astype(np.float32)
    k = 20
    order = np.argsort(-scores, axis=1).astype(np.int32)
    codes = order[:, :k]
    q = k // every
    alone = np.argsort(np.where(new, -scores, np.inf), axis=1).astype(np.int32)[:, :q]
    alone = np.where(new[alone], alone, -1)
    found, values = kept_places(
        (codes, np.take_along_axis(scores, codes, axis=1)),
        (alone, np.take_along_axis(scores, np.maximum(alone, 0), axis=1)),
        new,
        every,
    )
    for row in range(50):
        assert found[row].tolist() == plainly(codes[row], alone[row], new, every)
        assert len(set(found[row])) == k
        np.testing.assert_array_equal(values[row], scores[row, found[row]])


def ranker(every: int, **other) -> ModelRanker:
    stored, vectors = fresh(ITEMS)
    events = np.where(NEW, 0, 3)
    return ModelRanker(with_deltas(stored), vectors, events=events, new_every=every, **other)


@pytest.mark.parametrize("beta", [0.0, 3.0])
def test_every_beginning_of_a_list_has_its_share_and_the_best_ones(beta):
    kept, plain = ranker(5, beta=beta), ranker(0, beta=beta)
    asked = histories([[0, 1, 2], [3], [], [10, 11, 12, 13]])
    codes, scores = kept.top_k(asked, 20, candidates=None, exclude_seen=True)
    assert (NEW[codes].cumsum(axis=1)[:, 4::5] >= np.arange(1, 5)).all()
    whole = plain.scores(asked)
    np.testing.assert_allclose(scores, np.take_along_axis(whole, codes, axis=1), atol=1e-5)
    for row, each in enumerate(codes):
        mine = each[NEW[each]]
        best = np.argsort(-np.where(NEW, whole[row], -np.inf), kind="stable")[: len(mine)]
        assert mine.tolist() == best.tolist()
        others = each[~NEW[each]]
        alone = plain.top_k(asked, ITEMS, candidates=~NEW, exclude_seen=True)[0][row]
        assert others.tolist() == alone[: len(others)].tolist()


def test_a_new_item_that_a_customer_has_bought_since_brings_its_count_along():
    """Histories reach further than the events that say who is new: a night's, a request's."""
    often = [0, 1, 2, 3, 4, 5] * 4  # fill a list: the new one has its kept place alone
    asked = histories([[39, *often], [7, *often], [*often, 15], often])
    followers = Followers.count(histories([[5, 23], [5, 23]]), ITEMS)
    counted = {"beta": 0.0, "gamma": 8.0, "follow": 3.0, "followers": followers}
    codes, scores = ranker(5, **counted).top_k(asked, 5, candidates=None, exclude_seen=False)
    assert codes[:, 4].tolist() == [39, 7, 15, 23]
    whole = ranker(0, **counted).scores(asked)
    np.testing.assert_allclose(scores, np.take_along_axis(whole, codes, axis=1), atol=1e-4)
    for row, each in enumerate(codes):
        mine = each[NEW[each]]
        best = np.argsort(-np.where(NEW, whole[row], -np.inf), kind="stable")[: len(mine)]
        assert mine.tolist() == best.tolist()


def test_shorter_lists_are_the_beginnings_of_longer_ones():
    kept, asked = ranker(5, beta=1.0), histories([[0, 1], [2, 9]])
    short = kept.top_k(asked, 10, candidates=None, exclude_seen=True)[0]
    long = kept.top_k(asked, 20, candidates=None, exclude_seen=True)[0]
    np.testing.assert_array_equal(short, long[:, :10])


def test_what_may_not_be_recommended_takes_no_kept_place():
    kept, asked = ranker(5, beta=1.0), histories([[7, 15], [0]])
    allowed = np.arange(ITEMS) % 16 != 7  # of the new ones 15 and 31 are left
    codes = kept.top_k(asked, 10, candidates=allowed, exclude_seen=True)[0]
    assert codes[0][NEW[codes[0]]].tolist() == [31]
    assert sorted(codes[1][NEW[codes[1]]]) == [15, 31]
    assert (codes >= 0).all()


def test_without_new_items_and_without_the_rule_nothing_changes():
    stored, vectors = fresh(ITEMS)
    asked = histories([[1], [2, 3]])
    plain = ModelRanker(stored, vectors, beta=1.0)
    none_new = ModelRanker(stored, vectors, beta=1.0, events=np.ones(ITEMS, int), new_every=5)
    expected, found = (
        each.top_k(asked, 10, candidates=None, exclude_seen=False)[0] for each in (plain, none_new)
    )
    np.testing.assert_array_equal(expected, found)
