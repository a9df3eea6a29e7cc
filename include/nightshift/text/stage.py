"""Stage `embed`: sentence embeddings of the catalogue."""

from __future__ import annotations

from typing import Any

from nightshift.snapshot import Snapshot
from nightshift.stages import StageContext
from nightshift.text.embeddings import embed
from nightshift.text.encoder import encoder_digest


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `items.safetensors`: vectors of the distinct texts, and the row of every item.

    How many texts had to be encoded now is not part of the stats: it depends on what the lake
    already held.
    """
    texts = Snapshot(ctx.lake, ctx.inputs["snapshot"]).items["text"].fill_null("").to_list()
    vectors, rows, _ = embed(ctx.lake, ctx.settings, texts)
    ctx.writer.write_tensors("items.safetensors", {"vectors": vectors, "row_of_item": rows})
    return {
        "encoder": encoder_digest(ctx.settings),
        "items": len(texts),
        "distinct_texts": len(vectors),
        "width": vectors.shape[1] if len(vectors) else 0,
    }
