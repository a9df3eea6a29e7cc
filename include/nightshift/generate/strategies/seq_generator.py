"""Sequences drawn item by item from a sequential model of the shop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nightshift.generate.behaviour.noise import uniform
from nightshift.generate.behaviour.repeats import allowed
from nightshift.generate.behaviour.vectors import item_vectors
from nightshift.generate.fits import Tensors
from nightshift.generate.strategies.base import Price
from nightshift.generate.strategies.bases.behaviour_model import Drawn, MadeUpCustomers, People

if TYPE_CHECKING:
    from torch import Tensor

    from nightshift.generate.behaviour.sequence_model import SequenceModel

_SECONDS_PER_SAMPLE = 0.02
"""One core with 59,000 known items; a sixth of it with 4,000."""
_SECONDS_PER_STEP = 0.076
"""Measured: 45 s for 600 steps on one busy core (Online Retail)."""
_ITEM = 2


class SeqGenerator(MadeUpCustomers):
    name = "seq_generator"
    version = "1"

    def price(self) -> Price:
        return Price(seconds=_SECONDS_PER_SAMPLE, fit_seconds=self.own.steps * _SECONDS_PER_STEP)

    def learn(self) -> Tensors:
        from nightshift.generate.behaviour.sequence_model import train
        from nightshift.generate.behaviour.weights import tensors_of

        vectors = item_vectors(self.sources, self.behaviour, self.own.dim, self.seed)
        shares = self.shares()
        model = self._model(vectors, shares)
        train(model, self.training(shares))
        return tensors_of("model", model) | {"shares": shares}

    def load(self, tensors: Tensors) -> None:
        from nightshift.generate.behaviour.weights import load_into

        self.model = self._model(tensors["model.items.vectors"], tensors["shares"])
        load_into(self.model, tensors, "model")

    def _model(
        self, vectors: npt.NDArray[np.float32], shares: npt.NDArray[np.float64]
    ) -> SequenceModel:
        from nightshift.generate.behaviour.sequence_model import SequenceModel

        return SequenceModel(vectors, shares, self.kinds.sizes, self.own.hidden)

    def draw(self, people: People) -> Drawn:
        items = self.model.items.all().detach()
        rows, log_p = self.in_batches(people, lambda some: self._draw(some, items))
        return Drawn(rows, {"log_probability": log_p / people.lengths})

    def _draw(
        self, people: People, items: Tensor
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """Item rows [n, length], and the log-probability of what counts of them [n]."""
        import torch

        from nightshift.generate.behaviour.sampling import pick

        model, own = self.model, self.own
        noise = uniform(people.hashes, own.length, salt=_ITEM)
        condition = model.conditioning(torch.from_numpy(people.conditions))
        state, previous = model.first(condition), model.start.expand(len(people), -1)
        rows = np.full((len(people), own.length), -1, dtype=np.int32)
        log_p = np.zeros(len(people))
        may = torch.from_numpy(allowed(people.hashes, own.length, self.tolerance))
        had = torch.zeros(len(people), len(items), dtype=torch.bool)
        for place in range(own.length):
            query, state = model.step(previous, state, condition)
            logits = query @ items.T + model.items.bias
            logits = logits.masked_fill(had & ~may[:, place : place + 1], -torch.inf)
            found, likely = pick(
                logits, noise[:, place : place + 1], top_k=own.top_k, temperature=own.temperature
            )
            found, likely = found[:, 0], likely[:, 0]
            at = torch.from_numpy(found)
            previous = items[at]
            had[torch.arange(len(at)), at] = True
            inside = place < people.lengths
            rows[inside, place] = found[inside]
            log_p += np.where(inside, likely, 0.0)
        return rows, log_p
