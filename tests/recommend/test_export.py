"""Exports: what each precision ranks like, how large it is, and what is refused when read."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from small_models import fresh, with_deltas

from nightshift.errors import ModelRejected, UsageError
from nightshift.recommend.exports import exported, tables
from nightshift.recommend.exports.tables import FloatTable, Int8Table, quantised
from nightshift.recommend.exports.write import export
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.samples.texts import ItemTexts
from shop_by_hand import histories, unit_vectors

ITEMS = 200
SOURCE = {"dataset": "state/by-hand", "digest": "d" * 64, "line": "real", "night": "2017-05-20"}
USERS = [[3, 9, 1], [], [5], [int(i) for i in np.random.default_rng(0).integers(0, ITEMS, 25)]]
WEIGHTS = ("float32", "half", "int8")


def ranker(beta: float = 3.0, gamma: float = 0.0) -> ModelRanker:
    """Of a model whose every part is in use: deltas, samples' deltas, texts about items."""
    stored, vectors = fresh(ITEMS, layers=2)
    with_deltas(stored, scale=0.3)
    stored.sample_deltas[7:20] = 0.2
    stored.texts = ItemTexts(np.array([4, 90]), unit_vectors(2, seed=8))
    return ModelRanker(stored, vectors, beta=beta, gamma=gamma)


@pytest.fixture(scope="module")
def whole() -> ModelRanker:
    return ranker()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, whole):
    root = tmp_path_factory.mktemp("exports")
    for to in WEIGHTS:
        export(whole, root / to, to, source=SOURCE)
    return root


def users(many: int = 60):
    rng = np.random.default_rng(3)
    return histories([*USERS, *(rng.integers(0, ITEMS, rng.integers(1, 20)) for _ in range(many))])


def scores_of(one, asked):
    """Every score of an exported ranker, from the whole list."""
    codes, values = one.top_k(asked, ITEMS, candidates=None, exclude_seen=False)
    out = np.empty_like(values)
    np.put_along_axis(out, codes.astype(np.int64), values, axis=1)
    return out


@pytest.mark.parametrize("to", WEIGHTS)
def test_places_kept_for_new_items_are_kept_by_the_export(tmp_path, to):
    stored, vectors = fresh(ITEMS, layers=2)
    new = np.arange(ITEMS) % 10 == 3
    events = np.where(new, 0, 5)
    model = ModelRanker(with_deltas(stored), vectors, beta=2.0, events=events, new_every=5)
    export(model, tmp_path / to, to, source=SOURCE)
    codes = exported.load(tmp_path / to).top_k(users(), 10, candidates=None, exclude_seen=True)[0]
    assert (new[codes].cumsum(axis=1)[:, 4::5] >= [1, 2]).all()
    if to == "float32":
        expected = model.top_k(users(), 10, candidates=None, exclude_seen=True)[0]
        np.testing.assert_array_equal(codes, expected)


def test_a_new_item_that_a_customer_has_bought_counts_in_the_export_too(tmp_path):
    stored, vectors = fresh(ITEMS, layers=2)
    events = np.where(np.arange(ITEMS) % 10 == 3, 0, 5)
    model = ModelRanker(stored, vectors, beta=2.0, gamma=8.0, events=events, new_every=5)
    export(model, tmp_path / "one", "float32", source=SOURCE)
    often = [0, 1, 2, 4, 5, 6] * 4  # fill a list: the new one has its kept place alone
    asked = histories([[3, *often], [13, *often], [23, *often]])
    kept = {"candidates": None, "exclude_seen": False}
    codes, scores = exported.load(tmp_path / "one").top_k(asked, 5, **kept)
    assert codes[:, 4].tolist() == [3, 13, 23]
    expected, values = model.top_k(asked, 5, **kept)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_allclose(scores, values, atol=1e-4)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("beta", [0.0, 3.0])
