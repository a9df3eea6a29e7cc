"""The mean of the weights along the way (Polyak & Juditsky, 1992), in place of the last ones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

_STRIDE = 10
"""Steps between two looks at the weights: a look costs a pass over all of them."""
_WARM = 10
"""In the first looks the mean is over all so far, so it does not begin with what was drawn."""


class Average:
    """An exponential moving average of some tensors, read now and then.

    Args:
        decay: of a step; 0: no average, the last weights count.
    """

    def __init__(self, tensors: Sequence[Tensor], decay: float) -> None:
        self.tensors, self.decay = list(tensors), decay**_STRIDE
        self.means = [tensor.detach().clone() for tensor in self.tensors] if decay else []
        self.looks = 0

    def look(self, number: int) -> None:
        """After step `number`."""
        if not self.means or (number + 1) % _STRIDE:
            return
        self.looks += 1
        keep = min(self.decay, self.looks / (self.looks + _WARM))
        for mean, tensor in zip(self.means, self.tensors, strict=True):
            mean.lerp_(tensor.detach(), 1 - keep)

    def settle(self) -> None:
        """Put the means in the tensors' place."""
        if self.looks:
            for mean, tensor in zip(self.means, self.tensors, strict=True):
                tensor.detach().copy_(mean)
