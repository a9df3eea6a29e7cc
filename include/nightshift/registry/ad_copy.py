"""Which advertising copy belongs to a state: that of the blend it was made with.

Copy trains nothing and is not weighed: what inspection accepted, what has not expired and what
nobody has retracted since is shown, whichever line is live.
"""

from __future__ import annotations

import polars as pl

from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.retractions import without_retracted
from nightshift.stages import CHALLENGER
from nightshift.store.ad_copy import WRITTEN

KIND = "ad_copy"


def ad_copy_of(lake: Lake, state: Manifest) -> pl.DataFrame | None:
    """The rows of `nightshift.ad_copy`, columns `store.ad_copy.WRITTEN`.

    None when the blend is gone that the state was made with: nobody knows then, and what is live
    stays.
    """
    ref = state.inputs.get("blend")
    blend = ref and lake.at_key(ref.dataset, ref.partition, ref.key)
    if not blend:
        return None
    samples = lake.read(blend, f"{CHALLENGER}.parquet").filter(pl.col("kind") == KIND)
    lineage = pl.col("lineage").str
    return (
        without_retracted(lake, samples)
        .with_columns(
            segment=lineage.json_path_match("$.segment"),
            model=lineage.json_path_match("$.model"),
        )
        .select(list(WRITTEN))
    )
