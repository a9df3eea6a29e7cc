"""The query tower: a query's sentence embedding into the space that items are searched in.

    q = unit(e + e W)                 e the query's embedding, W learned, zero at first
    score(q, i) = q · e_i + R f · unit(v_i)

e_i is the item's embedding, f the query's whitened features, v_i the item's vector in the
recommender (text and id). R is the model's query projection, zero at first as well. So a tower that
has learnt nothing ranks by the sentence encoder's cosine, and W and R are held near zero.

Trained by sampled softmax over the batch's own items and uniformly drawn ones (Yang et al., 2020,
"Mixed Negative Sampling"), each logit less the log of how often its item is drawn (Yi et al.,
2019, "Sampling-Bias-Corrected Neural Modeling"), or over the whole catalogue where it is small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from nightshift.searches import cleaned, wanted
from nightshift.snapshot import Snapshot

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_BATCH = 256
_UNIFORM = 1024
"""Uniformly drawn items beside a batch's own; a catalogue no larger is taken whole."""
_RATE = 1e-3
_TEMPERATURE = 0.05
_AVERAGED = 0.5
"""The last part of the steps, whose weights are averaged (Polyak & Juditsky, 1992)."""
_SHRINK = 0.05
"""Of the squared norm of W. Chosen on validation queries: docs/search.md."""
_SHRINK_PLACES = 0.5
"""Of the squared norm of R, whose inputs are ten times as spread."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What queries are matched with; rows in item-code order."""

    text: Tensor  # [items, width] unit embeddings
    places: Tensor  # [items, D] unit vectors of the recommender

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True, slots=True)
class Asked:
    """Distinct queries as the tower reads them."""

    vectors: Tensor  # [q, width] unit embeddings
    features: Tensor  # [q, P] whitened

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: Ints | Tensor) -> Asked:
        chosen = torch.as_tensor(rows)
        return Asked(self.vectors[chosen], self.features[chosen])


@dataclass(frozen=True, slots=True)
class Pairs:
    """Queries with an item each that answers them."""

    query: Ints  # [n] row in `Asked`
    item: Ints  # [n] item code
    weight: Floats  # [n]

    def __len__(self) -> int:
        return len(self.query)

    def where(self, keep: npt.NDArray[np.bool_]) -> Pairs:
        return Pairs(self.query[keep], self.item[keep], self.weight[keep])


@dataclass(frozen=True, slots=True)
class Tower:
    """W and R. `loss` is the mean over the last steps; None: nothing was learnt."""

    text: Tensor  # [width, width]
    places: Tensor  # [D, P]
    loss: float | None = None

    @classmethod
    def untrained(cls, width: int, features: int, dim: int) -> Tower:
        return cls(torch.zeros(width, width), torch.zeros(dim, features))

    def queries(self, vectors: Tensor, share: float = 1.0) -> Tensor:
        """Unit queries [n, width], with this share of W."""
        return normalize(vectors + share * (vectors @ self.text), dim=-1)

    def in_places(self, features: Tensor) -> Tensor:
        """Queries among the recommender's items [n, D]."""
        return features @ self.places.T


def query_pairs(snapshot: Snapshot, samples: pl.DataFrame) -> pl.DataFrame:
    """(text, item code, weight, real) of searches with an item, and of generated queries.

    A graded search counts by its grade over the best there is; grade 0 and below do not.
    """
    real = wanted(snapshot.searches, snapshot.item_codes).select(
        text="query",
        item="item",
        weight=(pl.col("gain") / pl.col("gain").max()).cast(pl.Float64),
        real=pl.lit(True),
    )
    made = (
        samples.filter((pl.col("kind") == "query") & (pl.col("weight") > 0))
        .join(snapshot.item_codes, on="item_id", how="inner", maintain_order="left")
        .select(text=cleaned("text"), item="item", weight="weight", real=pl.lit(False))
        .filter(pl.col("text").str.len_chars() > 0)
    )
    return pl.concat([real, made])


