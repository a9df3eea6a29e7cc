"""Great Expectations: the rules of a suite, asked of one batch. Its answer decides.

Features are computed in Polars; a batch goes to pandas once, and holds only the columns that a
rule looks at, so no text of a sample enters Great Expectations.
"""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.errors import StageFailed
from nightshift.inspection.rules import Rules

_COMPLETE = {"result_format": "COMPLETE", "partial_unexpected_count": 10}


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer for one batch."""

    failed: dict[str, npt.NDArray[np.bool_]]
    """Reason -> [rows] which rows fail it; reasons in the order of the rules."""
    result: Any
    """great_expectations' ExpectationSuiteValidationResult, for the Data Docs."""

    def rejected(self) -> npt.NDArray[np.bool_]:
        """[rows] which rows fail anything."""
        masks = list(self.failed.values())
        out: npt.NDArray[np.bool_] = np.logical_or.reduce(masks)
        return out


@cache
def great_expectations() -> Any:
    """The library, imported on first use (two seconds) with its telemetry off: no network."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    talkative = logging.getLogger("great_expectations")
    talkative.setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations as gx
    talkative.setLevel(logging.WARNING)  # the import sets INFO again
    return gx


def check(features: pl.DataFrame, rules: Rules, *, suite: str, batch: str) -> Checked:
    """Ask every rule of every row.

    Args:
        features: [rows] with a column for each rule.
        suite: name of the expectation suite (the kind of sample).
        batch: name of the data asset (strategy and kind).

    Raises:
        StageFailed: Great Expectations could not compute an answer.
    """
    gx = great_expectations()
    context = _context(gx)
    columns = list(dict.fromkeys(rule.column for rule in rules))
    frame = features.select(columns).to_pandas()
    asset = context.data_sources.add_pandas("samples").add_dataframe_asset(batch)
    definition = asset.add_batch_definition_whole_dataframe("batch")
    expectations = gx.ExpectationSuite(
        name=suite,
        expectations=[
            getattr(gx.expectations, rule.expectation)(
                column=rule.column,
                meta={"reason": rule.reason, "because": rule.because},
                **rule.options,
            )
            for rule in rules
        ],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' deprecations inside great_expectations
        result = definition.get_batch({"dataframe": frame}).validate(
            expectations, result_format=_COMPLETE
        )
    return Checked(_failed_rows(result, rules, features.height, batch), result)


def _failed_rows(
    result: Any, rules: Rules, rows: int, batch: str
) -> dict[str, npt.NDArray[np.bool_]]:
    failed = {rule.reason: np.zeros(rows, dtype=np.bool_) for rule in rules}
    if len(result.results) != len(rules):
        raise StageFailed("Great Expectations did not answer every rule.", batch=batch)
    for answer in result.results:
        config = answer.expectation_config
        indexes = answer.result.get("unexpected_index_list")
        count = answer.result.get("unexpected_count")
        if indexes is None or count != len(indexes) or answer.success != (count == 0):
            raise StageFailed(
                f"Great Expectations could not answer {config.type} of {config.kwargs['column']}: "
                f"{answer.exception_info}.",
                hint="a detector gave a column of a wrong type; this is a defect, please report it",
                batch=batch,
            )
        failed[config.meta["reason"]][indexes] = True
    return failed


def _context(gx: Any) -> Any:
    """All in memory; the default would leave a temporary folder for Data Docs behind each time."""
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            analytics_enabled=False,
            progress_bars=ProgressBarsConfig(globally=False),
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        ),
    )
