"""What a customer is interested in, in words, by a language model, from a pseudonymised history.

The prompt shows a few items, by how often and how lately they were taken, and the segment where
the shop has one. Neither the user's key nor anything else that could name somebody is in it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.generate.customers.shown import (
    MIN_SHOWN,
    ItemLines,
    customers_by_shortage,
    disliked_pairs,
    listed,
    segments_of,
    shown_items,
)
from nightshift.generate.strategies.bases.prompted import PromptedStrategy, Row
from nightshift.generate.text.nearest_examples import nearest_examples
from nightshift.generate.text.profiles import (
    PROFILE_PATTERN,
    read_interests,
    shipped_profiles,
    supported,
    word_support,
)
from nightshift.generate.text.templates import Fields
from nightshift.text.encoder import encoder_digest

_EXAMPLES = 6
"""Worked examples that the prompts of a shop are drawn from."""
_DECIMALS = 3


class LlmProfiles(PromptedStrategy):
    name = "llm_profiles"
    version = "1"
    produces = "profile"
    prompt_name = "customer_profiles"
    asks_about_items = False
    pattern = PROFILE_PATTERN

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        return customers_by_shortage(self.sources, budget=1)

    def examples(self) -> tuple[Sequence[Fields], str]:
        return self._examples, "shipped"

    @cached_property
    def _examples(self) -> Sequence[Fields]:
        """The shipped ones that are nearest to what this shop sells."""
        return nearest_examples(shipped_profiles(), "bought", self.sources.snapshot, _EXAMPLES)

    @cached_property
    def _lines(self) -> ItemLines:
        return ItemLines(self.sources)

    @cached_property
    def _disliked(self) -> npt.NDArray[np.int64]:
        return disliked_pairs(self.sources.snapshot)

    def asked(self, targets: pl.DataFrame) -> pl.DataFrame:
        """One prompt a history: customers whose prompts are equal share it (`members`)."""
        codes = targets.join(
            self.sources.snapshot.user_codes, on="user_key", how="left", maintain_order="left"
        )
        users = codes["user"].to_numpy().astype(np.int64)
        most = self.own_settings["max_history"]
        histories = self.sources.snapshot.histories.take(users)
        shown = shown_items(
            self.sources, self._lines, users, histories, most=most, disliked=self._disliked
        )
        segments = segments_of(self.sources.snapshot, users)
        frame = pl.DataFrame(
            {
                "user_key": targets["user_key"],
                "who": [f" ({segment})" if segment else "" for segment in segments],
                "bought": [listed(list(found.values())) for found in shown],
                "shown": [list(found.values()) for found in shown],
                "texts": [list(found) for found in shown],
            },
            schema_overrides={"shown": pl.List(pl.String), "texts": pl.List(pl.Int64)},
        ).with_columns(
            item_id=pl.lit(None, pl.String),
            budget=pl.lit(1, pl.Int64),
            readable=pl.col("texts").list.len() >= MIN_SHOWN,
        )
        alone = pl.when("readable").then(pl.lit("")).otherwise("user_key")  # each is counted
        return (
            frame.group_by("who", "bought", alone.alias("alone"), maintain_order=True)
            .agg(pl.exclude("members").first(), members=pl.col("user_key"))
            .drop("alone")
        )

    def stands_for(self, row: Row) -> int:
        return len(row["members"])

    def reads(self, targets: pl.DataFrame) -> Any:
        """With what answers are compared with: the encoder, and the vectors of what is shown."""
        shown = self.asked(targets)["texts"].explode().drop_nulls().to_numpy().astype(np.int64)
        vectors = hashlib.sha256(self.sources.texts[0][shown].tobytes()).hexdigest()
        return [*super().reads(targets), vectors, encoder_digest(self.sources.settings)]

    def read(self, raw: str, row: Row, shots: Sequence[Fields]) -> Row | str:
        interests, reason = read_interests(raw, row["shown"], shots)
        if reason:
            return reason
        known = {name: row[name] for name in ("shown", "texts", "members")}
        return known | {"text": _said(interests), "interests": interests}

    def finish(self, rows: list[Row], dropped: Counter[str]) -> list[Row]:
        """Interests that the history does not support are taken out; then one row a customer."""
        if not rows:
            return []  # nothing could be read, and there is nothing to split
        grounded = self._grounded(rows, dropped)
        vectors = self.sources.encoder.encode([row["text"] for row in grounded])
        finished = []
        for row, vector in zip(grounded, vectors, strict=True):
            centre = self.sources.texts[0][row["texts"]].mean(axis=0)
            similarity = float(vector @ centre / np.linalg.norm(centre))
            if similarity < self.own_settings["min_similarity"]:
                dropped["ungrounded"] += self.stands_for(row)
                continue
            scores = row["scores"] | {"similarity": round(similarity, _DECIMALS)}
            finished += [
                {"item_id": None, "user_key": key, "text": row["text"], "scores": scores}
                for key in row["members"]
            ]
        return finished

    def _grounded(self, rows: list[Row], dropped: Counter[str]) -> list[Row]:
        """The rows with what is supported of their interests, and how many words that are shown."""
        flat = [interest for row in rows for interest in row["interests"]]
        vectors = self.sources.encoder.encode(flat)
        ends = np.cumsum([len(row["interests"]) for row in rows])
        kept = []
        for row, own in zip(rows, np.split(vectors, ends[:-1]), strict=True):
            shares = np.array([word_support(i, row["shown"]) for i in row["interests"]])
            history = self.sources.texts[0][row["texts"]]
            good = supported(own, shares, history, self.own_settings["min_similarity"])
            interests = [i for i, is_good in zip(row["interests"], good, strict=True) if is_good]
            if not interests:
                dropped["ungrounded"] += self.stands_for(row)
                continue
            scores = {
                "from_history": round(float(shares[good].mean()), _DECIMALS),
                "supported": round(float(good.mean()), _DECIMALS),
            }
            kept.append(row | {"text": _said(interests), "scores": scores})
        return kept


def _said(interests: Sequence[str]) -> str:
    return ", ".join(interests)
