"""Stage `adapt`: a LoRA adapter from the shop's own texts, judged on pairs that it has not seen.

Pairs of a product and a text (a search, a review, a description) from before the night are learnt
in the very prompts that the strategies ask, with the loss on the answer alone; hand-written pairs
stand beside them, or alone where a shop has no log. Later plans use the newest adapter that knows
nothing they do not.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from nightshift.generate.adapt.card import card
from nightshift.generate.adapt.lessons import Lessons, catalogue_texts, lessons_of
from nightshift.generate.adapt.lora import Learner
from nightshift.generate.adapt.probe import probe_targets, usable
from nightshift.generate.adapters import Taught, files_digest
from nightshift.generate.engines.adapter import ADAPTER_FILES, Adapter
from nightshift.generate.engines.model_files import hf_folder, model_source
from nightshift.generate.sources import Sources
from nightshift.lake import sha256_of
from nightshift.stages import StageContext

log = logging.getLogger("nightshift.adapt")


def run(ctx: StageContext) -> dict[str, Any]:
    """Write the adapter in peft's format, `evaluation.json`, and the card `README.md`.

    Raises:
        BadInput: there is nothing to learn from.
        EngineError: no language model, or it cannot be loaded.
    """
    settings, adapt = ctx.settings, ctx.settings.adapt
    sources = Sources(ctx.lake, settings, ctx.inputs["snapshot"], None)
    lessons = lessons_of(sources)
    source = model_source(settings)
    ctx.seeds["adapt"] = adapt.seed
    learner = Learner(settings, hf_folder(settings))
    figures = _learn(learner, lessons, sources)
    folder = ctx.writer.scratch / "adapter"
    learner.save(folder, source.name)
    weights = learner.weights
    del learner  # what probes it needs the memory
    templates = {s.template.name: s.template.digest for s in lessons.strategies}
    taught = Taught(_local(folder), source.digest, templates)
    probes = _probe(lessons, sources, taught)
    stats = {
        "model": source.name,
        "model_digest": source.digest,
        "templates": templates,
        "pairs": lessons.counts(),
        "held_out": len(lessons.held_out),
        **figures,
        "usable": {
            name: {when: one["rate"] for when, one in probe.items()}
            for name, probe in probes.items()
        },
        "withheld": [one.model_dump() for one in settings.collect.withhold],
    }
    text = card(
        stats=stats,
        settings=adapt.model_dump(),
        until=ctx.night.start,
        shop=sources.snapshot.shop.name,
        probes=probes,
        weights=weights,
    )
    for name in ADAPTER_FILES:
        ctx.writer.add_file(folder / name, name)
    ctx.writer.write_json("evaluation.json", {"probes": probes, "weights": weights, **figures})
    ctx.writer.write_bytes("README.md", text.encode())
    return stats


def _learn(learner: Learner, lessons: Lessons, sources: Sources) -> dict[str, Any]:
    """Perplexity of the held-out answers before and after, and the last loss."""
    adapt = sources.settings.adapt
    rows = learner.rows([(lesson.prompt, lesson.answer) for lesson in lessons.learnt])
    judges = learner.rows([(lesson.prompt, lesson.answer) for lesson in lessons.held_out]) or rows
    before = learner.perplexity(judges)
    log.info("adapt: %s pairs, %s held out", len(rows), len(lessons.held_out))
    if adapt.pretrain_steps:
        texts = catalogue_texts(sources, adapt.pretrain_steps * adapt.batch)
        plain = learner.rows([("", text) for text in texts])
        learner.learn(plain, adapt.pretrain_steps, label="adapt to the catalogue")
    loss = learner.learn(rows, adapt.steps, label="adapt") if adapt.steps else None
    return {
        "perplexity": {"before": round(before, 3), "after": round(learner.perplexity(judges), 3)},
        "loss": None if loss is None else round(loss, 3),
    }


def _local(folder: Path) -> Adapter:
    digest = files_digest(sha256_of(folder / name) for name in ADAPTER_FILES)
    return Adapter(digest, lambda: folder)


def _probe(lessons: Lessons, sources: Sources, taught: Taught) -> dict[str, Any]:
    """Of each strategy whose prompts are about items: what is usable before and after."""
    targets = probe_targets(sources, sources.settings.adapt.probe_items)
    if targets.is_empty():
        return {}
    return {
        strategy.name: {
            "before": usable(strategy, targets, None),
            "after": usable(strategy, targets, taught),
        }
        for strategy in lessons.strategies
        if strategy.asks_about_items
    }
