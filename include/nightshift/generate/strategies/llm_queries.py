"""Search queries that a customer would type to find an item, by a language model.

Few-shot completion: examples from the shop's own search log where it has one, else from a small
hand-written set. They train the projection of queries into item space.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from nightshift.errors import EngineError
from nightshift.generate.cleaning import clean, gives_orders, words
from nightshift.generate.engines.base import Sampling
from nightshift.generate.hashing import seed_of
from nightshift.generate.queries import Pair, read_query, template
from nightshift.generate.samples import as_samples, empty_samples
from nightshift.generate.search_log import example_pairs
from nightshift.generate.shortage import MIN_LETTERS, items_by_shortage
from nightshift.generate.strategies.base import WISHES, Chunk, Price, Strategy, count_dropped

_SECONDS_PER_SAMPLE = 0.1
"""Measured on one busy core with SmolLM2-135M in CTranslate2 int8."""
_TEXT_CHARS = 100
"""A product's line in a prompt; reading prompts costs more than writing queries."""
_EXAMPLE_CHARS = 60
"""A product's line in an example; every token of the examples is attended to by every token."""
_TOP_K = 50


class LlmQueries(Strategy):
    name = "llm_queries"
    version = "1"
    produces = "query"

    def price(self) -> Price:
        tokens = self.sources.settings.generate.llm_queries.max_new_tokens
        return Price(tokens=tokens, seconds=_SECONDS_PER_SAMPLE)

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        """One item of each text: its variants would get the same queries."""
        rows = self.sources.texts[1]
        items = items_by_shortage(self.sources)
        return (
            items.with_columns(row=pl.Series(rows[items["item"].to_numpy()]))
            .unique("row", keep="first", maintain_order=True)
            .select(
                "item_id",
                pl.lit(None, pl.String).alias("user_key"),
                "shortage",
                pl.lit(self.sources.settings.generate.llm_queries.per_item, pl.Int64).alias(
                    "budget"
                ),
            )
            .select(WISHES)
        )

    def describe(self) -> dict[str, Any]:
        """The model and the prompt; a missing model fails its shards, not the plan of the night."""
        try:
            model: dict[str, Any] = self.sources.engine.model
        except EngineError as error:
            model = {"missing": error.message}
        return {"version": self.version, "prompt": template().digest, "model": model}

    @cached_property
    def _examples(self) -> tuple[tuple[Pair, ...], str]:
        return example_pairs(self.sources.snapshot, _EXAMPLE_CHARS)

    def _asked(self, targets: pl.DataFrame) -> pl.DataFrame:
        """Targets with what their prompts show: item_id, budget, title, text, orders."""
        found = targets.join(
            self.sources.snapshot.items.select("item_id", "title", "text"),
            on="item_id",
            how="left",
            maintain_order="left",
        ).with_columns(pl.col("title", "text").fill_null(""))
        return found.select(
            "item_id",
            "budget",
            "title",
            text=pl.Series([clean(text, _TEXT_CHARS) for text in found["text"]], dtype=pl.String),
            orders=pl.Series([gives_orders(t) for t in found["text"]], dtype=pl.Boolean),
        )

    def _shots(self, asked: pl.DataFrame) -> list[Pair]:
        """Examples of this chunk: drawn by its members, so that no two chunks sound alike."""
        pairs, _ = self._examples
        rng = np.random.default_rng(self._chunk_seed(asked))
        count = min(self.sources.settings.generate.llm_queries.shots, len(pairs))
        return [pairs[i] for i in rng.choice(len(pairs), size=count, replace=False)]

    def _chunk_seed(self, asked: pl.DataFrame) -> int:
        return seed_of(self.seed, self.name, *asked["item_id"].to_list())

    def reads(self, targets: pl.DataFrame) -> Any:
        """The prompts and the engine: the same chunk of another night is the same samples."""
        asked = self._asked(targets)
        return [
            asked.to_dict(as_series=False),
            template().digest,
            template().prefix(self._shots(asked)),
            self.sources.engine.identity,
        ]

    def generate(self, targets: pl.DataFrame) -> Chunk:
        own = self.sources.settings.generate.llm_queries
        asked = self._asked(targets)
        shots = self._shots(asked)
        readable = ~asked["orders"] & (asked["text"].str.count_matches(r"\p{L}") >= MIN_LETTERS)
        items = asked.filter(readable)
        if items.is_empty():
            return Chunk(empty_samples(), count_dropped([("items_unreadable", asked.height)]))
        sampling = Sampling(
            max_new_tokens=own.max_new_tokens,
            temperature=own.temperature,
            top_k=_TOP_K,
            per_prompt=int(items["budget"].max()),  # type: ignore[arg-type]
            seed=self._chunk_seed(asked),
        )
        prompts = [template().prompt(text) for text in items["text"]]
        written = self.sources.engine.generate(prompts, sampling, prefix=template().prefix(shots))
        rows, dropped = _read_all(written.texts, items, shots)
        if asked.height > items.height:
            dropped["items_unreadable"] = asked.height - items.height
        samples = self._samples(rows) if rows else empty_samples()
        return Chunk(samples, dict(sorted(dropped.items())), written.tokens)

    def _samples(self, rows: list[dict[str, Any]]) -> Any:
        engine, prompt = self.sources.engine, template()
        lineage = {
            "version": self.version,
            "seed": self.seed,
            "engine": f"{engine.name} {engine.identity['version']} "
            f"{engine.identity['compute_type']}",
            "model": engine.model["name"],
            "model_digest": engine.model["digest"],
            "prompt": "search_queries",
            "prompt_version": prompt.version,
            "prompt_digest": prompt.digest,
            "examples": self._examples[1],
        }
        return as_samples(
            pl.DataFrame(rows).with_columns(
                kind=pl.lit(self.produces),
                strategy=pl.lit(self.name),
                label=pl.lit(1.0),
                weight=pl.lit(1.0),
                scores=pl.struct("from_text").struct.json_encode(),
                lineage=pl.struct(
                    *(pl.lit(value).alias(name) for name, value in lineage.items()),
                    sources=pl.concat_list("item_id"),
                ).struct.json_encode(),
            )
        )


def _read_all(
    texts: list[list[str]], items: pl.DataFrame, shots: list[Pair]
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Rows (item_id, text, from_text) of what parses, and counts of what does not."""
    rows: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    for raws, item in zip(texts, items.iter_rows(named=True), strict=True):
        known: set[str] = set()
        shown = set(words(item["text"]))
        for raw in raws[: item["budget"]]:
            query, reason = read_query(raw, item["text"], item["title"], shots)
            if query is None or query in known:
                dropped[reason or "duplicate"] += 1
                continue
            known.add(query)
            tokens = words(query)
            share = sum(token in shown for token in tokens) / len(tokens)
            rows.append({"item_id": item["item_id"], "text": query, "from_text": round(share, 3)})
    return rows, dropped
