"""From vectors to items: the nearest, or one of the near ones, as often as the shop sells them.

The vector is taken for a noisy look at an item. So the chance that it means item i is the item's
share times a normal density around the item's vector (Bayes), and a bias of each item is then
fitted until items come out as often as they are had (Sinkhorn & Knopp, 1967; Cuturi, 2013).
Without shares and biases a few items in the middle would be everybody's nearest (hubs; Radovanović
et al., 2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from nightshift.generate.behaviour.sampling import Candidates, pick

_ROUNDS = 8
"""Of fitting the biases; later ones change little."""
_DAMPING = 0.7
"""Part of a round's correction that is made: shares are estimates."""
_FLOOR = 0.02
"""An item that hardly comes out at all is lifted in a round by 1 / so much at most."""
_BLOCK = 256
"""Vectors weighed against the whole catalogue together."""
_TINY = 1e-20
"""Stands for an exponential of nothing, where a logarithm is wanted."""


@dataclass(frozen=True, slots=True)
class Among:
    """Items that the points of one step may become."""

    vectors: Tensor  # [candidates, E]
    bias: Tensor  # [candidates] what is added to the logits


class Decoder:
    """Item vectors with what turns a distance into a chance."""

    def __init__(
        self,
        vectors: npt.NDArray[np.float32],
        shares: npt.NDArray[np.float64],
        bandwidth: float,
        bias: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self.variance = bandwidth**2
        self.vectors = torch.from_numpy(vectors)
        self.half_square = (self.vectors**2).sum(dim=1) / 2
        self.log_share = torch.from_numpy(np.log(shares)).float()
        self.bias = torch.zeros(len(vectors)) if bias is None else torch.from_numpy(bias)

    def logits(self, points: Tensor) -> Tensor:
        """Log chance of each item up to a constant: [n, E] -> [n, items]."""
        distance = (points @ self.vectors.T - self.half_square) / self.variance
        return distance + (self.log_share + self.bias)

    def near(self, points: Tensor, uniform: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Items drawn by their chance: [n, E], [n, draws] in (0, 1) -> [n, draws]."""
        return pick(self.logits(points), uniform)[0]

    def nearest(self, points: Tensor, count: int) -> npt.NDArray[np.int64]:
        """The items of the highest chance, best first: [n, E] -> [n, count]."""
        found: npt.NDArray[np.int64] = (
            self.logits(points).topk(min(count, len(self.vectors)), dim=1).indices.numpy()
        )
        return found

    def drawn(self, points: Tensor, among: Among, noise: torch.Generator) -> Tensor:
        """The vector of an item drawn for each point: [n, E] -> [n, E]."""
        cumulative = F.softmax(self._among(points, among), dim=1).cumsum(dim=1)
        uniform = torch.rand((len(points), 1), generator=noise) * cumulative[:, -1:]
        at = torch.searchsorted(cumulative, uniform).clamp_max(cumulative.shape[1] - 1)
        return among.vectors[at[:, 0]]

    def relaxed(
        self, points: Tensor, among: Among, temperature: float, noise: torch.Generator
    ) -> Tensor:
        """The same with a gradient: straight-through Gumbel-softmax.

        (Jang et al., 2017; Maddison et al., 2017): forwards one item is drawn, backwards the
        softmax is seen.
        """
        logits = self._among(points, among)
        exponential = torch.empty_like(logits).exponential_(generator=noise).clamp_min(_TINY)
        soft = F.softmax((logits - exponential.log()) / temperature, dim=1)
        hard = among.vectors[soft.argmax(dim=1)]
        mixed = soft @ among.vectors
        return hard + mixed - mixed.detach()

    def among(self, candidates: Candidates) -> Among:
        """This step's candidates."""
        rows = candidates.draw()
        bias = self.log_share + self.bias - self.half_square / self.variance
        if rows is None:
            return Among(self.vectors, bias)
        return Among(self.vectors[rows], (bias - candidates.log_chance)[rows])

    def _among(self, points: Tensor, among: Among) -> Tensor:
        """Log chance of each candidate: [n, candidates]."""
        return points @ among.vectors.T / self.variance + among.bias

    def calibrate(self, points: Tensor) -> None:
        """Fit the biases so that items come out of such points by their shares.

        Args:
            points: [n, E], vectors of many generated sequences.
        """
        wanted = self.log_share.exp()
        for _ in range(_ROUNDS):
            made = torch.zeros(len(wanted))
            for block in points.split(_BLOCK):
                made += F.softmax(self.logits(block), dim=1).sum(dim=0)
            made /= made.sum()
            self.bias += _DAMPING * (torch.log(wanted) - torch.log(made + wanted * _FLOOR))
            self.bias -= self.bias.mean()
