"""Stage `generate`: the samples of one shard, chunk by chunk; a killed one goes on where it was."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow as pa

from nightshift import contracts
from nightshift.errors import UsageError
from nightshift.generate.adapters import taught
from nightshift.generate.chunks import chunk_key, load_chunk, store_chunk
from nightshift.generate.samples import empty_samples, with_place
from nightshift.generate.sources import Sources
from nightshift.generate.strategies import create_strategy
from nightshift.generate.strategies.base import Chunk, Refused, Strategy
from nightshift.lake import Lake
from nightshift.progress import Progress
from nightshift.stages import StageContext

log = logging.getLogger("nightshift.generate")


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `samples.parquet` (contracts.SAMPLES).

    Raises:
        UsageError: tonight's plan has no such shard.
        EngineError: a language model could not be loaded or failed.
    """
    name = ctx.parts["shard"]
    targets = ctx.lake.read(ctx.inputs["plan"], "targets.parquet").filter(pl.col("shard") == name)
    if targets.is_empty():
        shards = ctx.inputs["plan"].stats["shards"]
        raise UsageError(
            f"Tonight's plan has no shard {name!r}.",
            hint=f"it has {', '.join(shards)}" if shards else "its budget gave no shard at all",
        )
    sources = Sources(
        ctx.lake,
        ctx.settings,
        ctx.inputs["snapshot"],
        ctx.inputs["vectors"],
        adapter=taught(ctx.lake, ctx.settings, ctx.inputs.get("adapter")),
    )
    strategy = create_strategy(targets["strategy"][0], sources)
    ctx.seeds["generate"] = strategy.seed
    made, tokens = 0, 0
    dropped: Counter[str] = Counter()
    seen: set[str] = set()
    with ctx.writer.parquet_stream("samples.parquet", contracts.SAMPLES) as stream:
        for chunk in chunks(ctx.lake, strategy, targets, label=f"generate {name}"):
            fresh = _without(chunk.samples, seen)
            stream.write_table(with_place(fresh, night=ctx.night.key, shard=name))
            made += fresh.num_rows
            tokens += chunk.tokens
            dropped.update(chunk.dropped)
            if fresh.num_rows < chunk.samples.num_rows:
                dropped["duplicates"] += chunk.samples.num_rows - fresh.num_rows
    return {
        "strategy": strategy.name,
        "made": made,
        "dropped": dict(sorted(dropped.items())),
        "tokens": tokens,
    }


def chunks(lake: Lake, strategy: Strategy, targets: pl.DataFrame, *, label: str) -> Iterator[Chunk]:
    """Every chunk of these targets in order, made now or found in the lake."""
    ordered = targets.sort("chunk", "target_id").partition_by("chunk", maintain_order=True)
    fitted, refused, tokens, started = False, False, 0, time.monotonic()
    with Progress(label, total=targets.height, unit="targets") as progress:
        for part in ordered:
            key = chunk_key(strategy, part)
            chunk = load_chunk(lake, key)
            if chunk is None:
                if not fitted:
                    refused = not _fit(strategy)
                    fitted = True
                if refused:
                    chunk = Chunk(empty_samples(), {"refused": part.height})
                else:
                    chunk = strategy.generate(part)
                store_chunk(lake, key, chunk)
                tokens += chunk.tokens
            progress.add(part.height, note=_rate(tokens, time.monotonic() - started))
            yield chunk


def _fit(strategy: Strategy) -> bool:
    """Let it learn; False when it refuses to work."""
    try:
        strategy.fit()
    except Refused as why:
        log.warning("%s makes nothing: %s", strategy.name, why)
        return False
    return True


def _rate(tokens: int, seconds: float) -> str:
    """What a language model wrote in this run; nothing for other strategies."""
    return f"{tokens:,} tokens, {tokens / seconds:,.0f}/s" if tokens else ""


def _without(samples: pa.Table, seen: set[str]) -> pa.Table:
    """Samples that no earlier chunk of the shard made; `seen` grows by them."""
    ids = samples["sample_id"].to_pylist()
    fresh = [sample_id not in seen for sample_id in ids]
    seen.update(ids)
    return samples if all(fresh) else samples.filter(pa.array(fresh))
