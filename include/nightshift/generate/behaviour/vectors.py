"""Items as short vectors: what their texts say, and which items are had together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nightshift.generate.behaviour.shop import Behaviour
from nightshift.generate.sources import Sources

Vectors = npt.NDArray[np.float32]

_STRETCHES = 100_000
"""Drawn to count which items are had together: memory is flat in the number of events."""
_NEAR = 4
"""Items at most so far apart are had together."""
_SMOOTH = 0.75
"""Exponent of the context's counts; makes rare contexts less surprising (Levy et al., 2015)."""
_OVERSAMPLING, _PASSES = 10, 4


def item_vectors(sources: Sources, behaviour: Behaviour, dim: int, seed: int) -> Vectors:
    """Half from the texts, half from what is had together, each direction of unit variance.

    Texts: principal components of the known items' text vectors, whitened. Together: the leading
    left singular vectors of the matrix of positive pointwise mutual information, scaled by the
    roots of the singular values (Levy & Goldberg, 2014).

    Returns:
        [items, dim] in the order of the rows of `behaviour`.
    """
    rng = np.random.default_rng([seed, 11])
    by_text = dim // 2
    text = _whitened_texts(sources, behaviour, by_text)
    together = _together(behaviour, dim - by_text, rng)
    return np.concatenate([text, together], axis=1).astype(np.float32)


def on_sphere(vectors: Vectors) -> Vectors:
    """The same directions, each as long as the root of the width: the nearest is the most alike."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors * (np.sqrt(vectors.shape[1]) / np.maximum(norm, 1e-9))).astype("f4")
    return scaled


def _whitened_texts(sources: Sources, behaviour: Behaviour, dim: int) -> npt.NDArray[np.float64]:
    vectors, row_of_item = sources.texts
    texts, text_of_item = np.unique(row_of_item[behaviour.codes], return_inverse=True)
    found = vectors[texts].astype(np.float64)
    weight = np.bincount(text_of_item, minlength=len(texts)) / len(text_of_item)
    centred = found - weight @ found
    covariance = (centred * weight[:, None]).T @ centred
    values, directions = np.linalg.eigh(covariance)
    leading = np.argsort(-values)[: min(dim, len(texts))]
    projected = _signed(centred @ directions[:, leading])
    return _filled(_scaled(projected[text_of_item]), dim)


def _together(behaviour: Behaviour, dim: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Singular vectors of the sparse PPMI matrix of items within `_NEAR` of each other."""
    from scipy.sparse import coo_matrix

    n = len(behaviour.codes)
    seen = behaviour.draw(rng, min(_STRETCHES, 20 * len(behaviour.rows)))
    pairs = []
    for gap in range(1, min(_NEAR, behaviour.length - 1) + 1):
        left, right = seen.rows[:, :-gap], seen.rows[:, gap:]
        inside = (right >= 0) & (left != right)
        pairs.append(np.stack([left[inside], right[inside]]))
    one, two = np.concatenate(pairs, axis=1)
    counts = coo_matrix(
        (np.ones(2 * len(one)), (np.r_[one, two], np.r_[two, one])), shape=(n, n)
    ).tocsr()
    total = counts.sum()
    if not total:
        return np.zeros((n, dim))
    rows = np.asarray(counts.sum(axis=1)).ravel()
    context = rows**_SMOOTH
    context /= context.sum()
    entries = counts.tocoo()
    information = np.log(entries.data / (rows[entries.row] * context[entries.col]))
    positive = information > 0
    matrix = coo_matrix(
        (information[positive], (entries.row[positive], entries.col[positive])), shape=(n, n)
    ).tocsr()
    directions, values = _leading(matrix, min(dim, n), rng)
    return _filled(_scaled(_signed(directions * np.sqrt(values))), dim)


def _leading(
    matrix: Any, dim: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Leading left singular vectors and values of a sparse matrix, by random projections.

    Halko, Martinsson & Tropp (2011), with power iterations.
    """
    rows, columns = matrix.shape
    basis = rng.standard_normal((columns, min(dim + _OVERSAMPLING, rows)))
    for _ in range(_PASSES):
        basis = np.linalg.qr(matrix @ basis)[0]
        basis = np.linalg.qr(matrix.T @ basis)[0]
    left, values, _ = np.linalg.svd(matrix @ basis, full_matrices=False)
    return left[:, :dim], values[:dim]


def _signed(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """A direction points to where its largest entry is: solvers differ in the sign."""
    largest = columns[np.abs(columns).argmax(axis=0), np.arange(columns.shape[1])]
    turned: npt.NDArray[np.float64] = columns * np.where(largest < 0, -1.0, 1.0)
    return turned


def _scaled(columns: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    centred = columns - columns.mean(axis=0)
    scaled: npt.NDArray[np.float64] = centred / np.maximum(centred.std(axis=0), 1e-9)
    return scaled


def _filled(columns: npt.NDArray[np.float64], dim: int) -> npt.NDArray[np.float64]:
    """Zeros for the directions that a very small shop does not have."""
    missing = dim - columns.shape[1]
    return np.pad(columns, ((0, 0), (0, missing))) if missing else columns
