"""Search with a stored model: BM25, the encoder's cosine and the learned tower as one ranking.

    dense(q, i) = q · e_i + places · R f · unit(v_i)                  see `queries`
    score(q, i) = w BM25(q, i) / max BM25(q, ·) + (1 - w) dense(q, i)
                  or 1 / (60 + rank by BM25) + 1 / (60 + rank by dense)
    with a history: + history · std(score(q, ·)) · standardised recommendation score of i

With `feedback`, q is moved towards the mean of the ten items it found first, and asked again. Every
weight is in the plan, a file beside the model, and was chosen on queries before start; zero is a
choice everywhere (`plan`, and `history` for the last).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np
import torch
from torch.nn.functional import normalize

from nightshift.errors import BadInput, ModelRejected
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.ranking import Mask, Scores, select_top_k
from nightshift.recommend.search.queries import Asked, Catalogue, Tower
from nightshift.text.bm25 import PLAIN, Floats, scaled
from nightshift.writer import DatasetWriter

TOWER, PLAN = "search.safetensors", "search.json"
FILES = (TOWER, PLAN)

_RANK_CONSTANT = 60
"""Of reciprocal rank fusion (Cormack, Clarke & Büttcher, 2009)."""
_FEEDBACK_ITEMS = 10
"""Of dense pseudo-relevance feedback (after Rocchio, 1971; Li et al., 2023)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How the parts of a search are put together. The default is for a shop without searches."""

    method: Literal["weight", "rank"] = "weight"
    stem: str = PLAIN
    lexical: float = 0.5
    """w, of `method` weight."""
    tower: float = 0.0
    """Share of W in the query."""
    places: float = 0.0
    """Share of what R finds."""
    feedback: float = 0.0
    """How far a query goes towards what it found first."""
    history: float = 0.0
    """What is recommended to who asks."""
    fusion: float = 0.5
    """w with nothing learnt and no feedback: the baseline that the rest is added to."""
    queries: int = 0
    """On how many it was chosen."""
    chosen: dict[str, float] = field(default_factory=dict)
    """NDCG@10 on them after each step of the choice."""


@dataclass(frozen=True, slots=True)
class SearchModel:
    """A plan and the W that it was chosen for; R is the model's own query projection."""

    plan: Plan
    text: torch.Tensor  # [width, width]

    def tower(self, projection: torch.Tensor) -> Tower:
        return Tower(self.text, projection)

    def save(self, writer: DatasetWriter, prefix: str = "") -> None:
        writer.write_tensors(prefix + TOWER, {"text": self.text.numpy()})
        writer.write_json(prefix + PLAN, asdict(self.plan))

    @classmethod
    def load(cls, lake: Lake, manifest: Manifest, *, width: int, prefix: str = "") -> Self | None:
        """That beside a stored model; None where it has none.

        Raises:
            ModelRejected: it is for other embeddings, not finite, or its plan has other fields.
        """
        from safetensors.numpy import load_file

        if not manifest.named(prefix + PLAN):
            return None
        text = load_file(lake.local_path(manifest.file(prefix + TOWER)))["text"]
        if text.shape != (width, width) or not np.isfinite(text).all():
            raise ModelRejected(
                f"The query tower has shape {text.shape} or is not finite, the embeddings are "
                f"{width} wide.",
                hint="run finetune again, or start anew with --first",
                dataset=manifest.folder,
            )
        raw: dict[str, Any] = lake.read_json(manifest, prefix + PLAN)
        try:
            return cls(Plan(**raw), torch.from_numpy(text))
        except TypeError as error:
            raise ModelRejected(
                f"The search plan is of another version: {error}.",
                hint="run finetune again, or the version that wrote it",
                dataset=manifest.folder,
            ) from error


def search_scores(
    catalogue: Catalogue,
    tower: Tower,
    plan: Plan,
    asked: Asked,
    words: Floats | None,
    wishes: Scores | None = None,
) -> Scores:
    """Dense scores [n, items] of these queries.

    Args:
        words: BM25 of each query [n, items]; None: by the dense part alone.
        wishes: recommendation scores of who asks [n, items].
    """
    with torch.inference_mode():
        queries = tower.queries(asked.vectors, plan.tower)
        learnt: Scores | float = 0.0
        if plan.places:
            found = tower.in_places(asked.features) @ catalogue.places.T
            learnt = np.float32(plan.places) * found.numpy()
        out = _together(plan, words, (queries @ catalogue.text.T).numpy() + learnt)
        if plan.feedback:
            codes, _ = select_top_k(out, min(_FEEDBACK_ITEMS, len(catalogue)))
            mean = catalogue.text[torch.from_numpy(codes.astype(np.int64))].mean(dim=1)
            queries = normalize(queries + plan.feedback * mean, dim=-1)
            out = _together(plan, words, (queries @ catalogue.text.T).numpy() + learnt)
    if plan.history and wishes is not None:
        out += np.float32(plan.history) * out.std(axis=1, keepdims=True) * standardised(wishes)
    return out


def standardised(scores: Scores) -> Scores:
    """Each row with mean 0 and deviation 1; zero where all its scores are equal."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = scores.std(axis=1, keepdims=True)
    out: Scores = np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)
    return out


def _together(plan: Plan, words: Floats | None, dense: Scores) -> Scores:
    if words is None:
        return dense
    if plan.method == "rank":
        return _reciprocal_ranks(words, least=0.0) + _reciprocal_ranks(dense)
    mixed: Scores = np.float32(plan.lexical) * scaled(words) + np.float32(1 - plan.lexical) * dense
    return mixed


def _reciprocal_ranks(scores: Scores, least: float = -np.inf) -> Scores:
    """1 / (60 + rank) of each item in its row; nothing for scores no higher than `least`."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, scores.shape[1] + 1)[None, :], axis=1)
    out: Scores = np.where(scores > least, 1.0 / (_RANK_CONSTANT + ranks), 0.0).astype(np.float32)
    return out


def check_queries(vectors: Floats, width: int, texts: Sequence[str] | None) -> None:
    """Raises BadInput: embeddings of another width or not finite, or not one for each text."""
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise BadInput(
            f"Queries are embeddings [n, {width}], got an array of shape {vectors.shape}.",
            hint="encode the queries with the encoder of the items (text.encoder)",
        )
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise BadInput(
            f"The embeddings of {len(bad)} queries are not finite, the first in row {bad[0]}.",
            hint="encode them again; an encoder in half precision may overflow",
        )
    if texts is not None and len(texts) != len(vectors):
        raise BadInput(
            f"{len(texts)} query texts for {len(vectors)} embeddings.",
            hint="give the texts and their embeddings in the same order",
        )


def nothing_for_empty(scores: Scores, texts: Sequence[str] | None) -> Scores:
    """A query without a word finds nothing: its row becomes -inf, in place."""
    if texts is not None:
        scores[[not text.strip() for text in texts]] = -np.inf
    return scores


def only_candidates(scores: Scores, candidates: Mask | None) -> Scores:
    """What may not be found becomes -inf, in place."""
    if candidates is not None:
        scores[:, ~candidates] = -np.inf
    return scores
