"""What texts say of items and of customers: where they are ranked, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from nights_by_hand import ITEMS, Shop, later, night_events, past_events, wandering
from safetensors.numpy import load_file
from small_models import assert_same_weights, fresh, with_deltas

from factories import commit
from nightshift.errors import ModelRejected
from nightshift.histories import Histories
from nightshift.recipes import weigh
from nightshift.recommend import loading
from nightshift.recommend.model import checkpoint
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.samples.texts import ItemTexts, Profiles, mixed
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import STAGES
from shop_by_hand import NIGHT, WIDTH, histories, samples, unit_vectors

REVIEW = {"kind": "review", "strategy": "llm_reviews", "label": 5.0}
PROFILE = {"kind": "profile", "strategy": "llm_profiles", "item_id": None}
SAID = dict(zip(("tea", "tents", "paint"), unit_vectors(3, seed=99), strict=True))


def embed(texts):
    """Three texts with vectors that are known."""
    return np.stack([SAID[text] for text in texts])


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A hand-made shop whose encoder knows three texts."""
    monkeypatch.setattr("nightshift.recommend.finetune.embedding", lambda lake, settings: embed)
    return Shop.at(tmp_path, finetune={"first_steps": 30, "warm_steps": 2, "refresh_passes": 1})


def snapshot_of(shop, inputs):
    return Snapshot(shop.lake, inputs["snapshot"])


# --- of items ---------------------------------------------------------------------------------


def test_an_items_texts_are_averaged_by_weight_and_the_heaviest_is_their_share(shop):
    inputs = shop.before(past_events(wandering(5)))
    own = read_vectors(shop.lake, inputs["vectors"])
    found = ItemTexts.of(
        snapshot_of(shop, inputs),
        own,
        samples(
            REVIEW | {"item_id": "i07", "text": "tea", "weight": 0.25},
            REVIEW | {"item_id": "i02", "text": "tents", "weight": 0.5},
            REVIEW | {"item_id": "i07", "kind": "description", "text": "paint", "weight": 0.5},
            REVIEW | {"item_id": "i09", "text": "paint", "weight": 0.0},
            REVIEW | {"item_id": "gone", "text": "paint"},
            {"item_id": "i11", "text": "an interaction has no text of its own"},
        ),
        embed,
    )
    assert found is not None
    assert found.codes.tolist() == [2, 7]
    mean = (SAID["tea"] + 2 * SAID["paint"]) / 3
    for row, code, said in ((0, 2, SAID["tents"]), (1, 7, mean)):
        expected = own[code] / 2 + said / 2
        assert found.vectors[row] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_no_text_is_nothing(shop):
    inputs = shop.before(past_events(wandering(5)))
    own = read_vectors(shop.lake, inputs["vectors"])
    assert ItemTexts.of(snapshot_of(shop, inputs), own, samples(), embed) is None
    assert Profiles.of(samples(), embed) is None


def test_what_nobody_says_anything_of_stays_zero():
    zero = np.zeros((1, 3), np.float32)
    one = np.array([[0, 0, 2]], np.float32)
    assert mixed(zero, zero, np.array([0.5], np.float32)).tolist() == [[0, 0, 0]]
    assert mixed(zero, one, np.array([0.5], np.float32)).tolist() == [[0, 0, 1]]


def model_with(texts=None, n_items=12):
    stored, _ = fresh(n_items, features=WIDTH)
    stored = with_deltas(stored, scale=0.1)
    stored.texts = texts
    return stored


def tea_shop():
    """Items 0 to 3 are about tea, 4 to 7 about tents; what item 8 is about its text does not say.

    Its reviews speak of tea.
    """
    vectors = unit_vectors(12, seed=5)
    for row, of in [(n, "tea" if n < 4 else "tents") for n in range(8)]:
        near = 0.3 * vectors[row] + SAID[of]
        vectors[row] = near / np.linalg.norm(near)
    return vectors


