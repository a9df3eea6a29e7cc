"""Which of two items a customer would take: a language model as a judge, if it can judge.

Retrieval leaves a funnel of candidates; the best of them are judged in pairs, each in both orders;
the winner becomes a pseudo-interaction that weighs its margin. Before anything is made, the judge
is tried on items that customers did take, as if nobody had taken them yet. A judge that is not
better there than text similarity alone is of no use, and the strategy refuses.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from nightshift.generate.customers.funnel import Candidate, Funnel, best_pairs
from nightshift.generate.customers.judge import Judged, Question, judge, vote_chars, weight_of
from nightshift.generate.customers.probe import draw_probe, right
from nightshift.generate.customers.shown import (
    MIN_SHOWN,
    ItemLines,
    customers_by_shortage,
    disliked_pairs,
    listed,
    shown_items,
)
from nightshift.generate.customers.trial import verdict_on
from nightshift.generate.engines.base import described, lineage_of
from nightshift.generate.fits import PROMPT_TOKENS, Tensors
from nightshift.generate.samples import as_samples, contexts, empty_samples
from nightshift.generate.strategies.base import Chunk, Price, Strategy
from nightshift.generate.text.templates import Template, template, tokens_about

_SECONDS_PER_VOTE = 1.25
"""Four readings of a prompt, a trial of 100 pairs: SmolLM2-135M, CTranslate2, a busy core."""
_LINE_CHARS = 30
"""An item of a prompt, about; no line has more than twice of it."""
_MIN_WEIGHT = 0.02
"""Below this the judge has no opinion, and a sample would teach nothing."""
_MAX_CONTEXT = 30


class LlmPreferences(Strategy):
    name = "llm_preferences"
    version = "2"
    produces = "interaction"

    def price(self) -> Price:
        """No token is written, but four prompts are read for each vote, in the trial as well."""
        own = self.own_settings
        seconds = _SECONDS_PER_VOTE * own["votes"]
        question = (own["max_history"] + 2) * _LINE_CHARS
        tokens = tokens_about(own["votes"] * vote_chars(self._template, question))
        return Price(
            seconds=seconds,
            prompt_tokens=tokens,
            fit_seconds=own["probe_users"] * seconds,
            fit_prompt_tokens=own["probe_users"] * tokens,
        )

    def plan(self, budget: int) -> pl.DataFrame:  # noqa: ARG002
        return customers_by_shortage(self.sources, self.own_settings["per_user"])

    def describe(self) -> dict[str, Any]:
        """The model and the prompt."""
        model = described(lambda: self.sources.engine)
        return {"version": self.version, "prompt": self._template.digest, "model": model}

    def reads(self, targets: pl.DataFrame) -> Any:
        return [super().reads(targets), self._judge_reads()]

    def _judge_reads(self) -> Any:
        """What is warm enough to be tried out, or short enough to be put forward, is among it."""
        tail = self.sources.settings.generate.tail_events
        return [self.sources.digest, self._template.digest, self.sources.engine.identity, tail]

    @property
    def _template(self) -> Template:
        return template("customer_choices")

    @cached_property
    def _lines(self) -> ItemLines:
        return ItemLines(self.sources)

    @cached_property
    def _disliked(self) -> npt.NDArray[np.int64]:
        return disliked_pairs(self.sources.snapshot)

    # --- can it judge at all? ---------------------------------------------------------------------

    def fit(self) -> None:
        tried = self.fitted(self._try_out, reads=self._judge_reads())
        self._trial = verdict_on(tried, seed=self.seed)
        self._funnel = Funnel(self.sources, self._lines, self.own_settings["funnel"])

    def _try_out(self) -> Tensors:
        own = self.own_settings
        probe = draw_probe(
            self.sources,
            self._lines,
            customers=own["probe_users"],
            most_shown=own["max_history"],
            disliked=self._disliked,
        )
        judged = self._judged(probe.questions)
        return {
            "judge": right(judged.margin),
            "text_knn": right(probe.text_knn),
            "bias": judged.bias,
            PROMPT_TOKENS: np.array([judged.prompt_tokens]),
        }

    def _judged(self, questions: list[Question]) -> Judged:
        votes = self.own_settings["votes"]
        return judge(self.sources.engine, self._template, questions, votes=votes, seed=self.seed)

    # --- samples ----------------------------------------------------------------------------------

    def generate(self, targets: pl.DataFrame) -> Chunk:
        codes = targets.join(
            self.sources.snapshot.user_codes, on="user_key", how="left", maintain_order="left"
        )
        users = codes["user"].to_numpy().astype(np.int64)
        histories = self.sources.snapshot.histories.take(users)
        most = self.own_settings["max_history"]
        shown = shown_items(
            self.sources, self._lines, users, histories, most=most, disliked=self._disliked
        )
        dropped: Counter[str] = Counter()
        rows, pairs = [], []
        for row, found in enumerate(self._funnel.candidates(users, shown)):
            wanted = targets["budget"][row]
            if len(shown[row]) < MIN_SHOWN:
                dropped["unreadable"] += wanted
                continue
            own = best_pairs(found, wanted)
            dropped["no_candidates"] += wanted - len(own)
            rows += [row] * len(own)
            pairs += own
        questions = [
            Question(
                listed(list(shown[row].values())),
                self._lines[one.text] or "",
                self._lines[other.text] or "",
            )
            for row, (one, other) in zip(rows, pairs, strict=True)
        ]
        judged = self._judged(questions)
        samples = self._samples(users[np.array(rows, dtype=np.int64)], pairs, judged, dropped)
        return Chunk(
            samples,
            {reason: n for reason, n in sorted(dropped.items()) if n},
            prompt_tokens=judged.prompt_tokens,
        )

    def _samples(
        self,
        users: npt.NDArray[np.int64],
        pairs: list[tuple[Candidate, Candidate]],
        judged: Judged,
        dropped: Counter[str],
    ) -> pa.Table:
        """The winners of the pairs that were decided.

        Args:
            users: codes, [pairs].
        """
        weight = weight_of(judged.margin)
        sure = np.flatnonzero(weight >= _MIN_WEIGHT)
        dropped["undecided"] += len(pairs) - len(sure)
        if not len(sure):
            return empty_samples()
        first_won = judged.margin[sure] > 0
        decided = [
            pairs[i] if won else pairs[i][::-1] for i, won in zip(sure, first_won, strict=True)
        ]
        snapshot = self.sources.snapshot
        item_ids, of = snapshot.items["item_id"], users[sure]
        frame = pl.DataFrame(
            {
                "item_id": item_ids.gather([winner.item for winner, _ in decided]),
                "user_key": snapshot.users["user_key"].gather(of),
                "context_items": contexts(
                    snapshot.histories,
                    of,
                    snapshot.histories.indptr[of + 1],
                    item_ids,
                    length=_MAX_CONTEXT,
                ),
                "weight": weight[sure],
                "margin": np.abs(judged.margin[sure]),
                "bias": judged.bias[sure],
                "votes": judged.agreement[sure],
                "text_knn": [winner.similarity for winner, _ in decided],
                "over": item_ids.gather([loser.item for _, loser in decided]),
            }
        )
        lineage = {
            "version": self.version,
            "seed": self.seed,
            **lineage_of(self.sources.engine),
            **self._template.lineage,
            "examples": "shipped",
            "trial": str(self._trial),
        }
        return as_samples(
            frame.with_columns(
                kind=pl.lit(self.produces),
                strategy=pl.lit(self.name),
                label=pl.lit(1.0),
                scores=pl.struct(
                    "margin", "bias", "votes", "text_knn", "weight"
                ).struct.json_encode(),
                lineage=pl.struct(
                    *(pl.lit(value).alias(name) for name, value in lineage.items()),
                    "over",
                    sources=pl.concat_list("user_key", "over"),
                ).struct.json_encode(),
            )
        )