def test_in_float32_it_is_the_models_own_score(tmp_path, beta, gamma):
    model = ranker(beta, gamma)
    export(model, tmp_path / "x", "float32", source=SOURCE)
    found = scores_of(exported.load(tmp_path / "x"), users())
    np.testing.assert_allclose(found, model.scores(users()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("to", "far"), [("half", 2e-3), ("int8", 4e-2)])
def test_fewer_bits_move_scores_a_little(whole, folder, to, far):
    asked = users()
    ours, theirs = whole.scores(asked), scores_of(exported.load(folder / to), asked)
    off = np.abs(theirs - ours).max() / ours.std()
    assert 0 < off < far


def test_a_list_keeps_to_candidates_and_leaves_out_what_was_bought(folder):
    some = np.arange(ITEMS) % 4 > 0
    asked = users()
    codes, values = exported.load(folder / "int8").top_k(
        asked, 12, candidates=some, exclude_seen=True
    )
    assert some[codes].all()
    assert all(not set(row) & set(asked.of(n)) for n, row in enumerate(codes.tolist()))
    assert (np.diff(values, axis=1) <= 0).all()


def test_users_beyond_a_block_and_items_beyond_a_tile(folder, monkeypatch):
    one = exported.load(folder / "half")
    at_once = one.top_k(users(), 9, candidates=None, exclude_seen=True)
    monkeypatch.setattr(exported, "_BLOCK", 7)
    monkeypatch.setattr(exported, "_TILE", 64)
    codes, values = one.top_k(users(), 9, candidates=None, exclude_seen=True)
    np.testing.assert_array_equal(codes, at_once[0])
    np.testing.assert_allclose(values, at_once[1], rtol=1e-4)
    nobody = one.top_k(histories([]), 4, candidates=None, exclude_seen=False)
    assert [part.shape for part in nobody] == [(0, 4), (0, 4)]


def test_each_step_down_is_about_half_as_large(folder):
    sizes = [(folder / to / "catalogue.safetensors").stat().st_size for to in WEIGHTS]
    assert sizes[0] / sizes[1] == pytest.approx(2, rel=0.15)
    assert sizes[1] / sizes[2] == pytest.approx(2, rel=0.25)


def test_int8_is_within_half_a_step_of_every_entry():
    rows = np.random.default_rng(0).normal(size=(50, 33)).astype(np.float32)
    rows[4] = 0
    values, scales = quantised(rows)
    assert np.abs(values).max() == 127
    assert (np.abs(values * scales[:, None] - rows) <= scales[:, None] * 0.5001).all()
    assert not values[4].any()


@pytest.mark.parametrize("at_once", [4, 1024])
def test_an_int8_product_is_that_of_the_rounded_numbers(at_once, monkeypatch):
    monkeypatch.setattr(tables, "_AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    rows, asked = (rng.normal(size=(n, 40)).astype(np.float32) for n in (30, 5))
    table = Int8Table.of(rows)
    values, scales = quantised(asked)
    expected = (values * scales[:, None]) @ table.rows(np.arange(10, 25)).T
    found = table.product(asked, slice(10, 25)).copy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    exact = FloatTable(rows).product(asked, slice(10, 25))
    assert 0 < np.abs(found - exact).max() < 0.2


def test_the_config_says_what_it_is_and_what_it_is_made_from(folder):
    config = json.loads((folder / "int8" / "config.json").read_text())
    assert (config["kind"], config["to"], config["version"]) == ("nightshift-export", "int8", 2)
    assert config["precision"] == {"catalogue": "int8", "encoder": "int8"}
    assert config["source"] == SOURCE
    assert set(config["files"]) == {"catalogue.safetensors", "encoder.safetensors"}


def spoiled(folder, tmp_path, change):
    """A copy of the int8 export with another config."""
    copy = tmp_path / "copy"
    shutil.copytree(folder / "int8", copy)
    config = json.loads((copy / "config.json").read_text())
    change(config)
    (copy / "config.json").write_text(json.dumps(config))
    return copy


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c.update(kind="state"), "something else"),
        (lambda c: c.update(version=9), "version 9"),
        (lambda c: c.update(to="int2"), "int2"),
        (lambda c: c.update(to="half", precision={"catalogue": "float16"}), "not as the config"),
        (lambda c: c.update(items=ITEMS - 1), "do not fit"),
        (lambda c: c.update(beta=0.0), "do not fit"),
        (lambda c: c["model"].update(dim=24), "do not fit"),
        (lambda c: c["model"].update(layers=3), "do not fit"),
        (lambda c: c.pop("model"), "do not fit"),
        (lambda c: c["files"]["catalogue.safetensors"].update(sha256="0" * 64), "not the file"),
    ],
)
def test_a_wrong_one_is_refused_with_a_way_out(folder, tmp_path, change, says):
    with pytest.raises(ModelRejected, match=says) as caught:
        exported.load(spoiled(folder, tmp_path, change))
    assert caught.value.hint


@pytest.mark.parametrize("name", ["config.json", "catalogue.safetensors", "encoder.safetensors"])
def test_a_missing_or_altered_file_is_refused(folder, tmp_path, name):
    copy = spoiled(folder, tmp_path, lambda config: None)
    (copy / name).write_bytes((copy / name).read_bytes()[:-9])
    with pytest.raises(ModelRejected):
        exported.load(copy)
    (copy / name).unlink()
    with pytest.raises(ModelRejected, match=name):
        exported.load(copy)


def test_another_catalogue_is_refused(whole, folder):
    ids = whole.stored.item_ids
    assert exported.load(folder / "half", item_ids=ids).item_ids == ids
    with pytest.raises(ModelRejected, match="another catalogue"):
        exported.load(folder / "half", item_ids=ids[::-1])


def test_it_is_written_whole_into_a_new_folder_or_not_at_all(whole, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="no format"):
        export(whole, tmp_path / "x", "int2", source=SOURCE)
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("keep")
    with pytest.raises(UsageError, match="not empty"):
        export(whole, taken, "half", source=SOURCE)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nightshift.recommend.exports.write.weights_of", full)
    with pytest.raises(UsageError, match="No space left"):
        export(whole, tmp_path / "x", "half", source=SOURCE)
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
