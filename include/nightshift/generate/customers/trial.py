"""What came of trying a judge out: is it better than text similarity alone, and is that sure?"""

from __future__ import annotations

from dataclasses import dataclass

from nightshift.generate.fits import Tensors
from nightshift.generate.strategies.base import Refused
from nightshift.intervals import paired_bootstrap

_MIN_PROBES = 10
"""With fewer pairs an interval says nothing."""


@dataclass(frozen=True, slots=True)
class Trial:
    """AUC of the judge and of text-kNN on the same held-out pairs; the difference with its 95 %."""

    judge: float
    text_knn: float
    difference: float
    low: float
    high: float
    bias: float
    """Mean log-odds for the first answer, whatever stands there."""
    n: int

    def __str__(self) -> str:
        return (
            f"AUC {self.judge:.3f} against {self.text_knn:.3f} of text-kNN on {self.n} held-out "
            f"pairs, difference {self.difference:+.3f} [{self.low:+.3f}, {self.high:+.3f}], "
            f"position bias {self.bias:+.2f}"
        )


def verdict_on(tried: Tensors, *, seed: int) -> Trial:
    """The trial, when the judge has passed it.

    Args:
        tried: `judge`, `text_knn` [pairs] 1, 0.5 or 0 where the judge was right, undecided, wrong;
            `bias` [pairs].

    Raises:
        Refused: there are too few pairs to tell, or the lower bound of the difference is not above
            zero.
    """
    n = len(tried["judge"])
    if n < _MIN_PROBES:
        raise Refused(
            f"only {n} customers have a last item that a judge can be tried on; {_MIN_PROBES} are "
            "too few already"
        )
    interval = paired_bootstrap(tried["judge"] - tried["text_knn"], tried["text_knn"], seed=seed)
    trial = Trial(
        judge=float(tried["judge"].mean()),
        text_knn=float(tried["text_knn"].mean()),
        difference=interval.value,
        low=interval.value_low,
        high=interval.value_high,
        bias=float(tried["bias"].mean()),
        n=n,
    )
    if trial.low <= 0:
        raise Refused(f"as a judge the model is not surely better than text similarity: {trial}")
    return trial
