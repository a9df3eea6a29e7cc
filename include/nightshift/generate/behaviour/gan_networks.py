"""Generator and critic over sequences of item vectors, both told the condition.

Shapes in comments: B sequences, L items, E width of an item vector.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nightshift.generate.behaviour.conditioning import Conditioning

_SLOPE = 0.2
"""Of the leaky rectifiers; a critic needs a gradient everywhere."""
_GAIN = 4.0
"""Of the generator's last layer: vectors begin near nothing, where items come out by their shares,
and must reach the sphere of the items soon."""
_SMALL = 0.01


class Generator(nn.Module):  # type: ignore[misc]
    """Noise and condition -> a vector for each place of a sequence, one after the other.

    One part of the noise is the customer's and the same at every place, the other is the place's.
    What the vector before became, an item, is seen at the next place.
    """

    def __init__(self, noise: int, hidden: int, width: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.width = width
        self.conditioning = Conditioning(sizes)
        self.customer = _two_layers(noise + self.conditioning.width, hidden)
        self.cell = nn.GRUCell(hidden + noise + width, hidden)
        self.out = nn.Sequential(
            nn.Linear(2 * hidden, hidden), nn.LeakyReLU(_SLOPE), nn.Linear(hidden, width)
        )
        nn.init.normal_(self.out[-1].weight, std=_SMALL)
        nn.init.zeros_(self.out[-1].bias)

    def forward(
        self,
        customer: Tensor,
        places: Tensor,
        conditions: Tensor,
        become: Callable[[Tensor, int], Tensor],
    ) -> tuple[Tensor, Tensor]:
        """[B, noise], [B, L, noise], [B, COLUMNS] -> vectors, and what they became: [B, L, E] each.

        Args:
            become: vectors [B, E] and their place -> the items' that they are taken for, [B, E].
        """
        whole = self.customer(torch.cat([customer, self.conditioning(conditions)], dim=1))
        state, before = whole, whole.new_zeros(len(whole), self.width)
        points, items = [], []
        for place in range(places.shape[1]):
            state = self.cell(torch.cat([whole, places[:, place], before], dim=1), state)
            point = _GAIN * self.out(torch.cat([state, whole], dim=1))
            before = become(point, place)
            points.append(point)
            items.append(before)
        return torch.stack(points, dim=1), torch.stack(items, dim=1)


class Critic(nn.Module):  # type: ignore[misc]
    """A sequence and its condition -> how real it is: [B].

    Three views: each item alone, each item beside the one in front of it, and how near the items
    of a sequence are to each other. Without normalisation over the batch, as the penalty asks.
    """

    def __init__(self, width: int, hidden: int, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.conditioning = Conditioning(sizes)
        told = width + self.conditioning.width
        self.alone = _two_layers(told, hidden)
        self.pair = _two_layers(2 * width + 1 + self.conditioning.width, hidden)
        self.near = _two_layers(1, hidden // 4)
        self.judge = nn.Sequential(
            nn.Linear(2 * hidden + hidden // 4 + width + self.conditioning.width + 1, hidden),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(_SLOPE),
            nn.Linear(hidden, 1),
        )

    def forward(self, vectors: Tensor, mask: Tensor, conditions: Tensor) -> Tensor:
        """[B, L, E], [B, L] 1 where there is an item, [B, COLUMNS] -> [B]."""
        condition = self.conditioning(conditions)
        spread = condition[:, None].expand(-1, vectors.shape[1], -1)
        alone = _mean(self.alone(torch.cat([vectors, spread], dim=2)), mask)
        # A root that also bends smoothly at nothing: places behind the last item are zeros.
        unit = vectors / (vectors.square().sum(dim=2, keepdim=True) + 1).sqrt()
        each = unit @ unit.transpose(1, 2)  # [B, L, L]
        along = each.diagonal(1, 1, 2)[..., None]
        both_sides = [vectors[:, :-1], vectors[:, 1:], along, spread[:, 1:]]
        pair = _mean(self.pair(torch.cat(both_sides, dim=2)), mask[:, 1:])
        both = (mask[:, :, None] * mask[:, None, :]).flatten(1)
        near = _mean(self.near(each.flatten(1)[..., None]), both)
        centre = _mean(vectors, mask)
        length = mask.mean(dim=1, keepdim=True)
        found: Tensor = self.judge(
            torch.cat([alone, pair, near, centre, condition, length], dim=1)
        )[:, 0]
        return found


def _two_layers(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, hidden),
        nn.LeakyReLU(_SLOPE),
        nn.Linear(hidden, hidden),
        nn.LeakyReLU(_SLOPE),
    )


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Over the places that count: [B, L, H], [B, L] -> [B, H]."""
    weights = mask[..., None]
    found: Tensor = (values * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)
    return found
