"""What an export is made from: a state that is or was live, as its night ranked with it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nightshift.errors import DatasetMissing, UsageError
from nightshift.lake import Lake
from nightshift.recommend import ranker
from nightshift.registry import alias
from nightshift.registry.alias import Alias
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import LINE_OF_ARM


def entry(lake: Lake, named: str | None) -> Alias:
    """The alias's entry by number or night; None: what is live.

    Raises:
        UsageError: nothing is live yet, or there is no such entry.
    """
    entries = alias.history(lake)
    fitting = [e for e in entries if named is None or named in (str(e.number), e.night)]
    if not fitting:
        raise UsageError(
            "Nothing is live yet." if named is None else f"Nothing of {named!r} was ever live.",
            hint="run a night" if not entries else "`nightshift champion` lists every entry",
        )
    return fitting[-1]


def ranker_of(lake: Lake, live: Alias) -> tuple[ranker.ModelRanker, dict[str, Any]]:
    """The state's ranker, without what is said of single customers, and what it was made from.

    Raises:
        DatasetMissing: the state, or what its night read, is no longer in the lake.
        ModelRejected: it does not load.
    """
    state = lake.at_key("state", *live.state)
    if state is None:
        raise DatasetMissing(
            f"The state of night {live.night} is no longer in the lake.",
            hint="`nightshift champion` lists what was live; choose a later one",
            dataset=f"state/{live.partition}",
        )
    read = {name: lake.get_ref(state.inputs[name]) for name in ("snapshot", "vectors", "recipe")}
    recipe = lake.read_json(read["recipe"], "recipe.json")
    snapshot = Snapshot(lake, read["snapshot"])
    arm = next(name for name, line in LINE_OF_ARM.items() if line == live.line)
    found = ranker.load(
        lake,
        state,
        item_ids=snapshot.items["item_id"].to_list(),
        vectors=read_vectors(lake, read["vectors"]),
        beta=recipe["beta"][arm],
        gamma=recipe["gamma"],
        lean=recipe.get("lean", 0.0),
        events=snapshot.item_events,
        prefix=f"{live.line}/",
    )
    digests = {name: one.digest for name, one in read.items()}
    return found, {
        **{name: asdict(live)[name] for name in ("line", "night", "digest")},
        "dataset": state.folder,
        "inputs": digests,
    }
