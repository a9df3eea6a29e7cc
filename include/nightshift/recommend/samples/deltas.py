"""What samples teach: a delta beside an item's own, fitted on a model that is already trained.

Customers train the model; samples only place the items they name in it. Everything else stays
bit for bit what real events made it, so bad samples can cost no more than the places in a list
that their items take. Real rows compete in every step, which keeps an item from being lifted
above what customers wanted. A night begins without these deltas and fits them anew, so a sample
that expired or was retracted leaves nothing behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nightshift.progress import Progress
from nightshift.recommend.model.checkpoint import Checkpoint
from nightshift.recommend.ranking.neighbours import leaning
from nightshift.recommend.training.windows import Batch, SampleRows, Windows

_ROWS, _NEGATIVES = 1024, 1024
"""Real rows and shared negatives in a step."""
_WORTH = 2.0
"""Events that an item named by samples is taken to draw, in those of an average item of the
catalogue. Sets how many samples stand beside the real rows: the fewer items are named, the fewer,
or a handful of new items would be pushed as hard as a thousand."""
_WINDOWS = 4096
"""Real windows that rows are drawn from: more would not change the fit, only take longer."""
_ENCODED = 256
_LAST_RATE = 0.1
"""Share of the learning rate that is left at the end."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What a frozen model makes of training rows: n states, and the item after each."""

    states: Tensor  # [n, D]
    targets: Tensor  # [n]


@dataclass(frozen=True, slots=True)
class _Moved:
    """The items that samples name."""

    codes: Tensor  # [n]
    row_of: Tensor  # [items] row in `codes`, -1 for the others
    reach: Tensor  # [n, 1] how long their deltas may get

    @classmethod
    def by(cls, samples: SampleRows, length: Tensor) -> Self:
        """Each may go as far as its heaviest sample says, times its text part's `length`."""
        found, row = np.unique(samples.targets, return_inverse=True)
        codes = torch.from_numpy(found.astype(np.int64))
        row_of = torch.full((len(length),), -1)
        row_of[codes] = torch.arange(len(codes))
        heaviest = torch.zeros(len(codes)).scatter_reduce(
            0, torch.from_numpy(row), torch.from_numpy(samples.weights), reduce="amax"
        )
        return cls(codes, row_of, (heaviest * length[codes])[:, None])


