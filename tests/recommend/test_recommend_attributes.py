"""Attributes of items: what is hashed where, what a model learns of them, and what stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from nights_by_hand import ITEMS as CATALOGUE
from nights_by_hand import Shop, night_events, past_events
from safetensors.numpy import load_file
from small_models import assert_same_weights, fresh, trained, training_set, walks, weights

from factories import commit
from nightshift.errors import ModelRejected
from nightshift.lake import Lake
from nightshift.recommend.explanations.explain import Explainer
from nightshift.recommend.exports import exported
from nightshift.recommend.exports.write import export
from nightshift.recommend.loading import load
from nightshift.recommend.model import checkpoint
from nightshift.recommend.model.attributes import ATTRIBUTES, ROWS, attribute_codes
from nightshift.recommend.model.id_deltas import IdDeltas
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.training.parallel import train_model
from nightshift.recommend.training.steps import Plan
from nightshift.settings import Settings
from nightshift.snapshot import read_vectors
from nightshift.stages import STAGES
from shop_by_hand import NIGHT, histories, settings_for, unit_vectors

BRANDS, EACH = 6, 8
SOLD = BRANDS * EACH
"""Items with customers; behind them comes one new item of each brand."""
PARTS = {"arm": "control", "seed": "0"}


def catalogue(**columns):
    """Items with these attributes; a column that is not named says nothing."""
    size = len(next(iter(columns.values())))
    nothing = {name: [None] * size for name in ATTRIBUTES}
    return pl.DataFrame(nothing | columns, schema=dict.fromkeys(ATTRIBUTES, pl.String))


def brands():
    sold = [f"Brand {code // EACH}" for code in range(SOLD)]
    return catalogue(brand=[*sold, *(f"Brand {brand}" for brand in range(BRANDS))])


def loyal(users=150, length=6, seed=0):
    """Customers of one brand each, who take its items in no order."""
    rng = np.random.default_rng(seed)
    brand = rng.integers(0, BRANDS, users)
    return histories([(b * EACH + rng.integers(0, EACH, length)).tolist() for b in brand])


def learnt(*, attributes=True, items=None, steps=150, **plan):
    """A model of the shop of loyal customers, whose texts say nothing of brands."""
    codes = attribute_codes(brands() if items is None else items)
    stored, vectors = fresh(len(codes), attributes=codes, attributes_on=attributes)
    losses = trained(stored, vectors, training_set(loyal()), steps=steps, **plan)
    return stored, vectors, losses


def places_of_the_new(stored, vectors):
    """Of each brand's customer: the place of its new item among the new ones, 0 is first."""
    asked = histories([[b * EACH, b * EACH + 3, b * EACH + 5] for b in range(BRANDS)])
    scores = ModelRanker(stored, vectors, beta=0.0).scores(asked)[:, SOLD:]
    return (scores > np.diagonal(scores)[:, None]).sum(axis=1)


# --- the codes --------------------------------------------------------------------------------


def test_a_value_has_the_same_row_on_every_machine():
    codes = attribute_codes(catalogue(category=["Soap"], brand=["Ünder Ice"], price_band=["low"]))
    assert codes.tolist() == [[6561, 7457, 749]]
    assert codes.dtype == np.int32


def test_what_is_missing_has_no_row_and_case_and_space_are_no_difference():
    codes = attribute_codes(catalogue(brand=["Acme", " ACME ", None, "", "  ", "Other"]))
    assert codes[0, 1] == codes[1, 1] > 0
    assert codes[5, 1] not in (0, codes[0, 1])
    assert not codes[2:5].any()
    assert not codes[:, [0, 2]].any()


def test_the_same_word_is_another_value_in_another_attribute():
    codes = attribute_codes(catalogue(category=["Dove"], brand=["Dove"]))[0]
    assert codes[0] != codes[1]


def test_rows_lie_in_the_table_and_rarely_meet():
    codes = attribute_codes(catalogue(brand=[f"brand {i}" for i in range(1000)]))[:, 1]
    assert codes.min() > 0
    assert codes.max() < ROWS
    # As many as in a fair throw of a thousand into so many rows: 941.
    assert 920 < len(np.unique(codes)) < 960


