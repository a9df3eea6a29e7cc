"""One batch: one strategy's samples of one kind, through its suite and its gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift import contracts
from nightshift.inspection.expectations import check
from nightshift.inspection.facts import Facts
from nightshift.inspection.gates import Gate, gates
from nightshift.inspection.rules import Suite
from nightshift.settings import InspectionSettings

STOPPED = "batch_stopped:"


@dataclass(frozen=True, slots=True)
class Batch:
    """What inspection says of one batch."""

    strategy: str
    kind: str
    samples: pl.DataFrame  # contracts.QUARANTINE and `row`; `reasons` empty: accepted
    gates: list[Gate]
    failed: dict[str, int]  # reason -> rows, before the gates
    result: Any  # great_expectations' validation result

    @property
    def name(self) -> str:
        return f"{self.strategy}/{self.kind}"

    @property
    def stopped(self) -> Gate | None:
        """The first gate that did not open."""
        return next((gate for gate in self.gates if not gate.passed), None)

    @property
    def accepted(self) -> pl.DataFrame:
        return self.samples.filter(pl.col("reasons").list.len() == 0)

    @property
    def quarantined(self) -> pl.DataFrame:
        return self.samples.filter(pl.col("reasons").list.len() > 0)

    def line(self) -> str:
        """Everything a log needs to say of it, in one line."""
        made, good = self.samples.height, self.accepted.height
        failed = ", ".join(
            f"{reason} {rows}"
            for reason, rows in sorted(self.failed.items(), key=lambda pair: (-pair[1], pair[0]))
        )
        text = f"{self.name}: {made} made, {good} accepted"
        if self.stopped is not None:
            text += f", batch stopped by {self.stopped}"
        return f"{text}; failed: {failed or 'nothing'}"


def inspect_batch(
    features: pl.DataFrame,
    suite: Suite,
    facts: Facts,
    settings: InspectionSettings,
    *,
    strategy: str,
    kind: str,
) -> Batch:
    """Check rows and gates of one batch.

    Args:
        features: contracts.SAMPLES, `row`, and the feature columns of the suite; one row or more.
    """
    name = f"{strategy}/{kind}"
    checked = check(features, suite.rules(settings), suite=suite.kind or "common", batch=name)
    own = suite.gates
    opened = gates(
        features,
        checked.rejected(),
        settings,
        has_text=suite.has_text,
        more=None if own is None else lambda left: own(left, facts, settings),
    )
    masks = {reason: mask for reason, mask in checked.failed.items() if mask.any()}
    reasons = dict(masks)
    for gate in opened:
        if not gate.passed:
            reasons[STOPPED + gate.name] = np.ones(features.height, dtype=np.bool_)
    return Batch(
        strategy=strategy,
        kind=kind,
        samples=features.select("row", *contracts.SAMPLES.names).with_columns(
            reasons=_reasons(reasons, features.height)
        ),
        gates=opened,
        failed={reason: int(mask.sum()) for reason, mask in masks.items()},
        result=checked.result,
    )


def _reasons(masks: dict[str, npt.NDArray[np.bool_]], rows: int) -> pl.Series:
    """[rows] the names of the failed checks of each row, in the order of the rules."""
    if not masks:
        return pl.Series([[]] * rows, dtype=pl.List(pl.String))
    flags = pl.DataFrame(masks)
    named = [pl.when(pl.col(reason)).then(pl.lit(reason)) for reason in masks]
    return flags.select(pl.concat_list(named).list.drop_nulls()).to_series()
