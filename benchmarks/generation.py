"""What the engines write per second, against the library underneath and against each other.

    make bench NAME=generation ARGS='throughput --repeats 5'

`library` is CTranslate2 itself: one live Generator, given all prompts in one call, tokens in and
tokens out, with the settings of our engine; it makes its batches itself. `ctranslate2` is our
engine as a shard uses it: text in, text out, a call for every chunk, a new random state for each
(so a new generator). `transformers` is our other engine, and `transformers, plain` the library's
own `generate` on the same batches. The arms take turns, in another order each time; figures are
medians of the repeats, ratios are medians of the pairs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import finish, say
from nightshift.generate.engines import create
from nightshift.generate.engines.base import Sampling
from nightshift.generate.engines.decoding import left_padded
from nightshift.generate.engines.model_files import ct2_folder, hf_folder
from nightshift.generate.engines.tokens import Tokens
from nightshift.generate.text.cleaning import clean
from nightshift.generate.text.queries import shipped_pairs
from nightshift.generate.text.templates import template
from nightshift.settings import Settings

DATA = "The Complete Journey, product texts"
SHOTS = 5
TEXT_CHARS = 100
"""As in llm_queries."""
WARM_UP = 8
Written = tuple[int, int]
"""Queries and tokens."""


class Work:
    """The prompts and how they are to be continued: the same for every arm."""

    def __init__(self, prompts: int, per_prompt: int, chunk: int, settings: Settings) -> None:
        queries = template("search_queries")
        pairs = shipped_pairs()[:SHOTS]
        self.prefix = queries.prefix([pair.fields for pair in pairs])
        self.prompts = [
            queries.prompt({"text": text, "intent": "attribute"}) for text in product_texts(prompts)
        ]
        own = settings.generate.llm_queries
        self.sampling = Sampling(
            max_new_tokens=own.max_new_tokens, temperature=own.temperature, per_prompt=per_prompt
        )
        self.chunk = chunk
        self.settings = settings

    def chunks(self) -> list[list[str]]:
        return [
            self.prompts[start : start + self.chunk]
            for start in range(0, len(self.prompts), self.chunk)
        ]


def product_texts(count: int) -> list[str]:
    """Distinct product texts of the default shop, a seeded draw."""
    from nightshift.store.loaders.complete_journey import items

    texts = items()["title"].unique(maintain_order=True).sample(count, shuffle=True, seed=0)
    return [clean(text, TEXT_CHARS) for text in texts]


def library(work: Work) -> Callable[[], Written]:
    """CTranslate2 itself: everything prepared, one call."""
    import ctranslate2

    folder = ct2_folder(work.settings)
    tokens = Tokens(folder)
    generator = ctranslate2.Generator(
        str(folder),
        compute_type="int8",
        inter_threads=1,
        intra_threads=work.settings.compute.threads,
    )
    rows = [tokens.names(ids) for ids in tokens.encode(work.prompts)]
    how = work.sampling

    def run() -> Written:
        results = generator.generate_batch(
            rows,
            static_prompt=tokens.names(tokens.encode([work.prefix])[0]),
            max_batch_size=work.settings.generate.engine.batch,
            max_length=how.max_new_tokens,
            sampling_topk=how.top_k,
            sampling_temperature=how.temperature,
            num_hypotheses=how.count,
            include_prompt_in_result=False,
            end_token=tokens.line_ends,
        )
        written = [ids for result in results for ids in result.sequences_ids]
        return len(written), sum(map(len, written))

    return run


def ours(work: Work, name: str) -> Callable[[], Written]:
    """One of our engines, chunk by chunk; every repeat under a seed of its own."""
    engine = create(work.settings.with_({"generate": {"engine": {"name": name}}}))
    seed = iter(range(1_000_000))

    def run() -> Written:
        queries, tokens = 0, 0
        for prompts in work.chunks():
            how = Sampling(
                work.sampling.max_new_tokens,
                work.sampling.temperature,
                work.sampling.top_k,
                work.sampling.per_prompt,
                next(seed),
            )
            made = engine.generate(prompts, how, prefix=work.prefix)
            queries += sum(map(len, made.texts))
            tokens += made.tokens
        return queries, tokens

    engine.generate(work.prompts[:WARM_UP], work.sampling, prefix=work.prefix)  # loads it
    return run


def plain_transformers(work: Work) -> Callable[[], Written]:
    """What `model.generate` of transformers does with our batches, sorted and padded."""
    import torch
    from transformers import AutoModelForCausalLM

    from nightshift.compute import device

    folder = hf_folder(work.settings)
    tokens = Tokens(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()
    model.to(device(work.settings))
    head, ends, how = tokens.encode([work.prefix])[0], tokens.line_ends, work.sampling
    rows = sorted((head + ids for ids in tokens.encode(work.prompts)), key=len)

    def run() -> Written:
        queries, count = 0, 0
        batch = work.settings.generate.engine.batch
        for start in range(0, len(rows), batch):
            ids, mask = left_padded(rows[start : start + batch], pad=ends[0])
            with torch.inference_mode():
                out = model.generate(
                    input_ids=ids.to(model.device),
                    attention_mask=mask.to(model.device),
                    do_sample=True,
                    max_new_tokens=how.max_new_tokens,
                    temperature=how.temperature,
                    top_k=how.top_k,
                    num_return_sequences=how.count,
                    eos_token_id=ends,
                    pad_token_id=ends[0],
                )
            new = torch.isin(out[:, ids.shape[1] :].cpu(), torch.tensor(ends)).int()
            queries += len(new)
            count += int((new.cumsum(dim=1) == 0).sum())
        return queries, count

    return run


def throughput(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Rows of every arm, and of the pairs."""
    home = asked.home or Path(tempfile.mkdtemp(prefix="nightshift-"))
    settings = Settings.shipped({"home": str(home), "compute": {"threads": asked.threads}})
    work = Work(asked.prompts, asked.per_prompt, asked.chunk, settings)
    say(f"{asked.prompts} prompts, {asked.per_prompt} queries each, {asked.threads} threads")
    makers: dict[str, Callable[[], Callable[[], Written]]] = {
        "library": lambda: library(work),
        "ctranslate2": lambda: ours(work, "ctranslate2"),
        "transformers": lambda: ours(work, "transformers"),
        "transformers, plain": lambda: plain_transformers(work),
    }
    arms = {name: makers[name]() for name in asked.arms}
    rates: dict[str, list[tuple[float, float, float]]] = {name: [] for name in arms}
    for repeat in range(asked.repeats):
        order = list(arms) if repeat % 2 == 0 else list(arms)[::-1]
        for name in order:
            started = time.perf_counter()
            queries, tokens = arms[name]()
            seconds = time.perf_counter() - started
            rates[name].append((queries / seconds, tokens / seconds, seconds))
            say(f"{name}: {queries / seconds:.1f} queries/s, {tokens / seconds:.0f} tokens/s")
    return list(_rows(rates, len(work.prompts) * asked.per_prompt))


