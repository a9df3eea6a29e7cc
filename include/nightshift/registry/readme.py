"""`README.md` beside a model's weights: the card that goes wherever they go.

After Mitchell et al., 2019 ("Model Cards for Model Reporting"), in the layout of Hugging Face's
model cards. It is made of the datasets that the model is made of, and of nothing else: no time, no
host, so equal inputs give an equal card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from nightshift.contracts import SLICES, ResultRow
from nightshift.registry.card import compared, used
from nightshift.registry.card_facts import Facts
from nightshift.registry.front_matter import METRICS, front_matter, model_index
from nightshift.stages import CHALLENGER, CONTROL, LINE_OF_ARM

_MINILM = "all-MiniLM-L6-v2 (Apache-2.0)"
_CHAMPION = "champion"
_DIGEST = 16


def arm_readme(facts: Facts, *, partition: str) -> str:
    """Of a model that `finetune` has just trained: nothing has judged it yet."""
    name = f"nightshift-{facts.arm}-{facts.night}"
    return _page(
        facts,
        name,
        front_matter(name, []),
        "The night's evaluation has not judged it yet: its figures are in the dataset `evaluation` "
        "of the same night, and in the card of the state that follows.",
        figures=[],
        missing=[],
        where=("arm", partition, ""),
    )


def line_readme(
    facts: Facts, verdict: Mapping[str, Any], rows: Sequence[ResultRow], *, partition: str
) -> str:
    """Of one line of a state.

    Args:
        verdict: `verdict.json` of the night.
        rows: what it was decided on, pooled over the recipe's nights.
    """
    line, arm = LINE_OF_ARM[facts.arm], facts.arm
    name = f"nightshift-{line}-{partition.removeprefix('as_of=')}"
    nights = int(verdict["pooled_nights"])
    results = model_index(arm, rows, shop=facts.shop, nights=nights)
    chosen = "is" if verdict["live_line"] == line else "is not"
    status = (
        f"By the night's verdict (**{verdict['decision']}**) the {line} line {chosen} the one to "
        f"serve. {' '.join(verdict['reasons'])}"
    )
    judged = {row.slice for row in rows if row.arm == arm}
    figures = ["## Figures", ""]
    if results:
        figures += [
            f"On events that the model had not seen, pooled over {nights} night(s) of this recipe; "
            "the state is this model after it took in the night's own events.",
            "",
            *_levels(rows, arm),
            "",
            "Differences, paired by user, with 95 % intervals of the relative ones (bootstrap):",
            "",
            *compared(rows, [(CHALLENGER, CONTROL), (arm, _CHAMPION)]),
            "",
        ]
    else:
        figures += ["Not judged: the night had no events to judge it on.", ""]
    missing = [name for name in SLICES if name not in judged]
    where = ("state", partition, f"{line}/")
    return _page(facts, name, front_matter(name, results), status, figures, missing, where)


def _page(
    facts: Facts,
    name: str,
    front: list[str],
    status: str,
    figures: list[str],
    missing: list[str],
    where: tuple[str, str, str],
) -> str:
    lines = [
        *front,
        f"# {name}",
        "",
        "A recommender and search model of one shop: it reads what a customer did and ranks the "
        "catalogue for what comes next, items without any event among them. A causal transformer "
        "(after SASRec, Kang & McAuley, 2018) over items made of a frozen, whitened sentence "
        "embedding and a bounded id delta. Nightshift fine-tunes it every night.",
        "",
        status,
        "",
        "## Data",
        "",
        *_data(facts),
        "",
        "## Training",
        "",
        *_training(facts),
        "",
        *figures,
        "## Limits",
        "",
        *_limits(facts, missing),
        "",
        "## How to load it",
        "",
        "With Nightshift installed and its settings pointing to the lake:",
        "",
        "```python",
        *_snippet(facts.arm, *where),
        "```",
        "",
        "## Licence of the parts",
        "",
        "- **Weights**: they hold traces of the shop's events and texts: the shop's own.",
        f"- **Sentence encoder** (not included, read at load time): {_encoder(facts)}.",
        "- **Data**: the shop's own; none of it is included. A `profiles.safetensors` beside the "
        "weights holds rows about customers by pseudonym: do not hand it on.",
        "- **Code**: Nightshift, Apache-2.0.",
        "",
        "## Made of",
        "",
        *(f"- `{name}` {digest[:_DIGEST]}" for name, digest in facts.inputs.items()),
    ]
    return "\n".join(lines) + "\n"


def _data(facts: Facts) -> list[str]:
    counts = facts.counts
    said = ", ".join(
        f"{counts[name]:,} {what}"
        for name, what in (("events", "events"), ("users", "customers"), ("items", "items"))
        if name in counts
    )
    lines = [
        f"- **Shop**: {' '.join(facts.shop.split())}",
        f"- **Window**: first event {_time(facts.first_event)}, last {_time(facts.last_event)}",
        f"- **Night**: {facts.night}; before it: {said}",
    ]
    if "inside" in counts:
        lines.append(
            f"- **The night's own events**, taken in after the verdict: {counts['inside']:,}"
        )
    return lines


def _training(facts: Facts) -> list[str]:
    rows = "; ".join(
        f"{number:,} of kind {kind} by `{strategy}`" for kind, strategy, number in facts.samples
    )
    beta = facts.recipe["beta"].get(facts.arm, facts.recipe["beta"][CHALLENGER])
    shape = ", ".join(f"{name} {value}" for name, value in facts.model.items())
    return [
        f"- **Arm**: {facts.arm}; recipe `{facts.recipe['recipe_id']}`, text blend β {beta:g}, "
        f"own items γ {facts.recipe['gamma']:g}, followers φ {facts.recipe.get('follow', 0.0):g}",
        f"- **Synthetic samples behind it**: {rows or 'none'}",
        f"- **The recipe's choice of samples, for the blend line**: {used(facts.recipe)}",
        f"- **Steps**: {facts.steps:,} optimiser steps, all nights together",
        f"- **Shape**: {shape}",
    ]


def _limits(facts: Facts, missing: list[str]) -> list[str]:
    spoken = (
        "the languages that the shop's encoder reads"
        if facts.own_encoder
        else "English: texts in another language are placed worse than the figures say"
    )
    lines = [
        "- **One shop**: it ranks this shop's catalogue for this shop's customers.",
        "- **Customers without a history** all get the same list, but for texts about them.",
        f"- **Language**: {spoken}.",
        "- **A score is no probability**, and not comparable between customers.",
        f"- **Drift**: it knows nothing after {_time(facts.last_event)}. Taste, prices and the "
        "catalogue move on; a state is meant to live until the next night.",
        "- **What was shown before** is in the data: the figures are of logged behaviour, not of "
        "an experiment with customers.",
    ]
    if missing:
        lines.append(f"- **Not judged** here (no such user or query): {', '.join(missing)}.")
    return lines


def _levels(rows: Sequence[ResultRow], arm: str) -> list[str]:
    """Every arm's own figures, this model's first."""
    level = {
        (row.arm, row.slice, row.metric): row
        for row in rows
        if row.against is None and row.seed is None
    }
    others = [name for name in (CONTROL, CHALLENGER, _CHAMPION, "popularity_7d") if name != arm]
    arms = [arm, *(name for name in others if any(key[0] == name for key in level))]
    lines = [
        f"| slice | metric | users | {' | '.join(arms)} |",
        "|---" * (3 + len(arms)) + "|",
    ]
    for slice_ in SLICES:
        for metric in METRICS:
            mine = level.get((arm, slice_, metric))
            if mine is None:
                continue
            cells = [level.get((name, slice_, metric)) for name in arms]
            values = " | ".join("" if cell is None else f"{cell.value:.4f}" for cell in cells)
            lines.append(f"| {slice_} | {metric} | {mine.n:,} | {values} |")
    return lines


def _snippet(arm: str, dataset: str, partition: str, prefix: str) -> list[str]:
    """How the model is read; a state of a line counts what its night brought, as `score` does."""
    imports, extended, counted = "", "", ""
    if prefix:
        imports = "from nightshift.recommend.morning import extend\n"
        extended = """\
