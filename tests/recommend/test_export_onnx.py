"""The user encoder as an ONNX graph equals torch; without the extra the error names it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from small_models import fresh, with_deltas

from nightshift.errors import ModelRejected, SettingsError
from nightshift.recommend.exports import exported
from nightshift.recommend.exports.write import export
from nightshift.recommend.ranker import ModelRanker
from shop_by_hand import histories

ITEMS = 60
USERS = [[3, 9, 1], [], [5], [int(i) for i in np.random.default_rng(0).integers(0, ITEMS, 25)]]


def ranker() -> ModelRanker:
    stored, vectors = fresh(ITEMS, layers=2)
    return ModelRanker(with_deltas(stored, scale=0.3), vectors, beta=3.0)


def test_without_the_extra_the_error_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SettingsError, match="onnx, which is not installed") as caught:
        export(ranker(), tmp_path / "x", "onnx", source={})
    assert "[export]" in caught.value.hint
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Needs `pip install 'nightshift[export]'`."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name, reason="the extra [export] is not installed")
    root = tmp_path_factory.mktemp("onnx")
    for to in ("onnx", "onnx-int8"):
        export(ranker(), root / to, to, source={"line": "real"})
    return root


@pytest.mark.parametrize(("batch", "length"), [(1, 1), (3, 7), (64, 8), (5, 2)])
def test_the_graph_equals_torch_at_any_batch_and_length(folder, batch, length):
    model = ranker().stored.model.eval()
    rng = torch.Generator().manual_seed(batch)
    history = torch.randn(batch, length, model.settings.dim, generator=rng)
    lengths = torch.randint(0, length + 1, (batch,), generator=rng)
    with torch.inference_mode():
        expected = model.users(history, lengths)[torch.arange(batch), lengths]
    found = exported.load(folder / "onnx").encode(history, lengths)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)


def test_the_graph_tells_nothing_of_the_machine_that_wrote_it(folder):
    for to in ("onnx", "onnx-int8"):
        assert b".py" not in (folder / to / "encoder.onnx").read_bytes()


def test_it_ranks_as_the_model(folder):
    model, asked = ranker(), histories(USERS)
    found = exported.load(folder / "onnx").top_k(asked, 20, candidates=None, exclude_seen=True)
    codes, values = model.top_k(asked, 20, candidates=None, exclude_seen=True)
    np.testing.assert_array_equal(found[0], codes)
    np.testing.assert_allclose(found[1], values, rtol=1e-4, atol=1e-4)


def test_in_int8_a_state_moves_a_little(folder):
    asked = histories(USERS)
    ours, theirs = ranker().states(asked), exported.load(folder / "onnx-int8").states(asked)
    off = np.linalg.norm(theirs - ours, axis=1) / np.linalg.norm(ours, axis=1)
    assert 0 < off.max() < 0.1


def test_a_file_that_is_no_graph_is_refused(folder, tmp_path):
    from nightshift.recommend.exports.onnx_graph import run_graph

    path = tmp_path / "encoder.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ModelRejected, match="cannot read"):
        run_graph(path, threads=1)