def _rows(rates: dict[str, list[tuple[float, float, float]]], n: int) -> Any:
    for name, found in rates.items():
        for place, metric in enumerate(("queries_per_second", "tokens_per_second")):
            values = [one[place] for one in found]
            yield {
                "arm": name,
                "slice": "overall",
                "metric": metric,
                "value": round(statistics.median(values), 2),
                "range": [round(min(values), 2), round(max(values), 2)],
                "n": n,
                "seconds": round(statistics.median(one[2] for one in found), 3),
            }
    pairs = [
        ("ctranslate2", "library"),
        ("ctranslate2", "transformers"),
        ("transformers", "transformers, plain"),
    ]
    for arm, against in pairs:
        if arm not in rates or against not in rates:
            continue
        both = list(zip(rates[arm], rates[against], strict=True))
        ratios = [one[1] / other[1] for one, other in both]
        say(f"{arm} / {against}: {statistics.median(ratios):.3f} of its tokens/s")
        yield {
            "arm": arm,
            "against": against,
            "slice": "overall",
            "metric": "tokens_per_second",
            "value": round(statistics.median(one[1] - other[1] for one, other in both), 2),
            "relative": round(statistics.median(ratios) - 1, 4),
            "range": [round(min(ratios) - 1, 4), round(max(ratios) - 1, 4)],
            "n": n,
        }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make bench NAME=generation", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("throughput", help="queries and tokens per second")
    speed.add_argument("--prompts", type=int, default=200, help="product texts (200)")
    speed.add_argument("--per-prompt", type=int, default=4, help="queries of each (4)")
    speed.add_argument("--chunk", type=int, default=100, help="prompts in one call (100)")
    speed.add_argument("--repeats", type=int, default=3, help="of every arm, at least 3 (3)")
    speed.add_argument("--threads", type=int, default=2, help="of the engines (2)")
    speed.add_argument("--home", type=Path, help="a folder with converted models to use")
    speed.add_argument(
        "--arms",
        nargs="+",
        default=["library", "ctranslate2", "transformers", "transformers, plain"],
        help="which (all)",
    )
    asked = parser.parse_args(argv)
    finish("generation-throughput", DATA, throughput(asked))
    return 0


if __name__ == "__main__":
    sys.exit(main())
