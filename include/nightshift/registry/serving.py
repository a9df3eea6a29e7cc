"""What customers are served: the alias, and what belongs to it in Postgres.

Recommendations and advertising copy move with the alias. A night's recommendations stay in the lake
as a dataset and its copy in the blend, so going back is writing these once more.
"""

from __future__ import annotations

from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.night import Night
from nightshift.registry.ad_copy import ad_copy_of
from nightshift.registry.alias import Alias, live
from nightshift.settings import Settings
from nightshift.store.publish import blocks_of, publish


def recommendations_of(lake: Lake, alias: Alias) -> Manifest | None:
    """The recommendations that were scored with this state and line; None when they are gone.

    The night may have been made anew since: then they are not what it stands for now.
    """
    for found in lake.versions("recommendations", f"night={alias.night}"):
        if (found.stats["line"], found.inputs["state"].digest) == (alias.line, alias.digest):
            return found
    return None


def serve(settings: Settings, lake: Lake, alias: Alias, *, back: bool = False) -> bool:
    """Write an entry's recommendations and copy to Postgres, if the entry is still the live one.

    Args:
        back: also when what is there is newer: somebody asked for it.

    Returns:
        False when the lake holds none for it, or something else is live: nothing was changed.
    """
    manifest = recommendations_of(lake, alias)
    if manifest is None:
        return False
    state = lake.get_ref(manifest.inputs["state"])
    return publish(
        settings,
        blocks_of(lake.local_path(manifest.file("recommendations.parquet"))),
        as_of=Night.parse(alias.night).end,
        model=model_name(alias),
        ad_copy=lambda: ad_copy_of(lake, state),
        back=back,
        still=lambda: is_live(lake, alias),
    )


def is_live(lake: Lake, alias: Alias) -> bool:
    """Whether this entry is the last one."""
    current = live(lake)
    return current is not None and current.number == alias.number


def model_name(alias: Alias) -> str:
    """What `nightshift.publication` calls a model."""
    return f"{alias.line}/{alias.partition}/{alias.digest[:12]}"
