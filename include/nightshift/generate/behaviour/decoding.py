"""From vectors to items: the nearest, or one of the near ones, as often as the shop sells them.

The vector is taken for a noisy look at an item. So the chance that it means item i is the item's
share times a normal density around the item's vector (Bayes), and a bias of each item is then
fitted until items come out as often as they are had (Sinkhorn & Knopp, 1967; Cuturi, 2013).
Without shares and biases a few items in the middle would be everybody's nearest (hubs; Radovanović
et al., 2010).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from nightshift.generate.behaviour.sampling import Candidates

_ROUNDS = 8
"""Of fitting the biases; later ones change little."""
_DAMPING = 0.7
"""Part of a round's correction that is made: shares are estimates."""
_BLOCK = 256
"""Vectors weighed against the whole catalogue together."""


class Decoder:
    """Item vectors with what turns a distance into a chance."""

    def __init__(
        self,
        vectors: npt.NDArray[np.float32],
        shares: npt.NDArray[np.float64],
        bias: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.vectors = torch.from_numpy(vectors)
        self.half_square = (self.vectors**2).sum(dim=1) / 2
        self.log_share = torch.from_numpy(np.log(shares)).float()
        self.bias = torch.zeros(len(vectors)) if bias is None else torch.from_numpy(bias)

    def logits(self, points: Tensor, variance: Tensor | float, rows: Tensor | None = None) -> Tensor:
        """Log chance of each item up to a constant: [n, E] -> [n, items (or rows)]."""
        vectors, half, bias = self.vectors, self.half_square, self.log_share + self.bias
        if rows is not None:
            vectors, half, bias = vectors[rows], half[rows], bias[rows]
        return (points @ vectors.T - half) / variance + bias

    def drawn(
        self, points: Tensor, variance: Tensor, candidates: Candidates, noise: torch.Generator
    ) -> Tensor:
        """The vector of an item drawn for each point, among candidates: [n, E] -> [n, E]."""
        vectors, logits = self._among(points, variance, candidates)
        cumulative = F.softmax(logits, dim=1).cumsum(dim=1)
        uniform = torch.rand((len(points), 1), generator=noise) * cumulative[:, -1:]
        at = torch.searchsorted(cumulative, uniform).clamp_max(len(vectors) - 1)
        return vectors[at[:, 0]]

    def relaxed(
        self,
        points: Tensor,
        variance: Tensor,
        candidates: Candidates,
        temperature: float,
        noise: torch.Generator,
    ) -> Tensor:
        """The same with a gradient: straight-through Gumbel-softmax.

        (Jang et al., 2017; Maddison et al., 2017): forwards one item is drawn, backwards the
        softmax is seen.
        """
        vectors, logits = self._among(points, variance, candidates)
        exponential = torch.empty_like(logits).exponential_(generator=noise).clamp_min(1e-20)
        soft = F.softmax((logits - exponential.log()) / temperature, dim=1)
        hard = vectors[soft.argmax(dim=1)]
        mixed = soft @ vectors
        return hard + mixed - mixed.detach()

    def _among(
        self, points: Tensor, variance: Tensor, candidates: Candidates
    ) -> tuple[Tensor, Tensor]:
        """Vectors of this step's candidates, and the log chance of each for each point."""
        rows = candidates.draw()
        if rows is None:
            return self.vectors, self.logits(points, variance)
        return self.vectors[rows], self.logits(points, variance, rows) - candidates.log_chance[rows]

    def calibrate(self, points: Tensor, variance: float) -> None:
        """Fit the biases so that items come out of such points by their shares.

        Args:
            points: [n, E], vectors of many generated sequences.
        """
        wanted = self.log_share.exp()
        for _ in range(_ROUNDS):
            made = torch.zeros(len(wanted))
            for block in points.split(_BLOCK):
                made += F.softmax(self.logits(block, variance), dim=1).sum(dim=0)
            made /= made.sum()
            self.bias += _DAMPING * (torch.log(wanted) - torch.log(made + wanted * _FLOOR))
            self.bias -= self.bias.mean()


_FLOOR = 0.02
"""An item that hardly comes out at all is lifted by so many times at most in a round: 50."""
