"""Stage `gather`: put the shards together and apply the failure budget.

If generation failed as a whole, the dataset has no sample and says why: the night goes on without.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from nightshift.generate.samples import empty_samples
from nightshift.stages import StageContext

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
    skipped = _reason_to_skip(planned, failed, ctx.settings.generate.failure_budget)
    made: Counter[str] = Counter()
    if skipped is None:
        for name in planned:
            if name in found:
                entry = found[name].file("samples.parquet")
                ctx.writer.reuse(replace(entry, name=f"shards/{name}.parquet"))
                made[found[name].stats["strategy"]] += found[name].stats["made"]
    else:
        ctx.writer.write_parquet("shards/none.parquet", empty_samples())
    return {"made": dict(sorted(made.items())), "failed": failed, "skipped": skipped}


def _reason_to_skip(planned: list[str], failed: list[str], budget: float) -> str | None:
    if not planned:
        return "the plan has no shard: nothing is short of samples, or the budget is zero"
    if len(failed) == len(planned):
        return f"generation failed as a whole: none of {len(planned)} shards was made"
    if len(failed) > budget * len(planned):
        return (
            f"generation failed: {len(failed)} of {len(planned)} shards are missing, "
            f"the failure budget is {budget:.0%}"
        )
    return None
