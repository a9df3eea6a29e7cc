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
from nightshift.generate.behaviour.items import ItemTable, Optimizer
from nightshift.generate.behaviour.sampling import Candidates
from nightshift.generate.behaviour.shop import Behaviour
from nightshift.progress import Progress

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


def train(
    model: VariationalBaskets,
    behaviour: Behaviour,
    kinds: Kinds,
    shares: npt.NDArray[np.float64],
    *,
    steps: int,
    batch: int,
    rate: float,
    beta: float,
    seed: int,
    label: str,
) -> None:
    """Minimise -log p(basket | z) + beta KL(q(z | basket) || N(0, 1)) on fresh stretches."""
    rng = np.random.default_rng([seed, 51])
    noise = torch.Generator().manual_seed(seed)
    candidates = Candidates(shares, seed)
    optimizer = Optimizer(model, rate, steps)
    with Progress(label, total=steps, unit="steps") as progress:
        for step in range(steps):
            seen = behaviour.draw(rng, batch)
            rows = torch.from_numpy(seen.rows.astype(np.int64))
            inside = rows >= 0
            condition = model.conditioning(torch.from_numpy(kinds.of_stretches(seen, behaviour)))
            items = model.items(rows.clamp_min(0))
            shown = (torch.rand(rows.shape, generator=noise) >= _DROPPED) & inside
            mean, log_variance = model.encode(items, shown.float(), condition)
            latent = mean + torch.randn(mean.shape, generator=noise) * (log_variance / 2).exp()
            queries = model.queries(latent, condition)
            asked = queries[:, None].expand(-1, rows.shape[1], -1)[inside]
            unlikely = candidates.loss(
                asked, items[inside], rows[inside], model.items, candidates.draw()
            ).sum()
            divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()
            weight = beta * min(1.0, step / max(_ANNEALED * steps, 1))
            optimizer.step((unlikely + weight * divergence) / inside.sum())
            progress.add(
                note=f"loss {unlikely.item() / inside.sum():.3f}, "
                f"divergence {divergence.item() / batch:.2f}"
            )


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
