"""The processes that train one model together, each a rank on its own rows of every batch.

Every rank draws the same batches, negatives and masks, takes its part of the rows, and adds up its
gradients with the others': the sum is the gradient of the whole batch, so the step that follows
is the same on all of them, and the one that a single process would take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nightshift.errors import StageFailed
from nightshift.recommend.training.windows import Part


class RankLost(StageFailed):
    """Another rank went away in the middle of a step: a consequence, not the cause."""


@dataclass(frozen=True, slots=True)
class World:
    """This process among `size` of them."""

    rank: int = 0
    size: int = 1

    def part(self, rows: int) -> Part | None:
        """This rank's rows of a batch; None: all of them."""
        if self.size == 1:
            return None
        ends = [rows * rank // self.size for rank in (self.rank, self.rank + 1)]
        return Part(ends[0], ends[1], rows)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each by its sum over the ranks, in one message.

        Raises:
            RankLost: another rank went away.
        """
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        try:
            torch.distributed.all_reduce(flat)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RankLost(
                "Another process of this training went away.", hint="the log above has why"
            ) from error
        sizes = [tensor.numel() for tensor in tensors]
        for tensor, whole in zip(tensors, flat.split(sizes), strict=True):
            tensor.copy_(whole.view_as(tensor))


ALONE = World()