@pytest.mark.parametrize(("share", "beta"), [(0.0, 8.0), (0.25, 8.0), (0.5, 8.0), (0.5, 0.0)])
def test_reviews_raise_an_item_for_those_who_love_what_they_speak_of(share, beta):
    vectors = tea_shop()
    said = mixed(vectors[[8]], SAID["tea"][None], np.array([share], np.float32))
    texts = ItemTexts(np.array([8]), said) if share else None
    stored, plain = model_with(texts), model_with()
    stored.model.load_state_dict(plain.model.state_dict())
    asked = histories([[0, 1, 2], [4, 5, 6], []])  # a lover of tea, one of tents, nobody yet
    after, before = (ModelRanker(one, vectors, beta=beta).scores(asked) for one in (stored, plain))
    others = np.arange(12) != 8
    assert np.array_equal(after[:, others], before[:, others])
    gain = after[:, 8] - before[:, 8]
    if not share:
        assert not gain.any()
    elif beta:
        assert gain[0] > 0.5
        assert gain[0] > gain[1] + 0.5
    else:
        assert gain.any()  # the model's own item vector moves, too


def test_a_history_is_read_by_the_items_own_text():
    vectors = tea_shop()
    said = mixed(vectors[[8]], SAID["tea"][None], np.array([1.0], np.float32))
    stored, plain = model_with(ItemTexts(np.array([8]), said)), model_with()
    stored.model.load_state_dict(plain.model.state_dict())
    asked = histories([[8, 8]])
    after, before = (ModelRanker(m, vectors, beta=5.0).scores(asked) for m in (stored, plain))
    others = np.arange(12) != 8
    assert np.array_equal(after[:, others], before[:, others])
    assert not np.array_equal(after[:, 8], before[:, 8])


def test_scope_and_weight_zero_leave_items_alone(shop):
    inputs = shop.before(past_events({"u": ["i00"] * 9 + ["i01"]}))
    snapshot = snapshot_of(shop, inputs)
    made = samples(
        *(REVIEW | {"sample_id": i, "item_id": i, "text": "tea"} for i in ("i00", "i01", "i02"))
    )

    def items(weight, scope):
        chosen = {"llm_reviews": {"weight": weight, "scope": scope}}
        rows = weigh(made, chosen, snapshot.items, tail_events=5)
        texts = ItemTexts.of(snapshot, unit_vectors(len(ITEMS)), rows, embed)
        return [] if texts is None else texts.codes.tolist()

    assert items(0.5, "all") == [0, 1, 2]
    assert items(0.5, "short") == [1, 2]
    assert items(0.5, "cold") == [2]
    assert items(0.0, "all") == []


# --- of customers -----------------------------------------------------------------------------


def known(lists, users):
    plain = histories(lists)
    return Histories(plain.indptr, plain.items, plain.times, np.array(users, dtype=np.int64))


PROFILES = Profiles(["ann", "eve"], np.stack([SAID["tea"], SAID["tents"]]), np.full(2, 0.5, "f4"))


@pytest.mark.parametrize("beta", [0.0, 8.0])
def test_a_profile_moves_its_own_user_and_nobody_else(beta):
    vectors, stored = tea_shop(), model_with()
    keys = ["ann", "bob", "cat"]  # eve is no customer any more
    with_them = ModelRanker(stored, vectors, beta=beta, profiles=PROFILES, user_keys=keys)
    without = ModelRanker(stored, vectors, beta=beta)
    asked = known([[4, 5], [4, 5], [0, 1], [4, 5], [], [4, 5]], [0, 1, 2, -1, 0, 0])
    after, before = with_them.scores(asked), without.scores(asked)
    assert np.array_equal(after[1:4], before[1:4])
    for row in (0, 4, 5):
        gain = after[row] - before[row]
        assert (gain[:4].min() > 0.5) if beta else not gain.any()
    # A part of the users, in another order, is the same rows.
    part = np.array([5, 2, 0])
    assert with_them.scores(asked.take(part)) == pytest.approx(after[part], abs=1e-5)


def test_rows_of_nobody_in_particular_have_no_profile():
    vectors, stored = tea_shop(), model_with()
    ours = ModelRanker(stored, vectors, beta=5.0, profiles=PROFILES, user_keys=["ann"])
    plain = ModelRanker(stored, vectors, beta=5.0)
    asked = histories([[4, 5]])
    assert np.array_equal(ours.scores(asked), plain.scores(asked))


def test_whose_history_it_is_is_known_from_the_snapshot_to_the_ranker(shop):
    inputs = shop.before(past_events({"b": ["i00"], "a": ["i01"], "c": ["i02"]}))
    found = snapshot_of(shop, inputs).histories
    assert found.users.tolist() == [0, 1, 2]
    assert found.take(np.array([2, 0])).take(np.array([1])).users.tolist() == [0]


