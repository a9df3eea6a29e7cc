"""A state that the alias names or named, read back as its night ranked with it.

All of it comes from the inputs of the state's own manifest, never from what a partition stands for
now: what is served or exported is what `score` ranked with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from nightshift.errors import DatasetMissing
from nightshift.lake import Lake
from nightshift.manifest import Manifest
from nightshift.recommend.loading import as_served
from nightshift.recommend.morning import Extended, extend
from nightshift.recommend.ranker import ModelRanker
from nightshift.registry.alias import Alias
from nightshift.snapshot import Snapshot, read_vectors
from nightshift.stages import LINE_OF_ARM

_READ = ("snapshot", "vectors", "morning", "recipe")


@dataclass(frozen=True, slots=True)
class LiveState:
    """One line of one state, and what it was made from."""

    alias: Alias
    manifest: Manifest
    inputs: dict[str, Manifest]
    snapshot: Snapshot
    recipe: dict[str, Any]

    @classmethod
    def read(cls, lake: Lake, alias: Alias) -> Self:
        """Without its weights.

        Raises:
            DatasetMissing: the state, or what its night read, is no longer in the lake.
        """
        state = lake.at_key("state", *alias.state)
        if state is None:
            raise DatasetMissing(
                f"The state of night {alias.night} is no longer in the lake.",
                hint="`nightshift champion` lists what was live, `nightshift rollback` makes "
                "another one live",
                dataset=f"state/{alias.partition}",
            )
        inputs = {name: lake.get_ref(ref) for name, ref in state.inputs.items() if name in _READ}
        recipe = lake.read_json(inputs["recipe"], "recipe.json")
        return cls(alias, state, inputs, Snapshot(lake, inputs["snapshot"]), recipe)

    def extended(self, lake: Lake) -> Extended:
        """What customers did, the events of the state's night included."""
        return extend(self.snapshot, lake.scan(self.inputs["morning"], "events.parquet"))

    def ranker(
        self, lake: Lake, extended: Extended, *, user_keys: Sequence[str] = ()
    ) -> ModelRanker:
        """Ready to rank.

        Args:
            user_keys: the snapshot's users; without them nothing is known of single customers.

        Raises:
            LakeError: a file of it is broken.
            ModelRejected: it fails its load check.
        """
        arm = next(name for name, line in LINE_OF_ARM.items() if line == self.alias.line)
        return as_served(
            lake,
            self.manifest,
            self.snapshot,
            read_vectors(lake, self.inputs["vectors"]),
            self.recipe,
            arm,
            user_keys=user_keys,
            prefix=f"{self.alias.line}/",
            counted_in=extended.histories,
        )
