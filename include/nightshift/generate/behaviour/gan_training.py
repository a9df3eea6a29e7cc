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

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nightshift.generate.behaviour.collapse import Health, health
from nightshift.generate.behaviour.conditions import Kinds
from nightshift.generate.behaviour.decoding import Decoder
from nightshift.generate.behaviour.gan_networks import Critic, Generator
from nightshift.generate.behaviour.sampling import Candidates
from nightshift.generate.behaviour.shop import Behaviour, Stretches
from nightshift.progress import Progress
from nightshift.settings.strategies import BehaviourGanSettings

_BETAS = (0.0, 0.9)
_CRITIC_RATE = 2.0
_LAST_RATE = 0.1
_MAX_NORM = 5.0
_REMEMBERED = 0.03
"""Share of the steps that the running mean of weights reaches back."""
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
    """Two checks in a row found the generator collapsed."""
    collapsed: bool = False
    """So was even the best."""


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
                _follow(mean, self.generator, 1 / max(_REMEMBERED * steps, 1))
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
        best.collapsed = is_collapsed(best.health, own.min_distinct)
        return best

    def check(self, generator: Generator) -> Health:
        """A batch of the generator beside one of held-out customers, the same conditions."""
        rng = np.random.default_rng([self.own.steps, 5])  # the same customers at every check
        noise = torch.Generator().manual_seed(5)
        real = self.behaviour.draw(rng, _CHECKED, held_out=True)
        rows, _ = self._sequences(generator, real, rng, noise)
        made = np.where(real.mask, rows, np.int32(-1))
        return health(made, real.rows, self.decoder.vectors.numpy())

    def points(self, generator: Generator, count: int) -> Tensor:
        """Vectors of `count` generated sequences, where there is an item: [points, E]."""
        like = self.behaviour.draw(self.rng, count)
        _, points = self._sequences(generator, like, self.rng, self.noise)
        found: Tensor = points[torch.from_numpy(like.mask)]
        return found

    def _sequences(
        self,
        generator: Generator,
        like: Stretches,
        rng: np.random.Generator,
        noise: torch.Generator,
    ) -> tuple[npt.NDArray[np.int32], Tensor]:
        """Item rows [B, L] as they will be generated, and the vectors they come from [B, L, E]."""
        rows = np.empty(like.rows.shape, dtype=np.int32)

        def become(points: Tensor, place: int) -> Tensor:
            if self.own.decoding == "gumbel":
                found = self.decoder.near(points, rng.random((len(points), 1)))
            else:
                found = self.decoder.nearest(points, 1)
            rows[:, place] = found[:, 0]
            return self.decoder.vectors[torch.from_numpy(found[:, 0])]

        with torch.no_grad():
            points, _ = generator(*self._noise(len(like), noise), self._conditions(like), become)
        return rows, points

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
        gap = (
            self.critic(truth, mask, conditions).mean() - self.critic(made, mask, conditions).mean()
        )
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
        among = self.decoder.among(self.candidates)

        def become(points: Tensor, _: int) -> Tensor:
            if self.own.decoding == "nearest":
                return points
            if points.requires_grad:
                return self.decoder.relaxed(points, among, _TEMPERATURE, self.noise)
            return self.decoder.drawn(points, among, self.noise)

        _, items = self.generator(*self._noise(len(conditions), self.noise), conditions, become)
        return items * mask[..., None]

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


def _follow(mean: Generator, generator: Generator, part: float) -> None:
    with torch.no_grad():
        for kept, new in zip(mean.parameters(), generator.parameters(), strict=True):
            kept.lerp_(new, part)
