"""Text features of items: sentence embeddings, whitened once and then frozen.

Sentence embeddings fill a narrow cone; whitening spreads them (Su et al., 2021, "Whitening
Sentence Representations"). The transform is fitted on items known at the first night and travels
with the model, so an item listed later lands in the same space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from nightshift.errors import BadInput, ModelRejected

Floats = npt.NDArray[np.float32]

_RIDGE = 1e-4
"""Added to the eigenvalues, relative to the largest: directions of noise are not blown up."""
_NO_SPREAD = 1e-12
"""A variance of unit vectors below this is rounding."""


@dataclass(frozen=True, slots=True)
class Whitening:
    """x → unit((x - mean) @ matrix)."""

    mean: Floats  # [width]
    matrix: Floats  # [width, features]

    @classmethod
    def fit(cls, vectors: Floats, features: int) -> Self:
        """PCA whitening on distinct vectors [n, width]: the `features` largest directions."""
        mean = vectors.mean(axis=0, dtype=np.float64)
        centred = vectors - mean
        covariance = centred.T.astype(np.float64) @ centred / max(len(vectors) - 1, 1)
        values, directions = np.linalg.eigh(covariance)
        keep = np.argsort(values)[::-1][: min(features, vectors.shape[1])]
        if len(keep) and values[keep[0]] <= _NO_SPREAD:
            # One text only (or none): nothing to spread. Items keep their embedding as it is.
            return cls(
                np.zeros_like(mean, np.float32), np.eye(len(mean), len(keep), dtype=np.float32)
            )
        scale = 1.0 / np.sqrt(np.maximum(values[keep], 0) + _RIDGE * values.max())
        # The sign of an eigenvector is arbitrary; fix it, so that equal data give equal features.
        chosen = directions[:, keep]
        chosen *= np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(chosen.shape[1])])
        return cls(mean.astype(np.float32), (chosen * scale).astype(np.float32))

    def apply(self, vectors: Floats) -> Floats:
        """Unit features [n, features]; a zero row stays zero."""
        out = (vectors - self.mean) @ self.matrix
        norm = np.linalg.norm(out, axis=1, keepdims=True)
        features: Floats = (out / np.maximum(norm, 1e-6)).astype(np.float32)
        return features


def check_finite(
    vectors: Floats, names: Sequence[str] | None = None, *, what: str = "item"
) -> None:
    """Refuse sentence embeddings [n, width] with a NaN or an infinity.

    One such row would spread through the whitening, or through a matrix product, to everything.

    Args:
        names: whose embedding each row is; without, a row is named by its number.

    Raises:
        BadInput: it names the first row that is not finite, and says how many there are.
    """
    # A sum is as good as a look at each number, and takes no second table of them.
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(~np.isfinite(vectors.sum(axis=1)))
    if len(bad):
        first = str(bad[0]) if names is None else repr(names[int(bad[0])])
        raise BadInput(
            f"The sentence embedding of {what} {first} is not finite"
            + (f", nor are {len(bad) - 1} others." if len(bad) > 1 else "."),
            hint="a text that the encoder cannot read, or a broken encoder: mend it "
            "(text.encoder) and run `nightshift embed` again with --force",
            row=int(bad[0]),
        )


def check_width(vectors: Floats, whitening: Whitening) -> None:
    """Refuse sentence embeddings [n, width] of another encoder than the model's.

    Raises:
        ModelRejected: another width.
    """
    width = len(whitening.mean)
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise ModelRejected(
            f"The model reads sentence embeddings of width {width}, got {vectors.shape[-1]}.",
            hint="the encoder (text.encoder) was changed: set it back, or start anew (--first)",
        )
