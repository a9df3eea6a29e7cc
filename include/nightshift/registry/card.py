"""The card of a night's verdict (Mitchell et al., 2019, cut to what is measured here).

What goes with the weights themselves is `readme`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nightshift.contracts import SLICES, ResultRow
from nightshift.stages import CHALLENGER, CONTROL

_SHOWN = ("ndcg@10", "recall@10")


def model_card(
    verdict: Mapping[str, Any], rows: Iterable[ResultRow], recipe: Mapping[str, Any]
) -> str:
    """Markdown: what is live, why, and how the arms compare, pooled over the recipe's nights.

    Args:
        recipe: `recipe.json`: which samples the blend line used, and for what.
    """
    before = verdict["live_line_before"] or "none"
    lines = [
        f"# Model of night {verdict['night']}",
        "",
        f"- Live line: **{verdict['live_line']}** (before: {before})",
        f"- Decision: **{verdict['decision']}**",
        f"- Recipe: `{verdict['recipe_id']}`, judged over {verdict['pooled_nights']} night(s)",
        f"- Samples in the blend line: {used(recipe)}",
        "- Knows events up to the night's end; judged on the night's own events before it took "
        "them in.",
        "",
        "## Why",
        "",
        *(f"- {reason}" for reason in verdict["reasons"]),
        "",
        "## Gates",
        "",
        "| gate | passed |",
        "|---|---|",
        *(f"| {gate['name']} | {'yes' if gate['passed'] else 'no'} |" for gate in verdict["gates"]),
        "",
        "## Challenger against control",
        "",
        *_table(_of(rows, CHALLENGER, CONTROL)),
    ]
    return "\n".join(lines) + "\n"


def compared(rows: Sequence[ResultRow], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Paired differences of these arms, each pair with a table of its own; Markdown lines."""
    lines: list[str] = []
    for arm, against in dict.fromkeys(pairs):
        shown = _of(rows, arm, against)
        if shown:
            lines += [*([""] if lines else []), f"{arm} against {against}:", "", *_table(shown)]
    return lines or ["None: nothing could be compared."]


def _of(rows: Iterable[ResultRow], arm: str, against: str) -> list[ResultRow]:
    shown = [
        row
        for row in rows
        if (row.arm, row.against, row.seed) == (arm, against, None) and row.metric in _SHOWN
    ]
    return sorted(shown, key=lambda row: (SLICES.index(row.slice), row.metric))


def _table(rows: list[ResultRow]) -> list[str]:
    return [
        "| slice | metric | users | difference | relative | 95 % interval |",
        "|---|---|---|---|---|---|",
        *(_line(row) for row in rows),
    ]


def used(recipe: Mapping[str, Any]) -> str:
    """`text_neighbours` (interaction, weight 0.5, cold items); those of weight 0 are left out."""
    kinds = recipe.get("kinds", {})
    parts = []
    for name, chosen in recipe["strategies"].items():
        scope = chosen.get("scope", "all")
        said = [
            *([kinds[name]] if name in kinds else []),
            f"weight {chosen['weight']:g}",
            *([f"{scope} items"] if scope != "all" else []),
        ]
        if chosen["weight"]:
            parts.append(f"`{name}` ({', '.join(said)})")
    return "; ".join(parts) or "none"


def _line(row: ResultRow) -> str:
    relative = "" if row.relative is None else f"{row.relative:+.1%}"
    interval = "" if row.ci95 is None else f"{row.ci95[0]:+.1%} to {row.ci95[1]:+.1%}"
    return f"| {row.slice} | {row.metric} | {row.n} | {row.value:+.4f} | {relative} | {interval} |"
