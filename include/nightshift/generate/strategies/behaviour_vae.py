"""Baskets drawn from a variational autoencoder, put in an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nightshift.generate.behaviour.mixture import Mixture
from nightshift.generate.behaviour.noise import normal, uniform
from nightshift.generate.behaviour.order import Order
from nightshift.generate.behaviour.repeats import again, allowed
from nightshift.generate.behaviour.vectors import item_vectors
from nightshift.generate.fits import Tensors
from nightshift.generate.strategies.base import Price
from nightshift.generate.strategies.bases.behaviour_model import Drawn, MadeUpCustomers, People

if TYPE_CHECKING:
    from nightshift.generate.behaviour.vae import VariationalBaskets

_SECONDS_PER_SAMPLE = 0.01
"""One core with 59,000 known items; a quarter of it with 4,000."""
_SECONDS_PER_STEP = 0.083
"""Measured: 82 s for 1,000 steps on one busy core (Online Retail)."""
_ENCODED = 20_000
"""Real baskets that the mixture is fitted to."""
_SPARE = 4
"""Draws for each item wanted: one that came before is passed over."""
_FAVOURITE = 1
_PART, _LATENT, _ITEM = 3, 4, 5


class BehaviourVae(MadeUpCustomers):
    name = "behaviour_vae"
    version = "1"

    def price(self) -> Price:
        return Price(seconds=_SECONDS_PER_SAMPLE, fit_seconds=self.own.steps * _SECONDS_PER_STEP)

    def learn(self) -> Tensors:
        from nightshift.generate.behaviour.vae import encoded, train
        from nightshift.generate.behaviour.weights import tensors_of

        own = self.own
        vectors = item_vectors(self.sources, self.behaviour, own.dim, self.seed)
        shares = self.shares()
        model = self._model(vectors, shares)
        train(model, self.training(shares), own.beta)
        means, variances, conditions = encoded(
            model, self.behaviour, self.kinds, _ENCODED, self.seed
        )
        mixture = Mixture.fit(
            means, variances, conditions[:, _FAVOURITE], len(self.kinds.kinds), self.seed
        )
        order = Order.learn(self.behaviour, vectors, np.random.default_rng([self.seed, 43]))
        return (
            tensors_of("model", model)
            | {
                "shares": shares,
                "mixture.means": mixture.means,
                "mixture.deviations": mixture.deviations,
                "mixture.cumulative": mixture.cumulative,
            }
            | order.tensors()
        )

    def load(self, tensors: Tensors) -> None:
        from nightshift.generate.behaviour.weights import load_into

        self.model = self._model(tensors["model.items.vectors"], tensors["shares"])
        load_into(self.model, tensors, "model")
        self.mixture = Mixture(
            tensors["mixture.means"],
            tensors["mixture.deviations"],
            tensors["mixture.cumulative"],
        )
        self.order = Order.of(tensors)

    def _model(
        self, vectors: npt.NDArray[np.float32], shares: npt.NDArray[np.float64]
    ) -> VariationalBaskets:
        from nightshift.generate.behaviour.vae import VariationalBaskets

        own = self.own
        return VariationalBaskets(vectors, shares, self.kinds.sizes, own.hidden, own.latent)

    def draw(self, people: People) -> Drawn:
        items = self.model.items.all().detach().T
        rows, log_p = self.in_batches(people, lambda some: self._baskets(some, items))
        return Drawn(
            self.order.arranged(rows, people.hashes), {"log_probability": log_p / people.lengths}
        )

    def _baskets(
        self, people: People, items: Any
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """The items of each [n, length], and their log-probability [n]."""
        import torch

        from nightshift.generate.behaviour.sampling import pick

        own = self.own
        latent = normal(people.hashes, own.latent, salt=_LATENT)
        if own.drawn_from == "posterior":
            part = uniform(people.hashes, 1, salt=_PART)[:, 0]
            latent = self.mixture.draw(people.conditions[:, _FAVOURITE], part, latent)
        condition = self.model.conditioning(torch.from_numpy(people.conditions))
        queries = self.model.queries(torch.from_numpy(latent).float(), condition)
        noise = uniform(people.hashes, _SPARE * own.length, salt=_ITEM)
        found, log_p = pick(queries @ items + self.model.items.bias, noise)
        may = allowed(people.hashes, noise.shape[1], self.tolerance)
        return first_new(found, log_p, may, people.lengths, own.length)


def first_new(
    found: npt.NDArray[np.int64],
    log_p: npt.NDArray[np.float64],
    may: npt.NDArray[np.bool_],
    lengths: npt.NDArray[np.int64],
    length: int,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    """Draws with replacement, those that came before passed over: draws without replacement.

    It is the same draw (successive sampling), and costs one pass over the catalogue.

    Args:
        found: [n, draws] with their log-probabilities.
        may: [n, draws] which of them may have come before.
        lengths: [n] how many are wanted; where too few are distinct, an item comes twice.

    Returns:
        [n, length] item rows, -1 behind the last, and the sum of their log-probabilities.
    """
    passed = again(found.astype(np.int32)) & ~may
    order = np.argsort(passed, axis=1, kind="stable")[:, :length]
    rows = np.take_along_axis(found, order, axis=1)
    inside = np.arange(length) < lengths[:, None]
    total = np.where(inside, np.take_along_axis(log_p, order, axis=1), 0.0).sum(axis=1)
    return np.where(inside, rows, -1).astype(np.int32), total
