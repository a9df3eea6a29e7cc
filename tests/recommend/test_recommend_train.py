"""Training: it learns, repeats itself bit by bit, and pairs its arms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from small_models import (
    assert_same_weights,
    fresh,
    trained,
    training_set,
    walks,
    weights,
)

from nightshift.compute import set_up_torch
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.model.signals import Signals
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.training import loop as training
from nightshift.recommend.training.averaging import Average
from nightshift.recommend.training.loop import train
from nightshift.recommend.training.loss import Piece, rows_loss
from nightshift.recommend.training.steps import Items, Plan, Rows, TrainingSet, draw
from nightshift.recommend.training.windows import Windows, batches
from nightshift.settings import Settings
from shop_by_hand import histories

ITEMS = 30


@pytest.fixture(scope="module")
def paths():
    return walks(ITEMS, users=60, length=8)


def first_choice(stored, vectors, items):
    ranker = ModelRanker(stored, vectors, beta=0.0)
    asked = histories([[item] for item in items])
    codes, _ = ranker.top_k(asked, 1, candidates=None, exclude_seen=False)
    return codes[:, 0]


def test_a_planted_successor_is_ranked_first_and_the_loss_falls(paths):
    walked, successor = paths
    stored, vectors = fresh(ITEMS)
    losses = trained(stored, vectors, training_set(walked), steps=150)
    assert len(losses) == 10
    assert losses[-1] < 0.3 * losses[0]
    found = first_choice(stored, vectors, range(ITEMS))
    assert (found == successor).mean() >= 0.95
    untrained, _ = fresh(ITEMS)
    assert (first_choice(untrained, vectors, range(ITEMS)) == successor).mean() < 0.3


def test_equal_seeds_give_bitwise_equal_weights_and_others_do_not(paths):
    made = []
    for seed in (0, 0, 1):
        stored, vectors = fresh(ITEMS, seed=seed)
        losses = trained(stored, vectors, training_set(paths[0]), steps=8, seed=seed)
        made.append((stored, losses))
    assert_same_weights(made[0][0], made[1][0])
    assert made[0][1] == made[1][1] != made[2][1]
    assert not torch.equal(made[0][0].deltas, made[2][0].deltas)


def test_more_threads_than_one_repeat_themselves_too():
    """Wide enough that torch splits the work; narrower steps are done by one thread alone."""
    threads, exact = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    walked, _ = walks(400, users=300, length=12)
    made = []
    try:
        set_up_torch(Settings.load({"compute": {"threads": 2}}))
        for _ in range(3):
            stored, vectors = fresh(400, dim=64, features=64)
            data = training_set(walked)
            trained(stored, vectors, data, steps=12, batch=128, negatives=1024)
            made.append(stored)
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(exact)
    assert_same_weights(made[0], made[1])
    assert_same_weights(made[0], made[2])


def test_training_does_not_read_the_global_dice(paths):
    made = []
    for noise in (1, 2):
        stored, vectors = fresh(ITEMS)
        torch.manual_seed(noise)
        np.random.seed(noise)
        trained(stored, vectors, training_set(paths[0]), steps=4)
        made.append(stored)
    assert_same_weights(*made)


def test_arms_see_the_same_batches_negatives_and_dropout():
    """Hard negatives that nobody has leave the losses alone."""
    walked, _ = walks(20, users=40, length=7)
    losses = {}
    for name, hard in (("control", None), ("negatives", np.full((40, 7), -1, dtype=np.int32))):
        stored, vectors = fresh(ITEMS)
        losses[name] = trained(stored, vectors, training_set(walked, hard=hard), steps=20)
    assert losses["negatives"] == pytest.approx(losses["control"], rel=1e-3)


def test_the_loss_is_sampled_softmax_with_the_target_never_its_own_negative():
    lists, pool, hard = [[0, 1, 2], [3]], [2], [[8], [-1]]
    stored, vectors = fresh(ITEMS, dropout=0.0, id_dropout=0.0)
    with torch.inference_mode():
        every = stored.model.items(torch.from_numpy(stored.features(vectors)), stored.deltas)
        naive = []
        for history, own in zip(lists, hard, strict=True):
            for place, target in enumerate(history):
                seen = every[history[:-1]][None]
                states = stored.model.users(seen, torch.tensor([len(history) - 1]))[0]
                # Five shared negatives of a pool of one, item 2; four of the user's own.
                others = [n for n in [*pool, *own * 4] if n >= 0 and n != target]
                logits = torch.stack([states[place] @ every[n] for n in [target, *others]])
                naive.append(-torch.log_softmax(logits, 0)[0].item())
    whole = histories(lists)
    data = TrainingSet(Windows.cover(whole, 8), np.array(pool), hard=np.array(hard, dtype=np.int32))
    losses = trained(stored, vectors, data, steps=1, negatives=5)
    assert losses == [pytest.approx(np.mean(naive), abs=2e-5)]


def test_id_deltas_move_as_adam_does_and_only_in_the_rows_of_the_step():
    torch.manual_seed(0)
    start = torch.randn(6, 3)
    deltas = IdDeltas(start.clone())
    ours = [torch.nn.Parameter(row.clone()) for row in start]
    adam = [torch.optim.Adam([row], lr=1.0, betas=(0.9, 0.98), eps=1e-8) for row in ours]
    for rows, rate in (([0, 2, 5], 0.1), ([2, 3], 0.05), ([0, 2], 0.2), ([5], 0.01)):
        gradient = torch.randn(len(rows), 3)
        deltas.move(torch.tensor(rows), gradient, rate)
        for row, slope in zip(rows, gradient, strict=True):
            adam[row].param_groups[0]["lr"] = rate
            ours[row].grad = slope.clone()
            adam[row].step()
    torch.testing.assert_close(deltas.table, torch.stack([row.detach() for row in ours]))
    assert torch.equal(deltas.table[[1, 4]], start[[1, 4]])


def test_only_items_of_the_training_rows_get_an_id_part():
    walked, _ = walks(12, users=30, length=6)
    stored, vectors = fresh(ITEMS)
    trained(stored, vectors, training_set(walked), steps=10)
    moved = (stored.deltas.abs().sum(dim=1) > 0).numpy()
    assert moved[:12].all()
    assert not moved[12:].any()


def test_dropped_ids_get_no_gradient(paths, monkeypatch):
    """At an id dropout of 0.6, 60 % of a step's items are shown by text alone."""
    shares = []

    def look(self, rows, gradient, rate):
        shares.append(float((gradient.abs().sum(dim=1) == 0).float().mean()))

    monkeypatch.setattr(IdDeltas, "move", look)
    for share in (0.0, 0.6):
        stored, vectors = fresh(ITEMS, id_dropout=share)
        trained(stored, vectors, training_set(paths[0]), steps=20)
    kept, dropped = np.mean(shares[:20]), np.mean(shares[20:])
    assert kept < 0.02
    assert 0.5 < dropped < 0.7


