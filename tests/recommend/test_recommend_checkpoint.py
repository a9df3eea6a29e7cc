"""A model as files: the round trip, other catalogues, and what is not let in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from small_models import assert_same_weights, fresh, with_deltas

from factories import commit
from nightshift.errors import LakeError, ModelRejected
from nightshift.lake import Lake
from nightshift.recommend.model import checkpoint
from nightshift.stages import STAGES
from shop_by_hand import NIGHT, settings_for, unit_vectors

ITEMS = 12
PARTS = {"arm": "control", "seed": "0"}


@pytest.fixture
def settings(tmp_path):
    return settings_for(tmp_path)


@pytest.fixture
def lake(settings):
    return Lake.of(settings)


@pytest.fixture
def stored():
    made, _ = fresh(ITEMS)
    made.steps = 34
    made.sample_deltas[[0, 9]] = torch.tensor([[0.5], [-0.25]])
    return with_deltas(made, rows=[1, 4, 5, 9])


def put(lake, settings, write):
    def run(ctx):
        write(ctx.writer)
        return {}

    return commit(lake, settings, NIGHT, STAGES["finetune"], run, parts=PARTS)


def saved(lake, settings, stored, prefix=""):
    return put(lake, settings, lambda writer: checkpoint.save(stored, writer, prefix))


def altered(lake, settings, manifest, *, config=None, tensors=None):
    """The same model, written again by a hand that changes it on the way."""
    body = lake.read_json(manifest, "config.json")
    weights = load_file(lake.local_path(manifest.file("model.safetensors")))

    def write(writer):
        writer.write_json("config.json", body if config is None else config(body))
        writer.write_tensors("model.safetensors", weights if tensors is None else tensors(weights))

    return put(lake, settings, write)


@pytest.mark.parametrize("prefix", ["", "real/"])
def test_a_model_comes_back_as_it_was(lake, settings, stored, prefix):
    manifest = saved(lake, settings, stored, prefix)
    found = checkpoint.load(lake, manifest, stored.item_ids, prefix=prefix)
    assert_same_weights(stored, found)
    assert torch.equal(stored.sample_deltas, found.sample_deltas)
    assert found.steps == 34
    assert found.model.settings == stored.model.settings
    assert not found.model.training
    vectors = unit_vectors(5, seed=2)
    np.testing.assert_array_equal(found.features(vectors), stored.features(vectors))


def test_saving_again_gives_the_same_bytes(lake, settings, stored):
    first = saved(lake, settings, stored)
    again = checkpoint.load(lake, first, stored.item_ids)
    assert {f.sha256 for f in saved(lake, settings, again).files} == {f.sha256 for f in first.files}


def test_a_catalogue_that_grew_shrank_and_was_reordered_keeps_each_items_own_delta(
    lake, settings, stored
):
    manifest = saved(lake, settings, stored)
    now = ["i009", "new", "i004", "i000", "i001", "i011"]  # i005 is gone
    found = checkpoint.load(lake, manifest, now)
    assert found.item_ids == now
    before = dict(zip(stored.item_ids, stored.deltas, strict=True))
    for item, delta in zip(now, found.deltas, strict=True):
        assert torch.equal(delta, before.get(item, torch.zeros(16))), item
    assert found.deltas.abs().sum(dim=1).nonzero().ravel().tolist() == [0, 2, 4]


def test_an_untrained_model_and_an_empty_catalogue_are_no_special_case(lake, settings):
    made, _ = fresh(ITEMS)
    manifest = saved(lake, settings, made)
    assert not checkpoint.load(lake, manifest, made.item_ids).deltas.any()
    assert checkpoint.load(lake, manifest, []).deltas.shape == (0, 16)


def test_any_text_may_be_an_id(lake, settings):
    made, _ = fresh(5)
    made.item_ids = ["line\nbreak", 'quo"te', "back\\slash\\n", "grüße ☕", ""]
    with_deltas(made)
    found = checkpoint.load(lake, saved(lake, settings, made), made.item_ids[::-1])
    assert torch.equal(found.deltas.flip(0), made.deltas)


@pytest.mark.parametrize("name", ["deltas", "model.start", "whitening.matrix"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_rejected(lake, settings, stored, name, bad):
    def poison(tensors):
        tensors[name].flat[0] = bad
        return tensors

    manifest = altered(lake, settings, saved(lake, settings, stored), tensors=poison)
    with pytest.raises(ModelRejected, match=f"not finite: {name}"):
        checkpoint.load(lake, manifest, stored.item_ids)


def without(name):
    return lambda tree: {key: value for key, value in tree.items() if key != name}


def model_with(**changed):
    return lambda config: config | {"model": config["model"] | changed}


@pytest.mark.parametrize(
    "config",
    [
        model_with(dim=32),
        model_with(layers=2),
        model_with(heads=3),
        model_with(max_length=9),
        model_with(width=3),
        without("model"),
        without("steps"),
        lambda config: config | {"format": 99},
    ],
    ids=["dim", "layers", "heads", "max_length", "unknown", "no model", "no steps", "format"],
)
def test_a_config_that_does_not_fit_the_weights_is_rejected(lake, settings, stored, config):
    manifest = altered(lake, settings, saved(lake, settings, stored), config=config)
    with pytest.raises(ModelRejected) as caught:
        checkpoint.load(lake, manifest, stored.item_ids)
    assert caught.value.hint
    assert caught.value.context["dataset"] == manifest.folder


@pytest.mark.parametrize(
    "tensors",
    [
        without("deltas"),
        without("whitening.mean"),
        without("model.text.weight"),
        lambda t: t | {"deltas": t["deltas"][1:]},
        lambda t: t | {"deltas": t["deltas"][:, :8]},
        lambda t: t | {"whitening.mean": t["whitening.mean"][:8]},
        lambda t: t | {"deltas.item_ids": t["deltas.item_ids"][1:3]},
    ],
    ids=["deltas", "mean", "text", "fewer deltas", "narrow deltas", "short mean", "fewer ids"],
)
def test_weights_that_lack_something_are_rejected(lake, settings, stored, tensors):
    manifest = altered(lake, settings, saved(lake, settings, stored), tensors=tensors)
    with pytest.raises(ModelRejected):
        checkpoint.load(lake, manifest, stored.item_ids)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_was_altered_in_place_does_not_load(lake, settings, stored, name):
    manifest = saved(lake, settings, stored)
    path = Path(lake.local_path(manifest.file(name)))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(LakeError, match="checksum"):
        checkpoint.load(lake, manifest, stored.item_ids)


def test_embeddings_of_another_encoder_are_told_by_their_width(stored):
    with pytest.raises(ModelRejected, match="width 16, got 24"):
        stored.features(unit_vectors(3, width=24))


def test_the_config_says_what_the_model_is(lake, settings, stored):
    manifest = saved(lake, settings, stored)
    raw = lake.local_path(manifest.file("config.json")).read_bytes()
    body = json.loads(raw)
    assert (body["format"], body["steps"]) == (checkpoint.FORMAT, 34)
    assert body["model"] == stored.model.settings.model_dump(mode="json")


def test_a_fresh_model_follows_from_its_seed():
    one, again, other = fresh(ITEMS)[0], fresh(ITEMS)[0], fresh(ITEMS, seed=1)[0]
    assert_same_weights(one, again)
    assert not torch.equal(one.model.text.weight, other.model.text.weight)
    assert not one.deltas.any()


@pytest.mark.parametrize("version", [2, 3])
def test_a_model_of_an_older_format_ranks_as_it_did(lake, settings, stored, version):
    """Attention had other names, and nothing was known of kinds and times."""
    new = ("model.kind", "model.gap", "model.wait")

    def old(weights):
        return {
            name.replace(".attention.", "."): value
            for name, value in weights.items()
            if name not in new
        }

    def config(body):
        model = {k: v for k, v in body["model"].items() if k not in ("signals", "layer")}
        return body | {"format": version, "model": model}

    manifest = altered(lake, settings, saved(lake, settings, stored), config=config, tensors=old)
    assert_same_weights(stored, checkpoint.load(lake, manifest, stored.item_ids))
