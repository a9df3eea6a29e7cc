"""Training the GAN: Wasserstein with gradient penalty (Gulrajani et al., 2017), watched.

What keeps it together: the critic learns at twice the generator's rate (Heusel et al., 2017) and
takes several steps for each of the generator's; Adam without momentum; both rates fall to a tenth
along a half cosine; gradients are clipped; what is kept is a running mean of the generator's
weights. Every so often a batch of it is laid beside customers that were held out; the best such
check is what is restored at the end, and two collapsed ones in a row end the training.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nightshift.generate.behaviour.collapse import Health, health
from nightshift.generate.behaviour.conditions import Kinds
from nightshift.generate.behaviour.decoding import Decoder
from nightshift.generate.behaviour.gan_networks import Critic, Generator
from nightshift.generate.behaviour.sampling import Candidates, pick
from nightshift.generate.behaviour.shop import Behaviour, Stretches
from nightshift.progress import Progress
from nightshift.settings.strategies import BehaviourGanSettings

_BETAS = (0.0, 0.9)
_CRITIC_RATE = 2.0
_LAST_RATE = 0.1
_MAX_NORM = 5.0
_KEPT = 0.99
"""Of the running mean of weights, per step."""
_CHECKS = 12
_CHECKED = 512
"""Sequences of a check."""
_GRACE = 3
"""Checks before a collapse counts: every generator begins as one."""
_CANDIDATES = 1024
"""Items that a step's points may become: drawn anew in each, so that all take part."""
_TEMPERATURE = 0.7
"""Of the relaxation's backward pass: cooler is truer, and noisier."""


@dataclass
class Trained:
    """The best generator seen, with the critic of that moment."""

    generator: Generator
    critic: Critic
    health: Health
    checks: list[tuple[int, Health]] = field(default_factory=list)
    stopped: bool = False
    """Two checks in a row found it collapsed."""


