"""A condition as a network sees it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_WIDTH = 16
"""Of one column's embedding."""


class Conditioning(nn.Module):  # type: ignore[misc]
    """Embeddings of a condition's values, side by side."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, _WIDTH) for size in sizes)
        self.width = _WIDTH * len(sizes)

    def forward(self, conditions: Tensor) -> Tensor:  # [B, COLUMNS] -> [B, width]
        return torch.cat([table(conditions[:, i]) for i, table in enumerate(self.tables)], dim=1)
