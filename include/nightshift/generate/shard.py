"""Stage `generate`: the samples of one shard, chunk by chunk; a killed one goes on where it was.

It ends early where its part of the budget is used up: after the chunk that did so.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import polars as pl
import pyarrow as pa

from nightshift import contracts
from nightshift.compute import has_gpu
from nightshift.errors import UsageError
from nightshift.generate.allowance import Allowance, Spent
from nightshift.generate.chunks import chunk_key, load_chunk, store_chunk
from nightshift.generate.samples import empty_samples, with_place
from nightshift.generate.sources import Sources
from nightshift.generate.strategies import create_strategy
from nightshift.generate.strategies.base import Chunk, Refused, Strategy
from nightshift.lake import Lake
from nightshift.prices import Rates
from nightshift.progress import Progress
from nightshift.stages import StageContext

log = logging.getLogger("nightshift.generate")

OVER_BUDGET = "over_budget"
"""Why samples were not made: in the counts of what was dropped."""


def run(ctx: StageContext) -> dict[str, Any]:
    """Write `samples.parquet` (contracts.SAMPLES).

    Raises:
        UsageError: tonight's plan has no such shard.
        EngineError: a language model could not be loaded or failed.
    """
    name, plan = ctx.parts["shard"], ctx.inputs["plan"]
    targets = ctx.lake.read(plan, "targets.parquet").filter(pl.col("shard") == name)
    if targets.is_empty():
        shards = plan.stats["shards"]
        raise UsageError(
            f"Tonight's plan has no shard {name!r}.",
            hint=f"it has {', '.join(shards)}" if shards else "its budget gave no shard at all",
        )
    strategy = create_strategy(
        targets["strategy"][0], Sources.of(ctx.lake, ctx.settings, ctx.inputs)
    )
    ctx.seeds["generate"] = strategy.seed
    document = ctx.lake.read_json(plan, "plan.json")
    allowed = Allowance(**document["allowances"][name])
    spent = Spent(Rates(**(document["rates"] or {}).get(strategy.name, {})))
    made = _write(ctx, strategy, targets, allowed, spent)
    ctx.run.update(
        chunks=len(made.paces),
        found=made.found,
        cached=made.cached,
        making_seconds=round(spent.seconds, 3),
        seconds_per_sample=median(made.paces),  # of most chunks; the first one may load a model
        fits=made.fits,
        fitting_seconds=round(strategy.learning.waited, 3),
        gpu=has_gpu(ctx.settings),
    )
    return {
        "strategy": strategy.name,
        "made": made.samples,
        "dropped": dict(sorted(made.dropped.items())),
        "tokens": made.tokens,
        "prompt_tokens": made.prompt_tokens,
        "stopped": made.stopped,
        "refused": made.refused,
    }


def _write(
    ctx: StageContext, strategy: Strategy, targets: pl.DataFrame, allowed: Allowance, spent: Spent
) -> Made:
    """Write the samples of all chunks, or of those until one uses up what is allowed."""
    name, night = ctx.parts["shard"], ctx.night.key
    parts = targets.sort("chunk", "target_id").partition_by("chunk", maintain_order=True)
    total = Made()
    seen: set[str] = set()
    with ctx.writer.parquet_stream("samples.parquet", contracts.SAMPLES) as stream:
        for made in chunks(ctx.lake, strategy, parts, label=f"generate {name}"):
            fresh = _without(made.chunk.samples, seen)
            stream.write_table(with_place(fresh, night=night, shard=name))
            total.add(made, fresh.num_rows)
            spent.add(made.chunk)
            left, out_of = parts[len(total.paces) :], spent.reaches(allowed)
            if left and out_of is not None:
                total.stop(out_of, left)
                log.warning("%s ends before its time: %s", name, total.stopped)
                break
    return total


@dataclass(frozen=True, slots=True)
class MadeChunk:
    """A chunk, the samples that were wanted of it, and whether it was in the lake already."""

    chunk: Chunk
    wanted: int
    found: bool


class Made:
    """What the chunks of a shard come to."""

    def __init__(self) -> None:
        self.samples = self.tokens = self.prompt_tokens = 0
        self.found = self.cached = 0
        self.paces: list[float] = []
        """Of each chunk: seconds for a sample that was wanted."""
        self.dropped: Counter[str] = Counter()
        self.fits: dict[str, dict[str, Any]] = {}
        """What the chunks were made with was learnt once, by this shard or another."""
        self.refused: str | None = None
        self.stopped: str | None = None

    def add(self, made: MadeChunk, fresh: int) -> None:
        """One more chunk, `fresh` samples of which no earlier one had."""
        chunk = made.chunk
        self.samples += fresh
        self.tokens += chunk.tokens
        self.prompt_tokens += chunk.prompt_tokens
        self.paces.append(chunk.seconds / max(made.wanted, 1))
        self.found += made.found
        self.cached += chunk.cached
        self.dropped.update(chunk.dropped)
        if fresh < chunk.samples.num_rows:
            self.dropped["duplicates"] += chunk.samples.num_rows - fresh
        self.fits.update(chunk.fits)
        self.refused = self.refused or chunk.refused

    def stop(self, out_of: str, left: Sequence[pl.DataFrame]) -> None:
        """What is left is not made."""
        self.dropped[OVER_BUDGET] += sum(_wanted(part) for part in left)
        done = len(self.paces)
        self.stopped = f"budget: {out_of}, after {done} of {done + len(left)} chunks"


def chunks(
    lake: Lake, strategy: Strategy, parts: Sequence[pl.DataFrame], *, label: str
) -> Iterator[MadeChunk]:
    """The chunk of each part in order, made when it is asked for, or found in the lake.

    Args:
        parts: targets of one chunk each.
    """
    fit = _Fit(strategy)
    tokens, started = 0, time.monotonic()
    total = sum(part.height for part in parts)
    with Progress(label, total=total, unit="targets") as progress:
        for part in parts:
            key = chunk_key(strategy, part)
            chunk = load_chunk(lake, key)
            found = chunk is not None
            if chunk is None:
                chunk = _make(strategy, fit, part)
                store_chunk(lake, key, chunk)
                tokens += chunk.tokens
            progress.add(part.height, note=_rate(tokens, time.monotonic() - started))
            yield MadeChunk(chunk, _wanted(part), found)


def _wanted(part: pl.DataFrame) -> int:
    return int(part["budget"].sum())


def _make(strategy: Strategy, fit: _Fit, part: pl.DataFrame) -> Chunk:
    why = fit.refusal()
    if why is not None:
        none = Chunk(empty_samples(), {"refused": _wanted(part)}, refused=why)
        return replace(none, fits=strategy.learning.as_json())
    started, learning = time.monotonic(), strategy.learning
    waited = learning.waited
    chunk = strategy.generate(part)
    seconds = time.monotonic() - started - (learning.waited - waited)
    return replace(chunk, seconds=round(seconds, 6), fits=learning.as_json())


class _Fit:
    """Lets a strategy learn, once, before the first chunk that has to be made."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._done = False
        self._why: str | None = None

    def refusal(self) -> str | None:
        """Why it refuses to work; None when it works."""
        if not self._done:
            try:
                self._strategy.fit()
            except Refused as why:
                self._why = str(why)
                log.warning("%s makes nothing: %s", self._strategy.name, why)
            self._done = True
        return self._why


def _rate(tokens: int, seconds: float) -> str:
    """What a language model wrote in this run; nothing for other strategies."""
    return f"{tokens:,} tokens, {tokens / seconds:,.0f}/s" if tokens else ""


def _without(samples: pa.Table, seen: set[str]) -> pa.Table:
    """Samples that no earlier chunk of the shard made; `seen` grows by them."""
    ids = samples["sample_id"].to_pylist()
    fresh = [sample_id not in seen for sample_id in ids]
    seen.update(ids)
    return samples if all(fresh) else samples.filter(pa.array(fresh))