def test_a_catalogue_of_nothing():
    assert attribute_codes(catalogue(brand=[])).shape == (0, len(ATTRIBUTES))
    assert not attribute_codes(catalogue(brand=[None, None])).any()


# --- what is learnt ---------------------------------------------------------------------------


def test_a_new_item_of_a_customers_brand_is_ranked_before_other_new_items():
    stored, vectors, losses = learnt()
    assert losses[-1] < losses[0]
    assert not stored.deltas[SOLD:].any()  # nobody has touched them
    assert places_of_the_new(stored, vectors).tolist() == [0] * BRANDS


def test_without_attributes_nothing_tells_the_new_items_apart():
    stored, vectors, _ = learnt(attributes=False)
    assert places_of_the_new(stored, vectors).mean() > 1


def test_a_brand_that_nobody_knew_changes_no_other_item():
    stored, vectors, _ = learnt()
    grown = pl.concat([brands(), catalogue(brand=["Never heard of"])])
    more, codes = unit_vectors(len(grown), seed=7), attribute_codes(grown)
    more[: len(vectors)] = vectors
    assert codes[-1, 1] not in codes[:-1, 1]
    deltas = torch.zeros(len(grown), stored.deltas.shape[1])
    deltas[: len(stored.deltas)] = stored.deltas
    after = checkpoint.Checkpoint(
        stored.model, deltas, stored.whitening, [*stored.item_ids, "new"], 0
    )
    after.attributes = torch.from_numpy(codes)
    one, two = ModelRanker(stored, vectors, beta=0.0), ModelRanker(after, more, beta=0.0)
    np.testing.assert_allclose(one.scores(loyal(9)), two.scores(loyal(9))[:, :-1], atol=1e-5)
    with torch.inference_mode():
        text = stored.model.text(torch.from_numpy(two.features[-1:]))
    torch.testing.assert_close(two.items[-1:], text)  # of the new one its text speaks alone


def test_the_same_seed_gives_the_same_model():
    one, other = learnt(steps=20), learnt(steps=20)
    assert one[2] == other[2]
    assert_same_weights(one[0], other[0])
    assert one[0].model.attribute.any()


@pytest.mark.parametrize("full_softmax", [0, 100], ids=["sampled", "full"])
def test_where_no_item_has_attributes_everything_is_as_it_was(full_softmax):
    nothing = catalogue(brand=[None] * (SOLD + BRANDS))
    on, _, losses = learnt(items=nothing, steps=20, full_softmax=full_softmax)
    off, _, before = learnt(attributes=False, steps=20, full_softmax=full_softmax)
    assert losses == before
    ours, theirs = weights(on), weights(off)
    assert not ours.pop("attribute").any()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_an_untrained_table_says_nothing():
    codes = attribute_codes(brands())
    one, vectors = fresh(len(codes), attributes=codes, attributes_on=True)
    plain, _ = fresh(len(codes))
    asked = loyal(5)
    np.testing.assert_array_equal(
        ModelRanker(one, vectors, beta=0.0).scores(asked),
        ModelRanker(plain, vectors, beta=0.0).scores(asked),
    )


def test_rows_without_an_item_are_never_moved():
    stored, _, _ = learnt(steps=30)
    moved = stored.model.attribute.any(dim=1).nonzero().ravel()
    assert moved.tolist() == sorted(set(attribute_codes(brands())[:, 1].tolist()))


def test_two_processes_learn_what_one_learns(tmp_path):
    codes, found = attribute_codes(brands()), []
    for count in (1, 2):
        compute = {"device": "cpu", "threads": 1, "processes": count, "precision": "float32"}
        stored, vectors = fresh(len(codes), attributes=codes, attributes_on=True)
        train_model(
            Settings.load({"compute": compute}),
            tmp_path,
            stored.model,
            IdDeltas(stored.deltas),
            torch.from_numpy(stored.features(vectors)),
            training_set(loyal()),
            Plan(12, 1e-2, 15, 24, seed=0),
            attributes=stored.attributes,
        )
        found.append(stored.model.attribute.detach())
    assert found[0].any()
    assert float((found[0] - found[1]).norm()) <= 1e-4 * float(found[0].norm())


# --- how it is ranked -------------------------------------------------------------------------


