"""Softmax over a catalogue: sampled in training, whole when items are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from nightshift.generate.behaviour.items import ItemTable

if TYPE_CHECKING:
    from collections.abc import Callable

WHOLE = 4096
"""Up to so many items a step looks at all of them; above, at this many drawn ones."""


class Candidates:
    """What a step's softmax is over: every item, or ones drawn by how often items occur."""

    def __init__(self, shares: npt.NDArray[np.float64], seed: int, *, most: int = WHOLE) -> None:
        self.most = most
        self.shares = torch.from_numpy(shares)
        # That an item is among so many draws with replacement.
        self.log_chance = torch.log(-torch.expm1(most * torch.log1p(-self.shares))).float()
        self._generator = torch.Generator().manual_seed(seed)

    def draw(self) -> Tensor | None:
        """Item rows [candidates], each at most once; None: all of them."""
        if len(self.shares) <= self.most:
            return None
        drawn = torch.multinomial(
            self.shares, self.most, generator=self._generator, replacement=True
        )
        return drawn.unique()

    def loss(
        self, states: Tensor, own: Tensor, targets: Tensor, table: ItemTable, drawn: Tensor | None
    ) -> Tensor:
        """Cross-entropy of each target: [n].

        With drawn candidates logits are corrected by how likely each is to be drawn (Bengio &
        Senécal, 2008), so that scores mean the same as over the whole catalogue.

        Args:
            states: [n, D].
            own: [n, D] vectors of the targets.
            targets: [n] item rows.
            drawn: [candidates] rows of the candidates; None: all items.
        """
        if drawn is None:
            return F.cross_entropy(states @ table.all().T + table.bias, targets, reduction="none")
        logits = states @ table(drawn).T + (table.bias[drawn] - self.log_chance[drawn])
        logits = logits.masked_fill(targets[:, None] == drawn[None, :], -torch.inf)
        reached = (states * own).sum(dim=1) + table.bias[targets]
        return torch.logsumexp(torch.cat([reached[:, None], logits], dim=1), dim=1) - reached


def pick(
    logits: Tensor,
    uniform: npt.NDArray[np.float64],
    *,
    top_k: int = 0,
    temperature: float = 1.0,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Items of each row by the inverse of the distribution function.

    Args:
        logits: [n, items]; minus infinity is never picked.
        uniform: [n, picks] in (0, 1); picks do not know of each other.
        top_k: only the so many likeliest; 0: all.

    Returns:
        Item rows and their log-probabilities at temperature 1 among all items: [n, picks] each.
    """
    whole = torch.logsumexp(logits, dim=1, keepdim=True)
    warmed, places = logits, None
    if 0 < top_k < logits.shape[1]:
        warmed, places = logits.topk(top_k, dim=1)
    if temperature != 1.0:
        warmed = warmed / temperature
    weights = F.softmax(warmed, dim=1).cumsum(dim=1, dtype=torch.float64)
    at = torch.searchsorted(weights, torch.from_numpy(uniform) * weights[:, -1:])
    at = at.clamp_max(weights.shape[1] - 1)
    rows = at if places is None else places.gather(1, at)
    return rows.numpy(), (logits.gather(1, rows) - whole).double().numpy()


def in_batches(count: int, size: int, work: Callable[[npt.NDArray[np.int64]], None]) -> None:
    """`work` on index batches of exactly `size`: a sum's last bits depend on a matrix's shape.

    The last batch is filled up with its first index; so a row's result depends on the row alone.
    """
    for start in range(0, count, size):
        rows = np.arange(start, min(start + size, count))
        work(np.pad(rows, (0, size - len(rows)), mode="edge"))
