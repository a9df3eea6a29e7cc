"""Is a generator still making different customers, and how like real ones are they?"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Health:
    """A generated batch beside a real one of the same size."""

    distinct: float  # distinct items, relative to the real batch's
    coverage: float  # share of the items in half of the real batch's events that came out at all
    spread: float  # mean distance of two sequences' centres, relative to the real batch's
    distance: float  # energy distance to the real batch; 0: the same distribution

    def worst(self) -> float:
        """The figure that a collapse shows in first; 1 is as varied as life."""
        return min(self.distinct, self.spread)

    def figures(self) -> list[float]:
        """In the order of the fields."""
        return list(asdict(self).values())

    def told(self) -> str:
        return ", ".join(f"{name} {value:.2f}" for name, value in asdict(self).items())


def health(made: Rows, real: Rows, vectors: npt.NDArray[np.float32]) -> Health:
    """Compare batches of item rows [n, L], -1 behind the last."""
    of_made, of_real = _features(made, vectors), _features(real, vectors)
    scale = np.maximum(of_real.std(axis=0), 1e-6)
    width = vectors.shape[1]
    common = _commonest_half(real)
    return Health(
        distinct=len(np.unique(made[made >= 0])) / max(len(np.unique(real[real >= 0])), 1),
        coverage=float(np.isin(common, made).mean()),
        spread=_mean_distance(of_made[:, :width]) / max(_mean_distance(of_real[:, :width]), 1e-9),
        distance=energy_distance(of_made / scale, of_real / scale),
    )


def _commonest_half(rows: Rows) -> npt.NDArray[np.int32]:
    """The fewest items that make up half of the events."""
    items, counts = np.unique(rows[rows >= 0], return_counts=True)
    order = np.lexsort((items, -counts))
    most = int(np.searchsorted(np.cumsum(counts[order]), counts.sum() / 2)) + 1
    found: npt.NDArray[np.int32] = items[order[:most]]
    return found


def _features(rows: Rows, vectors: npt.NDArray[np.float32]) -> Floats:
    """Each sequence's centre, its width, and how its neighbours go together: [n, 3 E]."""
    mask = (rows >= 0).astype(np.float64)
    found = vectors[np.maximum(rows, 0)].astype(np.float64) * mask[..., None]
    count = mask.sum(axis=1, keepdims=True)
    centre = found.sum(axis=1) / count
    width = np.sqrt(np.maximum((found**2).sum(axis=1) / count - centre**2, 0))
    along = (found[:, 1:] * found[:, :-1]).sum(axis=1) / np.maximum(count - 1, 1)
    return np.concatenate([centre, width, along], axis=1)


def energy_distance(left: Floats, right: Floats) -> float:
    """2 E|x − y| − E|x − x'| − E|y − y'| (Székely & Rizzo, 2004), samples as rows."""
    between = np.sqrt(_squares(left, right)).mean()
    return float(2 * between - _mean_distance(left) - _mean_distance(right))


def _mean_distance(points: Floats) -> float:
    n = len(points)
    return float(np.sqrt(_squares(points, points)).sum() / max(n * (n - 1), 1))


def _squares(left: Floats, right: Floats) -> Floats:
    found = (left**2).sum(1)[:, None] + (right**2).sum(1)[None, :] - 2 * left @ right.T
    clipped: Floats = np.maximum(found, 0)
    return clipped
