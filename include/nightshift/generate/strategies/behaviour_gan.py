"""Sequences from a conditional Wasserstein GAN over sequences of item vectors."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nightshift.generate.behaviour.noise import normal, uniform
from nightshift.generate.behaviour.repeats import allowed
from nightshift.generate.behaviour.vectors import item_vectors, on_sphere
from nightshift.generate.fits import Tensors
from nightshift.generate.strategies.base import Price, Refused
from nightshift.generate.strategies.bases.behaviour_model import Drawn, MadeUpCustomers, People

if TYPE_CHECKING:
    from torch import Tensor

    from nightshift.generate.behaviour.decoding import Decoder
    from nightshift.generate.behaviour.gan_networks import Critic, Generator

log = logging.getLogger("nightshift.generate")

_SECONDS_PER_SAMPLE = 0.01
"""One core with 59,000 known items; a third of it with 4,000."""
_SECONDS_PER_STEP = 0.25
"""Measured: 125 s for 500 steps on one busy core (Online Retail)."""
_CALIBRATED_ON = 1024
"""Generated sequences that the decoder's biases are fitted to."""
_SPARE = 12
"""Draws for each place: where no item may come twice, the first new one is taken."""
_CUSTOMER, _PLACES, _ITEM = 3, 4, 5


class BehaviourGan(MadeUpCustomers):
    name = "behaviour_gan"
    version = "1"

    def price(self) -> Price:
        return Price(seconds=_SECONDS_PER_SAMPLE, fit_seconds=self.own.steps * _SECONDS_PER_STEP)

    def learn(self) -> Tensors:
        from nightshift.generate.behaviour.decoding import Decoder
        from nightshift.generate.behaviour.gan_training import Trainer
        from nightshift.generate.behaviour.weights import tensors_of

        vectors = on_sphere(item_vectors(self.sources, self.behaviour, self.own.dim, self.seed))
        shares = self.shares()
        decoder = Decoder(vectors, shares, self.own.bandwidth)
        trainer = Trainer(self.behaviour, self.kinds, decoder, shares, self.own, self.seed)
        trained = trainer.run(f"learn {self.name}")
        for step, found in trained.checks:
            log.info("%s at step %d: %s", self.name, step, found.told())
        if not trained.collapsed:
            decoder.calibrate(trainer.points(trained.generator, _CALIBRATED_ON))
        return (
            tensors_of("generator", trained.generator)
            | tensors_of("critic", trained.critic)
            | {
                "vectors": vectors,
                "shares": shares,
                "bias": decoder.bias.numpy(),
                "figures": np.array(trained.health.figures()),
                "collapsed": np.array([trained.collapsed]),
            }
        )

    def load(self, tensors: Tensors) -> None:
        from nightshift.generate.behaviour.collapse import Health

        found = Health(*tensors["figures"].tolist())
        if tensors["collapsed"][0]:
            raise Refused(
                f"the generator collapsed at its best: {found.told()} of real customers' "
                f"(behaviour_gan.min_distinct is {self.own.min_distinct}); a lower learning_rate "
                f"or more critic_steps may help"
            )
        log.info("%s beside held-out customers: %s", self.name, found.told())
        self._ready(tensors)

    def _ready(self, tensors: Tensors) -> None:
        from nightshift.generate.behaviour.decoding import Decoder
        from nightshift.generate.behaviour.gan_networks import Critic, Generator
        from nightshift.generate.behaviour.weights import load_into

        own, sizes = self.own, self.kinds.sizes
        self.decoder: Decoder = Decoder(
            tensors["vectors"], tensors["shares"], own.bandwidth, tensors["bias"]
        )
        self.generator: Generator = Generator(own.noise, own.hidden, own.dim, sizes)
        self.critic: Critic = Critic(own.dim, own.hidden, sizes)
        load_into(self.generator, tensors, "generator")
        load_into(self.critic, tensors, "critic")

    def draw(self, people: People) -> Drawn:
        rows, critic = self.in_batches(people, self._draw)
        return Drawn(rows, {"critic": critic})

    def _draw(self, people: People) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Item rows [n, length], and what the critic says of them [n]."""
        import torch

        own, size = self.own, self.own.noise
        customer = normal(people.hashes, size, salt=_CUSTOMER)
        places = normal(people.hashes, own.length * size, salt=_PLACES)
        conditions = torch.from_numpy(people.conditions)
        noise = uniform(people.hashes, own.length * _SPARE, salt=_ITEM)
        noise = noise.reshape(-1, own.length, _SPARE)
        may = allowed(people.hashes, own.length, self.tolerance)
        rows = np.full((len(people), own.length), -1, dtype=np.int32)

        def become(points: Tensor, place: int) -> Tensor:
            if own.decoding == "nearest":
                found = self.decoder.nearest(points, _SPARE)
            else:
                found = self.decoder.near(points, noise[:, place])
            chosen = first_allowed(found, rows[:, :place], may[:, place])
            inside = place < people.lengths
            rows[inside, place] = chosen[inside]
            return self.decoder.vectors[torch.from_numpy(chosen)]

        _, items = self.generator(
            torch.from_numpy(customer).float(),
            torch.from_numpy(places).float().view(-1, own.length, size),
            conditions,
            become,
        )
        mask = torch.from_numpy(rows >= 0).float()
        judged = self.critic(items * mask[..., None], mask, conditions)
        return rows, judged.double().numpy()


def first_allowed(
    found: npt.NDArray[np.int64], before: npt.NDArray[np.int32], may: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """The first of each row's draws that came not before, or may have.

    Args:
        found: [n, draws].
        before: [n, places] what the row has so far.
        may: [n] whether one of those may come again.

    Returns:
        [n]; the first draw where every one came before.
    """
    taken = (found[:, :, None] == before[:, None, :]).any(axis=2) & ~may[:, None]
    first: npt.NDArray[np.int64] = found[np.arange(len(found)), taken.argmin(axis=1)]
    return first
