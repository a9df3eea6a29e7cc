"""What an export is made from: a state that is or was live, as its night ranked with it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nightshift.errors import UsageError
from nightshift.lake import Lake
from nightshift.recommend import ranker
from nightshift.recommend.live_state import LiveState
from nightshift.registry import alias
from nightshift.registry.alias import Alias


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
    state = LiveState.read(lake, live)
    digests = {name: state.inputs[name].digest for name in ("snapshot", "vectors", "recipe")}
    return state.ranker(lake, state.extended(lake)), {
        **{name: asdict(live)[name] for name in ("line", "night", "digest")},
        "dataset": state.manifest.folder,
        "inputs": digests,
    }
