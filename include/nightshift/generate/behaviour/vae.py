"""A variational autoencoder over baskets of items: Mult-VAE (Liang et al., 2018), conditional.

A basket is the items of a stretch, in no order. The likelihood is multinomial; the weight of the
divergence rises from 0 to beta over the first half of the training (annealing).

Shapes in comments: B baskets, L items, D hidden, Z latent.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nightshift.generate.behaviour.conditioning import Conditioning
from nightshift.generate.behaviour.conditions import Kinds
from nightshift.generate.behaviour.items import ItemTable
from nightshift.generate.behaviour.shop import Behaviour
from nightshift.generate.behaviour.training import Batch, Training

_SALT = 51
"""Of the stretches that are drawn."""
_DROPPED = 0.3
"""Of a basket's items, before it is encoded: the decoder must fill them in."""
_ANNEALED = 0.5
"""Share of the steps after which the divergence has its full weight."""
_ITEM = 64
"""Width of an item's vector; logits are a product of such vectors."""


class VariationalBaskets(nn.Module):  # type: ignore[misc]
    """q(z | basket, condition) and p(item | z, condition)."""

    def __init__(
        self,
        vectors: npt.NDArray[np.float32],
        shares: npt.NDArray[np.float64],
        sizes: tuple[int, ...],
        hidden: int,
        latent: int,
    ) -> None:
        super().__init__()
        self.conditioning = Conditioning(sizes)
        width = self.conditioning.width
        self.items = ItemTable(vectors, shares, _ITEM)
        self.encoder = nn.Sequential(
            nn.Linear(_ITEM + width, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent)
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent + width, hidden), nn.Tanh(), nn.Linear(hidden, _ITEM)
        )

    def encode(self, items: Tensor, mask: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of z: item vectors [B, L, D], [B, L] -> [B, Z] each."""
        count = mask.sum(dim=1, keepdim=True).clamp_min(1)
        basket = (items * mask[..., None]).sum(dim=1) / count.sqrt()
        both = self.encoder(torch.cat([basket, condition], dim=1))
        mean, log_variance = both.chunk(2, dim=1)
        return mean, log_variance

    def queries(self, latent: Tensor, condition: Tensor) -> Tensor:
        """[B, Z] -> what item vectors are multiplied with: [B, D]."""
        found: Tensor = self.decoder(torch.cat([latent, condition], dim=1))
        return found


def train(model: VariationalBaskets, training: Training, beta: float) -> None:
    """Minimise -log p(basket | z) + beta KL(q(z | basket) || N(0, 1))."""
    noise = torch.Generator().manual_seed(training.seed)
    annealed = max(_ANNEALED * training.own.steps, 1)

    def loss(batch: Batch) -> tuple[Tensor, str]:
        inside = batch.inside
        condition = model.conditioning(batch.conditions)
        items = batch.items(model.items)
        shown = (torch.rand(inside.shape, generator=noise) >= _DROPPED) & inside
        mean, log_variance = model.encode(items, shown.float(), condition)
        latent = mean + torch.randn(mean.shape, generator=noise) * (log_variance / 2).exp()
        states = model.queries(latent, condition)[:, None].expand(-1, inside.shape[1], -1)
        unlikely = batch.loss(states, items, model.items).sum()
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
        weight = beta * min(1.0, batch.step / annealed)
        note = (
            f"loss {unlikely.item() / inside.sum():.3f}, "
            f"divergence {divergence.item() / len(mean):.2f}"
        )
        return (unlikely + weight * divergence) / inside.sum(), note

    training.run(model, loss, salt=_SALT)


def encoded(
    model: VariationalBaskets, behaviour: Behaviour, kinds: Kinds, count: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Real baskets in latent space: means, variances [count, Z], conditions [count, COLUMNS]."""
    seen = behaviour.draw(np.random.default_rng([seed, 52]), count)
    conditions = kinds.of_stretches(seen, behaviour)
    rows = torch.from_numpy(np.maximum(seen.rows, 0).astype(np.int64))
    with torch.no_grad():
        mean, log_variance = model.encode(
            model.items(rows),
            torch.from_numpy(seen.mask.astype(np.float32)),
            model.conditioning(torch.from_numpy(conditions)),
        )
    return mean.double().numpy(), log_variance.double().exp().numpy(), conditions
