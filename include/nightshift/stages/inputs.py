"""Inputs that depend on other inputs: shards, arms, and all that follows from the parent state.

Each function takes what the stage has read so far and returns what comes on top.
"""

from __future__ import annotations

from datetime import UTC, datetime

from nightshift.errors import ParentMissing
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import INNER, Night
from nightshift.settings import Settings
from nightshift.stages.model import LINE_OF_ARM, Inputs, night_partition, state_partition


def parent_state(lake: Lake, night: Night, settings: Settings) -> Manifest | None:
    """The state that ends where this night starts; None on the first night.

    Raises:
        ParentMissing: there is none, this is not the first night, and gaps are not to be learnt.
    """
    if settings.night.first is not None and _utc(settings.night.first) == night.start:
        return None
    parent = lake.find("state", state_partition(night.start))
    if parent is not None:
        return parent
    if settings.night.on_gap == "learn":
        limit = state_partition(night.start)
        earlier = [p for p in lake.partitions("state") if p < limit]
        if earlier:
            return lake.get("state", earlier[-1])
    raise ParentMissing(
        f"No model state ends at {night.start:%Y-%m-%d %H:%M} UTC, where this night starts.",
        hint="run the night before it, name this one as the first (--first), "
        "or set night.on_gap=learn",
        night=night.key,
    )


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parent(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    found = parent_state(lake, night, settings)
    return {} if found is None else {"parent": found}


def newest_adapter(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    """The adapter of the language model that knows most, of those that may serve this night.

    Its own night starts no later than this one, so it has read nothing that this one has not; and
    it withheld whatever this night withholds, so it has not learnt what somebody typed to find
    such an item. Tune's inner nights withhold items that no adapter has: they have none.
    """
    if night.inner:
        return {}
    withheld = [one.model_dump() for one in settings.collect.withhold]
    older = [
        (other.start, other.end, name)
        for name in lake.names("adapter")
        if not name.endswith(INNER)
        and (other := Night.parse(name.removeprefix("night="))).start <= night.start
    ]
    for _, _, name in sorted(older, reverse=True):
        found = lake.find("adapter", name)
        if found is not None and all(one in found.stats["withheld"] for one in withheld):
            return {"adapter": found}
    return {}


def adapter_of_plan(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    """The one that tonight's plan was made with: a newer one must not come between shards."""
    ref = inputs["plan"].inputs.get("adapter")
    return {} if ref is None else {"adapter": lake.get_ref(ref)}


def of_gather(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    """The shards of tonight's plan that exist; a missing one failed."""
    names = inputs["plan"].stats["shards"]
    found = {name: lake.find("shard", night_partition(night, shard=name)) for name in names}
    plan = inputs["plan"].digest
    return {
        f"shard:{n}": m
        for n, m in found.items()
        if m is not None and m.inputs["plan"].digest == plan
    }


def parent_and_blend(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    """The parent state, and the blend it was made from: its samples may not have expired yet."""
    found = parent(lake, night, settings, inputs)
    if "parent" in found:
        found["previous"] = lake.get_ref(found["parent"].inputs["blend"])
    return found


def arms(blend: Manifest, settings: Settings) -> list[dict[str, str]]:
    """The parts of every `finetune` of a night: each arm of the blend with each seed."""
    return [
        {"arm": arm, "seed": str(seed)}
        for arm in blend.stats["arms"]
        for seed in settings.finetune.seeds
    ]


def arm_input(arm: str, seed: str | int) -> str:
    """The name under which an arm's model is an input."""
    return f"arm:{arm}:{seed}"


def tonights_arms(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    return {
        arm_input(**parts): lake.get("arm", night_partition(night, **parts))
        for parts in arms(inputs["blend"], settings)
    }


def of_evaluate(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    found = parent(lake, night, settings, inputs) | tonights_arms(lake, night, settings, inputs)
    if "parent" in found:
        found["previous"] = lake.get_ref(found["parent"].inputs["evaluation"])
    return found


def of_refresh(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    """The first seed of each line's arm is the one whose state lives on."""
    seed = str(settings.finetune.seeds[0])
    return {
        arm_input(arm, seed): lake.get("arm", night_partition(night, arm=arm, seed=seed))
        for arm in LINE_OF_ARM
    }


def tonights_state(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    return {"state": lake.get("state", state_partition(night.end))}


def of_report(lake: Lake, night: Night, settings: Settings, inputs: Inputs) -> Inputs:
    return tonights_arms(lake, night, settings, inputs) | tonights_state(
        lake, night, settings, inputs
    )
