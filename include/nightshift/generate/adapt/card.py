"""The card of an adapter: what it is made of, what it may be used for, how good it is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_LICENCES = {"SmolLM2": "Apache-2.0"}
"""Of base models by the beginning of their name; of others it is theirs to say."""


def card(
    *,
    stats: Mapping[str, Any],
    settings: Mapping[str, Any],
    until: datetime,
    shop: str,
    probes: Mapping[str, Any],
    weights: int,
) -> str:
    """The card as Markdown, with the front matter that model hubs read.

    Args:
        stats: of the dataset's manifest.
        settings: of the section `adapt`.
        until: nothing that happened at this time or later was learnt.
    """
    base = stats["model"]
    licence = next((v for k, v in _LICENCES.items() if base.startswith(k)), "as the base model's")
    pairs = [
        f"| {strategy} | {source} | {count} |"
        for strategy, sources in stats["pairs"].items()
        for source, count in sources.items()
    ]
    before, after = stats["perplexity"]["before"], stats["perplexity"]["after"]
    return "\n".join(
        [
            "---",
            f"base_model: {base}",
            f"license: {licence.lower() if licence in _LICENCES.values() else 'other'}",
            "library_name: peft",
            "---",
            f"# {base}, adapted to {shop}",
            "",
            "A LoRA adapter that lets a small language model write this shop's texts: it answers "
            "the prompts below as the shop's own texts do. It is good for nothing else.",
            "",
            f"- **Data window**: what the shop knew before {until:%Y-%m-%d %H:%M} UTC. "
            "Nothing about withheld items.",
            f"- **Base model**: {base} (SHA-256 {stats['model_digest'][:16]}…), "
            f"licence: {licence}. The adapter holds traces of the shop's texts: it is the shop's.",
            f"- **Size**: {weights:,} numbers, rank {settings['rank']}, "
            f"{settings['steps']} steps of {settings['batch']} pairs"
            + (f" after {n} on the catalogue" if (n := settings["pretrain_steps"]) else "")
            + ".",
            "",
            "| strategy | pairs from | pairs |",
            "|---|---|---|",
            *pairs,
            "",
            f"Held out: {stats['held_out']} pairs. Perplexity of their answers: {before:.2f} "
            f"before, {after:.2f} after.",
            "",
            *_probed(probes),
            "What a shop's customers typed may name people or places: searches and reviews with "
            "personal data are left out before training, and every answer is checked behind it.",
            "",
        ]
    )


def _probed(probes: Mapping[str, Any]) -> list[str]:
    """Usable shares, and what the adapted model wrote."""
    lines: list[str] = []
    for name, probe in probes.items():
        before, after = probe["before"], probe["after"]
        lines += [
            f"`{name}`, counted by the rules of reading: {before['made']} of {before['asked']} "
            f"answers usable before, {after['made']} of {after['asked']} after. It now writes:",
            "",
            "| product | text |",
            "|---|---|",
            *(f"| {_cell(title)} | {_cell(text)} |" for title, text in after["texts"]),
            "",
        ]
    return lines


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")
