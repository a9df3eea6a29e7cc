import numpy as np

from nightshift.generate.hashing import combine, gumbel, seed_of, splitmix, stable_hash
from nightshift.generate.ragged import expand, first_of_groups, rank_in_groups


def test_a_hash_does_not_depend_on_who_is_hashed_beside_it() -> None:
    alone = stable_hash(["milk"])
    beside = stable_hash(["a much longer string than milk, ä", "milk", "", "milk\0"])
    assert beside[1] == alone[0]
    assert len(set(beside.tolist())) == 4


def test_hashes_are_those_of_every_earlier_version() -> None:
    # A change here changes which items share a chunk, and every seeded draw.
    assert stable_hash(["milk", "ÄÖ"]).tolist() == [8889299020264544997, 14018399145079945046]
    assert seed_of(0, "llm_queries", "a") == 507672520


def test_a_salt_gives_another_order() -> None:
    names = [f"item {i}" for i in range(200)]
    first, second = stable_hash(names), stable_hash(names, salt=1)
    rank = np.corrcoef(np.argsort(np.argsort(first)), np.argsort(np.argsort(second)))[0, 1]
    assert abs(rank) < 0.25


def test_the_largest_of_log_weight_plus_gumbel_is_a_weighted_draw() -> None:
    weights = np.array([1.0, 2.0, 7.0])
    draws = np.arange(30_000, dtype=np.uint64)
    noise = np.stack([gumbel(combine(splitmix(draws), np.uint64(i) + 0 * draws)) for i in range(3)])
    winner = (np.log(weights)[:, None] + noise).argmax(axis=0)
    assert np.allclose(np.bincount(winner) / 30_000, weights / 10, atol=0.01)


def test_ragged_groups() -> None:
    row, rank, at = expand(np.array([0, 2, 2, 5]), np.array([2, 0, 2, 1]))
    assert row.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert rank.tolist() == [0, 1, 2, 0, 1, 0, 1, 2]
    assert at.tolist() == [2, 3, 4, 0, 1, 2, 3, 4]
    assert first_of_groups(np.array([1, 1, 2]), np.array([5, 6, 6])).tolist() == [True, True, True]
    assert rank_in_groups(np.array([4, 4, 4, 1, 4])).tolist() == [0, 1, 2, 0, 0]
    assert rank_in_groups(np.array([], dtype=np.int64)).tolist() == []