@pytest.mark.parametrize("lean", [0.0, 10.0])
def test_an_explanation_names_their_share(lean):
    stored, vectors, _ = learnt()
    events = np.array([100] * SOLD + [0] * BRANDS)
    ranker = ModelRanker(stored, vectors, beta=0.0, lean=lean, events=events)
    asked = histories([[b * EACH, b * EACH + 3] for b in range(BRANDS)])
    codes, scores = ranker.top_k(asked, 5, candidates=None, exclude_seen=True)
    explainer = Explainer(ranker, pl.Series([f"thing {i}" for i in range(len(vectors))]))
    found = explainer.explain(asked, codes)
    assert {"attributes", "id"} < set(found.terms)
    np.testing.assert_allclose(found.parts.sum(axis=2), scores, atol=1e-4)
    place = found.terms.index("attributes")
    states = torch.from_numpy(ranker.states(asked))
    with torch.inference_mode():
        expected = (states @ stored.of_attributes().T).numpy()
    np.testing.assert_allclose(
        found.parts[:, :, place], np.take_along_axis(expected, codes.astype(int), 1), atol=1e-4
    )
    # Brands are all there is to learn: nothing sets an item apart as much.
    assert found.shares[:, 0].mean(axis=0).argmax() == place


def test_without_any_attribute_there_is_no_such_term():
    stored, vectors = fresh(12, attributes=np.zeros((12, 3), np.int32), attributes_on=True)
    assert "attributes" not in ModelRanker(stored, vectors, beta=0.0).item_sides


@pytest.mark.parametrize(("to", "far"), [("float32", 1e-5), ("half", 2e-3), ("int8", 4e-2)])
def test_an_export_ranks_with_them_and_holds_no_table(tmp_path, to, far):
    stored, vectors, _ = learnt()
    ranker = ModelRanker(stored, vectors, beta=1.0)
    export(ranker, tmp_path / "x", to, source={"line": "real"})
    one, asked = exported.load(tmp_path / "x"), loyal(20)
    codes, values = one.top_k(asked, len(vectors), candidates=None, exclude_seen=False)
    scores = ranker.scores(asked)
    off = np.abs(values - np.take_along_axis(scores, codes.astype(int), 1)).max()
    assert off < far * scores.std() + 1e-5
    plain = ModelRanker(fresh(len(vectors))[0], vectors, beta=1.0)
    export(plain, tmp_path / "plain", to, source={"line": "real"})
    sizes = [(tmp_path / f / "encoder.safetensors").stat().st_size for f in ("x", "plain")]
    assert sizes[0] == sizes[1]


# --- as files ---------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path):
    return settings_for(tmp_path)


@pytest.fixture
def lake(settings):
    return Lake.of(settings)


def put(lake, settings, write):
    def run(ctx):
        write(ctx.writer)
        return {}

    return commit(lake, settings, NIGHT, STAGES["finetune"], run, parts=PARTS)


def test_a_model_comes_back_with_the_rows_that_learnt_something(lake, settings):
    stored, vectors, _ = learnt(steps=30)
    manifest = put(lake, settings, lambda writer: checkpoint.save(stored, writer))
    codes = attribute_codes(brands())
    found = checkpoint.load(lake, manifest, stored.item_ids, attributes=codes)
    assert_same_weights(stored, found)
    assert torch.equal(stored.attributes, found.attributes)
    kept = load_file(lake.local_path(manifest.file("model.safetensors")))
    assert kept["model.attribute"].shape == (BRANDS, 16)
    ranked = load(
        lake,
        manifest,
        item_ids=stored.item_ids,
        vectors=vectors,
        beta=0.0,
        catalogue=brands(),
    )
    asked = loyal(5)
    expected = ModelRanker(stored, vectors, beta=0.0).scores(asked)
    np.testing.assert_array_equal(ranked.scores(asked), expected)


def test_a_model_that_learnt_attributes_asks_for_those_of_the_catalogue(lake, settings):
    stored, vectors, _ = learnt(steps=5)
    manifest = put(lake, settings, lambda writer: checkpoint.save(stored, writer))
    with pytest.raises(ModelRejected, match="not told those of this catalogue") as caught:
        load(lake, manifest, item_ids=stored.item_ids, vectors=vectors, beta=0.0)
    assert caught.value.hint


