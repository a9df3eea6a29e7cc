"""A stored model as a ranker: by its parts, or as a recipe says it is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from nightshift.histories import Histories
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.recommend.model import checkpoint
from nightshift.recommend.model.attributes import attribute_codes
from nightshift.recommend.ranker import ModelRanker
from nightshift.recommend.ranking.followers import followers_of
from nightshift.recommend.samples.texts import Profiles
from nightshift.recommend.search.hybrid import SearchModel
from nightshift.snapshot import Snapshot
from nightshift.stages import CHALLENGER


def load(
    lake: Lake,
    manifest: Manifest,
    *,
    item_ids: Sequence[str],
    vectors: npt.NDArray[np.float32],
    catalogue: pl.DataFrame | None = None,
    user_keys: Sequence[str] = (),
    prefix: str = "",
    **served: Any,
) -> ModelRanker:
    """The ranker of a stored model for this catalogue.

    Args:
        item_ids: the snapshot's items in code order.
        vectors: their sentence embeddings [items, width] (`snapshot.read_vectors`).
        catalogue: the snapshot's items; None will do for a model that learnt no attributes.
        user_keys: the snapshot's users in code order: whose profile is whose.
        prefix: "" for an arm, "real/" or "blend/" for a line of a state.
        served: the weights it ranks with, see `ModelRanker`.

    Raises:
        ModelRejected: see `checkpoint.load`, `ModelRanker` and `SearchModel.load`.
        BadInput: an item's embedding is not finite.
    """
    attributes = None if catalogue is None else attribute_codes(catalogue)
    return ModelRanker(
        checkpoint.load(lake, manifest, list(item_ids), attributes=attributes, prefix=prefix),
        vectors,
        profiles=Profiles.load(lake, manifest, prefix=prefix),
        user_keys=user_keys,
        search=SearchModel.load(lake, manifest, width=vectors.shape[1], prefix=prefix),
        **served,
    )


def as_served(
    lake: Lake,
    manifest: Manifest,
    snapshot: Snapshot,
    vectors: npt.NDArray[np.float32],
    recipe: dict[str, Any],
    arm: str,
    *,
    user_keys: Sequence[str] = (),
    prefix: str = "",
    counted_in: Histories | None = None,
) -> ModelRanker:
    """The same with a recipe's weights and the shop's rules.

    Args:
        recipe: `recipe.json` of the night.
        arm: control or challenger; a placebo, which stands in for the samples, is served like
            the challenger.
        counted_in: what is counted (how often each item was wanted, what followed what), by
            item code of the snapshot: its own histories (None), or those with the events of its
            night behind them (`morning.extend`), which a refreshed state has learnt, too.

    Raises:
        ModelRejected, BadInput: see `load`.
    """
    n_items, events = snapshot.items.height, snapshot.item_events
    if counted_in is not None:
        events = events + np.bincount(counted_in.items, minlength=n_items)
        events -= np.bincount(snapshot.histories.items, minlength=n_items)
    follow, followers = float(recipe.get("follow", 0.0)), None
    if follow:
        followers = followers_of(snapshot.histories if counted_in is None else counted_in, n_items)
    return load(
        lake,
        manifest,
        item_ids=snapshot.items["item_id"].to_list(),
        vectors=vectors,
        user_keys=user_keys,
        prefix=prefix,
        beta=float(recipe["beta"].get(arm, recipe["beta"][CHALLENGER])),
        gamma=float(recipe["gamma"]),
        lean=float(recipe.get("lean", 0.0)),
        follow=follow,
        followers=followers,
        new_every=snapshot.shop.new_every,
        events=events,
        catalogue=snapshot.items,
    )
