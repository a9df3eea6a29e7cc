"""summary.json: what was made, accepted and quarantined, and why, with examples."""

from __future__ import annotations

from typing import Any

import polars as pl

from nightshift.inspection.batch import Batch
from nightshift.inspection.detectors.personal import mask

_EXAMPLES = 5
_EXAMPLE_CHARS = 200
_CONTEXT_SHOWN = 5


def summarise(batches: list[Batch], docs: dict[str, str]) -> dict[str, Any]:
    """The summary; `docs` holds each batch's page of the Data Docs by the batch's name."""
    return {
        "made": sum(batch.samples.height for batch in batches),
        "accepted": sum(batch.accepted.height for batch in batches),
        "quarantined": sum(batch.quarantined.height for batch in batches),
        "batches": [_batch(batch, docs[batch.name]) for batch in batches],
    }


def stats(batches: list[Batch]) -> dict[str, Any]:
    """What goes into the manifest."""
    strategies = sorted({batch.strategy for batch in batches})
    return {
        "accepted": {s: _rows(batches, s, "accepted") for s in strategies},
        "quarantined": {s: _rows(batches, s, "quarantined") for s in strategies},
        "reasons": _reasons([batch.quarantined for batch in batches]),
        "stopped": [
            {
                "strategy": batch.strategy,
                "kind": batch.kind,
                "gate": batch.stopped.name,
                "value": batch.stopped.value,
                "limit": batch.stopped.limit,
            }
            for batch in batches
            if batch.stopped is not None
        ],
    }


def examples(batch: Batch, which: str) -> list[dict[str, Any]]:
    """Up to five rows, personal data masked; of the quarantined, as many reasons as possible."""
    rows: pl.DataFrame = getattr(batch, which)
    shown = rows.with_columns(
        pl.col("text").str.head(_EXAMPLE_CHARS).pipe(mask),
        pl.col("context_items").list.tail(_CONTEXT_SHOWN),
        first_reason=pl.col("reasons").list.first(),
    ).sort("sample_id", "row")  # ids are content hashes: a fixed order that favours nothing
    nth = pl.int_range(pl.len()).over("first_reason")
    return (
        shown.with_columns(nth=nth)
        .sort("nth", maintain_order=True)
        .head(_EXAMPLES)
        .select("sample_id", "item_id", "user_key", "context_items", "text", "scores", "reasons")
        .to_dicts()
    )


def _batch(batch: Batch, page: str) -> dict[str, Any]:
    return {
        "strategy": batch.strategy,
        "kind": batch.kind,
        "made": batch.samples.height,
        "accepted": batch.accepted.height,
        "quarantined": batch.quarantined.height,
        "reasons": _reasons([batch.quarantined]),
        "failed": batch.failed,
        "gates": [
            {"name": g.name, "value": g.value, "limit": g.limit, "passed": g.passed}
            for g in batch.gates
        ],
        "docs": page,
        "examples": {
            "accepted": examples(batch, "accepted"),
            "quarantined": examples(batch, "quarantined"),
        },
    }


def _rows(batches: list[Batch], strategy: str, which: str) -> int:
    return sum(getattr(b, which).height for b in batches if b.strategy == strategy)


def _reasons(frames: list[pl.DataFrame]) -> dict[str, int]:
    if not frames:
        return {}
    counts = (
        pl.concat([frame.select("reasons") for frame in frames])
        .explode("reasons", empty_as_null=False)["reasons"]
        .value_counts()
        .sort("reasons")
    )
    return dict(counts.iter_rows())