class Trainer:
    """Everything that one training holds; `run` does it."""

    def __init__(
        self,
        behaviour: Behaviour,
        kinds: Kinds,
        decoder: Decoder,
        shares: npt.NDArray[np.float64],
        own: BehaviourGanSettings,
        seed: int,
    ) -> None:
        torch.manual_seed(seed)
        self.behaviour, self.kinds, self.decoder, self.own = behaviour, kinds, decoder, own
        self.generator = Generator(own.noise, own.hidden, own.dim, kinds.sizes)
        self.critic = Critic(own.dim, own.hidden, kinds.sizes)
        self.rng = np.random.default_rng([seed, 21])
        self.noise = torch.Generator().manual_seed(seed)
        self.candidates = Candidates(shares, seed, most=_CANDIDATES)
        self.variance = torch.tensor(own.bandwidth**2)
        self._optimizers = (
            torch.optim.Adam(self.generator.parameters(), lr=own.learning_rate, betas=_BETAS),
            torch.optim.Adam(self.critic.parameters(), lr=own.learning_rate, betas=_BETAS),
        )

    def run(self, label: str) -> Trained:
        """Train, check, keep the best."""
        own, steps = self.own, self.own.steps
        mean = copy.deepcopy(self.generator)
        every = max(steps // _CHECKS, 1)
        best: Trained | None = None
        checks: list[tuple[int, Health]] = []
        collapsed = 0
        with Progress(label, total=steps, unit="steps") as progress:
            for step in range(1, steps + 1):
                self._rates(step)
                for _ in range(own.critic_steps):
                    gap = self._teach_critic()
                self._teach_generator()
                _follow(mean, self.generator)
                note = f"critic's gap {gap:.2f}"
                if step % every == 0 or step == steps:
                    found = self.check(mean)
                    checks.append((step, found))
                    note = found.told()
                    if best is None or _is_better(found, best.health, own.min_distinct):
                        best = Trained(copy.deepcopy(mean), copy.deepcopy(self.critic), found)
                    collapsed = collapsed + 1 if is_collapsed(found, own.min_distinct) else 0
                progress.add(note=note)
                if collapsed >= 2 and len(checks) > _GRACE:
                    break
        assert best is not None
        best.checks, best.stopped = checks, collapsed >= 2
        return best

    def check(self, generator: Generator) -> Health:
        """A batch of the generator beside one of held-out customers, the same conditions."""
        rng = np.random.default_rng([self.own.steps, 5])  # the same customers at every check
        noise = torch.Generator().manual_seed(5)
        real = self.behaviour.draw(rng, _CHECKED, held_out=len(self.behaviour.held_out) > 0)
        with torch.no_grad():
            points = generator(*self._noise(len(real), noise), self._conditions(real))
            if self.own.decoding == "gumbel":
                uniform = rng.random(points.shape[0] * points.shape[1])
                rows = self._drawn(points.flatten(0, 1), uniform)
            else:
                rows = self._nearest(points.flatten(0, 1))
        rows = rows.reshape(real.rows.shape).astype(np.int32)
        made = np.where(real.mask, rows, np.int32(-1))
        return health(made, real.rows, self.decoder.vectors.numpy())

    def _drawn(self, points: Tensor, uniform: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        parts = [
            pick(self.decoder.logits(block, self.variance), part, top_k=0, temperature=1.0)[0]
            for block, part in zip(
                points.split(_CHECKED), np.split(uniform, range(_CHECKED, len(uniform), _CHECKED)),
                strict=True,
            )
        ]
        return np.concatenate(parts)

    def _nearest(self, points: Tensor) -> npt.NDArray[Any]:
        parts = [
            self.decoder.logits(block, self.variance).argmax(dim=1)
            for block in points.split(_CHECKED)
        ]
        return torch.cat(parts).numpy()

    def _teach_critic(self) -> float:
        """One step of the critic; how far apart it holds real and made."""
        real = self.behaviour.draw(self.rng, self.own.batch)
        mask = torch.from_numpy(real.mask.astype(np.float32))
        conditions = self._conditions(real)
        with torch.no_grad():
            made = self._made(conditions, mask)
        truth = self._look(real)
        mix = torch.rand((len(real), 1, 1), generator=self.noise)
        between = (mix * truth + (1 - mix) * made).requires_grad_(True)
        judged = self.critic(between, mask, conditions).sum()
        (slope,) = torch.autograd.grad(judged, between, create_graph=True)
        penalty = (slope.flatten(1).norm(dim=1) - 1).square().mean()
        gap = self.critic(truth, mask, conditions).mean() - self.critic(made, mask, conditions).mean()
        self._step(1, -gap + self.own.penalty * penalty, self.critic)
        return float(gap.detach())

    def _teach_generator(self) -> None:
        like = self.behaviour.draw(self.rng, self.own.batch)
        mask = torch.from_numpy(like.mask.astype(np.float32))
        conditions = self._conditions(like)
        loss = -self.critic(self._made(conditions, mask), mask, conditions).mean()
        self._step(0, loss, self.generator)

    def _step(self, which: int, loss: Tensor, network: nn.Module) -> None:
        optimizer = self._optimizers[which]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), _MAX_NORM)
        optimizer.step()

    def _made(self, conditions: Tensor, mask: Tensor) -> Tensor:
        """Generated sequences as the critic sees them: [B, L, E]."""
        points = self.generator(*self._noise(len(conditions), self.noise), conditions)
        if self.own.decoding == "nearest":
            return points * mask[..., None]
        flat, given = points.flatten(0, 1), (self.variance, self.candidates)
        if points.requires_grad:
            flat = self.decoder.relaxed(flat, *given, _TEMPERATURE, self.noise)
        else:
            flat = self.decoder.drawn(flat, *given, self.noise)
        return flat.view_as(points) * mask[..., None]

    def _look(self, real: Stretches) -> Tensor:
        """Real sequences as the critic sees them.

        Where the generator is free to put a point anywhere, real ones are blurred as well (Sønderby
        et al., 2017): or the critic has only to ask whether a point is an item.
        """
        vectors = self.decoder.vectors[torch.from_numpy(np.maximum(real.rows, 0).astype(np.int64))]
        if self.own.decoding == "nearest":
            blur = torch.randn(vectors.shape, generator=self.noise)
            vectors = vectors + self.own.bandwidth * blur
        return vectors * torch.from_numpy(real.mask.astype(np.float32))[..., None]

    def _noise(self, count: int, noise: torch.Generator) -> tuple[Tensor, Tensor]:
        size = self.own.noise
        customer = torch.randn((count, size), generator=noise)
        return customer, torch.randn((count, self.behaviour.length, size), generator=noise)

    def _conditions(self, stretches: Stretches) -> Tensor:
        return torch.from_numpy(self.kinds.of_stretches(stretches, self.behaviour))

    def _rates(self, step: int) -> None:
        falling = 0.5 * (1 + np.cos(np.pi * step / self.own.steps))
        rate = self.own.learning_rate * (_LAST_RATE + (1 - _LAST_RATE) * falling)
        for optimizer, times in zip(self._optimizers, (1.0, _CRITIC_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * times


def is_collapsed(found: Health, least: float) -> bool:
    """Fewer distinct items, or less between one customer and another, than `least` of life.

    A generator that went out of bounds is one, too: its figures are no numbers.
    """
    return not (found.worst() >= least and np.isfinite(found.distance))


def _is_better(found: Health, best: Health, least: float) -> bool:
    """Nearer to held-out customers; one that is collapsed is better than none."""
    if is_collapsed(best, least) != is_collapsed(found, least):
        return is_collapsed(best, least)
    return found.distance < best.distance


def _follow(mean: Generator, generator: Generator) -> None:
    with torch.no_grad():
        for kept, new in zip(mean.parameters(), generator.parameters(), strict=True):
            kept.lerp_(new, 1 - _KEPT)