def fit_tower(catalogue: Catalogue, asked: Asked, pairs: Pairs, *, steps: int, seed: int) -> Tower:
    """A tower trained from nothing on these pairs; untrained with fewer than two of them."""
    width, features = catalogue.text.shape[1], asked.features.shape[1]
    tower = Tower.untrained(width, features, catalogue.places.shape[1])
    if len(pairs) < 2 or not steps:
        return tower
    learnt = [tower.text.requires_grad_(), tower.places.requires_grad_()]
    optimiser = torch.optim.Adam(learnt, lr=_RATE)
    negatives = _Negatives(pairs, len(catalogue))
    rng = np.random.default_rng([seed, 5])
    losses = []
    mean = [torch.zeros_like(weights) for weights in learnt]
    first = min(int(steps * (1 - _AVERAGED)), steps - 1)
    for step in range(steps):
        rows = rng.choice(len(pairs), min(_BATCH, len(pairs)), replace=False)
        codes, own, correction, answers = negatives.draw(rows, rng)
        picked = asked.take(pairs.query[rows])
        scores = tower.queries(picked.vectors) @ catalogue.text[codes].T
        scores = scores + tower.in_places(picked.features) @ catalogue.places[codes].T
        logits = scores / _TEMPERATURE - correction
        # Another answer to the same query is no negative of it.
        logits = logits.masked_fill(answers, float("-inf"))
        weights = torch.from_numpy(pairs.weight[rows])
        each = cross_entropy(logits, own, reduction="none")
        held = _SHRINK * learnt[0].square().sum() + _SHRINK_PLACES * learnt[1].square().sum()
        loss = (each * weights).sum() / weights.sum()
        optimiser.zero_grad(set_to_none=True)
        (loss + held).backward()
        optimiser.step()
        losses.append(float(loss.detach()))
        if step >= first:
            for sum_, now in zip(mean, learnt, strict=True):
                sum_ += now.detach() / (steps - first)
    return Tower(mean[0], mean[1], round(float(np.mean(losses[-10:])), 5))


class _Negatives:
    """Who stands against a batch's own items."""

    def __init__(self, pairs: Pairs, n_items: int) -> None:
        self._pairs, self._items = pairs, n_items
        self._whole = n_items <= _UNIFORM
        self._often = np.bincount(pairs.item, minlength=n_items) / len(pairs)
        # The answers of each query, compressed rows.
        order = np.lexsort((pairs.item, pairs.query))
        self._answers = pairs.item[order]
        counts = np.bincount(pairs.query)
        self._indptr = np.concatenate([[0], np.cumsum(counts)])

    def draw(self, rows: Ints, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """For a batch of B pairs and C items standing for election.

        Returns:
            item codes [C], the place of each pair's own among them [B], the log of how often each
            is expected [C], and which others answer the query as well [B, C].
        """
        items = self._pairs.item[rows]
        if self._whole:
            codes, own = np.arange(self._items), items
            expected = np.ones(self._items)
        else:
            codes = np.concatenate([items, rng.integers(0, self._items, _UNIFORM)])
            own = np.arange(len(rows))
            expected = len(rows) * self._often[codes] + _UNIFORM / self._items
        answers = self._also(self._pairs.query[rows], codes)
        answers[np.arange(len(rows)), own] = False
        return (
            torch.from_numpy(codes),
            torch.from_numpy(own),
            torch.from_numpy(np.log(expected).astype(np.float32)),
            torch.from_numpy(answers),
        )

    def _also(self, queries: Ints, codes: Ints) -> npt.NDArray[np.bool_]:
        """[B, C] does the item answer the query?"""
        counts = np.diff(self._indptr)[queries]
        row = np.repeat(np.arange(len(queries)), counts)
        starts = np.repeat(self._indptr[queries] - (np.cumsum(counts) - counts), counts)
        answer = self._answers[starts + np.arange(len(row))]
        order = np.argsort(codes, kind="stable")
        low, high = (np.searchsorted(codes[order], answer, side=side) for side in ("left", "right"))
        width = high - low
        place = np.repeat(low - (np.cumsum(width) - width), width) + np.arange(width.sum())
        out = np.zeros((len(queries), len(codes)), dtype=np.bool_)
        out[np.repeat(row, width), order[place]] = True
        return out