# --- stored -----------------------------------------------------------------------------------


def roundtrip(shop, stored, item_ids=None):
    def run(ctx):
        checkpoint.save(stored, ctx.writer)
        return {}

    parts = {"arm": "challenger", "seed": "0"}
    manifest = commit(shop.lake, shop.settings, NIGHT, STAGES["finetune"], run, parts=parts)
    return manifest, checkpoint.load(shop.lake, manifest, item_ids or stored.item_ids)


def test_texts_are_stored_by_item_and_fit_another_catalogue(shop):
    stored = model_with(ItemTexts(np.array([2, 5]), unit_vectors(2, seed=3)))
    _, found = roundtrip(shop, stored)
    assert found.texts.codes.tolist() == [2, 5]
    np.testing.assert_array_equal(found.texts.vectors, stored.texts.vectors)
    _, other = roundtrip(shop, stored, ["i005", "i002", "new"])
    assert other.texts.codes.tolist() == [0, 1]
    np.testing.assert_array_equal(other.texts.vectors, stored.texts.vectors[::-1])
    _, gone = roundtrip(shop, stored, ["new"])
    assert gone.texts.codes.tolist() == []
    assert np.array_equal(gone.ranked_features(np.ones((1, WIDTH), "f4")), np.ones((1, WIDTH)))


def test_a_model_of_the_format_before_is_read_and_an_unknown_one_refused(shop, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    stored = model_with()
    manifest, found = roundtrip(shop, stored)
    assert found.texts is None
    assert_same_weights(found, stored)
    monkeypatch.setattr(checkpoint, "READABLE", (3, 4))
    with pytest.raises(ModelRejected, match="format 2, this version reads 3 and 4"):
        checkpoint.load(shop.lake, manifest, stored.item_ids)


# --- over the nights --------------------------------------------------------------------------

BOTH = samples(
    REVIEW | {"sample_id": "r", "item_id": "i07", "text": "tea", "weight": 0.5},
    PROFILE | {"sample_id": "p", "user_key": "u003", "text": "paint", "weight": 0.25},
)


def test_what_is_said_goes_through_a_night_and_leaves_nothing_behind(shop):
    past = past_events(wandering(20))
    inputs = shop.before(past, arms={"control": samples(), "challenger": BOTH})
    models = shop.finetune(inputs)
    control, challenger = (shop.model(manifest) for manifest in models.values())
    assert_same_weights(control, challenger)  # customers train the model
    assert control.texts is None
    assert challenger.texts.codes.tolist() == [7]

    state = shop.refresh(inputs, models, night_events(wandering(5, seed=1)))
    names = sorted(entry.name for entry in state.files)
    assert names == [
        *(
            "blend/README.md",
            "blend/config.json",
            "blend/model.safetensors",
            "blend/profiles.safetensors",
        ),
        *("real/README.md", "real/config.json", "real/model.safetensors"),
    ]
    served = {
        line: loading.load(
            shop.lake,
            state,
            item_ids=ITEMS,
            vectors=read_vectors(shop.lake, inputs["vectors"]),
            beta=5.0,
            user_keys=snapshot_of(shop, inputs).users["user_key"].to_list(),
            prefix=f"{line}/",
        )
        for line in ("real", "blend")
    }
    assert served["blend"].stored.texts.codes.tolist() == [7]
    assert served["blend"].profiles.user_keys == ["u003"]
    assert served["real"].stored.texts is None
    assert served["real"].profiles is None
    everyone = snapshot_of(shop, inputs).histories
    asked = everyone.take(np.arange(5))
    told = served["blend"].text_profiles(asked) - served["real"].text_profiles(asked)
    assert np.flatnonzero(np.abs(told).sum(axis=1) > 1e-3).tolist() == [3]

    night = later(1)  # the samples have expired, or were retracted
    inputs = shop.before(past, night=night) | {"parent": state}
    models = shop.finetune(inputs, night=night)
    for manifest in models.values():
        assert shop.model(manifest).texts is None
        assert not manifest.named("profiles")


def test_the_store_of_a_night_without_texts_is_the_file_it_was(shop):
    """Bit for bit: a table that is not there takes no place."""
    inputs = shop.before(past_events(wandering(10)))
    (model,) = shop.finetune(inputs, "control").values()
    tensors = load_file(shop.lake.local_path(model.file("model.safetensors")))
    assert not [name for name in tensors if name.startswith("texts")]
