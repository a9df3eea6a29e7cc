"""Precision and threads of training: by device and width."""

import pytest
import torch

from nightshift.compute import precision, training_threads

CPU = torch.device("cpu")


@pytest.mark.parametrize("dim", [64, 255, 256, 512])
@pytest.mark.parametrize("has_amx", [True, False])
def test_a_cpu_multiplies_in_bfloat16_where_it_can_and_it_pays(monkeypatch, dim, has_amx):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_amx)
    expected = "bfloat16" if has_amx and dim >= 256 else "float32"
    assert precision("auto", CPU, dim) == expected
    for wanted in ("float32", "bfloat16"):
        assert precision(wanted, CPU, dim) == wanted


def test_a_torch_that_does_not_tell_is_taken_for_a_cpu_without(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert precision("auto", CPU, 512) == "float32"


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("dim", "expected"), [(64, 1), (255, 1), (256, 2)])
def test_small_steps_have_one_thread_and_give_the_others_back(two_threads, dim, expected):
    with training_threads(dim, CPU):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 2
    with pytest.raises(ZeroDivisionError), training_threads(dim, CPU):
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_a_gpu_leaves_the_threads_alone(two_threads):
    with training_threads(64, torch.device("cuda")):
        assert torch.get_num_threads() == 2
