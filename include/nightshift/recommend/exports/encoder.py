"""The user encoder as its own module, and its weights in fewer bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nightshift.recommend.exports.layout import Precision
from nightshift.recommend.exports.tables import Arrays, quantised
from nightshift.recommend.model.network import Recommender
from nightshift.settings import ModelSettings

_SCALES, _ATTRIBUTE = ".scales", "attribute"


class UserEncoder(nn.Module):
    """History of item vectors, and what is told beside them → the state after it."""

    def __init__(self, model: Recommender) -> None:
        super().__init__()
        self.model = model

    def forward(self, history: Tensor, lengths: Tensor, kinds: Tensor, gaps: Tensor) -> Tensor:
        """[B, L, D] filled up on the right, [B], [B, L], [B, L + 1] → [B, D]."""
        states = self.model.users(history, lengths, signals=(kinds, gaps))  # [B, L + 1, D]
        last: Tensor = states.gather(1, lengths[:, None, None].expand(-1, 1, states.shape[2]))
        return last[:, 0]


def weights_of(model: Recommender, precision: Precision) -> Arrays:
    """The model's weights; under int8 its matrices alone, a vector is small and stays float32."""
    arrays: Arrays = {}
    for name, tensor in model.state_dict().items():
        if name == _ATTRIBUTE:
            continue  # it is in the vectors of the catalogue
        value = tensor.detach().cpu().numpy()
        if precision == "float16":
            arrays[name] = value.astype(np.float16)
        elif precision == "int8" and value.ndim == 2:
            arrays[name], arrays[name + _SCALES] = quantised(value)
        else:
            arrays[name] = value
    return arrays


def model_of(settings: dict[str, Any], arrays: Arrays) -> Recommender:
    """The model in float32, whatever it was stored in: it is small, the catalogue is not.

    Raises:
        KeyError, RuntimeError, ValueError: the weights are not those of these settings.
    """
    weights = {}
    for name, value in arrays.items():
        if name.endswith(_SCALES):
            continue
        if value.dtype == np.int8:
            value = value * arrays[name + _SCALES][:, None]
        weights[name] = torch.from_numpy(value.astype(np.float32))
    bare = ModelSettings(**{**settings, "attributes": False})
    model = Recommender(bare, weights["text.weight"].shape[1])
    model.load_state_dict(weights)
    model.eval()
    return model