def fit_sample_deltas(
    stored: Checkpoint,
    features: Tensor,
    windows: Windows,
    samples: SampleRows | None,
    *,
    lean: float = 0.0,
    events: npt.NDArray[np.int64] | None = None,
    steps: int,
    rate: float,
    seed: int,
    label: str,
) -> float | None:
    """Set `stored.sample_deltas`; returns the samples' last loss, None without any to learn from.

    A sample's weight is how far its item may move, relative to the length of the item's text
    part (the largest of an item's samples counts), and the share of the loss it has.

    Args:
        features: text features of the catalogue [items, P]; an item with texts of its own
            (`stored.texts`) is read by these and placed by those.
        windows: the real rows.
        lean: how far items with few `events` lean on their neighbours (`ranking.neighbours`):
            samples move an item from where it is ranked without them.
        steps: Adam steps (Kingma & Ba, 2015), at `rate` falling to a tenth.
    """
    stored.sample_deltas = torch.zeros_like(stored.deltas)
    if samples is None or not len(samples) or not len(windows) or not steps:
        return None
    rng = np.random.default_rng([seed, 7])
    model = stored.model.eval()
    placed_by = stored.ranked_features(features.numpy())
    shown = torch.from_numpy(placed_by)
    with torch.no_grad():
        base, ranked = stored.items(features.numpy()), stored.items(placed_by)
        if events is not None:
            ranked = leaning(ranked, shown, events, lean)
        length = model.text(shown).norm(dim=-1)
    chosen = rng.choice(len(windows), min(_WINDOWS, len(windows)), replace=False)
    real = _encode(stored, base, [windows.batch(rows) for rows in _by_length(windows, chosen)])
    order = np.arange(len(samples))
    made = _encode(
        stored, base, [samples.batch(order[i : i + _ENCODED]) for i in order[::_ENCODED]]
    )
    moved = _Moved.by(samples, length)
    deltas = torch.zeros(len(moved.codes), base.shape[1], requires_grad=True)
    optimiser = torch.optim.Adam([deltas], lr=rate, betas=(0.9, 0.98))
    share = torch.from_numpy(samples.weights / samples.weights.mean())
    n_samples = max(1, round(_ROWS * _WORTH * len(moved.codes) / len(base)))
    last = 0.0
    with Progress(label, total=steps, unit="steps") as progress:
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = rate * (1 - (1 - _LAST_RATE) * step / steps)
            ours = torch.from_numpy(rng.integers(len(real.targets), size=_ROWS))
            theirs = torch.from_numpy(rng.integers(len(made.targets), size=n_samples))
            # The whole catalogue competes, new items too: what is rare among targets stays rare.
            negatives = torch.from_numpy(rng.integers(len(base), size=_NEGATIVES))
            states = torch.cat([real.states[ours], made.states[theirs]])
            targets = torch.cat([real.targets[ours], made.targets[theirs]])
            codes = torch.cat([targets, negatives])
            row = moved.row_of[codes]
            own = _bounded(deltas, moved.reach)[row.clamp_min(0)] * (row >= 0)[:, None]
            items = ranked[codes] + own
            loss = _cross_entropy(states, items, targets, negatives)
            taught = loss[_ROWS:] * share[theirs]
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward((loss[:_ROWS].sum() + taught.sum()) / _ROWS)
            optimiser.step()
            last = float(taught.detach().mean())
            progress.add(1, f"loss {last:.3f}")
    with torch.no_grad():
        stored.sample_deltas[moved.codes] = _bounded(deltas, moved.reach)
    return round(last, 5)


def _bounded(deltas: Tensor, reach: Tensor) -> Tensor:
    """Deltas [n, D], none longer than its reach [n, 1]."""
    return deltas * (reach / deltas.norm(dim=-1, keepdim=True).clamp_min(1e-6)).clamp_max(1.0)


def _cross_entropy(states: Tensor, items: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """Of each target among itself and the shared negatives: [n].

    Args:
        items: vectors of the targets, then of the negatives [n + m, D].
    """
    positive = (states * items[: len(targets)]).sum(-1, keepdim=True)
    shared = states @ items[len(targets) :].T
    shared = shared.masked_fill(negatives[None, :] == targets[:, None], float("-inf"))
    return torch.cat([positive, shared], dim=1).logsumexp(dim=1) - positive[:, 0]


def _encode(stored: Checkpoint, base: Tensor, batches: list[Batch]) -> _Rows:
    """The frozen model's state in front of every target."""
    states, targets = [], []
    with torch.no_grad():
        for batch in batches:
            codes = torch.from_numpy(batch.inputs).long()
            vectors = base[codes.clamp_min(0)] * (codes >= 0)[..., None]
            kinds, gaps = (torch.from_numpy(each) for each in batch.signals)
            lengths = torch.from_numpy(batch.lengths)
            hidden = stored.model.users(vectors, lengths, signals=(kinds, gaps))
            wanted = torch.from_numpy(batch.targets).long()
            states.append(hidden[wanted >= 0])
            targets.append(wanted[wanted >= 0])
    return _Rows(torch.cat(states), torch.cat(targets))


def _by_length(windows: Windows, chosen: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Windows of like length together, so that short ones are not filled up to the longest."""
    lengths = (windows.last - windows.first)[chosen]
    ordered = chosen[np.argsort(lengths, kind="stable")]
    return [ordered[i : i + _ENCODED] for i in range(0, len(ordered), _ENCODED)]