morning = lake.scan(lake.get_ref(stored.inputs["morning"]), "events.parquet")
counted_in = extend(snapshot, morning).histories
"""
        counted = ", counted_in=counted_in"
    return f'''\
import numpy as np

from nightshift.lake import Lake
from nightshift.recommend.loading import as_served
{imports}from nightshift.settings import Settings
from nightshift.snapshot import Snapshot, read_vectors

lake = Lake.of(Settings.load())
stored = lake.get("{dataset}", "{partition}")
snapshot = Snapshot(lake, lake.get_ref(stored.inputs["snapshot"]))
recipe = lake.read_json(lake.get_ref(stored.inputs["recipe"]), "recipe.json")
vectors = read_vectors(lake, lake.get_ref(stored.inputs["vectors"]))
{extended}model = as_served(
    lake, stored, snapshot, vectors, recipe, "{arm}", prefix="{prefix}"{counted}
)
codes, scores = model.top_k(
    snapshot.histories.take(np.arange(1)), 10, candidates=~snapshot.withheld, exclude_seen=False
)
best = snapshot.items["item_id"][codes[codes >= 0]]'''.splitlines()


def _encoder(facts: Facts) -> str:
    named = "the shop's choice, under its own licence" if facts.own_encoder else _MINILM
    return f"{named}, digest {facts.encoder[:_DIGEST] or 'unknown'}"


def _time(time: datetime | None) -> str:
    return "none" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"