@pytest.mark.parametrize(
    "broken",
    [
        lambda t: t | {"model.attribute": t["model.attribute"][1:]},
        lambda t: t | {"model.attribute.rows": t["model.attribute.rows"] + ROWS},
        lambda t: t | {"model.attribute.rows": t["model.attribute.rows"] * 0},
        lambda t: {k: v for k, v in t.items() if k != "model.attribute.rows"},
    ],
    ids=["fewer", "beyond the table", "of no attribute", "no rows"],
)
def test_a_table_that_does_not_fit_is_rejected(lake, settings, broken):
    stored, _, _ = learnt(steps=5)
    first = put(lake, settings, lambda writer: checkpoint.save(stored, writer))
    body = lake.read_json(first, "config.json")
    tensors = load_file(lake.local_path(first.file("model.safetensors")))

    def write(writer):
        writer.write_json("config.json", body)
        writer.write_tensors("model.safetensors", broken(tensors))

    with pytest.raises(ModelRejected, match="do not fit"):
        checkpoint.load(
            lake,
            put(lake, settings, write),
            stored.item_ids,
            attributes=attribute_codes(brands()),
        )


def test_a_model_of_the_format_before_ranks_as_it_did(lake, settings):
    """Its config has no word of attributes: they say nothing yet."""
    stored, vectors, _ = learnt(attributes=False)
    first = put(lake, settings, lambda writer: checkpoint.save(stored, writer))
    body = lake.read_json(first, "config.json")
    model = {name: value for name, value in body["model"].items() if name != "attributes"}

    def write(writer):
        writer.write_json("config.json", body | {"format": 4, "model": model})
        writer.write_bytes(
            "model.safetensors",
            Path(lake.local_path(first.file("model.safetensors"))).read_bytes(),
        )

    old = put(lake, settings, write)
    ranked = load(
        lake, old, item_ids=stored.item_ids, vectors=vectors, beta=1.0, catalogue=brands()
    )
    expected = ModelRanker(stored, vectors, beta=1.0)
    np.testing.assert_array_equal(ranked.scores(loyal(8)), expected.scores(loyal(8)))


def test_a_night_learns_them_and_its_refresh_goes_on(tmp_path):
    """Through the stages: customers stay with a brand, whose last item nobody has bought."""
    model = {"model": {"attributes": True}, "first_steps": 120, "learning_rate": 1e-2}
    shop = Shop.at(tmp_path, finetune=model)
    owner = {item: f"Brand {code // 5}" for code, item in enumerate(CATALOGUE)}
    rng = np.random.default_rng(0)
    bought = {
        f"u{n:03}": [CATALOGUE[5 * (n % 4) + i] for i in rng.integers(0, 4, 6)] for n in range(80)
    }
    inputs = shop.before(past_events(bought), brands=owner)
    models = shop.finetune(inputs)
    tonight = {user: items[:2] for user, items in list(bought.items())[:8]}
    state = shop.refresh(inputs, models, night_events(tonight))
    vectors = read_vectors(shop.lake, inputs["vectors"])
    items = shop.lake.read(inputs["snapshot"], "items.parquet")
    asked, new = histories([[0, 2], [5, 7], [10, 12], [15, 17]]), [4, 9, 14, 19]
    for prefix in ("real/", "blend/"):
        ranker = load(
            shop.lake,
            state,
            item_ids=CATALOGUE,
            vectors=vectors,
            beta=0.0,
            catalogue=items,
            prefix=prefix,
        )
        assert ranker.scores(asked)[:, new].argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_walks_are_learnt_as_well_beside_attributes_that_say_nothing():
    """One attribute for all: no signal, and no harm."""
    walked, successor = walks(30, users=60, length=8)
    hits = []
    for on in (False, True):
        codes = attribute_codes(catalogue(category=["All"] * 30))
        stored, vectors = fresh(30, attributes=codes, attributes_on=on)
        trained(stored, vectors, training_set(walked), steps=150)
        ranker = ModelRanker(stored, vectors, beta=0.0)
        first = ranker.scores(histories([[i] for i in range(30)])).argmax(axis=1)
        hits.append((first == successor).mean())
    assert hits[1] >= hits[0] - 0.1
