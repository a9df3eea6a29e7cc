"""Parts that made-up customers rest on: softmax, decoding, copies, order, plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from torch.nn import functional as F  # noqa: N812
from two_towns import STREET, make, real_sequences, sequences, two_towns

from nightshift.generate.behaviour import sampling
from nightshift.generate.behaviour.collapse import energy_distance, health
from nightshift.generate.behaviour.copies import RealStretches
from nightshift.generate.behaviour.decoding import Decoder
from nightshift.generate.behaviour.items import ItemTable
from nightshift.generate.behaviour.noise import normal, uniform
from nightshift.generate.behaviour.order import Order
from nightshift.generate.behaviour.repeats import again, rate
from nightshift.generate.behaviour.sampling import Candidates, pick
from nightshift.generate.behaviour.shop import Behaviour
from nightshift.generate.behaviour.vectors import item_vectors
from nightshift.generate.hashing import splitmix
from nightshift.generate.sources import Sources
from nightshift.generate.strategies.behaviour_gan import first_allowed
from nightshift.generate.strategies.behaviour_vae import first_new
from nightshift.generate.strategies.seq_generator import SeqGenerator
from nightshift.lake import Lake
from nightshift.settings import Settings
from nightshift.stages import Ran

PEOPLE = splitmix(np.arange(20_000, dtype=np.uint64))


@pytest.fixture(scope="module")
def behaviour(towns: Sources) -> Behaviour:
    return Behaviour.of(towns, 8)


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return two_towns(tmp_path_factory.mktemp("parts"))


def test_noise_is_what_it_says_and_each_persons_own() -> None:
    drawn = uniform(PEOPLE, 3, salt=1)
    assert np.abs(np.histogram(drawn, 20, (0, 1))[0] / drawn.size - 0.05).max() < 0.005
    assert np.abs(np.corrcoef(drawn.T)[np.triu_indices(3, 1)]).max() < 0.03
    assert np.abs(np.corrcoef(drawn[:, 0], uniform(PEOPLE, 1, salt=2)[:, 0])[0, 1]) < 0.03
    assert (uniform(PEOPLE[5:7], 3, salt=1) == drawn[5:7]).all()
    assert abs(normal(PEOPLE, 2, salt=1).std() - 1) < 0.02


def test_picked_items_follow_their_probabilities() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    noise = uniform(PEOPLE, 1, salt=9)
    rows, log_p = pick(logits.expand(len(PEOPLE), 4), noise)
    assert np.abs(np.bincount(rows[:, 0]) / len(PEOPLE) - [0.5, 0.3, 0.15, 0.05]).max() < 0.01
    assert np.allclose(np.exp(log_p[rows == 1]), 0.3, atol=1e-5)
    rows, log_p = pick(logits.expand(len(PEOPLE), 4), noise, top_k=2)
    assert set(rows[:, 0]) == {0, 1}
    assert np.allclose(np.exp(log_p[rows == 1]), 0.3, atol=1e-5)  # of all, whatever was left out
    cold, _ = pick(logits.expand(len(PEOPLE), 4), noise, temperature=0.5)
    assert (cold == 0).mean() > 0.6


def test_a_sampled_softmax_says_what_the_whole_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.full(3000, 0.3))
    torch.manual_seed(0)
    table = ItemTable(rng.standard_normal((3000, 8)).astype(np.float32), shares, 16)
    states, targets = torch.randn(200, 16), torch.from_numpy(rng.choice(3000, 200, p=shares))
    with torch.no_grad():
        exact = F.cross_entropy(states @ table.all().T + table.bias, targets).item()
        own = table(targets)
        whole = Candidates(shares, 1)
        assert whole.draw() is None
        assert whole.loss(states, own, targets, table, None).mean().item() == pytest.approx(exact)
        some = Candidates(shares, 1, most=1000)
        found = [
            some.loss(states, own, targets, table, some.draw()).mean().item() for _ in range(20)
        ]
    # The logarithm of an estimate is a little low.
    assert np.mean(found) == pytest.approx(exact, abs=0.1)
    assert sampling.WHOLE > 3000


def test_a_batch_is_filled_up_so_that_a_row_depends_on_itself() -> None:
    seen: list[np.ndarray] = []
    sampling.in_batches(5, 3, seen.append)
    assert [batch.tolist() for batch in seen] == [[0, 1, 2], [3, 4, 4]]


def test_decoding_gives_items_by_their_shares_once_it_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 8)).astype(np.float32)
    shares = rng.dirichlet(np.full(300, 0.5)) * 0.9 + 0.1 / 300
    points = torch.from_numpy(vectors[rng.choice(300, 4000)])  # every item alike: wrong shares
    decoder = Decoder(vectors, shares, 1.0)

    def off() -> float:
        made = np.bincount(decoder.near(points, rng.random((4000, 1)))[:, 0], minlength=300)
        return float(np.abs(made / 4000 - shares).sum() / 2)

    before = off()
    decoder.calibrate(points)
    assert before > 0.15
    assert off() < 0.5 * before
    exact = Decoder(vectors, np.full(300, 1 / 300), 0.1).nearest(torch.from_numpy(vectors), 2)
    assert (exact[:, 0] == np.arange(300)).all()
    assert (exact[:, 1] != exact[:, 0]).all()


def test_health_tells_the_like_from_the_collapsed(towns: Sources, behaviour: Behaviour) -> None:
    vectors = item_vectors(towns, behaviour, 16, 0)
    rng = np.random.default_rng(2)
    real, other = behaviour.draw(rng, 300).rows, behaviour.draw(rng, 300).rows
    alike = health(other, real, vectors)
    one = health(np.repeat(other[:1], 300, axis=0), real, vectors)
    mixed = np.where(real >= 0, rng.permutation(real[real >= 0])[0 * real + 0], real)
    mixed[real >= 0] = rng.permutation(real[real >= 0])
    shuffled = health(mixed.astype(np.int32), real, vectors)
    assert alike.distinct == pytest.approx(1, abs=0.1)
    assert alike.spread == pytest.approx(1, abs=0.1)
    assert abs(alike.distance) < 0.1
    assert one.distinct < 0.15
    assert one.spread < 0.01
    assert one.coverage < 0.3
    assert shuffled.distinct == pytest.approx(1, abs=0.1)  # no collapse, and still not alike
    assert shuffled.distance > 5 * abs(alike.distance)
    same = rng.standard_normal((50, 3))
    assert energy_distance(same, same + 5) > 1


def test_copies_are_whole_stretches_of_one_customer(behaviour: Behaviour) -> None:
    user = int(behaviour.learnt[0])
    mine = behaviour.rows[behaviour.indptr[user] : behaviour.indptr[user + 1]]
    end = int(behaviour.indptr[user + 1])
    rows = np.full((5, 8), -1, dtype=np.int32)
    rows[0, :3] = mine[:3]
    rows[1, :2] = mine[:2]  # two items are no secret
    rows[2, :3] = mine[[2, 1, 0]]
    rows[3, :4] = behaviour.rows[end - 2 : end + 2]  # half this customer's, half the next one's
    rows[4, : len(mine)] = mine[:8]
    assert len(mine) >= 3
    real = RealStretches(behaviour.indptr, behaviour.rows)
    assert real.holds(rows).tolist() == [True, False, False, False, True]


def test_an_order_is_that_of_customers(towns: Sources, behaviour: Behaviour) -> None:
    vectors = item_vectors(towns, behaviour, 16, 0)
    rng = np.random.default_rng(3)
    order = Order.learn(behaviour, vectors, rng)
    real = behaviour.draw(rng, 500)
    jumbled = real.rows.copy()
    for row, length in zip(jumbled, real.lengths, strict=True):
        row[:length] = rng.permutation(row[:length])
    found = order.arranged(jumbled, PEOPLE[:500])

    def steps(rows: np.ndarray) -> float:
        inside = rows[:, 1:] >= 0
        step = (behaviour.codes[rows[:, 1:]] - behaviour.codes[rows[:, :-1]]) % STREET
        return float(((step == 1) | (step == 2))[inside].mean())

    assert (np.sort(found, axis=1) == np.sort(jumbled, axis=1)).all()
    assert steps(found) > 2 * steps(jumbled)


def test_draws_without_replacement_pass_over_what_came_before() -> None:
    found = np.array([[5, 5, 3, 5, 1], [2, 2, 2, 2, 4]])
    never = np.zeros(found.shape, dtype=bool)
    rows, total = first_new(found, -found.astype(float), never, np.array([3, 2]), 3)
    assert rows.tolist() == [[5, 3, 1], [2, 4, -1]]
    assert total.tolist() == [-9, -6]
    once = never.copy()
    once[0, 1] = True
    assert first_new(found, -found * 1.0, once, np.array([3, 2]), 3)[0][0].tolist() == [5, 5, 3]
    drawn, before = np.array([[7, 8], [7, 8], [7, 7]]), np.array([[7], [7], [7]], dtype=np.int32)
    may = np.array([False, True, False])
    assert first_allowed(drawn, before, may).tolist() == [8, 7, 7]


def test_items_come_again_as_often_as_customers_take_them_again(tmp_path: Path) -> None:
    over = {"seq_generator": {"steps": 60, "batch": 64, "learning_rate": 1e-2, "sequences": 1500}}
    shop = two_towns(tmp_path, repeats=True, over=over)
    made = sequences(make(SeqGenerator(shop)))
    share = [
        np.mean([1 - len(set(one)) / len(one) for one in some])
        for some in (made, [one[:10] for one in real_sequences(shop)])
    ]
    assert share[1] > 0.03
    assert share[0] == pytest.approx(share[1], rel=0.3)
    rows = np.array([[1, 2, 1, -1, -1], [3, 3, 3, 4, -1]], dtype=np.int32)
    assert again(rows).tolist() == [
        [False, False, True, False, False],
        [False, True, True] + [False] * 2,
    ]
    assert rate(rows) == 3 / 7


def test_vectors_know_who_is_had_together(towns: Sources, behaviour: Behaviour) -> None:
    vectors = item_vectors(towns, behaviour, 16, 0)[:, 8:]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    town = behaviour.codes >= STREET
    cosine = unit @ unit.T
    assert cosine[town][:, town].mean() > cosine[town][:, ~town].mean() + 0.2
    again = item_vectors(towns, behaviour, 16, 0)[:, 8:]
    assert (again == vectors).all()


def test_the_plan_takes_customers_that_are_made_up(
    settings: Settings, lake: Lake, run_all: Callable[[Settings], dict[str, Ran]]
) -> None:
    changed = settings.with_(
        {
            "generate": {
                "strategies": ["seq_generator", "text_neighbours"],
                "seq_generator": {"sequences": 300, "steps": 3},
                "chunk_targets": 4,
            }
        }
    )
    done = run_all(changed)
    targets = lake.read(done["plan"].manifest, "targets.parquet")
    made_up = targets.filter(pl.col("strategy") == "seq_generator")
    assert made_up.height == 300
    assert made_up["user_key"].n_unique() == 300
    assert made_up["item_id"].null_count() == 300
    assert made_up["chunk"].n_unique() > 4
    shard = done["seq_generator-000"].manifest
    samples = lake.read(shard, "samples.parquet")
    assert samples.height == shard.stats["made"] > 250
    assert samples["user_key"].null_count() == samples.height
    assert shard.stats["dropped"].get("refused", 0) == 0


def test_customers_of_two_events_and_no_more_are_enough(tmp_path: Path) -> None:
    sources = two_towns(tmp_path, customers=30)
    small = Behaviour.of(sources, 8)
    drawn = small.draw(np.random.default_rng(0), 50, held_out=True)
    assert len(small.learnt) > 0
    assert drawn.mask.sum(axis=1).min() >= 2
