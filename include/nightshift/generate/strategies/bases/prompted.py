"""What the strategies share that a language model writes for: prompts out, one line each back.

A strategy says what a prompt shows (`asked`), which worked examples stand in front (`examples`),
and how strictly an answer is read (`read`). Seeds, sampling, the chunk's key, lineage and the count
of what did not parse are the same for all of them, and here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import polars as pl
import pyarrow as pa

from nightshift import contracts
from nightshift.generate.engines.base import Engine, Sampling, described, lineage_of
from nightshift.generate.engines.repeats import generate_each
from nightshift.generate.hashing import seed_of
from nightshift.generate.samples import as_samples, empty_samples
from nightshift.generate.strategies.base import Chunk, Price, Strategy
from nightshift.generate.text.templates import Fields, Template, template, tokens_about

_TOP_K = 50
_QUESTION_CHARS = 150
"""What a prompt shows behind its examples, about: a product's line and the words around it."""
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answers:
    """What the model answered to one prompt, as far as it could be read."""

    prompt: Row
    """A row of `asked`."""
    rows: list[Row]
    """Columns of samples, in the order written, no text twice."""
    votes: list[int]
    """How many answers said each."""


class PromptedStrategy(Strategy):
    """A strategy whose samples a language model writes, one line a sample."""

    prompt_name: ClassVar[str]
    """The template: `prompts/NAME.txt`."""
    pattern: ClassVar[str | None] = None
    """The shape of an answer, its leading space included, for engines that can hold a model to it.
    Wide: it rules out what `read` would drop."""
    seconds_per_token: ClassVar[float] = 0.006
    """Of a generated one, reading the prompt included: SmolLM2-135M, CTranslate2, a busy core."""
    asks_about_items: ClassVar[bool] = True
    """Can it be tried on any item, without the vectors of texts? An adapter is judged so."""

    @property
    def candidates(self) -> int:
        """Answers that are asked for each that is wanted, to choose from."""
        return 1

    @abstractmethod
    def asked(self, targets: pl.DataFrame) -> pl.DataFrame:
        """The prompts of a chunk, in an order that is the same every time.

        Returns:
            One row a prompt: `item_id`, `user_key` (either may be null), `budget` (answers wanted),
            `readable` (False: the text says nothing, or speaks to a model; it is not asked about),
            the fields of the template's question, and whatever `read` wants to know.
        """

    @abstractmethod
    def examples(self) -> tuple[Sequence[Fields], str]:
        """Worked examples to draw from, and where they are from ("shop" or "shipped")."""

    @abstractmethod
    def read(self, raw: str, row: Row, shots: Sequence[Fields]) -> Row | str:
        """An answer as columns of a sample, `text` among them, or the reason why it is none.

        Args:
            raw: the continuation, one line.
            row: of `asked`.
            shots: the examples that the prompt showed.

        Returns:
            Columns of contracts.SAMPLES where this sample differs; `scores` is a dict of floats.
            Whatever else is in it goes into the lineage.
        """

    def stands_for(self, row: Row) -> int:  # noqa: ARG002
        """How many samples come of one answer to this row of `asked`."""
        return 1

    def lessons(self, most: int, *, shipped: bool) -> Sequence[tuple[str, Fields]]:  # noqa: ARG002
        """Worked examples that an adapter of the language model learns these prompts from.

        By default those of `examples` that are the shop's own: a few shipped ones are enough to
        show, and too few to teach. It must do without the vectors of texts, and without events of
        withheld items, as the snapshot does.

        Args:
            most: of the shop's own at most.
            shipped: whether hand-written ones may be among them.

        Returns:
            Where each is from ("shop" or "shipped"), and the fields of the template.
        """
        found, origin = self.examples()
        return [(origin, fields) for fields in found[:most]] if origin == "shop" else []

    # --- for all of them --------------------------------------------------------------------------

    @property
    def template(self) -> Template:
        return template(self.prompt_name)

    @property
    def engine(self) -> Engine:
        """The language model; adapted to the shop where it has learnt these prompts."""
        return self.sources.engine_for(self.template)

    def price(self) -> Price:
        own = self.own_settings
        shown = self.template.prefix(self.examples()[0][: own["shots"]])
        tokens = own["max_new_tokens"] * self.candidates
        return Price(
            tokens=tokens,
            seconds=tokens * self.seconds_per_token,
            prompt_tokens=tokens_about(len(shown) + _QUESTION_CHARS),
        )

    def describe(self) -> dict[str, Any]:
        """The model and the prompt."""
        model = described(lambda: self.engine)
        return {"version": self.version, "prompt": self.template.digest, "model": model}

    def reads(self, targets: pl.DataFrame) -> Any:
        """The prompts and the engine: the same chunk of another night is the same samples."""
        asked, engine = self.asked(targets), self.engine
        shaped = self.pattern and engine.constrains(Sampling(pattern=self.pattern))
        return [
            asked.to_dict(as_series=False),
            self.template.digest,
            self.template.prefix(self._shots(asked)),
            engine.identity,
            *([self.pattern] if shaped else []),
        ]

    def generate(self, targets: pl.DataFrame) -> Chunk:
        asked = self.asked(targets)
        shots = self._shots(asked)
        readable = asked.filter("readable")
        dropped: Counter[str] = Counter()
        if asked.height > readable.height:
            left_out = asked.filter(~pl.col("readable")).to_dicts()
            dropped["unreadable"] = sum(row["budget"] * self.stands_for(row) for row in left_out)
        if readable.is_empty():
            return Chunk(empty_samples(), dict(dropped))
        own = self.own_settings
        prompted = readable.to_dicts()
        written = generate_each(
            self.engine,
            [self.template.prompt(row) for row in prompted],
            Sampling(
                max_new_tokens=own["max_new_tokens"],
                temperature=self._asks("temperature"),
                top_k=_TOP_K,
                per_prompt=int(readable["budget"].max()) * self.candidates,  # type: ignore[arg-type]
                seed=seed_of(self.seed, self.name),
                pattern=self.pattern,
            ),
            prefix=self.template.prefix(shots),
        )
        kept = self.choose(self._answers(written.texts, prompted, shots, dropped), dropped)
        samples = self._samples(self.finish([row for rows in kept for row in rows], dropped))
        return Chunk(
            samples,
            dict(sorted(dropped.items())),
            written.tokens,
            prompt_tokens=written.prompt_tokens,
            cached=written.cached,
        )

    def _answers(
        self,
        texts: Sequence[Sequence[str]],
        prompted: Sequence[Row],
        shots: Sequence[Fields],
        dropped: Counter[str],
    ) -> list[Answers]:
        """What could be read of each prompt's continuations; what is missing is counted."""
        answers = []
        for raws, row in zip(texts, prompted, strict=True):
            place = {"item_id": row["item_id"], "user_key": row["user_key"]}
            rows: dict[str, Row] = {}
            votes: Counter[str] = Counter()
            lost: list[str] = []
            for raw in raws[: row["budget"] * self.candidates]:
                found = self.read(raw, row, shots)
                if isinstance(found, str):
                    lost.append(found)
                    continue
                if found["text"] in votes:
                    lost.append("duplicate")
                votes[found["text"]] += 1
                rows.setdefault(found["text"], place | found)
            # An answer is missed only where no other one stands in for it.
            for reason in lost[: max(row["budget"] - len(rows), 0)]:
                dropped[reason] += self.stands_for(row)
            answers.append(Answers(row, list(rows.values()), [votes[text] for text in rows]))
        return answers

    def choose(
        self,
        answers: Sequence[Answers],
        dropped: Counter[str],  # noqa: ARG002
    ) -> list[list[Row]]:
        """The answers to each prompt that are kept, as many as its `budget` at most.

        Args:
            answers: of each prompt.
            dropped: an answer that is missed for a reason is counted here.
        """
        return [found.rows[: found.prompt["budget"]] for found in answers]

    def finish(self, rows: list[Row], dropped: Counter[str]) -> list[Row]:  # noqa: ARG002
        """The chunk's rows once more, all together: where answers are looked up, say."""
        return rows

    def _shots(self, asked: pl.DataFrame) -> list[Fields]:
        """Examples of this chunk: drawn by its members, so that no two chunks sound alike."""
        found, _ = self.examples()
        rng = np.random.default_rng(self._chunk_seed(asked))
        count = min(self._asks("shots"), len(found))
        return [found[i] for i in rng.choice(len(found), size=count, replace=False)]

    def _asks(self, name: str) -> Any:
        """A setting of how it asks; where an adapter knows these prompts, `adapted_NAME` if any."""
        own = self.own_settings
        taught = self.sources.is_taught(self.template)
        return own.get(f"adapted_{name}", own[name]) if taught else own[name]

    def _chunk_seed(self, asked: pl.DataFrame) -> int:
        members = asked.select(pl.coalesce("item_id", "user_key")).to_series()
        return seed_of(self.seed, self.name, *members.to_list())

    def _samples(self, rows: list[Row]) -> pa.Table:
        if not rows:
            return empty_samples()
        lineage: Mapping[str, Any] = {
            "version": self.version,
            "seed": self.seed,
            **lineage_of(self.engine),
            **self.template.lineage,
            "examples": self.examples()[1],
        }
        frame = pl.DataFrame(rows, infer_schema_length=None)
        given = {"label": 1.0, "weight": 1.0, "scores": None}
        frame = frame.with_columns(
            pl.lit(value).alias(name) for name, value in given.items() if name not in frame.columns
        )
        if frame.schema["scores"] != pl.Null:
            frame = frame.with_columns(scores=pl.col("scores").struct.json_encode())
        return as_samples(
            frame.with_columns(
                pl.col("item_id", "user_key").cast(pl.String),
                kind=pl.lit(self.produces),
                strategy=pl.lit(self.name),
                lineage=pl.struct(
                    *(pl.lit(value).alias(name) for name, value in lineage.items()),
                    *(name for name in frame.columns if name not in contracts.SAMPLES.names),
                    sources=pl.concat_list(pl.coalesce("item_id", "user_key")),
                ).struct.json_encode(),
            )
        )
