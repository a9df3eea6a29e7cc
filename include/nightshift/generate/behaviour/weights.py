"""A network's weights as named arrays, and back."""

from __future__ import annotations

import torch
from torch import nn

from nightshift.generate.fits import Tensors


def tensors_of(prefix: str, module: nn.Module) -> Tensors:
    """Parameters and buffers under `prefix.NAME`."""
    return {
        f"{prefix}.{name}": value.detach().contiguous().numpy()
        for name, value in module.state_dict().items()
    }


def load_into(module: nn.Module, tensors: Tensors, prefix: str) -> None:
    """Set what `tensors_of` read, and make the module ready for use."""
    start = f"{prefix}."
    found = {
        name.removeprefix(start): torch.from_numpy(value.copy())
        for name, value in tensors.items()
        if name.startswith(start)
    }
    module.load_state_dict(found)
    module.eval()