def test_the_query_projection_is_not_touched(paths):
    stored, vectors = fresh(ITEMS)
    before = {name: value.clone() for name, value in weights(stored).items()}
    trained(stored, vectors, training_set(paths[0]), steps=5)
    after = weights(stored)
    same = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert same == {"query.weight"}


@pytest.mark.parametrize("lists", [[[]], [[], []]])
def test_no_history_at_all_trains_nothing(lists):
    stored, vectors = fresh(ITEMS)
    assert trained(stored, vectors, training_set(histories(lists)), steps=5) == []
    assert not stored.deltas.any()


def test_the_rate_rises_then_falls_to_a_tenth():
    rates = [training._schedule(step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert all(later <= sooner for sooner, later in itertools.pairwise(rates[4:]))
    assert rates[-1] == pytest.approx(0.1, abs=0.01)
    assert training._schedule(0, 1) == 1.0


def test_one_single_event_can_be_learnt():
    stored, vectors = fresh(3)
    losses = train(
        stored.model,
        IdDeltas(stored.deltas),
        torch.from_numpy(stored.features(vectors)),
        training_set(histories([[1]])),
        Plan(steps=3, learning_rate=1e-2, batch=4, negatives=5, seed=0),
    )
    # Every negative is the target: nothing to tell it from, and nothing broken.
    assert losses == [0.0, 0.0, 0.0]
    assert all(torch.isfinite(value).all() for value in weights(stored).values())


def test_with_every_item_competing_the_loss_is_that_of_the_whole_pool():
    lists = [[0, 1, 2], [3, 4]]
    stored, vectors = fresh(ITEMS, dropout=0.0, id_dropout=0.0)
    with torch.inference_mode():
        every = stored.model.items(torch.from_numpy(stored.features(vectors)), stored.deltas)[:5]
        naive = []
        for history in lists:
            for place, target in enumerate(history):
                seen = every[history[:-1]][None]
                states = stored.model.users(seen, torch.tensor([len(history) - 1]))[0]
                naive.append(-torch.log_softmax(every @ states[place], 0)[target].item())
    losses = trained(stored, vectors, training_set(histories(lists)), steps=1, full_softmax=5)
    assert losses == [pytest.approx(np.mean(naive), abs=2e-5)]
    assert not stored.deltas[5:].any()
    assert stored.deltas[:5].any(dim=1).all()


@pytest.mark.parametrize("features", [16, 0])
def test_every_item_competing_learns_the_planted_successor_too(features):
    walked, successor = walks(20, users=200, length=7)
    stored, vectors = fresh(20, features=features, id_dropout=0.0, dropout=0.0)
    trained(stored, vectors, training_set(walked), steps=150, full_softmax=20)
    codes, _ = ModelRanker(stored, vectors, beta=0.0).top_k(
        histories([[code] for code in range(20)]), 1, candidates=None, exclude_seen=True
    )
    assert (codes[:, 0] == successor).mean() > 0.9


def test_the_average_is_of_the_weights_along_the_way():
    weight = torch.zeros(1)
    average = Average([weight], 0.9)
    for number in range(200):
        weight.fill_(float(number // 10))
        average.look(number)
    average.settle()
    # Looked at once in ten steps: 0.9 ** 10 of the mean stays, 0.65 of the newest comes in.
    assert 18.0 < float(weight) < 19.0
    level = torch.tensor([3.0])
    untouched = Average([level], 0.0)
    untouched.look(9)
    untouched.settle()
    assert float(level) == 3.0


def test_an_averaged_run_differs_from_its_last_weights_and_repeats_itself():
    walked, _ = walks(20, users=40, length=7)
    made = []
    for decay in (0.9, 0.9, 0.0):
        stored, vectors = fresh(ITEMS)
        trained(stored, vectors, training_set(walked), steps=40, average=decay)
        made.append(stored)
    assert_same_weights(made[0], made[1])
    assert not torch.equal(made[0].deltas, made[2].deltas)


def test_negatives_count_as_many_as_asked():
    """Seven items at the mass of two: each of the others counts two sevenths."""
    stored, vectors = fresh(7, dropout=0.0, id_dropout=0.0)
    with torch.inference_mode():
        every = stored.model.items(torch.from_numpy(stored.features(vectors)), stored.deltas)
        start = stored.model.users(torch.zeros(1, 0, 16), torch.tensor([0]))[0, 0]
        logits = every @ start
    expected = {}
    for mass, share in ((0, 1), (2, 2 / 7), (7, 1), (99, 1)):
        others = share * (logits.exp().sum() - logits[3].exp())
        expected[mass] = float((others + logits[3].exp()).log() - logits[3])
    for mass, loss in expected.items():
        untrained, _ = fresh(7, dropout=0.0, id_dropout=0.0)
        data = TrainingSet(Windows.cover(histories([[3]]), 8), np.arange(7))
        plan = {"negatives": 7, "full_softmax": 7, "negative_mass": mass}
        assert trained(untrained, vectors, data, steps=1, **plan)[0] == pytest.approx(
            loss, abs=2e-5
        )


def test_rows_cut_by_length_cost_what_they_cost_whole():
    """Pieces are a way to compute: the loss and every gradient are those of one padded block."""
    rng = np.random.default_rng(1)
    lists = [rng.integers(0, 30, rng.integers(1, 9)).tolist() for _ in range(13)]
    stored, vectors = fresh(30, dropout=0.0, id_dropout=0.0)
    data = training_set(histories(lists))
    step = next(draw(data, Plan(1, 1e-2, 13, 20, seed=0), 30, 0.0))
    items = stored.model.items(torch.from_numpy(stored.features(vectors)), stored.deltas).detach()
    (pieces,) = step.groups
    assert len(pieces) > 2
    assert len({piece.items.inputs.shape[1] for piece in pieces}) > 1
    (batch,) = itertools.islice(batches(data.windows, 13, np.random.default_rng([0, 1])), 1)
    whole = Rows(
        Items(batch.inputs, batch.targets, pieces[0].items.negatives),
        batch.lengths,
        Signals(batch.signals.kinds * 0, batch.signals.gaps * 0),
    )
    found = []
    for rows in (
        [whole],
        [p._replace(signals=Signals(*(s * 0 for s in p.signals))) for p in pieces],
    ):
        vectors_of = items.clone().requires_grad_()
        stored.model.zero_grad()
        loss = rows_loss(
            stored.model,
            vectors_of,
            [Piece(each, None, 0) for each in rows],
            None,
            negative_mass=0,
            precision=torch.float32,
        )
        loss.backward()
        slopes = [p.grad.clone() for p in stored.model.parameters() if p.grad is not None]
        found.append([loss.detach(), vectors_of.grad, *slopes])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
