"""Stage `gather`: put the shards together and apply the failure budgets.

A strategy that lost more of its shards than `generate.failure_budget` is left out: the others go
on. When too many strategies are lost (`generate.lost_strategies`), the dataset has no sample and
says why: the night goes on without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from nightshift.generate.samples import empty_samples
from nightshift.settings import GenerateSettings
from nightshift.stages import StageContext, strategy_of

SHARD = "shard:"


def run(ctx: StageContext) -> dict[str, Any]:
    """Share every shard's samples as `shards/NAME.parquet`.

    Without any there is one empty file, so that readers need no special case.
    """
    planned: list[str] = ctx.inputs["plan"].stats["shards"]
    found = {
        name.removeprefix(SHARD): manifest
        for name, manifest in ctx.inputs.items()
        if name.startswith(SHARD)
    }
    failed = sorted(set(planned) - set(found))
    lost = lost_strategies(planned, failed, ctx.settings.generate.failure_budget)
    skipped = _reason_to_skip(planned, failed, lost, ctx.settings.generate)
    taken = [name for name in planned if name in found and strategy_of(name) not in lost]
    made: Counter[str] = Counter()
    for name in taken if skipped is None else ():
        entry = found[name].file("samples.parquet")
        ctx.writer.reuse(replace(entry, name=f"shards/{name}.parquet"))
        made[found[name].stats["strategy"]] += found[name].stats["made"]
    if not made:
        ctx.writer.write_parquet("shards/none.parquet", empty_samples())
    return {"made": dict(sorted(made.items())), "failed": failed, "lost": lost, "skipped": skipped}


def lost_strategies(planned: Iterable[str], failed: Iterable[str], budget: float) -> dict[str, str]:
    """The strategies of which more than `budget` of the shards are missing, and that in words."""
    shards, missing = (Counter(map(strategy_of, names)) for names in (planned, failed))
    return {
        name: f"{number} of {shards[name]} shards are missing, the failure budget is {budget:.0%}"
        for name, number in sorted(missing.items())
        if number > budget * shards[name]
    }


def _reason_to_skip(
    planned: list[str], failed: list[str], lost: dict[str, str], settings: GenerateSettings
) -> str | None:
    if not planned:
        return "the plan has no shard: nothing is short of samples, or the budget is zero"
    if len(failed) == len(planned):
        return f"generation failed as a whole: none of {len(planned)} shards was made"
    strategies = {strategy_of(name) for name in planned}
    if len(lost) == len(strategies) or len(lost) > settings.lost_strategies * len(strategies):
        each = "; ".join(f"{name}: {why}" for name, why in lost.items())
        return f"generation failed: {len(lost)} of {len(strategies)} strategies are lost ({each})"
    return None
